package models

import (
	"embed"
	"path"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/diag"
)

// Published config.json files, without weights: what `apply` looks at when no
// model is given, and what `models` lists. docs/MODELS.md says where each is from.
//
//go:embed reference/*.json
var referenceFiles embed.FS

// references are those files by name, each with what is wrong with it: a published
// configuration may be one of an architecture that has no builder.
var references = sync.OnceValue(func() map[string]reference {
	entries, err := referenceFiles.ReadDir("reference")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	all := map[string]reference{}
	for _, e := range entries {
		file := path.Join("reference", e.Name())
		text, err := referenceFiles.ReadFile(file)
		if err != nil {
			panic(err)
		}
		r := reference{file: file, text: text}
		_, r.err = ParseConfig(file, text)
		var issues diag.List
		r.modelType = readJSON(file, text, &issues).textOr("model_type", "")
		all[strings.TrimSuffix(e.Name(), ".json")] = r
	}
	return all
})

type reference struct {
	file, modelType string
	text            []byte
	err             error // of ParseConfig
}

// ReferenceNames returns the names of the embedded configurations that can be
// built, sorted.
func ReferenceNames() []string {
	return referenceNames(func(r reference) bool { return r.err == nil })
}

// UnbuiltReferences returns the names of the embedded configurations that cannot be
// built yet, sorted. ReferenceError says why.
func UnbuiltReferences() []string {
	return referenceNames(func(r reference) bool { return r.err != nil })
}

func referenceNames(want func(reference) bool) []string {
	var names []string
	for name, r := range references() {
		if want(r) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ReferenceConfig returns an embedded configuration by name, such as
// "Qwen3-30B-A3B-4bit"; ok is false if there is none that can be built.
func ReferenceConfig(name string) (c *Config, ok bool) {
	r, ok := references()[name]
	if !ok || r.err != nil {
		return nil, false
	}
	c, err := ParseConfig(r.file, r.text)
	return c, err == nil
}

// ReferenceError returns what keeps an embedded configuration from being built; nil
// if nothing does, or if there is none of that name.
func ReferenceError(name string) error { return references()[name].err }

// ReferenceType returns the model_type of an embedded configuration, whether it can
// be built or not; "" if there is none of that name.
func ReferenceType(name string) string { return references()[name].modelType }

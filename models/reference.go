package models

import (
	"embed"
	"path"
	"strings"
)

// Published config.json files, without weights: what `apply` looks at when no
// model is given.
//
//go:embed reference/*.json
var referenceFiles embed.FS

// ReferenceNames returns the names of the embedded configurations, sorted.
func ReferenceNames() []string {
	entries, err := referenceFiles.ReadDir("reference")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return names
}

// ReferenceConfig returns an embedded configuration by name, such as
// "Qwen3-30B-A3B-4bit"; ok is false if there is none.
func ReferenceConfig(name string) (c *Config, ok bool) {
	file := path.Join("reference", name+".json")
	text, err := referenceFiles.ReadFile(file)
	if err != nil {
		return nil, false
	}
	if c, err = ParseConfig(file, text); err != nil {
		panic(err) // a test reads them all
	}
	return c, true
}

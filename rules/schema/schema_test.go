package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"zmlx-rewrite/diag"
)

var folders = map[string]string{"rule": "rules", "profile": "profiles", "kernel": "kernels"}

// The schemas in docs/, which editors read, are those of this package.
func TestDocsAreCurrent(t *testing.T) {
	for kind := range folders {
		want, _ := Text(kind)
		path := filepath.Join("..", "..", "docs", kind+".schema.json")
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not current; write it again: zmlx-rewrite rules schema %s > docs/%s.schema.json", path, kind, kind)
		}
	}
}

// resolved reads a schema back from its JSON, as an editor does.
func resolved(t *testing.T, kind string) *jsonschema.Resolved {
	t.Helper()
	data, ok := Text(kind)
	if !ok {
		t.Fatalf("no schema %s", kind)
	}
	s := &jsonschema.Schema{}
	if err := json.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every file that ships is valid under its schema.
func TestShippedFilesAreValid(t *testing.T) {
	for kind, folder := range folders {
		s := resolved(t, kind)
		files, err := filepath.Glob(filepath.Join("..", "..", folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", folder, len(files), err)
		}
		for _, f := range files {
			root, issues := diag.ReadYAMLFile(f)
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			if err := s.Validate(root.Any()); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
}

const rule = `zmlx: 1
family: x
rules:
  - name: r
    doc: d
    match: {a: abs(x)}
    replace: {a: abs(x)}
    numerics: exact
`

// What people get wrong is wrong under the schema, too: an editor underlines it.
func TestWrongFiles(t *testing.T) {
	profile := "zmlx: 1\nprofile: p\ndoc: d\nrules: [llama.swiglu]\n"
	kernel := "zmlx: 1\nkernel: k\ndoc: d\ninputs: {x: 'float32[n]'}\nreference: {y: abs(x)}\nresults: [y]\nnumerics: exact\n"
	for _, x := range []struct{ name, kind, old, new string }{
		{"another version", "rule", "zmlx: 1", "zmlx: 2"},
		{"a version that is text", "rule", "zmlx: 1", "zmlx: one"},
		{"a family with a capital", "rule", "family: x", "family: X"},
		{"no family", "rule", "family: x\n", ""},
		{"an unknown key", "rule", "doc: d", "docs: d"},
		{"no numerics", "rule", "    numerics: exact\n", ""},
		{"unknown numerics", "rule", "numerics: exact", "numerics: fast"},
		{"a list for a mapping", "rule", "match: {a: abs(x)}", "match: [abs(x)]"},
		{"a number for an expression", "rule", "match: {a: abs(x)}", "match: {a: 1}"},
		{"a bad name of a line", "rule", "match: {a: abs(x)}", "match: {A-1: abs(x)}"},
		{"a profile without rules", "profile", "rules: [llama.swiglu]\n", ""},
		{"an unknown target", "profile", "rules: [llama.swiglu]", "rules: [{rule: llama.swiglu, off: {tpu: slow}}]"},
		{"a count that is text", "profile", "rules: [llama.swiglu]", "rules: []\nexpect: [{model: m, dims: {}, rules: {a: many}}]"},
		{"a kernel without results", "kernel", "results: [y]\n", ""},
		{"an attribute without a kind", "kernel", "results: [y]", "results: [y]\nattrs: {k: {default: 1}}"},
	} {
		good := map[string]string{"rule": rule, "profile": profile, "kernel": kernel}[x.kind]
		s := resolved(t, x.kind)
		check := func(text string) error {
			root, issues := diag.ReadYAML("x.yaml", []byte(text))
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			return s.Validate(root.Any())
		}
		if err := check(good); err != nil {
			t.Fatalf("%s: the file before the mistake: %v", x.name, err)
		}
		if !bytes.Contains([]byte(good), []byte(x.old)) {
			t.Fatalf("%s: nothing to change", x.name)
		}
		if err := check(string(bytes.Replace([]byte(good), []byte(x.old), []byte(x.new), 1))); err == nil {
			t.Errorf("%s: the schema lets it pass", x.name)
		}
	}
}

func ExampleText() {
	_, ok := Text("recipe")
	fmt.Println(ok)
	// Output: false
}

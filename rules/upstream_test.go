package rules

import (
	"os"
	"regexp"
	"testing"

	"zmlx-rewrite/kernels/author"
)

// docs/UPSTREAM.md says of each rule where it belongs.
func TestUpstream(t *testing.T) {
	data, err := os.ReadFile("../docs/UPSTREAM.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	for _, m := range regexp.MustCompile("`([a-z0-9_]+\\.[a-z0-9_]+)`").FindAllStringSubmatch(string(data), -1) {
		named[m[1]]++
	}
	catalog, issues := author.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	set, issues := Load(t.TempDir(), nil, catalog)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	for _, r := range set.Rules() {
		if named[r.Name] != 1 {
			t.Errorf("docs/UPSTREAM.md names %s %d times", r.Name, named[r.Name])
		}
		delete(named, r.Name)
	}
	for name := range named {
		if name != "gated_delta.py" && name != "mx.compile" {
			t.Errorf("docs/UPSTREAM.md names %s, which is no rule", name)
		}
	}
}

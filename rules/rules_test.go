package rules

import (
	"testing"

	"zmlx-rewrite/kernels"
)

// TestEmbedded loads every rule file that ships.
func TestEmbedded(t *testing.T) {
	c, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	s, issues := Load("", nil, c)
	for _, i := range issues {
		t.Error(i, "\n"+i.Snippet())
	}
	if s == nil {
		t.FailNow()
	}
	for _, r := range s.Rules() {
		if r.Hash == "" || len(r.Results) == 0 {
			t.Errorf("%s: hash %q, results %v", r.Name, r.Hash, r.Results)
		}
	}
}

package rewrite

import (
	"errors"
	"slices"
	"testing"

	"zmlx-rewrite/diag"
)

// TestByLayer groups scopes that differ in the first number only.
func TestByLayer(t *testing.T) {
	got := ByLayer([]string{"model.layers.0.mlp", "lm_head", "model.layers.1.mlp", "model.layers.1.mlp.experts.3", "a..b"})
	if want := []string{"model.layers.*.mlp (2 sites)", "lm_head", "model.layers.1.mlp.experts.3", "a..b"}; !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

// TestReplayTellsWhere: a journal that another rewrite has written is refused where the two
// part: a rule that has changed, a case or a site that is not there, the result.
func TestReplayTellsWhere(t *testing.T) {
	cfg, p := config(t), reference(t, "SmolLM2-135M-Instruct-Q4_1")
	res, err := Run(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	journal := func() *Journal { return res.Journal(cfg) }
	if kernels := journal().Rules; !slices.ContainsFunc(kernels, func(r JournalRule) bool { return len(r.Kernels) > 0 }) {
		t.Error("no rule has the hash of its kernel")
	}
	for code, change := range map[string]func(*Journal){
		"journal/program": func(j *Journal) { j.Before = "another" },
		"journal/rule":    func(j *Journal) { j.Rules[0].Hash = "another" },
		"journal/case":    func(j *Journal) { j.After, j.Cases = "", j.Cases[:len(j.Cases)-1] },
		"journal/site":    func(j *Journal) { j.After, j.Cases[0].Entries = "", j.Cases[0].Entries[1:] },
		"journal/result":  func(j *Journal) { j.After = "another" },
	} {
		j := journal()
		change(j)
		_, err := j.Replay(p, cfg)
		var issue *diag.Issue
		if !errors.As(err, &issue) || issue.Code != code {
			t.Errorf("%v, not %s", err, code)
		}
	}
	if _, err := journal().Replay(p, cfg); err != nil {
		t.Error(err)
	}
}

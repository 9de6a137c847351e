package decode

import (
	"slices"
	"testing"
)

// TestSpeculate: whatever the draft guesses, the tokens are those of the model alone. A draft
// that is the model is always right.
func TestSpeculate(t *testing.T) {
	m := newModel(t)
	prompt := []int{3, 1, 4, 1, 5, 9, 2, 6}
	want, err := m.generator(t).Generate(t.Context(), prompt, Options{MaxTokens: 40})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 3, 7, 60} {
		r, err := m.generator(t).Speculate(t.Context(), Draft{m.generator(t), n}, prompt, Options{MaxTokens: 40, PrefillStep: 3})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Tokens, want.Tokens) || r.Finish != "length" || len(r.Times) != 40 {
			t.Errorf("%d guesses: %v, not %v", n, r.Tokens, want.Tokens)
		}
		right, rounds := 0, 0
		for left := 40; left > 0; rounds++ {
			right += min(n, left)
			left -= n + 1
		}
		if r.FromDraft != right || len(r.Calls) != 3+rounds {
			t.Errorf("%d guesses: %d were right, not %d, in calls %v", n, r.FromDraft, right, r.Calls)
		}
	}
	g, wrong := m.generator(t), seededModel(t, 7).generator(t)
	for range 3 { // and again: the caches are left empty
		r, err := g.Speculate(t.Context(), Draft{wrong, 3}, prompt, Options{MaxTokens: 40})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Tokens, want.Tokens) || r.FromDraft > 20 {
			t.Errorf("a wrong draft: %v, not %v; %d were right", r.Tokens, want.Tokens, r.FromDraft)
		}
	}
	end := want.Tokens[12]
	first := slices.Index(want.Tokens, end)
	r, err := g.Speculate(t.Context(), Draft{m.generator(t), 5}, prompt, Options{MaxTokens: 40, EOS: []int{end}})
	if err != nil || r.Finish != "stop" || !slices.Equal(r.Tokens, want.Tokens[:first+1]) {
		t.Errorf("%v, ended by %s, %v; token %d ends it", r.Tokens, r.Finish, err, end)
	}
}

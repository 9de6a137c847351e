package decode

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPromptInParts: where a chunk of a prompt takes long, the state of its layers is computed in
// parts: each is told of, an interrupt is heard between them, and the tokens are the same.
func TestPromptInParts(t *testing.T) {
	m := modelOf(t, strings.Replace(tiny, `"num_hidden_layers": 2`, `"num_hidden_layers": 6`, 1), 5)
	prompt := []int{3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32, 3}
	ctx := context.Background()
	want, err := m.generator(t).Generate(ctx, prompt, Options{MaxTokens: 8}) // nobody is told: in one go
	if err != nil {
		t.Fatal(err)
	}
	defer func(d time.Duration) { partTime = d }(partTime)
	for _, c := range []struct {
		part time.Duration
		told []int
	}{
		// 12 arrays, keys and values of 6 layers, after 12 tokens of 13: first 4 of them, then as many as
		// fit into the time: one, or the rest.
		{0, []int{0, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{time.Hour, []int{0, 12}},
	} {
		partTime = c.part
		var told []int
		got, err := m.generator(t).Generate(ctx, prompt, Options{MaxTokens: 8, OnPrompt: func(n, _ int) { told = append(told, n) }})
		if err != nil || !slices.Equal(got.Tokens, want.Tokens) || !slices.Equal(told, c.told) {
			t.Errorf("parts of %v: told of %v, not %v; tokens %v, not %v (%v)", c.part, told, c.told, got.Tokens, want.Tokens, err)
		}
	}

	partTime = 0
	stopped, stop := context.WithCancel(ctx)
	defer stop()
	last := 0
	_, err = m.generator(t).Generate(stopped, prompt, Options{MaxTokens: 8, OnPrompt: func(n, _ int) {
		if last = n; n == 5 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) || last != 5 {
		t.Errorf("interrupted after 5 tokens, and told of %d: %v", last, err)
	}
}

package decode

import (
	"context"
	"slices"
	"testing"
)

// TestTogether: sequences side by side make the tokens that each makes alone, whatever the chunks
// of their prompts, and behind what the caches hold.
func TestTogether(t *testing.T) {
	m, ctx := newModel(t), context.Background()
	prompts := [][]int{{3, 14, 15, 9, 26}, {5, 35, 8, 9, 7}, {9, 3, 2, 38, 46}}
	const made = 6
	var want []int
	alone := make([][]int, len(prompts))
	for i, p := range prompts {
		r, err := m.generator(t).Generate(ctx, p, Options{MaxTokens: made})
		if err != nil {
			t.Fatal(err)
		}
		alone[i] = r.Tokens
	}
	for k := range made {
		for i := range prompts {
			want = append(want, alone[i][k])
		}
	}
	g, err := NewBatch(ctx, m.engine, m.session, m.program, len(prompts))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, chunk := range []int{0, 1, 3} {
		g.Reset()
		r, err := g.Together(ctx, prompts, Options{MaxTokens: made, PrefillStep: chunk})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Tokens, want) || len(r.Times) != made {
			t.Errorf("chunks of %d: %v at %d times, alone %v", chunk, r.Tokens, len(r.Times), want)
		}
	}
	// In two parts, the second behind the first.
	g.Reset()
	var first, second [][]int
	for _, p := range prompts {
		first, second = append(first, p[:3]), append(second, p[2:]) // the last token of a prompt is read with the first that is made
	}
	if _, err := g.Together(ctx, first, Options{}); err != nil {
		t.Fatal(err)
	}
	if r, err := g.Together(ctx, second, Options{MaxTokens: made}); err != nil || !slices.Equal(r.Tokens, want) {
		t.Errorf("behind two tokens: %v, %v, alone %v", r, err, want)
	}
	for _, bad := range [][][]int{nil, prompts[:2], {{1}, {1, 2}, {1}}, {{}, {}, {}}} {
		if _, err := g.Together(ctx, bad, Options{MaxTokens: 1}); err == nil {
			t.Errorf("%v was taken for 3 sequences", bad)
		}
	}
	if _, err := g.Generate(ctx, prompts[0], Options{MaxTokens: 1}); err == nil {
		t.Error("Generate took a generator of 3 sequences")
	}
}

// TestFill: behind random rows it makes other tokens than behind none, and the same each time.
func TestFill(t *testing.T) {
	m, ctx := newModel(t), context.Background()
	g := m.generator(t)
	run := func(rows int, seed uint64) []int {
		t.Helper()
		if err := g.Fill(ctx, rows, seed); err != nil {
			t.Fatal(err)
		}
		r, err := g.Generate(ctx, []int{3}, Options{MaxTokens: 12})
		if err != nil {
			t.Fatal(err)
		}
		if n := g.caches.Offset(); n != rows+12 {
			t.Errorf("%d rows and 12 tokens: the caches are behind %d", rows, n)
		}
		return r.Tokens
	}
	none, full := run(0, 1), run(300, 1)
	if slices.Equal(none, full) {
		t.Error("300 random rows changed nothing")
	}
	if again := run(300, 1); !slices.Equal(again, full) {
		t.Errorf("%v the second time, %v the first", again, full)
	}
	if other := run(300, 2); slices.Equal(other, full) {
		t.Error("another seed made the same rows")
	}
}

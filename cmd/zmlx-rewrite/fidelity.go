package main

import (
	"context"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/verify/whole"
)

// closerToFP32 is a near tie of which the second model is no further from float32.
const closerToFP32 = "closer-to-fp32"

// verdictOf is a verdict with one more: a near tie of which the second is no further from float32.
func verdictOf(c *whole.Comparison) string {
	if c.Verdict == whole.NearTie && c.Stock > 0 && c.Closer() {
		return closerToFP32
	}
	return string(c.Verdict)
}

// way is a generator with the options that it generates with.
type way struct {
	*decode.Generator
	decode.Options
}

// free lets it take its own tokens.
func (w way) free(ctx context.Context, prompt []int) (*decode.Result, []decode.Step, error) {
	return whole.Steps(ctx, w.Generator, prompt, w.Options)
}

// led feeds it the tokens of another generation.
func (w way) led(ctx context.Context, prompt []int, by []decode.Step) ([]decode.Step, error) {
	tokens := make([]int, len(by))
	for i, s := range by {
		tokens[i] = s.ID
	}
	w.MaxTokens, w.EOS, w.Sampler = len(tokens), nil, decode.Follow(tokens)
	_, list, err := w.free(ctx, prompt)
	return list, err
}

// hold compares what two ways made of a prompt, and has the second and a float32 model
// follow the first. second is led only if it took other tokens by itself.
func hold(ctx context.Context, prompt []int, first []decode.Step, w way, second []decode.Step, truth way) (*whole.Comparison, error) {
	exact, err := truth.led(ctx, prompt, first)
	if err != nil {
		return nil, err
	}
	led := second
	if decode.Compare(first, second).First >= 0 {
		if led, err = w.led(ctx, prompt, first); err != nil {
			return nil, err
		}
	}
	return whole.CompareLed(first, second, led, exact), nil
}

// rechunked is w with another chunking of the prompt, in halves: the same model summed up
// in another order. false if the prompt cannot be cut.
func (w way) rechunked(prompt []int) (way, bool) {
	chunk := w.PrefillStep
	if chunk <= 0 {
		chunk = decode.PrefillStep
	}
	n := min(chunk, len(prompt)-1)
	w.PrefillStep = (n + 1) / 2
	return w, n > 1
}

// truth is the unrewritten model in float32, with the very numbers that s has. Call the
// function when done.
func (r *runner) truth(ctx context.Context, path, dtype, adapter string) (*decode.Generator, func(), error) {
	as, err := dtypes(dtype)
	if err != nil {
		return nil, nil, err
	}
	m, err := models.LoadWith(path, adapter, append(as, graph.Float32)...)
	if err != nil {
		return nil, nil, err
	}
	wide := *r
	wide.model = m
	g, done, err := wide.generator(ctx, &programs{plain: m.Program})
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return g, func() { done(); m.Close() }, nil
}

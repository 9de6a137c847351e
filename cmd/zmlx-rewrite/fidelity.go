package main

import (
	"context"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/verify/whole"
)

// fidelity is two ways through one prompt, held against the same model in float32, all
// three fed the tokens of the first.
type fidelity struct {
	*decode.Comparison
	original, other decode.Errors
}

// nearTie reports whether the two may part where they part.
func (f *fidelity) nearTie() bool { return f.NearTie(f.original) }

// own is the first's own error where they part.
func (f *fidelity) own() float64 {
	if f.First < 0 || f.First >= len(f.original.Steps) {
		return 0
	}
	return f.original.Steps[f.First]
}

// closer reports whether the second is no further from float32 than the first, over all
// steps.
func (f *fidelity) closer() bool { return f.other.RMS <= f.original.RMS }

// sound reports whether the second errs about as much as the first. What rounds as often
// does; twice the error, over all steps and the whole vocabulary, is no chance.
func (f *fidelity) sound() bool { return f.other.RMS <= 2*f.original.RMS }

// verdict says what it means that the two part.
func (f *fidelity) verdict() string {
	switch {
	case !f.nearTie() || !f.sound():
		return "differs"
	case f.closer():
		return "closer-to-fp32"
	}
	return "near-tie"
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
func hold(ctx context.Context, prompt []int, first []decode.Step, w way, second []decode.Step, truth way) (*fidelity, error) {
	f := &fidelity{Comparison: decode.Compare(first, second)}
	exact, err := truth.led(ctx, prompt, first)
	if err != nil {
		return nil, err
	}
	if f.First >= 0 {
		if second, err = w.led(ctx, prompt, first); err != nil {
			return nil, err
		}
	}
	f.original, f.other = decode.MeasureErrors(first, exact), decode.MeasureErrors(second, exact)
	return f, nil
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
func (r *runner) truth(ctx context.Context, path, dtype string) (*decode.Generator, func(), error) {
	as, err := dtypes(dtype)
	if err != nil {
		return nil, nil, err
	}
	m, err := models.LoadAs(path, append(as, graph.Float32)...)
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

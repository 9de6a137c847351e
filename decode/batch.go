package decode

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"zmlx-rewrite/engine"
)

// Together continues several prompts of one length, side by side, by MaxTokens tokens each: the
// most likely ones, past any end token; of the other options PrefillStep counts. What the caches
// hold from before comes first. It is for what is timed: each step is under way before the token
// of the one before it is read, as in Generate.
//
// The tokens of the result are those of the first step, one of each sequence, then those of the
// second, and so on; Times has one entry a step.
func (g *Generator) Together(ctx context.Context, prompts [][]int, o Options) (*Result, error) {
	n, chunk := 0, o.PrefillStep
	if chunk <= 0 {
		chunk = PrefillStep
	}
	if len(prompts) > 0 {
		n = len(prompts[0])
	}
	if len(prompts) != g.batch || n == 0 || slices.ContainsFunc(prompts, func(p []int) bool { return len(p) != n }) {
		return nil, fmt.Errorf("a generator of %d sequences needs as many prompts, of one length of at least 1", g.batch)
	}
	feed := func(from, to int) (engine.Tensor, error) {
		ids := make([]int, 0, g.batch*(to-from))
		for _, p := range prompts {
			ids = append(ids, p[from:to]...)
		}
		return g.tokens(ids)
	}
	g.calls, g.plain = nil, 0
	r := &Result{Prompt: prompts[0], Finish: "length"}
	defer func() { r.Calls, r.Plain = g.calls, g.plain }()
	start := time.Now()
	for at := 0; at < n-1; at += chunk {
		to := min(at+chunk, n-1)
		if to == n-1 { // the texts come behind this chunk
			g.caches.Expect(n - at + o.MaxTokens)
		}
		t, err := feed(at, to)
		if err != nil {
			return nil, err
		}
		logits, err := g.step(ctx, engine.Take(t), to-at)
		if err != nil {
			return nil, err
		}
		logits.Release() // never computed: nobody asks for it
		if err := g.engine.Eval(ctx, g.caches.Tensors()...); err != nil {
			return nil, err
		}
	}
	if o.MaxTokens < 1 {
		r.PromptTime = time.Since(start)
		return r, nil
	}
	g.caches.Expect(1 + o.MaxTokens)
	last, err := feed(n-1, n)
	if err != nil {
		return nil, err
	}
	p := &pipeline{g: g, o: &Options{}}
	defer p.release()
	if err := p.dispatch(ctx, engine.Take(last)); err != nil {
		return nil, err
	}
	for i := range o.MaxTokens {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		data, err := p.step(ctx, i+1 < o.MaxTokens)
		if err != nil {
			return r, err
		}
		if i == 0 {
			r.PromptTime = time.Since(start)
			start = start.Add(r.PromptTime)
		}
		for ; len(data) >= 4; data = data[4:] {
			r.Tokens = append(r.Tokens, int(int32(binary.LittleEndian.Uint32(data))))
		}
		r.Times = append(r.Times, time.Since(start))
	}
	return r, nil
}

// step reads the tokens of the step under way, having started the one after it if there is to be
// one.
func (p *pipeline) step(ctx context.Context, more bool) ([]byte, error) {
	u := p.under
	p.under = nil
	defer u.release()
	if more {
		if err := p.dispatch(ctx, u.next); err != nil {
			return nil, err
		}
	}
	return u.next.Read()
}

// Fill forgets what was generated and makes the caches hold random rows, as behind n tokens:
// see cache.Caches.Fill.
func (g *Generator) Fill(ctx context.Context, n int, seed uint64) error {
	g.Reset()
	return g.caches.Fill(ctx, n, seed)
}

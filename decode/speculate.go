package decode

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// Draft is a smaller model that guesses what the larger one will say.
type Draft struct {
	Generator *Generator
	Tokens    int // so many are guessed at a time
}

// Speculate is Generate with a draft, as mlx_lm.generate.speculative_generate_step has it: the
// draft makes some tokens, the model looks at all of them in one call and makes its own at each
// of their places; they stay up to the first that differs, and the model's is the next. Tokens
// that are drawn are drawn from both with the same sampler. Both sets of caches forget what was
// not taken; where a ring has no more room to forget, the model goes on alone.
//
// It starts from empty caches and leaves them empty. It makes no logits.
func (g *Generator) Speculate(ctx context.Context, d Draft, prompt []int, o Options) (r *Result, err error) {
	if len(prompt) == 0 {
		return nil, fmt.Errorf("the prompt has no tokens")
	}
	if o.PrefillStep <= 0 {
		o.PrefillStep = PrefillStep
	}
	s := &speculation{g: g, draft: d.Generator, o: &o}
	for _, x := range []*Generator{g, d.Generator} {
		if err := x.Trimmable(); err != nil {
			return nil, err
		}
		x.Reset()
		defer x.Reset()
	}
	defer s.close()
	if s.rows, err = newRows(ctx, g); err != nil {
		return nil, err
	}
	if s.draftRows, err = newRows(ctx, d.Generator); err != nil {
		return nil, err
	}
	r = &Result{Prompt: prompt, Finish: "length"}
	g.calls, g.plain = nil, 0
	defer func() { r.Calls, r.Plain = g.calls, g.plain }()
	s.r, s.start = r, time.Now()
	quiet := o // progress is that of the model, which takes longer
	quiet.OnPrompt = nil
	if err := d.Generator.prefill(ctx, prompt, &quiet); err != nil {
		return nil, err
	}
	if err := g.prefill(ctx, prompt, &o); err != nil {
		return nil, err
	}
	return r, s.run(ctx, prompt[len(prompt)-1], d.Tokens)
}

// Trimmable returns an error that says why the caches cannot forget tokens, as Speculate needs.
func (g *Generator) Trimmable() error { return g.caches.Trimmable() }

// speculation is one generation under way.
type speculation struct {
	g, draft        *Generator
	rows, draftRows engine.Session
	o               *Options
	r               *Result
	start           time.Time
	done            bool
}

func (s *speculation) close() {
	for _, x := range []engine.Session{s.rows, s.draftRows} {
		if x != nil {
			x.Close()
		}
	}
}

// run makes tokens from the last one of the prompt on, guessing up to n at a time.
func (s *speculation) run(ctx context.Context, last, n int) error {
	feed := []int{last} // what the draft has not seen
	for len(s.r.Tokens) < s.o.MaxTokens && !s.done {
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(s.o.MaxTokens-len(s.r.Tokens), n)
		if s.g.caches.Room() < count+1 || s.draft.caches.Room() < count+1 {
			count = 0
		}
		var guesses []int
		for len(guesses) < count {
			next, err := s.draft.at(ctx, s.draftRows, feed, s.o.Sampler, 1)
			if err != nil {
				return err
			}
			guesses, feed = append(guesses, next[0]), next
		}
		tokens, err := s.g.at(ctx, s.rows, append([]int{last}, guesses...), s.o.Sampler, count+1)
		if err != nil {
			return err
		}
		same := 0
		for ; same < count && tokens[same] == guesses[same] && !s.done; same++ {
			s.r.FromDraft++
			if s.done, err = s.r.take(Token{ID: tokens[same]}, s.o, &s.start); err != nil {
				return err
			}
		}
		if s.done {
			return nil
		}
		if s.done, err = s.r.take(Token{ID: tokens[same]}, s.o, &s.start); err != nil {
			return err
		}
		last = tokens[same]
		feed = []int{last}
		if same == count && count > 0 { // the draft has not seen its own last guess
			feed = []int{guesses[count-1], last}
		}
		s.g.caches.Trim(count - same)
		s.draft.caches.Trim(max(count-same-1, 0))
	}
	return nil
}

// at feeds tokens and returns those that the model makes at the last n of their places.
func (g *Generator) at(ctx context.Context, rows engine.Session, ids []int, sampler Sampler, n int) ([]int, error) {
	t, err := g.tokens(ids)
	if err != nil {
		return nil, err
	}
	logits, err := g.step(ctx, engine.Take(t), len(ids))
	if err != nil {
		return nil, err
	}
	out, err := rows.Step(ctx, map[string]engine.Tensor{"logits": engine.Take(logits)}, nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, t := range out {
			t.Release()
		}
	}()
	next := make([]int, 0, len(ids))
	if sampler == nil {
		data, err := out["next"].Read()
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(data); i += 4 {
			next = append(next, int(int32(binary.LittleEndian.Uint32(data[i:]))))
		}
		return next[len(next)-n:], g.engine.Eval(ctx, g.caches.Unread()...)
	}
	all, err := floats(out["logprobs"])
	if err != nil {
		return nil, err
	}
	for i := len(ids) - n; i < len(ids); i++ {
		next = append(next, sampler.Sample(all[i*g.vocab:(i+1)*g.vocab]))
	}
	return next, g.engine.Eval(ctx, g.caches.Unread()...)
}

// newRows loads what makes tokens of logits [1, seq_len, vocab], at every place.
func newRows(ctx context.Context, g *Generator) (engine.Session, error) {
	p, err := programOf([]input{logitsInput(g.logits, 1, graph.N(int64(g.vocab)))}, []output{{"next", "next"}, {"logprobs", "sampled"}},
		"logprobs", "subtract(logits, logsumexp(logits, axis=-1, keepdims=true))",
		"best", "argmax(logprobs, axis=-1)",
		"next", "astype(best, int32)",
		"sampled", "astype(logprobs, float32)",
	)
	if err != nil {
		return nil, err
	}
	return g.engine.Load(ctx, p, nil)
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/profiles"
)

// opened is a model that is ready to make text: what generate, chat and cache-prompt
// share. Close it.
type opened struct {
	*runner
	app      *app
	gen      *decode.Generator
	programs *programs // that gen runs
	prof     *profiles.Profile
	plain    bool          // not rewritten
	file     *cache.File   // nil: no prompt cache
	draft    *decode.Draft // nil: none
	closers  []func()
}

func (m *opened) close() {
	for i := len(m.closers) - 1; i >= 0; i-- {
		m.closers[i]()
	}
}

// open loads the model of o, rewritten or plain, and the prompt cache of t, if it has one.
func (a *app) open(ctx context.Context, o *options, t *textOptions, plain bool) (_ *opened, err error) {
	m := &opened{app: a, plain: plain}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if t.cacheFile != "" {
		if m.file, err = cache.OpenFile(t.cacheFile); err != nil {
			return nil, err
		}
		m.closers = append(m.closers, func() { m.file.Close() })
		if err := madeBy(m.file, o); err != nil {
			return nil, err
		}
		o.kv.file = m.file
	}
	if o.model == "" {
		return nil, diag.Errorf("usage/model", diag.Pos{File: t.cacheFile}, "does not say by which model it was made").WithHint("name it with --model")
	}
	o.dims, o.first = nil, o.first && !plain
	w, prof, all, err := a.rewriteToRun(ctx, o)
	if err != nil {
		return nil, err
	}
	s := all[0]
	m.prof = prof
	m.closers = append(m.closers, s.close)
	before, after, err := o.kv.programs(w, prof, o, s)
	if err != nil {
		return nil, err
	}
	if m.programs = after; plain {
		m.programs = before
	}
	if m.runner, err = a.runner(s.subject, w.set.Kernels); err != nil {
		return nil, err
	}
	m.closers = append(m.closers, m.runner.close)
	if err := m.derive(m.programs); err != nil {
		return nil, err
	}
	gen, done, err := m.generator(ctx, m.programs)
	if err != nil {
		return nil, err
	}
	m.gen = gen
	m.closers = append(m.closers, done)
	for _, token := range t.extraEOS {
		id, ok := m.tok.ID(token)
		if !ok {
			return nil, diag.Errorf("usage/token", diag.Pos{}, "--extra-eos-token %q is no token of the model", token).WithHint("give it as tokenizer.json has it, such as '<|im_end|>'")
		}
		m.eos = append(m.eos, id)
	}
	return m, m.restore()
}

// restore takes the caches from the prompt cache, or empties them.
func (m *opened) restore() error {
	if m.file == nil {
		m.gen.Reset()
		return nil
	}
	return m.gen.Restore(m.file)
}

// madeBy takes the model of a prompt cache, or checks that it is the one that is named.
func madeBy(f *cache.File, o *options) error {
	made := f.Meta["model"]
	if o.model == "" {
		o.model = made
		return nil
	}
	here, err1 := filepath.Abs(o.model)
	there, err2 := filepath.Abs(made)
	if made == "" || made == o.model || err1 == nil && err2 == nil && here == there {
		return nil
	}
	return diag.Errorf("prompt-cache/model", diag.Pos{File: f.Path}, "was made by model %s, not %s", made, o.model).WithHint("leave --model out")
}

// options are those of a generation.
func (m *opened) options(t *textOptions, sampler decode.Sampler) decode.Options {
	if s, ok := sampler.(*decode.Sampling); ok {
		s.Type = m.gen.LogitsType()
		s.XTCKeep = append(m.tok.Encode("\n", true), m.eos...) // as mlx_lm.generate has it
	}
	opts := decode.Options{MaxTokens: t.maxTokens, PrefillStep: t.prefillStep, EOS: m.eos, Sampler: sampler}
	if t.ignoreEOS {
		opts.EOS = nil
	}
	return opts
}

// interrupted is why a text ends that ctrl-C has cut short.
const interrupted = "interrupted"

// say makes text and gives its pieces to emit, as they come. Beside the error of an interrupt there
// is what was made until then, if that is anything.
func (m *opened) say(ctx context.Context, prompt []int, t *textOptions, opts decode.Options, emit func(string)) (*generated, *decode.Result, error) {
	stream, stop, text := m.tok.Stream(true), &stopper{words: t.stop}, ""
	show := func(piece string) {
		if piece != "" {
			text += piece
			emit(piece)
		}
	}
	line, told := m.app.promptLine()
	defer line.clear()
	opts.OnPrompt = told
	begun, first := time.Now(), true
	opts.OnToken = func(tok decode.Token) error {
		line.clear()
		if first {
			m.app.log.Debug("first token", "took", time.Since(begun))
			first = false
		}
		show(stop.next(stream.Next(tok.ID)))
		if stop.done {
			return decode.ErrStop
		}
		return nil
	}
	res, kernels, err := m.count(m.programs, func() (*decode.Result, error) {
		if m.draft != nil {
			return m.gen.Speculate(ctx, *m.draft, prompt, opts)
		}
		return m.gen.Generate(ctx, prompt, opts)
	})
	cut := err != nil && ctx.Err() != nil && res != nil && len(res.Tokens) > 0
	if err != nil && !cut {
		return nil, nil, err
	}
	if cut {
		res.Finish = interrupted
		err = &exitError{130, fmt.Sprintf("interrupted; the text has %d of at most %d tokens", len(res.Tokens), opts.MaxTokens)}
	}
	show(stop.next(stream.Flush()))
	show(stop.flush())
	var times []float64
	for _, t := range res.Times {
		times = append(times, t.Seconds())
	}
	return &generated{PromptTokens: res.Prompt, Tokens: res.Tokens, Text: text, FinishReason: res.Finish, PromptTPS: res.PromptTPS(), GenerationTPS: res.TPS(),
		TokenTimes: times, Kernels: kernels, KernelRuns: m.kernels(), Rewritten: !m.plain, Profile: m.prof.Name, FromDraft: res.FromDraft}, res, err
}

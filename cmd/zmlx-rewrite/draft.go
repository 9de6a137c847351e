package main

import (
	"context"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
)

// draftOptions are mlx-lm's flags for speculative decoding.
type draftOptions struct {
	model  string
	tokens int
}

func (d *draftOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&d.model, "draft-model", "", "a smaller `model` with the same tokenizer, which guesses tokens that the model then looks at in one call")
	f.IntVar(&d.tokens, "num-draft-tokens", 3, "so many `tokens` are guessed at a time")
}

// check refuses what mlx-lm's speculative decoding leaves out, or fails with.
func (d *draftOptions) check(o *options, t *textOptions) error {
	wrong := func(hint, format string, args ...any) error {
		return diag.Errorf("usage/draft", diag.Pos{}, format, args...).WithHint("%s", hint)
	}
	switch {
	case d.model == "":
		return nil
	case d.tokens < 1:
		return wrong("it is 3 if left out", "--num-draft-tokens %d is below 1", d.tokens)
	case t.cacheFile != "":
		return wrong("leave one of the two out", "a prompt cache has nothing for a --draft-model to go on from")
	case o.kv.Bits > 0:
		return wrong("leave one of the two out", "--kv-bits and --draft-model do not go together")
	case o.kv.size > 0:
		return wrong("leave one of the two out", "--max-kv-size and --draft-model do not go together: a ring cannot forget its last tokens")
	}
	return nil
}

// open loads the draft of m, rewritten or plain as that is, if there is to be one.
func (d *draftOptions) open(ctx context.Context, a *app, o *options, m *opened) error {
	if d.model == "" {
		return nil
	}
	with := *o
	with.model, with.adapter, with.profile, with.first = d.model, "", "", false
	draft, err := a.open(ctx, &with, &textOptions{}, m.plain)
	if err != nil {
		return err
	}
	m.closers = append(m.closers, draft.close)
	if there, here := draft.tok.Size(), m.tok.Size(); there != here {
		return diag.Errorf("usage/draft", diag.Pos{File: d.model}, "has a tokenizer of %d tokens, and the model's has %d", there, here).WithHint("a draft needs the model's own tokenizer")
	}
	for _, x := range []*opened{m, draft} {
		if err := x.gen.Trimmable(); err != nil {
			return diag.Errorf("usage/draft", diag.Pos{File: x.model.Path}, "%v", err).WithHint("mlx-lm asks for caches that can be trimmed, too: leave --draft-model out")
		}
	}
	m.draft = &decode.Draft{Generator: draft.gen, Tokens: d.tokens}
	return nil
}

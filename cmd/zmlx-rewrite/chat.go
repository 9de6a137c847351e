package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

func (a *app) chatCmd() *cobra.Command {
	var o options
	var t textOptions
	var format string
	var plain bool
	c := &cobra.Command{
		Use:   "chat",
		Short: "Talk with a rewritten model",
		Long: "Chat reads a message a line, from the terminal or from a pipe, and answers each. What was said\n" +
			"before stays in the cache. As in mlx_lm.chat, q ends, r forgets everything, h shows this.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.chat(c.Context(), &o, &t, format, plain) },
	}
	o.flags(c)
	o.first = true
	o.dtypeFlag(c)
	o.adapterFlag(c)
	o.kv.startFlag(c)
	t.lengthFlags(c, 256)
	t.samplingFlags(c)
	t.cacheFlag(c)
	t.mlxLMFlags(c)
	c.Flags().BoolVar(&plain, "no-rewrite", false, "run the unrewritten program")
	c.Flags().StringVarP(&format, "output", "o", "text", "text, or json: an object for each answer, one a line")
	return c
}

const chatHelp = "commands: q exit · r reset · h help"

// maxLine bounds a message.
const maxLine = 1 << 20

func (a *app) chat(ctx context.Context, o *options, t *textOptions, format string, plain bool) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	if o.model == "" && t.cacheFile == "" {
		return needsModel("chat")
	}
	if err := t.checkLength("chat"); err != nil {
		return err
	}
	sampler, err := t.sampler()
	if err != nil {
		return err
	}
	m, err := a.open(ctx, o, t, plain)
	if err != nil {
		return err
	}
	defer m.close()
	opts := m.options(t, sampler)
	opts.Whole = true
	emit := func(string) {}
	if format == "text" {
		emit = func(piece string) { fmt.Fprint(a.stdout, piece) }
	}
	ask := func() {}
	if isTerminal(a.stdin) {
		ask = func() { fmt.Fprint(a.progress, "› ") }
		fmt.Fprintln(a.progress, chatHelp)
	}
	lines := bufio.NewScanner(a.stdin)
	lines.Buffer(nil, maxLine)
	for ask(); lines.Scan(); ask() {
		switch text := lines.Text(); strings.TrimSpace(text) {
		case "":
		case "q":
			return nil
		case "r":
			if err := m.restore(); err != nil {
				return err
			}
			fmt.Fprintln(a.progress, "reset: the conversation is forgotten")
		case "h":
			fmt.Fprintln(a.progress, chatHelp)
		default:
			prompt, err := m.prompt(text, t)
			if err != nil {
				return err
			}
			out, res, cut := m.say(ctx, prompt, t, opts, emit)
			if out == nil {
				return cut
			}
			out.KVBits = o.kv.Bits
			if format == "json" {
				if err := cmp.Or(a.json(out), cut); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintln(a.stdout)
			fmt.Fprintln(a.progress, m.account(out, res, o))
			if cut != nil {
				return cut
			}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return diag.Errorf("usage/chat", diag.Pos{File: "standard input"}, "a message is longer than %d MiB", maxLine>>20).WithHint("one line is one message; generate --prompt - takes longer ones")
	}
	return lines.Err()
}

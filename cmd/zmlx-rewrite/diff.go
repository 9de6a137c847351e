package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

func (a *app) diffCmd() *cobra.Command {
	var o options
	var format string
	c := &cobra.Command{
		Use:   "diff [A B]",
		Short: "Show what changes: between two programs, or between a program and its rewrite",
		Args:  cobra.MaximumNArgs(2),
		RunE:  func(c *cobra.Command, args []string) error { return a.diff(&o, args, format) },
	}
	o.flags(c)
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json (two programs a line)")
	return c
}

func (a *app) diff(o *options, args []string, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	if len(args) == 1 {
		return diag.Errorf("usage/diff", diag.Pos{}, "diff takes two programs, or flags as apply does").WithHint("diff BEFORE.zg AFTER.zg, or diff --model MODEL")
	}
	if len(args) == 2 {
		w, err := a.workspace(o)
		if err != nil {
			return err
		}
		var texts [2]string
		for i, path := range args {
			s, err := a.load(path, w)
			if err != nil {
				return err
			}
			texts[i] = string(s.program.Text())
			s.close()
		}
		c := changes(args[0], args[1], texts[0], texts[1])
		if err := a.printDiff(c, format); err != nil {
			return err
		}
		if c.any() {
			return isFalse("")
		}
		return nil
	}
	_, _, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	for _, r := range all {
		defer r.close()
		if err := a.printDiff(changes(r.name, r.name+" rewritten", string(r.program.Text()), string(r.res.Program.Text())), format); err != nil {
			return err
		}
	}
	return nil
}

// changed is what two programs differ in, as JSON.
type changed struct {
	Before  string   `json:"before" jsonschema:"file or model"`
	After   string   `json:"after" jsonschema:"file, or the model rewritten"`
	Removed []string `json:"removed" jsonschema:"lines of before that after has not, without the numbers of values; none in either list: the programs are the same"`
	Added   []string `json:"added" jsonschema:"lines of after that before has not"`
}

func (c *changed) any() bool { return len(c.Removed)+len(c.Added) > 0 }

// changes are lines that were removed or added, without the numbers of values, which change
// with every node.
func changes(nameA, nameB, textA, textB string) *changed {
	la, lb := significant(textA), significant(textB)
	return &changed{nameA, nameB, less(la, lb), less(lb, la)}
}

// less are the lines of one list that another has not as many of.
func less(list, other []string) []string {
	count := map[string]int{}
	for _, l := range other {
		count[l]++
	}
	out := []string{}
	for _, l := range list {
		if count[l]--; count[l] < 0 {
			out = append(out, l)
		}
	}
	return out
}

func (a *app) printDiff(c *changed, format string) error {
	if format == "json" {
		return a.json(c)
	}
	if !c.any() {
		return nil
	}
	fmt.Fprintf(a.stdout, "--- %s\n+++ %s\n", c.Before, c.After)
	for _, l := range c.Removed {
		fmt.Fprintln(a.stdout, "-", l)
	}
	for _, l := range c.Added {
		fmt.Fprintln(a.stdout, "+", l)
	}
	return nil
}

var valueNames = regexp.MustCompile(`\bv[0-9]+\b`)

// significant drops what does not survive renumbering: the names of values.
func significant(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		out = append(out, valueNames.ReplaceAllString(line, "v"))
	}
	return out
}

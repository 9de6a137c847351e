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
	c := &cobra.Command{
		Use:   "diff [A B]",
		Short: "Show what changes: between two programs, or between a program and its rewrite",
		Args:  cobra.MaximumNArgs(2),
		RunE:  func(c *cobra.Command, args []string) error { return a.diff(&o, args) },
	}
	o.flags(c)
	return c
}

func (a *app) diff(o *options, args []string) error {
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
		if a.printDiff(args[0], args[1], texts[0], texts[1]) {
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
		a.printDiff(r.name, r.name+" rewritten", string(r.program.Text()), string(r.res.Program.Text()))
	}
	return nil
}

// printDiff prints lines that were removed or added, without the numbers of
// values, which change with every node. It reports whether there are any.
func (a *app) printDiff(nameA, nameB, textA, textB string) bool {
	la, lb := significant(textA), significant(textB)
	count := map[string]int{}
	for _, l := range la {
		count[l]++
	}
	var added []string
	for _, l := range lb {
		if count[l]--; count[l] < 0 {
			added = append(added, l)
		}
	}
	rest := map[string]int{}
	for _, l := range lb {
		rest[l]++
	}
	var removed []string
	for _, l := range la {
		if rest[l]--; rest[l] < 0 {
			removed = append(removed, l)
		}
	}
	if len(added)+len(removed) == 0 {
		return false
	}
	fmt.Fprintf(a.stdout, "--- %s\n+++ %s\n", nameA, nameB)
	for _, l := range removed {
		fmt.Fprintln(a.stdout, "-", l)
	}
	for _, l := range added {
		fmt.Fprintln(a.stdout, "+", l)
	}
	return true
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

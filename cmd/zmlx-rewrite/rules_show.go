package main

import (
	"fmt"
	"strings"

	"zmlx-rewrite/rules"
)

// shownRule is a rule as JSON: what rules list has of it, and what it says.
type shownRule struct {
	listedRule
	Since   string       `json:"since,omitempty" jsonschema:"version of zmlx-rewrite that it came with"`
	Match   []shownLine  `json:"match" jsonschema:"ops that it looks for"`
	Results []string     `json:"results" jsonschema:"values that may be used outside of the match"`
	Guards  []shownGuard `json:"guards" jsonschema:"conditions that a match must meet"`
	More    int          `json:"more_launches,omitempty" jsonschema:"that the replacement may start beyond those of the match"`
	Weights []shownLine  `json:"weights" jsonschema:"parameters that it rearranges"`
	Replace []shownLine  `json:"replace" jsonschema:"what it puts in place"`
}

// shownLine is a line of a rule, or of a kernel's reference.
type shownLine struct {
	Names []string `json:"names" jsonschema:"of the values that it gives"`
	Expr  string   `json:"expr" jsonschema:"what they are"`
}

type shownGuard struct {
	Name   string `json:"name" jsonschema:"by which refusals name it"`
	Cost   bool   `json:"cost,omitempty" jsonschema:"it keeps the rule from where it is slower, not from where it would be wrong"`
	Source string `json:"source,omitempty" jsonschema:"of cost: the measurement"`
	Text   string `json:"text" jsonschema:"the condition"`
}

func shownRuleOf(r *rules.Rule) *shownRule {
	lines := func(list []rules.Line) []shownLine {
		out := []shownLine{}
		for _, l := range list {
			out = append(out, shownLine{l.Names, l.Expr.String()})
		}
		return out
	}
	out := &shownRule{listedRule: listedRuleOf(r), Since: r.Since, Match: lines(r.Match), Results: append([]string{}, r.Results...), Guards: []shownGuard{}, More: r.More, Weights: lines(r.Weights), Replace: lines(r.Replace)}
	for _, g := range r.Guards {
		out.Guards = append(out.Guards, shownGuard{g.Name, g.Cost, g.Source, g.Text})
	}
	return out
}

func (a *app) rulesShow(o *options, name, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	for _, r := range w.set.Rules() {
		if r.Name == name || r.Short() == name {
			if format == "json" {
				return a.json(shownRuleOf(r))
			}
			a.showRule(r)
			return nil
		}
	}
	return noRule(name, w.set.Rules())
}

func (a *app) showRule(r *rules.Rule) {
	fmt.Fprintf(a.stdout, "%s  (%s:%d)\n%s\nnumerics %s · hash %s\n", r.Name, r.File.Path, r.Pos.Line, r.Doc, r.Numerics, r.Hash[:16])
	block := func(title string, lines []rules.Line) {
		if len(lines) > 0 {
			fmt.Fprintln(a.stdout, title+":")
		}
		for _, l := range lines {
			fmt.Fprintf(a.stdout, "  %s: %s\n", strings.Join(l.Names, ", "), l.Expr)
		}
	}
	block("match", r.Match)
	fmt.Fprintf(a.stdout, "results: %s\n", strings.Join(r.Results, ", "))
	for _, g := range r.Guards {
		what := "guard"
		if g.Cost {
			what = "cost"
		}
		fmt.Fprintf(a.stdout, "%s %s: %s\n", what, g.Name, g.Text)
	}
	if r.More > 0 {
		fmt.Fprintf(a.stdout, "launches: up to %d more than before\n", r.More)
	}
	block("weights", r.Weights)
	block("replace", r.Replace)
}

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/rules/schema"
)

func (a *app) rulesCmd() *cobra.Command {
	var o options
	var format string
	c := group("rules", "List rules, show one, begin one, or print the JSON Schema of rule files")
	list := &cobra.Command{
		Use: "list", Short: "List all rules", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.rulesList(&o, format) },
	}
	list.Flags().StringVarP(&format, "output", "o", "text", "text or json (one rule a line)")
	var shownAs string
	show := &cobra.Command{
		Use: "show RULE", Short: "Show a rule: what it matches, when, and what it puts in place", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.rulesShow(&o, args[0], shownAs) },
	}
	show.Flags().StringVarP(&shownAs, "output", "o", "text", "text or json")
	schema := &cobra.Command{
		Use: "schema [NAME]", Short: "Print the JSON Schema that editors use, or that of what this program writes", Args: cobra.MaximumNArgs(1),
		Long: "Schema prints the JSON Schema of a file that people write (rule, profile, kernel), of one that this\n" +
			"program writes (capsule, ledger), or of what a command prints with -o json, which has the command's\n" +
			"name: " + strings.Join(outputNames(), ", ") + ".\n" +
			"Without a name it is that of rules.",
		ValidArgs: append([]string{"rule", "profile", "kernel", "capsule", "ledger"}, outputNames()...),
		RunE:      func(_ *cobra.Command, args []string) error { return a.rulesSchema(args) },
	}
	for _, sub := range []*cobra.Command{list, show} {
		sub.Flags().StringArrayVar(&o.rules, "rules", nil, "rule `file or folder` to use over the built-in ones; may be repeated")
		sub.Flags().StringVar(&o.home, "home", "", "`folder` to take rules/ from, in place of the working folder")
	}
	c.AddCommand(list, show, schema, a.rulesNewCmd())
	return c
}

// listedRule is a rule as JSON.
type listedRule struct {
	Rule     string   `json:"rule" jsonschema:"full name"`
	Numerics string   `json:"numerics" jsonschema:"how results may differ"`
	Kernels  []string `json:"kernels" jsonschema:"that it puts in place"`
	File     string   `json:"file" jsonschema:"that it is in"`
	Line     int      `json:"line" jsonschema:"of the file"`
	Hash     string   `json:"hash" jsonschema:"of all that the rule says"`
	Doc      string   `json:"doc" jsonschema:"what it is for"`
}

func listedRuleOf(r *rules.Rule) listedRule {
	return listedRule{r.Name, string(r.Numerics), append([]string{}, r.Kernels...), r.File.Path, r.Pos.Line, r.Hash, r.Doc}
}

func (a *app) rulesList(o *options, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	if format == "json" {
		for _, r := range w.set.Rules() {
			if err := a.json(listedRuleOf(r)); err != nil {
				return err
			}
		}
		return nil
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RULE\tNUMERICS\tKERNEL\tFILE\tDOC")
	for _, r := range w.set.Rules() {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s:%d\t%s\n", r.Name, r.Numerics, strings.Join(r.Kernels, ", "), r.File.Path, r.Pos.Line, r.Doc)
	}
	return tw.Flush()
}

func (a *app) rulesSchema(args []string) error {
	what := "rule"
	if len(args) > 0 {
		what = args[0]
	}
	data, ok := schema.Text(what)
	switch what {
	case "capsule":
		data, ok = capsule.Schema(), true
	case "ledger":
		data, ok = ledger.Schema(), true
	}
	if o := outputNamed(what); o != nil {
		data, ok = o.text(), true
	}
	if !ok {
		names := append([]string{"rule", "profile", "kernel", "capsule", "ledger"}, outputNames()...)
		issue := diag.Errorf("usage/schema", diag.Pos{}, "no schema %q", what)
		if near := diag.Nearest(what, names); near != "" {
			return issue.WithHint("did you mean %s? there are %s", near, strings.Join(names, ", "))
		}
		return issue.WithHint("there are %s", strings.Join(names, ", "))
	}
	_, err := a.stdout.Write(data)
	return err
}

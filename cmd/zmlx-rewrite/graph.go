package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

func (a *app) graphCmd() *cobra.Command {
	var o options
	var format, scope string
	var after bool
	c := &cobra.Command{
		Use:   "graph",
		Short: "Print a model's graph as text, DOT or Mermaid",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.graph(&o, format, scope, after) },
	}
	o.flags(c)
	c.Flags().StringVarP(&format, "output", "o", "text", "text, dot, mermaid or summary")
	c.Flags().StringVar(&scope, "site", "", "`scope` to draw, such as model.layers.0; the whole graph if left out")
	c.Flags().BoolVar(&after, "rewritten", false, "the graph after the rewrite")
	return c
}

func (a *app) graph(o *options, format, scope string, after bool) error {
	_, _, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	for _, r := range all {
		defer r.close()
		p := r.program
		if after {
			p = r.res.Program
		}
		if format == "text" {
			if _, err := a.stdout.Write(p.Text()); err != nil {
				return err
			}
			continue
		}
		for _, c := range p.Cases {
			switch format {
			case "dot":
				fmt.Fprint(a.stdout, c.Graph.DOT(scope))
			case "mermaid":
				fmt.Fprint(a.stdout, c.Graph.Mermaid(scope))
			case "summary":
				fmt.Fprintf(a.stdout, "%s case %s when %s: %d nodes, %d launches, %s\n", r.name, c.Name, c.When, c.Graph.NumNodes(), c.Graph.Launches(), c.Graph.Hash())
			default:
				return diag.Errorf("usage/output", diag.Pos{}, "output %q is none of text, dot, mermaid, summary", format)
			}
		}
	}
	return nil
}

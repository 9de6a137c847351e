package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) graphCmd() *cobra.Command {
	var o options
	var format, scope string
	var after bool
	c := &cobra.Command{
		Use:   "graph",
		Short: "Print a model's graph as text, DOT, Mermaid or JSON",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.graph(&o, format, scope, after) },
	}
	o.flags(c)
	o.kv.kvFlags(c)
	c.Flags().StringVarP(&format, "output", "o", "text", "text, dot, mermaid, summary or json (one case a line)")
	c.Flags().StringVar(&scope, "site", "", "`scope` to draw, such as model.layers.0; the whole graph if left out")
	c.Flags().BoolVar(&after, "rewritten", false, "the graph after the rewrite")
	return c
}

func (a *app) graph(o *options, format, scope string, after bool) error {
	if err := oneOf("output", format, "text", "dot", "mermaid", "summary", "json"); err != nil {
		return err
	}
	list, err := a.programs(o, after)
	if err != nil {
		return err
	}
	for _, s := range list {
		defer s.close()
		if !hasScope(s.program, scope) {
			return noSite(scope)
		}
		if format == "text" {
			if _, err := a.stdout.Write(s.program.Text()); err != nil {
				return err
			}
			continue
		}
		for _, c := range s.program.Cases {
			switch format {
			case "dot":
				fmt.Fprint(a.stdout, c.Graph.DOT(scope))
			case "mermaid":
				fmt.Fprint(a.stdout, c.Graph.Mermaid(scope))
			case "json":
				if err := a.json(shownGraphOf(s, &c, scope)); err != nil {
					return err
				}
			case "summary":
				fmt.Fprintf(a.stdout, "%s case %s when %s: %d nodes, %d launches, %s\n", s.name, c.Name, c.When, c.Graph.NumNodes(), c.Graph.Launches(), c.Graph.Hash())
			}
		}
	}
	return nil
}

// programs returns what a command looks at: a model as it is, which needs no
// profile, or the result of its rewrite.
func (a *app) programs(o *options, after bool) ([]*subject, error) {
	if !after && o.model != "" {
		w, err := a.workspace(o)
		if err != nil {
			return nil, err
		}
		if err := o.kv.check(); err != nil {
			return nil, err
		}
		s, err := a.load(o.model, w)
		if err != nil {
			return nil, err
		}
		if err := o.kv.change(s); err != nil {
			s.close()
			return nil, err
		}
		return []*subject{s}, nil
	}
	_, _, all, err := a.rewriteAll(o)
	if err != nil {
		return nil, err
	}
	var list []*subject
	for _, r := range all {
		if after {
			r.program = r.res.Program
		}
		list = append(list, r.subject)
	}
	return list, nil
}

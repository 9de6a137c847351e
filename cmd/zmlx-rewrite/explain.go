package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

func (a *app) explainCmd() *cobra.Command {
	var o options
	var rule, site, format string
	c := &cobra.Command{
		Use:   "explain",
		Short: "Say for every site why a rule did or did not apply",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.explain(&o, rule, site, format) },
	}
	o.flags(c)
	o.adapterFlag(c)
	o.kv.kvFlags(c)
	c.Flags().StringVar(&rule, "rule", "", "`rule` to explain, with or without its family; all if left out")
	c.Flags().StringVar(&site, "site", "", "`scope` to explain, such as model.layers.3; all if left out")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

func (a *app) explain(o *options, name, site, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	_, prof, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(r *rewritten) bool { return hasScope(r.program, site) }) {
		return noSite(site)
	}
	found := false
	for _, r := range all {
		defer r.close()
		for _, rule := range r.cfg.Rules {
			if name != "" && rule.Name != name && rule.Short() != name {
				continue
			}
			found = true
			for _, p := range r.plans {
				if format == "json" {
					one := *p
					one.Rules = nil
					for _, x := range p.Rules {
						if x.Name == rule.Name {
							one.Rules = append(one.Rules, atSite(x, site))
						}
					}
					if err := one.JSON(a.stdout); err != nil {
						return err
					}
					continue
				}
				a.explainRule(p, rule, site)
			}
		}
	}
	if !found {
		return diag.Errorf("usage/rule", diag.Pos{}, "profile %s has no rule %q", prof.Name, name).WithHint("zmlx-rewrite rules list shows all rules")
	}
	return nil
}

// hasScope reports whether a node of any program is at or below a site.
func hasScope(p *graph.Program, site string) bool {
	for _, c := range p.Cases {
		for id := range graph.NodeID(c.Graph.NumNodes()) {
			if inSite(c.Graph.Node(id).Scope, site) {
				return true
			}
		}
	}
	return false
}

func inSite(scope, site string) bool {
	return site == "" || scope == site || strings.HasPrefix(scope, site+".")
}

func atSite(r report.Rule, site string) report.Rule {
	sites, misses := []report.Site{}, []report.Miss{}
	for _, s := range r.Sites {
		if inSite(s.Scope, site) {
			sites = append(sites, s)
		}
	}
	for _, m := range r.NearMisses {
		if inSite(m.Scope, site) {
			misses = append(misses, m)
		}
	}
	r.Sites, r.NearMisses = sites, misses
	return r
}

// explainRule prints one rule in one case; what is alike but for the layer's
// number becomes one line.
func (a *app) explainRule(p *report.Plan, rule *rules.Rule, site string) {
	fmt.Fprintf(a.stdout, "%s · %s · case %s (%s)\n", rule.Name, p.Model, p.Case, p.When)
	for _, full := range p.Rules {
		if full.Name != rule.Name {
			continue
		}
		if full.Gain != nil {
			where := "here"
			if full.Capsule != "" {
				where = "in capsule " + full.Capsule + " on such a device"
			}
			fmt.Fprintf(a.stdout, "  %s: measured %s, %s times as fast with it\n", full.State, where, full.Gain)
		} else if p.Looked {
			fmt.Fprintf(a.stdout, "  %s\n", full.State)
		}
		r := atSite(full, site)
		applied := make([]string, len(r.Sites))
		for i, s := range r.Sites {
			applied[i] = s.Scope
		}
		for _, line := range rewrite.ByLayer(applied) {
			fmt.Fprintf(a.stdout, "  applied at %s\n", line)
		}
		byReason := map[string][]string{}
		exact := map[string]string{} // of a reason that holds in one place
		var order []string
		for i := range r.NearMisses {
			m := r.NearMisses[i]
			scope := m.Scope
			m.Scope = "@"
			reason := layerless(m.String())
			exact[reason] = m.String()
			if byReason[reason] == nil {
				order = append(order, reason)
			}
			byReason[reason] = append(byReason[reason], scope)
		}
		for _, reason := range order {
			text := reason
			if len(byReason[reason]) == 1 {
				text = exact[reason]
			}
			for _, line := range rewrite.ByLayer(byReason[reason]) {
				fmt.Fprintf(a.stdout, "  not at %s%s\n", scopeText(line), strings.TrimPrefix(text, "@"))
			}
		}
		switch {
		case len(r.Sites)+len(r.NearMisses) > 0:
		case len(full.Sites)+len(full.NearMisses) > 0:
			fmt.Fprintf(a.stdout, "  nothing at %s: no op there is like its rarest one\n", site)
		default:
			fmt.Fprintf(a.stdout, "  no op of the graph is like its rarest one\n")
		}
	}
}

func scopeText(s string) string {
	if s == "" {
		return "the graph"
	}
	return s
}

// layerless replaces the number of a layer, so that the same reason in many layers
// reads the same.
func layerless(s string) string {
	before, after, ok := strings.Cut(s, "model.layers.")
	if !ok {
		return s
	}
	return before + "model.layers.*" + strings.TrimLeft(after, "0123456789")
}

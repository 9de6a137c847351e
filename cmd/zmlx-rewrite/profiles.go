package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/profiles"
)

func (a *app) profilesCmd() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "profiles", Short: "List profiles: for which models, which rules, and what is expected of them", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listProfiles(&o) },
	}
	c.Flags().StringVar(&o.home, "home", "", "`folder` to take profiles/ from, in place of the working folder")
	return c
}

func (a *app) listProfiles(o *options) error {
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	for _, p := range w.profiles {
		fmt.Fprintf(a.stdout, "%s  (%s)\n  %s\n  model types: %s\n", p.Name, p.Source, p.Doc, strings.Join(p.Models, ", "))
		for _, u := range p.Rules {
			fmt.Fprintf(a.stdout, "  %-28s %s\n", u.Rule, usage(u))
		}
		if k := p.KV; k != nil {
			fmt.Fprintf(a.stdout, "  quantized KV cache by default: %s: %s\n", k, k.Why)
			for _, u := range k.Rules {
				fmt.Fprintf(a.stdout, "    %-26s %s\n", u.Rule, usage(u))
			}
		}
		for _, e := range p.Expect {
			fmt.Fprintf(a.stdout, "  expected on %s for %s%s\n", e.Model, joined(e.Dims), onTargets(e.Targets))
			for _, u := range p.Rules {
				if n, ok := e.Rules[u.Rule]; ok {
					fmt.Fprintf(a.stdout, "    %-28s %d\n", u.Rule, n)
				}
			}
			if l := e.Launches; l != nil {
				fmt.Fprintf(a.stdout, "    %-28s %d → %d\n", "launches", l.Before, l.After)
			}
		}
	}
	return nil
}

// usage says where a rule is on, and why it is not elsewhere.
func usage(u profiles.Use) string {
	state := "on"
	for i, target := range slices.Sorted(maps.Keys(u.Off)) {
		if i == 0 {
			state = ""
		}
		state += fmt.Sprintf("off on %s: %s ", target, u.Off[target])
	}
	return state
}

func onTargets(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ", " + strings.Join(list, " and ")
}

// joined prints the numbers of symbols as --dims takes them.
func joined(dims map[string]int64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		list = append(list, fmt.Sprintf("%s=%d", name, dims[name]))
	}
	return strings.Join(list, ",")
}

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
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
			state := "on"
			for target, why := range u.Off {
				state = fmt.Sprintf("off on %s: %s", target, why)
			}
			fmt.Fprintf(a.stdout, "  %-28s %s\n", u.Rule, state)
		}
		for _, e := range p.Expect {
			fmt.Fprintf(a.stdout, "  expected on %s\n", e.Model)
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/report"
)

func (a *app) modelsCmd() *cobra.Command {
	o := options{preset: "inference"}
	var format string
	c := &cobra.Command{
		Use:   "models [NAME...]",
		Short: "List the reference configurations, and what rules do to a decode step of each",
		Long: "Models plans each reference configuration, or those named, by the rules of its profile: for one\n" +
			"token of one sequence, launches before and after, and how often each rule matches. It fails if a\n" +
			"profile states other numbers.",
		RunE: func(_ *cobra.Command, names []string) error { return a.listModels(&o, format, names) },
	}
	f := c.Flags()
	f.StringVar(&o.target, "target", defaultTarget(), "metal, cuda or cpu")
	f.StringVar(&o.home, "home", "", "`folder` to take rules/, profiles/ and kernels/ from, in place of the working folder")
	f.StringVarP(&format, "output", "o", "text", "text or json (one object per model, one a line)")
	return c
}

// decodeStep is the call that models are listed for where a profile names no other.
var decodeStep = map[string]int64{"batch": 1, "seq_len": 1}

func (a *app) listModels(o *options, format string, names []string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	known := slices.Sorted(slices.Values(append(models.ReferenceNames(), models.UnbuiltReferences()...)))
	for _, name := range names {
		if !slices.Contains(known, name) {
			return noReference(name, known)
		}
	}
	if len(names) == 0 {
		names = known
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	var all []*report.Model
	var unmet []string
	for _, name := range names {
		m, wrong, err := planReference(w, o, name)
		if err != nil {
			return err
		}
		if format == "json" {
			if err := m.JSON(a.stdout); err != nil {
				return err
			}
		}
		all = append(all, m)
		unmet = append(unmet, wrong...)
	}
	if format == "text" {
		for _, n := range w.notes {
			fmt.Fprintln(a.stdout, n)
		}
		report.Models(a.stdout, all)
	}
	if len(unmet) > 0 {
		return isFalse("%s", strings.Join(unmet, "\n"))
	}
	return nil
}

// planReference plans one reference configuration by its profile, and returns what
// the profile states and is not so.
func planReference(w *workspace, o *options, name string) (*report.Model, []string, error) {
	architecture := models.ReferenceType(name)
	if err := models.ReferenceError(name); err != nil {
		return report.NewUnbuilt(architecture, name, whyUnbuilt(err)), nil, nil
	}
	prof, expect := w.stated(name, architecture, o.target)
	s, err := referenceSubject(name, expect)
	if err != nil {
		return nil, nil, err
	}
	if prof == nil {
		g, err := s.program.Select(decodeStep)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		return report.NewUnplanned(architecture, name, g.Graph.Launches()), nil, nil
	}
	if err := prof.Check(w.set).Err(); err != nil {
		return nil, nil, err
	}
	dims := decodeStep
	if expect != nil {
		dims = expect.Dims
	}
	r, err := rewriteOne(w, prof, o, s, dims)
	if err != nil {
		return nil, nil, err
	}
	plan := r.plans[0]
	return report.NewModel(architecture, plan), plan.Unmet(), nil
}

// stated returns the profile that states something of a reference configuration, or
// else the one for its architecture; nil if there is none.
func (w *workspace) stated(name, architecture, target string) (*profiles.Profile, *profiles.Expectation) {
	for _, p := range w.profiles {
		for _, e := range p.Expected(target) {
			if e.Model == name {
				return p, &e
			}
		}
	}
	for _, p := range w.profiles {
		if slices.Contains(p.Models, architecture) {
			return p, nil
		}
	}
	return nil, nil
}

// whyUnbuilt sums up what keeps a configuration from being built.
func whyUnbuilt(err error) string {
	var list diag.List
	if !errors.As(err, &list) {
		return err.Error()
	}
	for _, i := range list {
		if i.Code == "config/unknown-model" {
			return "no builder for this architecture yet"
		}
	}
	return list[0].Message + " [" + list[0].Code + "]"
}

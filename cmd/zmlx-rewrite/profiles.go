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
	var format string
	c := &cobra.Command{
		Use: "profiles", Short: "List profiles: for which models, which rules, and what is expected of them", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listProfiles(&o, format) },
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json (one profile a line)")
	c.Flags().StringVar(&o.home, "home", "", "`folder` to take profiles/ from, in place of the working folder")
	return c
}

// listedProfile is a profile as JSON.
type listedProfile struct {
	Profile string         `json:"profile" jsonschema:"name"`
	File    string         `json:"file" jsonschema:"that it is in"`
	Hash    string         `json:"hash" jsonschema:"sha256 of the file"`
	Models  []string       `json:"model_types" jsonschema:"of the config.json, that it is for"`
	Rules   []listedUse    `json:"rules" jsonschema:"in order of preference"`
	KV      *listedKV      `json:"kv,omitempty" jsonschema:"whether the KV cache is quantized without a flag; absent if it does not say"`
	Expect  []listedExpect `json:"expect" jsonschema:"what it demands of models"`
	Doc     string         `json:"doc" jsonschema:"what it is for"`
}

type listedUse struct {
	Rule string            `json:"rule" jsonschema:"full name"`
	Off  map[string]string `json:"off,omitempty" jsonschema:"targets, or all, where it is not used, and why"`
}

type listedKV struct {
	Bits      int         `json:"bits" jsonschema:"of an element; 0 if it is not quantized"`
	GroupSize int         `json:"group_size" jsonschema:"elements that share a scale"`
	Start     int         `json:"start" jsonschema:"tokens from which on it is"`
	Why       string      `json:"why" jsonschema:"it is so"`
	Rules     []listedUse `json:"rules" jsonschema:"used beside the others where it is quantized"`
}

type listedExpect struct {
	Model    string           `json:"model" jsonschema:"name of a reference configuration"`
	Targets  []string         `json:"targets" jsonschema:"where it holds; all if there are none"`
	Dims     map[string]int64 `json:"dims" jsonschema:"that select the case"`
	Rules    map[string]int   `json:"rules" jsonschema:"and how often each matches"`
	Launches *[2]int          `json:"launches,omitempty" jsonschema:"of one call, before and after"`
}

func listedProfileOf(p *profiles.Profile) *listedProfile {
	uses := func(list []profiles.Use) []listedUse {
		out := []listedUse{}
		for _, u := range list {
			out = append(out, listedUse{u.Rule, u.Off})
		}
		return out
	}
	out := &listedProfile{Profile: p.Name, File: p.Source, Hash: p.Hash, Models: append([]string{}, p.Models...), Rules: uses(p.Rules), Expect: []listedExpect{}, Doc: p.Doc}
	if k := p.KV; k != nil {
		out.KV = &listedKV{k.Bits, k.GroupSize, k.Start, k.Why, uses(k.Rules)}
	}
	for _, e := range p.Expect {
		x := listedExpect{Model: e.Model, Targets: append([]string{}, e.Targets...), Dims: e.Dims, Rules: e.Rules}
		if l := e.Launches; l != nil {
			x.Launches = &[2]int{l.Before, l.After}
		}
		out.Expect = append(out.Expect, x)
	}
	return out
}

func (a *app) listProfiles(o *options, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	for _, p := range w.profiles {
		if format == "json" {
			if err := a.json(listedProfileOf(p)); err != nil {
				return err
			}
			continue
		}
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

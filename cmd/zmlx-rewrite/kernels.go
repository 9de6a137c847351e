package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
)

// sources are the targets for which a kernel has a source.
func sources(s *kernels.Spec) []string {
	list := []string{}
	for _, t := range []string{"metal", "cuda", "cpu"} {
		if s.RunsOn(t) {
			list = append(list, t)
		}
	}
	return list
}

// listedKernel is a kernel as JSON.
type listedKernel struct {
	Kernel    string   `json:"kernel" jsonschema:"name"`
	Numerics  string   `json:"numerics" jsonschema:"how results may differ from those of its reference graph"`
	Runs      []string `json:"runs_on" jsonschema:"targets that it has a source for; elsewhere its reference graph runs"`
	Generated bool     `json:"generated,omitempty" jsonschema:"the source is made of the reference"`
	File      string   `json:"file" jsonschema:"that its spec is in"`
	Hash      string   `json:"hash" jsonschema:"of all that a compiled kernel depends on"`
	Doc       string   `json:"doc" jsonschema:"what it computes"`
}

func listedKernelOf(s *kernels.Spec) listedKernel {
	return listedKernel{s.Name, string(s.Numerics), sources(s), s.Generated, s.Source, s.ContentHash, s.Doc}
}

// runsOn says where a kernel has a source.
func runsOn(s *kernels.Spec) string {
	list := sources(s)
	switch {
	case len(list) == 0:
		return asReference
	case s.Generated:
		return strings.Join(list, ",") + " (generated)"
	}
	return strings.Join(list, ",")
}

// noSource is the error of what needs a source.
func noSource(s *kernels.Spec) error {
	return diag.Errorf("kernel/no-source", diag.Pos{File: s.Source}, "kernel %s has no source, and none can be generated: %s", s.Name, s.NoSource).
		WithHint("write %s.metal beside it; until then its reference graph runs", s.Name)
}

func (a *app) kernelsCmd() *cobra.Command {
	var o options
	c := group("kernels", "List, show, check and try kernels")
	var format string
	list := &cobra.Command{
		Use: "list", Short: "List all kernels", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("output", format, "text", "json"); err != nil {
				return err
			}
			w, err := a.workspace(&o)
			if err != nil {
				return err
			}
			if format == "json" {
				for _, s := range w.set.Kernels.All() {
					if err := a.json(listedKernelOf(s)); err != nil {
						return err
					}
				}
				return nil
			}
			tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "KERNEL\tNUMERICS\tRUNS\tDOC")
			for _, s := range w.set.Kernels.All() {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", s.Name, s.Numerics, runsOn(s), s.Doc)
			}
			return tw.Flush()
		},
	}
	list.Flags().StringVarP(&format, "output", "o", "text", "text or json (one kernel a line)")
	var source, shownAs string
	show := &cobra.Command{
		Use: "show KERNEL", Short: "Show a kernel's signature, domain, reference graph and source", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.kernelsShow(&o, args[0], source, shownAs) },
	}
	show.Flags().StringVarP(&shownAs, "output", "o", "text", "text or json")
	show.Flags().StringVar(&source, "source", "", "print the source as this `target` gets it: metal, cuda or cpu, for the first call of the spec's check")
	c.PersistentFlags().StringArrayVar(&o.kernels, "kernels", nil, "`folder` of kernels to use over the built-in ones; may be repeated")
	c.AddCommand(list, show, a.kernelsCheckCmd(&o), a.kernelsBenchCmd(&o), a.kernelsTryCmd(&o), a.kernelsNewCmd(), a.kernelsHostCmd(&o))
	return c
}

package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

func (a *app) kernelsCmd() *cobra.Command {
	var o options
	c := group("kernels", "List, show, check and try kernels")
	list := &cobra.Command{
		Use: "list", Short: "List all kernels", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w, err := a.workspace(&o)
			if err != nil {
				return err
			}
			tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "KERNEL\tNUMERICS\tRUNS\tDOC")
			for _, s := range w.set.Kernels.All() {
				fmt.Fprintf(tw, "%s\t%s\treference\t%s\n", s.Name, s.Numerics, s.Doc)
			}
			return tw.Flush()
		},
	}
	show := &cobra.Command{
		Use: "show KERNEL", Short: "Show a kernel's signature, domain and reference graph", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			w, err := a.workspace(&o)
			if err != nil {
				return err
			}
			s := w.set.Kernels.Spec(args[0])
			if s == nil {
				return diag.Errorf("usage/kernel", diag.Pos{}, "no kernel %q", args[0]).WithHint("zmlx-rewrite kernels list shows all kernels")
			}
			fmt.Fprintf(a.stdout, "%s  (%s)\n%s\nnumerics %s · hash %s\n", s.Op().Signature(), s.Source, s.Doc, s.Numerics, s.Hash[:16])
			for _, d := range s.Domain {
				fmt.Fprintf(a.stdout, "domain %s: %s\n", d.Name, d.Guard.Text)
			}
			for _, d := range s.Reference() {
				fmt.Fprintf(a.stdout, "  %s = %s\n", d.Names[0], d.Expr)
			}
			return nil
		},
	}
	c.PersistentFlags().StringArrayVar(&o.kernels, "kernels", nil, "`folder` of kernels to use over the built-in ones; may be repeated")
	c.AddCommand(list, show, a.kernelsCheckCmd(&o), a.kernelsBenchCmd(&o), a.kernelsTryCmd(&o), a.kernelsNewCmd(), a.kernelsHostCmd(&o))
	return c
}

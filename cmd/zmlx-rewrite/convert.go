package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/kernels"
)

// exportVersion is the release of MLX whose file layout is written: that of the
// set-up. Other releases of 0.32 read it.
const exportVersion = "0.32.2"

func (a *app) importCmd() *cobra.Command {
	var out string
	var dims []string
	c := &cobra.Command{
		Use:   "import FILE.mlxfn --out M.zg",
		Short: "Turn a function that MLX exported into graph text",
		Long: "Import reads what python/zmlx_capture.py or mlx.core.export_function wrote, raises norms, rope,\n" +
			"attention and cache writes from the primitives that MLX recorded, and writes graph text.\n" +
			"Traces that differ only in dimensions become one case over symbols, which holds between\n" +
			"two of its traces; every other trace is a case. --dims names dimensions of an input; its\n" +
			"first dimension comes first. Without it, a 2-D integer input is taken for the tokens:\n" +
			"in0=batch,seq_len. The capacity of caches is kv_cap.",
		Example: "  python python/zmlx_capture.py MODEL --out model.mlxfn\n" +
			"  zmlx-rewrite import model.mlxfn --out model.zg\n" +
			"  zmlx-rewrite import block.mlxfn --out block.zg --dims in0=batch,seq_len",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if outputKind(out) != ".zg" {
				return diag.Errorf("usage/out", diag.Pos{File: out}, "import writes graph text").WithHint("name the file with --out NAME.zg")
			}
			named, err := inputDims(dims)
			if err != nil {
				return err
			}
			p, err := a.importFile(args[0], named)
			if err != nil {
				return err
			}
			if err := writeFile(out, p.Text()); err != nil {
				return err
			}
			for _, c := range p.Cases {
				fmt.Fprintf(a.progress, "%s: case %s (%s), %d nodes\n", out, c.Name, c.When, c.Graph.NumNodes())
			}
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "`file` to write, ending in .zg")
	c.Flags().StringArrayVar(&dims, "dims", nil, "`input=names`: names of an input's dimensions, such as in0=batch,seq_len; may be repeated")
	return c
}

// inputDims reads "in0=batch,seq_len".
func inputDims(list []string) (map[string][]string, error) {
	dims := map[string][]string{}
	for _, text := range list {
		input, names, ok := strings.Cut(text, "=")
		if !ok || input == "" || names == "" {
			return nil, diag.Errorf("usage/dims", diag.Pos{}, "%q is not input=names", text).WithHint("for tokens of shape [batch, seq_len]: --dims in0=batch,seq_len")
		}
		dims[input] = strings.Split(names, ",")
	}
	return dims, nil
}

// importFile reads a .mlxfn file as a program in normal form.
func (a *app) importFile(path string, dims map[string][]string) (*graph.Program, error) {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	p, notes, err := convert.Load(path, convert.ImportOptions{Name: name, Dims: dims})
	if err != nil {
		return nil, err
	}
	seen := map[normal.Note]bool{}
	for _, n := range notes {
		if !seen[n] {
			seen[n] = true
			fmt.Fprintf(a.progress, "%s: note: %s: %s\n", path, scopeText(n.Scope), n.What)
		}
	}
	return p, nil
}

func (a *app) exportCmd() *cobra.Command {
	var o options
	var out, as, rule string
	c := &cobra.Command{
		Use:   "export M.zg|MODEL --out FILE.mlxfn",
		Short: "Write a program as a function that MLX runs anywhere",
		Long: "Export writes one trace for each case of a program without symbols, or the one trace that --dims\n" +
			"selects. In the file, the weights are keyword arguments; kernels are their reference graphs, in\n" +
			"MLX's own ops. `apply --out FILE.mlxfn` does the same after the rewrite.\n" +
			"With --as python --rule R it writes one rule, as it applies in the model, as a Python module that\n" +
			"needs MLX alone: both sides, tests with ties and NaN, and a benchmark.",
		Example: "  zmlx-rewrite export Qwen3-0.6B-4bit --dims batch=1,seq_len=1,kv_cap=256 --out step.mlxfn",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			switch as {
			case "python":
				if rule == "" {
					return diag.Errorf("usage/rule", diag.Pos{}, "--as python writes one rule").WithHint("name it with --rule")
				}
				o.model = args[0]
				return a.exportPython(&o, rule, out)
			case "mlxfn":
			default:
				return diag.Errorf("usage/as", diag.Pos{}, "--as %q is neither mlxfn nor python", as).WithHint("--as python needs --rule RULE; without --as it is mlxfn")
			}
			if outputKind(out) != ".mlxfn" {
				return diag.Errorf("usage/out", diag.Pos{File: out}, "export writes MLX's format").WithHint("name the file with --out NAME.mlxfn")
			}
			w, err := a.workspace(&o)
			if err != nil {
				return err
			}
			s, err := a.load(args[0], w)
			if err != nil {
				return err
			}
			defer s.close()
			return a.exportProgram(out, s.program, w.set.Kernels, &o)
		},
	}
	c.Flags().StringVar(&out, "out", "", "`file` to write, ending in .mlxfn")
	c.Flags().StringSliceVar(&o.dims, "dims", nil, "`symbols` of the trace, such as batch=1,seq_len=1,kv_cap=256")
	c.Flags().StringArrayVar(&o.kernels, "kernels", nil, "`folder` of kernels to use over the built-in ones; may be repeated")
	c.Flags().StringVar(&o.target, "target", "cpu", "cpu: kernels as their reference graphs; metal and cuda with --as python")
	c.Flags().StringVar(&as, "as", "mlxfn", "mlxfn, or python with --rule")
	c.Flags().StringVar(&rule, "rule", "", "`rule` to write with --as python")
	return c
}

// exportProgram writes the cases that --dims selects, with kernels as their
// reference graphs.
func (a *app) exportProgram(path string, p *graph.Program, catalog *kernels.Catalog, o *options) error {
	if o.target != "cpu" {
		return diag.Errorf("mlxfn/target", diag.Pos{File: path}, "no kernel has a source for target %s yet", o.target).WithHint("--target cpu writes them as their reference graphs")
	}
	env, err := o.symbols()
	if err != nil {
		return err
	}
	plain, err := catalog.Expand(p, nil)
	if err != nil {
		return err
	}
	plain.Params = needed(plain)
	opts := convert.ExportOptions{Version: exportVersion}
	if len(env) > 0 {
		i, err := caseOf(plain, env)
		if err != nil {
			return err
		}
		opts.Specs = []convert.Spec{{Case: i, Env: env}}
	}
	if missing := openSymbols(plain, opts.Specs); len(missing) > 0 {
		return diag.Errorf("usage/dims", diag.Pos{File: path}, "a trace needs a number for each symbol; %s have none", strings.Join(missing, ", ")).
			WithHint("give them: --dims %s=1", strings.Join(missing, "=1,"))
	}
	f, err := convert.Export(plain, opts)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := mlxfn.Write(&b, f); err != nil {
		return err
	}
	return writeFile(path, b.Bytes())
}

// needed leaves out parameters that are read only to make others: what runs the
// trace gives it the parameters that were made.
func needed(p *graph.Program) []*graph.Param {
	used, parts := map[string]bool{}, map[string]bool{}
	for _, c := range p.Cases {
		for name := range c.Graph.Params() {
			used[name] = true
		}
	}
	for _, q := range p.Params {
		if q.From != nil {
			for _, arg := range q.From.Args {
				parts[arg] = true
			}
		}
	}
	var list []*graph.Param
	for _, q := range p.Params {
		if used[q.Name] || !parts[q.Name] {
			list = append(list, q)
		}
	}
	return list
}

func caseOf(p *graph.Program, env map[string]int64) (int, error) {
	c, err := p.Select(env)
	if err != nil {
		return 0, diag.Errorf("usage/dims", diag.Pos{}, "%v", err).WithHint("give the symbol in --dims")
	}
	return slices.IndexFunc(p.Cases, func(x graph.Case) bool { return x.Graph == c.Graph && x.Name == c.Name }), nil
}

// openSymbols returns the symbols of the inputs that have no number yet.
func openSymbols(p *graph.Program, specs []convert.Spec) []string {
	var open []string
	add := func(i int, env map[string]int64) {
		g := p.Cases[i].Graph
		for _, in := range g.Inputs() {
			for _, d := range g.Type(in).Shape {
				for _, name := range d.Symbols(nil) {
					if _, ok := env[name]; !ok && !slices.Contains(open, name) {
						open = append(open, name)
					}
				}
			}
		}
	}
	for _, s := range specs {
		add(s.Case, s.Env)
	}
	if specs == nil {
		for i := range p.Cases {
			add(i, nil)
		}
	}
	return open
}

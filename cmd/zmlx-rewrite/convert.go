package main

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/kernels"
)

// exportVersion is the release of MLX whose file layout is written: that of the
// set-up. Other releases of 0.32 read it.
const exportVersion = "0.32.2"

func (a *app) importCmd() *cobra.Command {
	var out, format string
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
		RunE: func(_ *cobra.Command, args []string) error { return a.importProgram(args[0], out, format, dims) },
	}
	c.Flags().StringVar(&out, "out", "", "`file` to write, ending in .zg")
	c.Flags().StringArrayVar(&dims, "dims", nil, "`input=names`: names of an input's dimensions, such as in0=batch,seq_len; may be repeated")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json: what became of the function")
	return c
}

// importedProgram is what import wrote, as JSON.
type importedProgram struct {
	writtenFile
	Cases []importedCase `json:"cases" jsonschema:"of the program, in order"`
	Notes []importNote   `json:"notes" jsonschema:"what nearly became another op, and why traces are cases of their own"`
}

type importedCase struct {
	Case  string `json:"case" jsonschema:"of the program"`
	When  string `json:"when" jsonschema:"condition of the case"`
	Nodes int    `json:"nodes" jsonschema:"of its graph"`
}

type importNote struct {
	Scope string `json:"scope,omitempty" jsonschema:"part of the model; absent if it is the whole graph"`
	What  string `json:"what" jsonschema:"what it is like, and why it is not that"`
}

func (a *app) importProgram(in, out, format string, dims []string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	if outputKind(out) != ".zg" {
		return diag.Errorf("usage/out", diag.Pos{File: out}, "import writes graph text").WithHint("name the file with --out NAME.zg")
	}
	named, err := inputDims(dims)
	if err != nil {
		return err
	}
	p, notes, err := importFile(in, named)
	if err != nil {
		return err
	}
	if format == "text" {
		a.importNotes(in, notes)
	}
	file, err := written(out, p.Text())
	if err != nil {
		return err
	}
	if format == "json" {
		made := importedProgram{writtenFile: file, Cases: []importedCase{}, Notes: notes}
		for _, c := range p.Cases {
			made.Cases = append(made.Cases, importedCase{c.Name, c.When.String(), c.Graph.NumNodes()})
		}
		return a.json(made)
	}
	for _, c := range p.Cases {
		fmt.Fprintf(a.progress, "%s: case %s (%s), %d nodes\n", out, c.Name, c.When, c.Graph.NumNodes())
	}
	return nil
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

// importFile reads a .mlxfn file as a program in normal form, with each note once.
func importFile(path string, dims map[string][]string) (*graph.Program, []importNote, error) {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	p, notes, err := convert.Load(path, convert.ImportOptions{Name: name, Dims: dims})
	if err != nil {
		return nil, nil, err
	}
	once, seen := []importNote{}, map[importNote]bool{}
	for _, n := range notes {
		if note := (importNote{n.Scope, n.What}); !seen[note] {
			seen[note] = true
			once = append(once, note)
		}
	}
	return p, once, nil
}

func (a *app) importNotes(path string, notes []importNote) {
	for _, n := range notes {
		fmt.Fprintf(a.progress, "%s: note: %s: %s\n", path, scopeText(n.Scope), n.What)
	}
}

func (a *app) exportCmd() *cobra.Command {
	var o options
	var out, as, rule, format string
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
			if err := oneOf("output", format, "text", "json"); err != nil {
				return err
			}
			switch as {
			case "python":
				if rule == "" {
					return diag.Errorf("usage/rule", diag.Pos{}, "--as python writes one rule").WithHint("name it with --rule")
				}
				o.model = args[0]
				return a.exportPython(&o, rule, out, format)
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
			made, err := exportProgram(out, s.program, w.set.Kernels, &o)
			switch {
			case err != nil:
				return err
			case format == "json":
				return a.json(made)
			}
			for _, t := range made.Traces {
				fmt.Fprintf(a.progress, "%s: case %s%s, %d primitives of MLX %s, %d weights\n", out, t.Case, dimsText(t.Dims), t.Primitives, made.MLX, t.Weights)
			}
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "`file` to write, ending in .mlxfn")
	c.Flags().StringSliceVar(&o.dims, "dims", nil, "`symbols` of the trace, such as batch=1,seq_len=1,kv_cap=256")
	c.Flags().StringArrayVar(&o.kernels, "kernels", nil, "`folder` of kernels to use over the built-in ones; may be repeated")
	c.Flags().StringVar(&o.target, "target", "cpu", "cpu: kernels as their reference graphs; metal and cuda with --as python")
	c.Flags().StringVar(&as, "as", "mlxfn", "mlxfn, or python with --rule")
	c.Flags().StringVar(&rule, "rule", "", "`rule` to write with --as python")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json: what is in the file")
	return c
}

// exportedProgram is a file of traces that was written, as JSON.
type exportedProgram struct {
	writtenFile
	MLX    string          `json:"mlx" jsonschema:"release whose file layout it has"`
	Traces []exportedTrace `json:"traces" jsonschema:"in the order of the file"`
}

type exportedTrace struct {
	Case       string           `json:"case" jsonschema:"of the program"`
	Dims       map[string]int64 `json:"dims" jsonschema:"numbers of its symbols"`
	Inputs     []exportedInput  `json:"inputs" jsonschema:"positional arguments, in order"`
	Weights    int              `json:"weights" jsonschema:"keyword arguments, which are the parameters"`
	Primitives int              `json:"primitives" jsonschema:"of MLX that it is made of"`
}

type exportedInput struct {
	Name string `json:"name" jsonschema:"of the program's input"`
	Type string `json:"type" jsonschema:"element type and shape"`
}

// dimsText is ", batch=1,seq_len=1".
func dimsText(dims map[string]int64) string {
	sep, text := ", ", ""
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		text += fmt.Sprintf("%s%s=%d", sep, name, dims[name])
		sep = ","
	}
	return text
}

// exportProgram writes the cases that --dims selects, with kernels as their
// reference graphs.
func exportProgram(path string, p *graph.Program, catalog *kernels.Catalog, o *options) (*exportedProgram, error) {
	if o.target != "cpu" {
		return nil, diag.Errorf("mlxfn/target", diag.Pos{File: path}, "no kernel has a source for target %s yet", o.target).WithHint("--target cpu writes them as their reference graphs")
	}
	env, err := o.symbols()
	if err != nil {
		return nil, err
	}
	plain, err := catalog.Expand(p, nil)
	if err != nil {
		return nil, err
	}
	plain.Params = needed(plain)
	opts := convert.ExportOptions{Version: exportVersion}
	if len(env) > 0 {
		i, err := caseOf(plain, env)
		if err != nil {
			return nil, err
		}
		opts.Specs = []convert.Spec{{Case: i, Env: env}}
	}
	if missing := openSymbols(plain, opts.Specs); len(missing) > 0 {
		return nil, diag.Errorf("usage/dims", diag.Pos{File: path}, "a trace needs a number for each symbol; %s have none", strings.Join(missing, ", ")).
			WithHint("give them: --dims %s=1", strings.Join(missing, "=1,"))
	}
	f, err := convert.Export(plain, opts)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := mlxfn.Write(&b, f); err != nil {
		return nil, err
	}
	file, err := written(path, b.Bytes())
	if err != nil {
		return nil, err
	}
	made := &exportedProgram{writtenFile: file, MLX: opts.Version, Traces: []exportedTrace{}}
	for i := range f.Functions {
		fn, c := &f.Functions[i], &plain.Cases[i]
		t := exportedTrace{Dims: map[string]int64{}, Inputs: []exportedInput{}, Weights: len(fn.Kwargs), Primitives: len(fn.Tape)}
		if opts.Specs != nil {
			c = &plain.Cases[opts.Specs[i].Case]
			t.Dims = opts.Specs[i].Env
		}
		t.Case = c.Name
		for k, in := range c.Graph.Inputs() {
			info := fn.Inputs[k].Type
			fixed := graph.Type{DType: info.DType}
			for _, d := range info.Shape {
				fixed.Shape = append(fixed.Shape, graph.N(int64(d)))
			}
			t.Inputs = append(t.Inputs, exportedInput{c.Graph.InputName(in), fixed.String()})
		}
		made.Traces = append(made.Traces, t)
	}
	return made, nil
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

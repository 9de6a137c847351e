package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels/author"
)

// kernelNewOptions is what a kernel is made of: one of the formulas, or a function.
type kernelNewOptions struct {
	elementwise, reduce, mapReduce, jit string
	params, vectors                     []string
	once                                bool
	out, format                         string
}

func (a *app) kernelsNewCmd() *cobra.Command {
	var k kernelNewOptions
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a kernel from a formula or a function: spec, Metal source, and test",
		Long: "New writes NAME.yaml, NAME.metal and NAME.txtar into a folder. Free names of a formula are\n" +
			"operands; --param makes one an attribute, --vector one of a single row. The files are yours to\n" +
			"edit: `zmlx-rewrite kernels check NAME --kernels FOLDER` holds the source against the spec.",
		Example: "  zmlx-rewrite kernels new mish --elementwise 'x * tanh(log(1 + exp(x)))'\n" +
			"  zmlx-rewrite kernels new softmax2 --map-reduce 'e = exp(x - max(x)); e / sum(e)'\n" +
			"  zmlx-rewrite kernels new leaky --elementwise 'where(x > 0, x, x * slope)' --param slope=0.01",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.kernelsNew(args[0], &k) },
	}
	f := c.Flags()
	f.StringVar(&k.elementwise, "elementwise", "", "`formula` of one element of the result")
	f.StringVar(&k.reduce, "reduce", "", "`formula` of one number a row, with sum, max, mean, ... over the row")
	f.StringVar(&k.mapReduce, "map-reduce", "", "`formula` of one element, with reductions over its row")
	f.StringVar(&k.jit, "jit", "", "`file` with a function in Go's syntax: func NAME(x, y float) float { ... }")
	f.StringArrayVar(&k.params, "param", nil, "`NAME=DEFAULT` of a number that is an attribute; may be repeated")
	f.StringArrayVar(&k.vectors, "vector", nil, "`name` of an operand that has one row only; may be repeated")
	f.BoolVar(&k.once, "once", false, "compute in float32 and round once, in place of after each op")
	f.StringVar(&k.out, "out", "kernels", "`folder` to write to")
	f.StringVarP(&k.format, "output", "o", "text", "text or json: what was written, and what to do next")
	c.MarkFlagsMutuallyExclusive("elementwise", "reduce", "map-reduce", "jit")
	c.MarkFlagsOneRequired("elementwise", "reduce", "map-reduce", "jit")
	return c
}

// newKernel is a kernel that was made of a formula or a function, as JSON.
type newKernel struct {
	Files      []writtenFile `json:"files" jsonschema:"spec, Metal source, test"`
	Kernel     string        `json:"kernel" jsonschema:"name"`
	NoGradient string        `json:"no_gradient,omitempty" jsonschema:"why it has none; absent if it has one"`
	Next       []string      `json:"next" jsonschema:"command that checks it"`
}

func (a *app) kernelsNew(name string, k *kernelNewOptions) error {
	if err := oneOf("output", k.format, "text", "json"); err != nil {
		return err
	}
	opts := author.Options{Vectors: k.vectors, Once: k.once}
	for _, p := range k.params {
		n, text, ok := strings.Cut(p, "=")
		v := math.NaN() // every call has to give it
		if ok {
			var err error
			if v, err = strconv.ParseFloat(text, 64); err != nil {
				return diag.Errorf("usage/param", diag.Pos{}, "--param %s: %q is not a number", p, text).WithHint("--param NAME=NUMBER, such as eps=1e-5; --param NAME leaves it to every call")
			}
		}
		opts.Params = append(opts.Params, author.Param{Name: n, Default: v})
	}
	var made *author.Kernel
	var err error
	switch {
	case k.elementwise != "":
		made, err = author.Elementwise(name, k.elementwise, opts)
	case k.reduce != "":
		made, err = author.Reduce(name, k.reduce, opts)
	case k.mapReduce != "":
		made, err = author.MapReduce(name, k.mapReduce, opts)
	default:
		var text []byte
		if text, err = readLimited(k.jit, maxText); err != nil {
			return err
		}
		if made, err = author.JIT(k.jit, text, opts); err == nil && made.Name != name {
			err = diag.Errorf("usage/kernels", diag.Pos{File: k.jit}, "the function is called %s, not %s", made.Name, name).WithHint("zmlx-rewrite kernels new %s --jit %s, or rename the function", made.Name, k.jit)
		}
	}
	if err != nil {
		return err
	}
	files := []struct{ name, text string }{{name + ".yaml", made.Spec}, {name + ".metal", made.Source}, {name + ".txtar", made.Test}}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(k.out, f.name)); err == nil {
			return diag.Errorf("file/exists", diag.Pos{File: filepath.Join(k.out, f.name)}, "is there already").WithHint("take another name, or remove it first")
		}
	}
	if err := os.MkdirAll(k.out, 0o777); err != nil {
		return diag.Errorf("file/write", diag.Pos{File: k.out}, "%v", err)
	}
	out := newKernel{Kernel: name, NoGradient: made.NoGradient, Next: []string{fmt.Sprintf("zmlx-rewrite kernels check %s --kernels %s", name, k.out)}}
	for _, f := range files {
		path := filepath.Join(k.out, f.name)
		file, err := written(path, []byte(f.text))
		if err != nil {
			return err
		}
		out.Files = append(out.Files, file)
		if k.format == "text" {
			fmt.Fprintf(a.stdout, "wrote %s\n", path)
		}
	}
	if k.format == "json" {
		return a.json(out)
	}
	if out.NoGradient != "" {
		fmt.Fprintf(a.stdout, "no gradient: %s\n", out.NoGradient)
	}
	fmt.Fprintf(a.stdout, "check it: %s\n", out.Next[0])
	return nil
}

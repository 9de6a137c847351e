package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/report"
	"zmlx-rewrite/verify/kernelcheck"
)

func (a *app) kernelsTryCmd(o *options) *cobra.Command {
	var types []string
	var format string
	c := &cobra.Command{
		Use:   "try KERNEL INPUT=NUMBERS... [ATTRIBUTE=VALUE...]",
		Short: "Run a kernel on given numbers, on every target that is here",
		Long: "Try runs a kernel on numbers written in brackets, nested as the operand has dimensions, and\n" +
			"prints the results of its reference graph, of its source with emulated threads, and of the\n" +
			"engine's device.",
		Example: "  zmlx-rewrite kernels try swiglu gate=[[1,2,3]] up=[[1,1,-1]] --types T=float16",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.kernelsTry(c.Context(), o, args[0], args[1:], types, format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json: one object, with all numbers")
	c.Flags().StringSliceVar(&types, "types", nil, "element `types` by the names that the spec has for them, such as T=float16; float32 if left out")
	return c
}

// triedKernel is what a kernel made of given numbers, as JSON.
type triedKernel struct {
	Kernel  string        `json:"kernel" jsonschema:"name"`
	Results []triedResult `json:"results" jsonschema:"of the kernel, in order"`
	Failed  []triedFailed `json:"failed" jsonschema:"where it did not run"`
}

type triedResult struct {
	Result string     `json:"result" jsonschema:"name"`
	Type   string     `json:"type" jsonschema:"element type and shape"`
	Ran    []triedRun `json:"ran" jsonschema:"its reference graph, its source with emulated threads, the engine's device"`
}

type triedRun struct {
	Where  string          `json:"where" jsonschema:"reference, source, source (generated), or the device"`
	Values []report.Number `json:"values" jsonschema:"elements, one row after the other"`
	Off    report.Number   `json:"off_by" jsonschema:"the most that an element is from that of the reference"`
}

type triedFailed struct {
	Where string `json:"where" jsonschema:"as in ran"`
	Error string `json:"error" jsonschema:"why"`
}

// triedKernelOf takes what was tried, the reference first.
func triedKernelOf(c *kernelcheck.Case, tried []kernelcheck.Tried) *triedKernel {
	out := &triedKernel{Kernel: c.Spec.Name, Results: []triedResult{}, Failed: []triedFailed{}}
	for _, t := range tried {
		if t.Err != nil {
			out.Failed = append(out.Failed, triedFailed{t.Where, t.Err.Error()})
		}
	}
	if tried[0].Err != nil { // there is nothing to compare with
		return out
	}
	for i, name := range c.Spec.Results {
		r := triedResult{Result: name, Type: fmt.Sprint(c.Results[i])}
		for _, t := range tried {
			if t.Err != nil {
				continue
			}
			run := triedRun{Where: t.Where, Values: []report.Number{}}
			off := 0.0
			for k, v := range t.Results[i] {
				run.Values = append(run.Values, report.Number(v))
				if want := tried[0].Results[i][k]; v != want && !(math.IsNaN(v) && math.IsNaN(want)) { // infinities of one sign are equal, and their difference is no number
					off = max(off, math.Abs(v-want))
				}
			}
			run.Off = report.Number(off)
			r.Ran = append(r.Ran, run)
		}
		out.Results = append(out.Results, r)
	}
	return out
}

func (a *app) kernelsTry(ctx context.Context, o *options, name string, args, types []string, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	list, err := kernelsNamed(w.set.Kernels, []string{name})
	if err != nil {
		return err
	}
	c, err := tryCase(list[0], args, types)
	if err != nil {
		return err
	}
	e, err := newEngine(w.set.Kernels, a.log)
	if err != nil {
		return lacks("%v", err)
	}
	defer e.Close()
	if err := os.MkdirAll(programFolder(), 0o777); err != nil {
		return err
	}
	tried := triedKernelOf(c, c.Try(ctx, programFolder(), e))
	if format == "json" {
		if err := a.json(tried); err != nil {
			return err
		}
	} else if err := a.printTried(tried); err != nil {
		return err
	}
	if len(tried.Results) == 0 {
		return isFalse("the reference graph does not run")
	}
	return nil
}

func (a *app) printTried(tried *triedKernel) error {
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, r := range tried.Results {
		fmt.Fprintf(tw, "%s\t%s\t\n", r.Result, r.Type)
		for _, t := range r.Ran {
			fmt.Fprintf(tw, "  %s\t%s\toff by %.3g\n", t.Where, numbers(t.Values), float64(t.Off))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, t := range tried.Failed {
		fmt.Fprintf(a.progress, "%s: %s\n", t.Where, t.Error)
	}
	return nil
}

// numbers prints the first few of a list.
func numbers(list []report.Number) string {
	const most = 12
	var parts []string
	for _, v := range list[:min(len(list), most)] {
		parts = append(parts, strconv.FormatFloat(float64(v), 'g', 7, 64))
	}
	if len(list) > most {
		parts = append(parts, fmt.Sprintf("… (%d in all)", len(list)))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// tryCase reads the arguments of try.
func tryCase(s *kernels.Spec, args, types []string) (*kernelcheck.Case, error) {
	bad := func(format string, args ...any) (*kernelcheck.Case, error) {
		return nil, diag.Errorf("usage/try", diag.Pos{}, format, args...).WithHint("it is %s", s.Op().Signature())
	}
	chosen := map[string]graph.DType{}
	for _, t := range types {
		name, text, _ := strings.Cut(t, "=")
		d, ok := graph.ParseDType(text)
		if !ok || !slices.ContainsFunc(s.Inputs, func(x kernels.Input) bool { return x.TypeName == name && slices.Contains(x.DTypes, d) }) {
			return bad("--types %s: not an element type of kernel %s", t, s.Name)
		}
		chosen[name] = d
	}
	in, data := make([]graph.Type, len(s.Inputs)), make([][]byte, len(s.Inputs))
	for i := range in {
		in[i].DType = graph.NoDType
	}
	attrs := make([]graph.Attr, len(s.Attrs))
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return bad("%q is not NAME=VALUE", arg)
		}
		if k := slices.IndexFunc(s.Attrs, func(x kernels.Attr) bool { return x.Name == name }); k >= 0 {
			v, err := tryAttr(s.Attrs[k], text)
			if err != nil {
				return bad("%s: %v", arg, err)
			}
			attrs[k] = v
			continue
		}
		k := slices.IndexFunc(s.Inputs, func(x kernels.Input) bool { return x.Name == name })
		if k < 0 {
			return bad("kernel %s has no input or attribute %q", s.Name, name)
		}
		x := s.Inputs[k]
		in[k].DType = x.DTypes[0]
		if slices.Contains(x.DTypes, graph.Float32) {
			in[k].DType = graph.Float32
		}
		if d, ok := chosen[x.TypeName]; ok {
			in[k].DType = d
		}
		e, err := syntax.Parse(text)
		if err != nil {
			return bad("%s: %v", arg, err)
		}
		if in[k].Shape, data[k], err = nested(e, in[k].DType, nil); err != nil {
			return bad("%s: %v", arg, err)
		}
	}
	for i, a := range s.Attrs {
		if attrs[i] == nil {
			attrs[i] = a.Unset
		}
		if attrs[i] == nil {
			return bad("attribute %s is missing", a.Name)
		}
	}
	return kernelcheck.NewCase(s, in, data, attrs)
}

func tryAttr(a kernels.Attr, text string) (graph.Attr, error) {
	switch a.Kind {
	case guard.Word:
		return graph.Str(text), nil
	case guard.Bool:
		b, err := strconv.ParseBool(text)
		return graph.Flag(b), err
	case guard.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		return graph.N(n), err
	}
	f, err := strconv.ParseFloat(text, 64)
	return graph.Float(f), err
}

// nested reads numbers in nested brackets: the shape, and the elements one row after the other.
func nested(e syntax.Expr, t graph.DType, data []byte) ([]graph.Dim, []byte, error) {
	switch x := e.(type) {
	case *syntax.Number:
		return []graph.Dim{}, graph.AppendElem(data, t, x.Float), nil
	case *syntax.List:
		var shape []graph.Dim
		for i, item := range x.Items {
			inner, more, err := nested(item, t, data)
			if err != nil {
				return nil, nil, err
			}
			if i > 0 && !slices.Equal(inner, shape) {
				return nil, nil, fmt.Errorf("rows of different lengths")
			}
			shape, data = inner, more
		}
		return append([]graph.Dim{graph.N(int64(len(x.Items)))}, shape...), data, nil
	}
	return nil, nil, fmt.Errorf("%s is not a number", e)
}

package bridge

import (
	"fmt"
	"strconv"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Sources launches kernels through mlx.core.fast, from their Metal or CUDA text.
type Sources struct {
	Target  kernels.Target // Metal or CUDA
	Catalog *kernels.Catalog
	// Packed saves arrays: kernels find operands in what these are views of, and several results that
	// only kernels read are in one memory. A person reads the other form with less effort.
	Packed bool
}

// Host launches kernels of the library for CPUs, which zmlx_rewrite calls.
type Host struct{ Catalog *kernels.Catalog }

// launched is a call of a kernel with numbers.
type launched struct {
	spec           *kernels.Spec
	values         *kernels.Values
	ints           []int64
	grid, group    [3]int64
	types          []graph.DType // of the results
	shapes, dtypes []string      // of the results, in Python
}

func launchOf(c *kernels.Catalog, n *graph.Node, in, out []graph.Type) (*launched, error) {
	l := &launched{spec: c.SpecOf(n.Op)}
	if l.spec == nil {
		return nil, fmt.Errorf("%s is not in the catalogue", n.Op.Name)
	}
	var err error
	if l.values, err = l.spec.Values(in, n.Attrs); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Op.Name, err)
	}
	if l.ints, err = l.values.Numbers(nil); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Op.Name, err)
	}
	if l.spec.Launch != nil {
		g, err := l.spec.Geometry(l.ints)
		if err != nil {
			return nil, err
		}
		l.grid, l.group = g.Grid, g.Group
	}
	for _, t := range out {
		shape, err := tuple(t.Shape)
		if err != nil {
			return nil, err
		}
		l.types, l.shapes, l.dtypes = append(l.types, t.DType), append(l.shapes, shape), append(l.dtypes, "mx."+pyDType(t.DType))
	}
	return l, nil
}

// Anywhere implements Launcher.
func (s Sources) Anywhere() bool { return s.Packed }

// Anywhere implements Launcher: the library is given whole arrays.
func (Host) Anywhere() bool { return false }

// Launch implements Launcher. The graph has no symbols, so that all numbers are in the text.
func (s Sources) Launch(n *graph.Node, operands []Operand, in, out []graph.Type, shared *Shared) (string, *Kernel, error) {
	l, err := launchOf(s.Catalog, n, in, out)
	if err != nil {
		return "", nil, err
	}
	text, err := l.spec.Assemble(s.Target, l.values, l.types)
	if err != nil {
		return "", nil, err
	}
	if len(text.Dynamic) > 0 {
		return "", nil, fmt.Errorf("%s has numbers that are not known", n.Op.Name)
	}
	var given []string
	memories := map[string]string{} // in Python, and the kernel's name of it
	for i, o := range operands {
		if in[i].DType == graph.NoDType {
			continue
		}
		name, x := l.spec.Inputs[i].Name, o.Name
		switch {
		case o.Shared:
			m, ok := memories[x]
			if !ok {
				m = fmt.Sprintf("zmlx_memory%d", len(memories))
				memories[x] = m
				given = append(given, x)
			}
			text.Put(name, m, o.Bytes)
		case in[i].Rank() == 0 && s.Target == kernels.Metal: // which gives a kernel the number, not an array
			given = append(given, "mx.reshape("+x+", (1,))")
		default:
			given = append(given, x)
		}
		if o.From != 0 {
			text.Advance(name, o.From)
		}
	}
	if shared != nil {
		for i, at := range shared.At {
			text.Put(l.spec.Results[i], "zmlx_memory", at)
		}
		l.shapes, l.dtypes = []string{fmt.Sprintf("(%d,)", shared.Bytes)}, []string{"mx.uint8"}
	}
	call := fmt.Sprintf("k_%s(inputs=[%s], grid=%s, threadgroup=%s, output_shapes=[%s], output_dtypes=[%s])", text.Name,
		strings.Join(given, ", "), ints(l.grid[:]), ints(l.group[:]), strings.Join(l.shapes, ", "), strings.Join(l.dtypes, ", "))
	return call, &Kernel{Name: text.Name, Kernel: l.spec.Name, Inputs: text.Inputs, Results: text.Results, text: func(k *Kernel) {
		text.Minify(s.Target)
		k.Header, k.Source = text.Header, text.Body
		if s.Target == kernels.CUDA {
			k.Unit = l.spec.StandaloneOf(text, l.values, l.types, nil)
		}
	}}, nil
}

// Launch implements Launcher.
func (h Host) Launch(n *graph.Node, operands []Operand, in, out []graph.Type, _ *Shared) (string, *Kernel, error) {
	l, err := launchOf(h.Catalog, n, in, out)
	if err != nil {
		return "", nil, err
	}
	for range len(l.spec.Inputs) - len(in) { // optional ones at the end, which the node leaves out
		operands, in = append(operands, Operand{Name: "None"}), append(in, graph.Type{DType: graph.NoDType})
	}
	names := make([]string, len(operands))
	for i, o := range operands {
		names[i] = o.Name
	}
	var types []int64
	for _, t := range in {
		types = append(types, int64(kernels.DTypeCode(t.DType)))
	}
	for _, t := range l.types {
		types = append(types, int64(kernels.DTypeCode(t)))
	}
	floats := make([]string, len(l.values.Floats))
	for i, v := range l.values.Floats {
		floats[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	call := fmt.Sprintf("k_%s([%s], %s, (%s), %s, %s, %s, [%s], [%s])", l.spec.Name, strings.Join(names, ", "), ints(l.ints), strings.Join(append(floats, ""), ", "),
		ints(types), ints(l.grid[:]), ints(l.group[:]), strings.Join(l.shapes, ", "), strings.Join(l.dtypes, ", "))
	return call, &Kernel{Name: l.spec.Name, Kernel: l.spec.Name, Hash: l.spec.ContentHash}, nil
}

// ints writes a tuple.
func ints(list []int64) string {
	var b strings.Builder
	b.WriteByte('(')
	for i, n := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	if len(list) == 1 {
		b.WriteByte(',')
	}
	b.WriteByte(')')
	return b.String()
}

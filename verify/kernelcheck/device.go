package kernelcheck

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Layout is how the operands of a case lie in memory when an engine launches a kernel.
type Layout int

const (
	Dense      Layout = iota // row by row
	Transposed               // the last two axes are swapped in memory
	Offset                   // part of a larger array
	Broadcast                // the first row stands for all
	numLayouts
)

func (l Layout) String() string {
	return [...]string{"dense", "transposed", "offset", "broadcast"}[l]
}

// RunOn runs a kernel's cases on an engine, as a program would: on its device, through
// its own launching, with operands that are views of others. It is what shows that a
// kernel is right on a GPU.
func RunOn(ctx context.Context, e engine.Engine, s *kernels.Spec, o Options) (*Report, error) {
	if k, ok := e.(engine.KernelRunner); !ok {
		return nil, fmt.Errorf("engine %s launches no kernels", e.Name())
	} else if err := k.RunsKernel(s); err != nil {
		return nil, err
	}
	if s.Trials == nil {
		return nil, fmt.Errorf("%s: kernel %s has no key check, which says how to make cases", s.Source, s.Name)
	}
	cases, choices, err := plan(s, limit(s, o.Types), o.Cases)
	if err != nil {
		return nil, err
	}
	r := &Report{Kernel: s.Name, Choices: choices}
	covered := map[int]bool{}
	for i, c := range cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		layout := Layout(i % int(numLayouts))
		if layout == Broadcast {
			c.repeatRows()
		}
		r.Cases++
		covered[c.choice] = true
		r.Covered = len(covered)
		truth, err := c.truth()
		if err != nil {
			return nil, fmt.Errorf("kernel %s: the reference does not run: %w\n  at %s", s.Name, err, c)
		}
		// MLX has no kernels for some shapes; the truth is known without it.
		stock, err := c.launch(ctx, e, layout, true)
		if err != nil {
			stock = nil
			r.StockRefused++
		}
		var first [][]byte
		for run := range 2 {
			got, err := c.launch(ctx, e, layout, false)
			r.Runs++
			switch {
			case err != nil:
				r.Failure = &Failure{c, fmt.Sprintf("%s operands: %v", layout, err)}
			case run == 0:
				first = got
				switch {
				case s.Numerics == kernels.Exact && stock != nil:
					err = c.equal(stock, got)
				default:
					if stock != nil {
						truth.onDevice(c, stock)
					}
					err = c.compare(truth, got)
					if stock != nil {
						r.KernelError.add(c, truth, got)
						r.StockError.add(c, truth, stock)
					}
				}
				if err != nil {
					r.Failure = &Failure{c, fmt.Sprintf("%s operands: %v", layout, err)}
				}
			default:
				r.Failure = c.same(first, got)
			}
			if r.Failure != nil {
				return r, nil
			}
		}
	}
	return r, nil
}

// equal compares a kernel that promises every bit with MLX's own ops on the same device.
func (c *Case) equal(stock, got [][]byte) error {
	for i, r := range c.Results {
		if bytes.Equal(stock[i], got[i]) {
			continue
		}
		g, w := floats(r.DType, got[i]), floats(r.DType, stock[i])
		for k := range g {
			if g[k] == w[k] && math.Signbit(g[k]) == math.Signbit(w[k]) || math.IsNaN(g[k]) && math.IsNaN(w[k]) {
				continue
			}
			return fmt.Errorf("%s, row %d, element %d: got %v, MLX's own ops give %v; the kernel promises every bit", c.Spec.Results[i], k/c.row(i), k%c.row(i), g[k], w[k])
		}
	}
	return nil
}

// Error is how far results are from the truth, over many cases: the root of the mean
// square, in units of the largest element of each row.
type Error struct {
	squares float64
	n       int
}

// RMS returns the error, 0 if nothing was measured.
func (e *Error) RMS() float64 {
	if e.n == 0 {
		return 0
	}
	return math.Sqrt(e.squares / float64(e.n))
}

func (e *Error) add(c *Case, t *Truth, got [][]byte) {
	for i, r := range c.Results {
		if !r.DType.IsFloat() {
			continue
		}
		v, n := floats(r.DType, got[i]), c.row(i)
		for at := 0; at < len(v); at += n {
			top := 0.0
			for k := at; k < at+n; k++ {
				if finite(t.Exact[i][k]) {
					top = max(top, math.Abs(t.Exact[i][k]))
				}
			}
			for k := at; k < at+n && top > 0; k++ {
				if d := (v[k] - t.Exact[i][k]) / top; finite(d) {
					e.squares += d * d
					e.n++
				}
			}
		}
	}
}

// repeatRows makes the first row of every float operand stand for all of its rows.
func (c *Case) repeatRows() {
	for i, t := range c.Inputs {
		if t.DType == graph.NoDType || !t.DType.IsFloat() || t.Rank() < 2 || c.Alias[i] >= 0 {
			continue
		}
		first, _ := t.Shape[0].Const()
		if first < 2 {
			continue
		}
		n := len(c.Data[i]) / int(first)
		c.Data[i] = bytes.Repeat(c.Data[i][:n], int(first))
	}
	for i, j := range c.Alias {
		if j >= 0 {
			c.Data[i] = c.Data[j]
		}
	}
}

// launch runs the kernel once, or the ops that it stands for, its operands lying as
// asked, and checks that they are what they were.
func (c *Case) launch(ctx context.Context, e engine.Engine, layout Layout, stock bool) ([][]byte, error) {
	g := graph.New()
	in := map[string]engine.Tensor{}
	given := map[string][]byte{}
	defer func() {
		for _, t := range in {
			t.Release()
		}
	}()
	ids := make([]graph.ValueID, len(c.Inputs))
	for i, t := range c.Inputs {
		switch {
		case t.DType == graph.NoDType:
			ids[i] = graph.None
			continue
		case c.Alias[i] >= 0:
			ids[i] = ids[c.Alias[i]]
			continue
		}
		name := c.Spec.Inputs[i].Name
		data, shape, view := lay(layout, t, c.Data[i])
		x, err := e.NewTensor(t.DType, shape, data)
		if err != nil {
			return nil, err
		}
		in[name], given[name] = x, data
		dims := make([]graph.Dim, len(shape))
		for k, d := range shape {
			dims[k] = graph.N(int64(d))
		}
		id := g.Input(name, graph.T(t.DType, dims...))
		if ids[i], err = view(g, id); err != nil {
			return nil, err
		}
	}
	var out []graph.ValueID
	var err error
	if stock {
		out, err = c.Spec.Expand(g, "", ids, c.Attrs)
	} else {
		out, err = g.Add(c.Spec.Op(), "", ids, c.Attrs...)
	}
	if err != nil {
		return nil, err
	}
	for i, v := range out {
		g.Output(fmt.Sprintf("result%d", i), v)
	}
	results, err := engine.Run(ctx, e, g, nil, in, nil)
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(out))
	for i := range out {
		t := results[fmt.Sprintf("result%d", i)]
		defer t.Release()
		if list[i], err = t.Read(); err != nil {
			return nil, err
		}
	}
	for name, x := range in {
		now, err := x.Read()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(now, given[name]) {
			return nil, fmt.Errorf("input %s was changed", name)
		}
	}
	return list, nil
}

// lay returns an array, and the view of it that is the operand.
func lay(layout Layout, t graph.Type, data []byte) ([]byte, []int, func(*graph.Graph, graph.ValueID) (graph.ValueID, error)) {
	shape := make([]int, t.Rank())
	for i, d := range t.Shape {
		shape[i] = d.Int()
	}
	size := t.DType.Size()
	n := len(shape)
	as := func(op string, attrs ...graph.Attr) func(*graph.Graph, graph.ValueID) (graph.ValueID, error) {
		return func(g *graph.Graph, id graph.ValueID) (graph.ValueID, error) {
			out, err := g.Add(graph.LookupOp(op), "", []graph.ValueID{id}, attrs...)
			if err != nil {
				return graph.None, err
			}
			return out[0], nil
		}
	}
	switch {
	case layout == Transposed && n >= 2:
		rows, cols := shape[n-2], shape[n-1]
		moved := make([]byte, 0, len(data))
		for at := 0; at < len(data); at += rows * cols * size {
			for c := range cols {
				for r := range rows {
					k := at + (r*cols+c)*size
					moved = append(moved, data[k:k+size]...)
				}
			}
		}
		axes := make(graph.Dims, n)
		for i := range axes {
			axes[i] = graph.N(int64(i))
		}
		axes[n-2], axes[n-1] = axes[n-1], axes[n-2]
		shape[n-2], shape[n-1] = cols, rows
		return moved, shape, as("transpose", axes)
	case layout == Offset && n >= 1:
		row := len(data) / max(shape[0], 1)
		pad := bytes.Repeat([]byte{0x55}, row)
		whole := append(append(bytes.Clone(pad), data...), pad...)
		first := shape[0]
		shape[0] += 2
		return whole, shape, as("slice", graph.Dims{graph.N(int64(-n))}, graph.Dims{graph.N(1)}, graph.Dims{graph.N(int64(first + 1))})
	case layout == Broadcast && n >= 2 && shape[0] > 1 && t.DType.IsFloat():
		full := make(graph.Dims, n)
		for i, d := range shape {
			full[i] = graph.N(int64(d))
		}
		row := len(data) / shape[0]
		shape[0] = 1
		return data[:row], shape, as("broadcast_to", full)
	}
	return data, shape, func(_ *graph.Graph, id graph.ValueID) (graph.ValueID, error) { return id, nil }
}

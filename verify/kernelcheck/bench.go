package kernelcheck

import (
	"context"
	"fmt"
	"math/rand/v2"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Timing is a kernel against its reference graph, or against another kernel, on one device.
type Timing struct {
	Kernel, Bench string
	Against       string  // the other kernel; empty for the reference graph
	Calls         int     // in one run, on so many sets of operands that none stays in a cache
	Bytes         float64 // that one call has to read and write
	*bench.Result         // of whole runs; A is the reference, or what else it is against, B the kernel
}

// StockRefused says that MLX's own ops cannot compute what a kernel computes: there is
// nothing to time it against.
type StockRefused struct{ Err error }

func (e *StockRefused) Error() string { return "MLX's ops refuse: " + e.Err.Error() }
func (e *StockRefused) Unwrap() error { return e.Err }

// Seconds returns the time of one call of the reference and of the kernel.
func (t *Timing) Seconds() (reference, kernel float64) {
	n := float64(t.Calls)
	return bench.MedianTime(t.A).Seconds() / n, bench.MedianTime(t.B).Seconds() / n
}

// Time times a kernel as its spec's bench says, against the ops that it replaces.
// footprint is how many bytes of operands are cycled through. The error is a
// *StockRefused where those ops do not run on this device.
func Time(ctx context.Context, e engine.Engine, s *kernels.Spec, b kernels.Bench, footprint float64, o bench.Options) (*Timing, error) {
	return TimeAgainst(ctx, e, s, nil, b, footprint, o)
}

// Rivals reports why two kernels cannot be timed in the same calls; nil if they can. Both take the
// same operands and make as many results; what types and sizes of these they take is seen in a call.
func Rivals(s, other *kernels.Spec) error {
	if len(s.Inputs) != len(other.Inputs) {
		return fmt.Errorf("%s takes %d operands, %s %d", s.Name, len(s.Inputs), other.Name, len(other.Inputs))
	}
	for i := range s.Inputs {
		if s.Inputs[i].Name != other.Inputs[i].Name {
			return fmt.Errorf("operand %d of %s is %s, that of %s is %s", i+1, s.Name, s.Inputs[i].Name, other.Name, other.Inputs[i].Name)
		}
	}
	return nil
}

// TimeAgainst is Time with another kernel in place of the reference graph, if one is given: on
// the same operands, with those attributes of the call that it has.
func TimeAgainst(ctx context.Context, e engine.Engine, s, other *kernels.Spec, b kernels.Bench, footprint float64, o bench.Options) (*Timing, error) {
	t, err := s.Trial(b.Choice)
	if err != nil {
		return nil, fmt.Errorf("bench %q of kernel %s: %w", b.Name, s.Name, err)
	}
	all := 0.0
	for _, x := range append(append([]graph.Type{}, t.Inputs...), t.Results...) {
		if x.DType != graph.NoDType {
			n, _ := x.Size().Const()
			all += float64(n) * float64(x.DType.Size())
		}
	}
	out := &Timing{Kernel: s.Name, Bench: b.Name, Bytes: all, Calls: 48}
	if b.Reads != nil {
		n, err := s.EvalInt(b.Reads, t.Ints)
		if err != nil {
			return nil, err
		}
		out.Bytes = float64(n)
	}
	sets := int(min(max(footprint/all, 1), float64(out.Calls)))
	in := map[string]engine.Tensor{}
	defer func() {
		for _, x := range in {
			x.Release()
		}
	}()
	names := make([][]string, sets)
	for k := range sets {
		c := &Case{Trial: t, Style: Normal, Seed: uint64(k) + 1}
		c.fillFast()
		names[k] = make([]string, len(c.Data))
		for i, data := range c.Data {
			if data == nil {
				continue
			}
			names[k][i] = fmt.Sprintf("%s.%d", s.Inputs[i].Name, k)
			shape, err := engine.Shape(c.Inputs[i].Shape, nil)
			if err != nil {
				return nil, err
			}
			if in[names[k][i]], err = e.NewTensor(c.Inputs[i].DType, shape, data); err != nil {
				return nil, err
			}
		}
	}
	if other != nil {
		out.Against = other.Name
	}
	var made [2][]graph.Type // by one call of each
	run := func(expand bool) (func() error, func(), error) {
		g := graph.New()
		ids := map[string]graph.ValueID{}
		for call := range out.Calls {
			args := make([]graph.ValueID, len(t.Inputs))
			for i, name := range names[call%sets] {
				if args[i] = graph.None; name != "" {
					if _, known := ids[name]; !known {
						ids[name] = g.Input(name, t.Inputs[i])
					}
					args[i] = ids[name]
				}
			}
			var results []graph.ValueID
			var err error
			switch {
			case expand && other != nil:
				results, err = g.Add(other.Op(), "", args, attrsOf(s, other, t.Attrs)...)
			case expand:
				results, err = s.Expand(g, "", args, t.Attrs)
			default:
				results, err = g.Add(s.Op(), "", args, t.Attrs...)
			}
			if err != nil {
				return nil, nil, err
			}
			if side := 1; call == 0 {
				if expand {
					side = 0
				}
				for _, v := range results {
					made[side] = append(made[side], g.Type(v))
				}
			}
			for i, v := range results {
				g.Output(fmt.Sprintf("r%d.%d", call, i), v)
			}
		}
		p, err := engine.Program(g)
		if err != nil {
			return nil, nil, err
		}
		session, err := e.Load(ctx, p, nil)
		if err != nil {
			return nil, nil, err
		}
		return func() error {
			res, err := session.Step(ctx, in, nil)
			if err != nil {
				return err
			}
			list := make([]engine.Tensor, 0, len(res))
			for _, x := range res {
				list = append(list, x)
				defer x.Release()
			}
			return e.Eval(ctx, list...)
		}, func() { session.Close() }, nil
	}
	a, closeA, err := run(true)
	if err != nil {
		return nil, err
	}
	defer closeA()
	kernel, closeB, err := run(false)
	if err != nil {
		return nil, err
	}
	defer closeB()
	if x, y := fmt.Sprint(made[0]), fmt.Sprint(made[1]); other != nil && x != y {
		return nil, fmt.Errorf("%s makes %s of the operands of bench %q, %s makes %s", other.Name, x, b.Name, s.Name, y)
	}
	if err := a(); err != nil && other != nil {
		return nil, fmt.Errorf("%s, on the operands of bench %q: %w", other.Name, b.Name, err)
	} else if err != nil {
		return nil, &StockRefused{err}
	}
	out.Result, err = bench.Compare(ctx, o, a, kernel)
	return out, err
}

// attrsOf are those of a call of one kernel that another one has, by name.
func attrsOf(s, other *kernels.Spec, attrs []graph.Attr) []graph.Attr {
	out := make([]graph.Attr, len(other.Op().Attrs))
	for i, x := range other.Op().Attrs {
		if at := s.Op().AttrIndex(x.Name); at >= 0 && at < len(attrs) {
			out[i] = attrs[at]
		}
	}
	return out
}

// fillFast is fill for operands of hundreds of megabytes.
func (c *Case) fillFast() {
	c.Data = make([][]byte, len(c.Inputs))
	c.Alias = make([]int, len(c.Inputs))
	for i, t := range c.Inputs {
		c.Alias[i] = -1
		if t.DType != graph.NoDType {
			c.Data[i] = c.block(c.Spec.Inputs[i].Name, t)
		}
	}
}

// block is generate for large operands: they repeat one block of numbers.
func (c *Case) block(input string, t graph.Type) []byte {
	const block = 1 << 20
	r := rand.New(rand.NewPCG(c.Seed, 9))
	n, _ := t.Size().Const()
	size, part := int(n)*t.DType.Size(), t
	if size > block {
		part = graph.T(t.DType, graph.N(int64(block/t.DType.Size())))
	}
	data := make([]byte, 0, size)
	data = append(data, c.generate(r, input, part)...)
	for len(data) < size {
		data = append(data, data[:min(len(data), size-len(data))]...)
	}
	return data
}

// Bandwidth measures how many bytes a second a device reads and writes, with an op that
// does nothing else: the negative of an array of so many bytes.
func Bandwidth(ctx context.Context, e engine.Engine, size int) (float64, error) {
	g := graph.New()
	n := size / 4
	x := g.Input("x", graph.T(graph.Float32, graph.N(int64(n))))
	y, err := g.Add(graph.LookupOp("negative"), "", []graph.ValueID{x})
	if err != nil {
		return 0, err
	}
	g.Output("y", y[0])
	p, err := engine.Program(g)
	if err != nil {
		return 0, err
	}
	s, err := e.Load(ctx, p, nil)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	data, err := e.NewTensor(graph.Float32, []int{n}, make([]byte, 4*n))
	if err != nil {
		return 0, err
	}
	defer data.Release()
	once := func() error {
		out, err := s.Step(ctx, map[string]engine.Tensor{"x": data}, nil)
		if err != nil {
			return err
		}
		defer out["y"].Release()
		return e.Eval(ctx, out["y"])
	}
	r, err := bench.Compare(ctx, bench.Options{Rounds: 5}, once, once)
	if err != nil {
		return 0, err
	}
	return float64(8*n) / bench.MedianTime(append(r.A, r.B...)).Seconds(), nil
}

package kernelcheck

import (
	"context"
	"fmt"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Experts is the size of a model's expert layers.
type Experts struct {
	Name                        string
	Layers, Experts, TopK       int64
	Hidden, Inner               int64
	Bits, GroupSize             int64
	Type                        graph.DType
	DistinctLayers, TokensAtOne int64 // layers with weights of their own; rows of x
}

// Qwen3Experts are those of Qwen3-30B-A3B, 4-bit, for one token. Four sets of weights are
// 1.4 GB, far more than a cache holds.
var Qwen3Experts = Experts{"Qwen3-30B-A3B, 48 expert layers in a row, one token", 48, 128, 8, 2048, 768, 4, 64, graph.BFloat16, 4, 1}

// TimeExperts times expert layers one behind the other, each reading what the last one
// wrote, as a decode step does: gather_qmm_swiglu and gather_qmm_combine against the MLX
// ops that they stand for. Unlike Time, nothing can run side by side.
func TimeExperts(ctx context.Context, e engine.Engine, c *kernels.Catalog, x Experts, o bench.Options) (*Timing, error) {
	up, down := c.Spec("gather_qmm_swiglu"), c.Spec("gather_qmm_combine")
	if up == nil || down == nil {
		return nil, fmt.Errorf("the catalogue has no gather_qmm_swiglu and gather_qmm_combine")
	}
	n := func(v int64) graph.Dim { return graph.N(v) }
	pack, scale := func(rows, cols int64) graph.Type {
		return graph.T(graph.Uint32, n(x.Experts), n(rows), n(cols*x.Bits/32))
	}, func(rows, cols int64) graph.Type {
		return graph.T(x.Type, n(x.Experts), n(rows), n(cols/x.GroupSize))
	}
	in := map[string]engine.Tensor{}
	defer func() {
		for _, t := range in {
			t.Release()
		}
	}()
	types := map[string]graph.Type{}
	fill := &Case{Trial: &kernels.Trial{Spec: up}, Style: Normal}
	give := func(name, as string, t graph.Type, s *kernels.Spec) error {
		c := *fill
		c.Trial = &kernels.Trial{Spec: s, Ints: make([]int64, len(s.Ints()))}
		for i, k := range s.Ints() {
			if k == "e" {
				c.Ints[i] = x.Experts
			}
		}
		c.Seed = uint64(len(in)) + 1
		data := c.block(as, t)
		if as == "weight" { // small, so that values shrink from layer to layer: none overflows
			data = nil
			for range x.TokensAtOne * x.TopK {
				data = graph.AppendElem(data, t.DType, 1e-5)
			}
		}
		shape, err := engine.Shape(t.Shape, nil)
		if err != nil {
			return err
		}
		types[name] = t
		in[name], err = e.NewTensor(t.DType, shape, data)
		return err
	}
	for l := range x.DistinctLayers {
		for _, w := range []struct {
			name, as string
			t        graph.Type
			s        *kernels.Spec
		}{
			{"wg", "wg", pack(x.Inner, x.Hidden), up}, {"sg", "sg", scale(x.Inner, x.Hidden), up}, {"bg", "bg", scale(x.Inner, x.Hidden), up},
			{"wu", "wu", pack(x.Inner, x.Hidden), up}, {"su", "su", scale(x.Inner, x.Hidden), up}, {"bu", "bu", scale(x.Inner, x.Hidden), up},
			{"wd", "w", pack(x.Hidden, x.Inner), down}, {"sd", "scales", scale(x.Hidden, x.Inner), down}, {"bd", "biases", scale(x.Hidden, x.Inner), down},
			{"idx", "idx", graph.T(graph.Uint32, n(x.TokensAtOne), n(1), n(x.TopK)), up},
			{"weight", "weight", graph.T(x.Type, n(x.TokensAtOne), n(1), n(x.TopK)), down},
		} {
			if err := give(fmt.Sprintf("%s.%d", w.name, l), w.as, w.t, w.s); err != nil {
				return nil, err
			}
		}
	}
	if err := give("x", "x", graph.T(x.Type, n(x.TokensAtOne), n(1), n(1), n(1), n(x.Hidden)), up); err != nil {
		return nil, err
	}
	load := func(expand bool) (func() error, func(), error) {
		g := graph.New()
		ids := map[string]graph.ValueID{}
		for name, t := range types {
			ids[name] = g.Input(name, t)
		}
		call := func(s *kernels.Spec, args []graph.ValueID) (graph.ValueID, error) {
			attrs := make([]graph.Attr, len(s.Attrs))
			for i, a := range s.Attrs {
				switch attrs[i] = a.Unset; a.Name {
				case "bits":
					attrs[i] = n(x.Bits)
				case "group_size":
					attrs[i] = n(x.GroupSize)
				}
			}
			var out []graph.ValueID
			var err error
			if expand {
				out, err = s.Expand(g, "", args, attrs)
			} else {
				out, err = g.Add(s.Op(), "", args, attrs...)
			}
			if err != nil {
				return graph.None, err
			}
			return out[0], nil
		}
		h := ids["x"]
		for l := range x.Layers {
			w := func(name string) graph.ValueID { return ids[fmt.Sprintf("%s.%d", name, l%x.DistinctLayers)] }
			mid, err := call(up, []graph.ValueID{h, w("wg"), w("sg"), w("bg"), w("wu"), w("su"), w("bu"), w("idx")})
			if err != nil {
				return nil, nil, err
			}
			y, err := call(down, []graph.ValueID{mid, w("wd"), w("sd"), w("bd"), w("idx"), w("weight")})
			if err != nil {
				return nil, nil, err
			}
			z, err := g.Add(graph.LookupOp("expand_dims"), "", []graph.ValueID{y}, graph.Dims{n(-2), n(-3)})
			if err != nil {
				return nil, nil, err
			}
			h = z[0]
		}
		g.Output("y", h)
		p, err := engine.Program(g)
		if err != nil {
			return nil, nil, err
		}
		s, err := e.Load(ctx, p, nil)
		if err != nil {
			return nil, nil, err
		}
		return func() error {
			out, err := s.Step(ctx, in, nil)
			if err != nil {
				return err
			}
			defer out["y"].Release()
			return e.Eval(ctx, out["y"])
		}, func() { s.Close() }, nil
	}
	a, closeA, err := load(true)
	if err != nil {
		return nil, err
	}
	defer closeA()
	b, closeB, err := load(false)
	if err != nil {
		return nil, err
	}
	defer closeB()
	perWeight := float64(x.Bits)/8 + 2*float64(x.Type.Size())/float64(x.GroupSize)
	t := &Timing{Kernel: "gather_qmm_swiglu + gather_qmm_combine", Bench: x.Name, Calls: int(x.Layers),
		Bytes: float64(3*x.TopK*x.TokensAtOne*x.Hidden*x.Inner) * perWeight}
	t.Result, err = bench.Compare(ctx, o, a, b)
	return t, err
}

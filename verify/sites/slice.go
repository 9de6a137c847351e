package sites

import (
	"context"
	"fmt"
	"math/rand/v2"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/kernelcheck"
)

// mostWeights bounds the weights of a slice in bytes: a place behind all layers would need
// the whole model.
const mostWeights = 4 << 30

// errTooLarge says that a slice has more weights than that.
type errTooLarge struct{ bytes int64 }

func (e *errTooLarge) Error() string {
	return fmt.Sprintf("the layers in front of it have %.1f GB of weights", float64(e.bytes)/1e9)
}

// activations returns what a place's inputs are in the model: its case is cut off behind
// them, and run on random tokens and caches. Only the layers up to the place are loaded.
func (c *Checker) activations(ctx context.Context, p *place, env map[string]int64, r *rand.Rand) (map[string]data, error) {
	pair, err := p.use.Pair(true)
	if err != nil {
		return nil, err
	}
	g, old := graph.New(), p.use.Graph()
	now := make([]graph.ValueID, old.NumValues())
	named := map[string]string{}
	for id := range graph.NodeID(old.NumNodes()) {
		n := old.Node(id)
		switch n.Op.Name {
		case "input":
			name := old.InputName(n.Out[0])
			named[name] = name
			now[n.Out[0]] = g.Input(name, old.Type(n.Out[0]))
			continue
		case "param":
			now[n.Out[0]] = g.Param(old.InputName(n.Out[0]), old.Type(n.Out[0]))
			continue
		case "constant":
			now[n.Out[0]] = g.Constant(old.Literal(n.Out[0]))
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for i, v := range n.In {
			if in[i] = graph.None; v != graph.None {
				in[i] = now[v]
			}
		}
		out, err := g.Add(n.Op, n.Scope, in, n.Attrs...)
		if err != nil {
			return nil, err
		}
		for i, v := range n.Out {
			now[v] = out[i]
		}
	}
	var wanted []string
	for _, l := range pair.Leaves {
		if l.Param == "" && old.Def(l.Value).Op.Name != "input" {
			g.Output(l.Name, now[l.Value])
			wanted = append(wanted, l.Name)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	if err := g.Compact(); err != nil {
		return nil, err
	}
	prog, err := engine.Program(g)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, q := range prog.Params {
		n, _ := q.Type.Size().Const()
		total += n * int64(q.Type.DType.Size())
	}
	if total > mostWeights {
		return nil, &errTooLarge{total}
	}
	if prog, err = c.Catalog.Expand(prog, c.Keeps); err != nil {
		return nil, err
	}
	s, err := c.Engine.Load(ctx, prog, c.Weights)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	in, err := inputs(prog.Cases[0].Graph, named, c.Program.Window, env, kernelcheck.Normal, r)
	if err != nil {
		return nil, err
	}
	out, err := run(ctx, c.Engine, s, wanted, in, env)
	if err != nil {
		return nil, err
	}
	real := map[string]data{}
	for i, name := range wanted {
		for _, o := range prog.Cases[0].Graph.Outputs() {
			if o.Name != name {
				continue
			}
			t := prog.Cases[0].Graph.Type(o.Value)
			shape, err := engine.Shape(t.Shape, env)
			if err != nil {
				return nil, err
			}
			real[name] = data{t.DType, shape, out[i]}
		}
	}
	return real, nil
}

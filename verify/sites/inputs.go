package sites

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/kernelcheck"
)

// data is one input of a call on the host.
type data struct {
	dtype graph.DType
	shape []int
	bytes []byte
}

// inputs makes the inputs of a graph for a call: floats in a style, positions as the
// caches have them, and indices that exist. named are the inputs' names in the program.
func inputs(g *graph.Graph, named map[string]string, window int, env map[string]int64, style kernelcheck.Style, r *rand.Rand) (map[string]data, error) {
	in := map[string]data{}
	uses := g.Uses()
	for _, v := range g.Inputs() {
		name, t := g.InputName(v), g.Type(v)
		shape, err := engine.Shape(t.Shape, env)
		if err != nil {
			return nil, err
		}
		n, last := int64(1), int64(1)
		for _, d := range shape {
			n *= int64(d)
			last = int64(d)
		}
		x := data{dtype: t.DType, shape: shape}
		held := env[graph.SymKVLen] - env[graph.SymSeqLen]
		switch {
		case t.DType.IsFloat():
			x.bytes = style.Values(r, t.DType, n, last)
		case t.DType == graph.Bool: // masks: something is seen everywhere
			for i := range n {
				x.bytes = append(x.bytes, byte(cmp.Or(min(1, r.IntN(4)), 1-min(1, int(i%last)))))
			}
		case named[name] == cache.Offset:
			x.bytes = all(t.DType, n, held)
		case named[name] == cache.WindowOffset:
			at := held
			switch w := int64(window); {
			case w == 0:
			case env[graph.SymSeqLen] == 1:
				at = held % w
			default:
				at = min(held, w-1)
			}
			x.bytes = all(t.DType, n, at)
		default:
			c := choice{g: g, uses: uses, env: env}
			c.follow(v, 1)
			x.bytes = c.indices(t.DType, n, last, r)
		}
		in[name] = x
	}
	return in, nil
}

func all(t graph.DType, n, v int64) []byte {
	var b []byte
	for range n {
		b = graph.AppendElem(b, t, float64(v))
	}
	return b
}

// choice is what an input of integers chooses among, as its readers say.
type choice struct {
	g      *graph.Graph
	uses   *graph.Uses
	env    map[string]int64
	limit  int64 // indices are below it; 0 if nobody says
	sorted bool
}

// follow looks at the readers of a value that is the input divided by so much.
func (c *choice) follow(v graph.ValueID, by int64) {
	below := func(d graph.Dim) {
		if n, err := d.Eval(c.env); err == nil && n > 0 && (c.limit == 0 || n*by < c.limit) {
			c.limit = n * by
		}
	}
	for _, id := range c.uses.Of(v) {
		n := c.g.Node(id)
		at := slices.Index(n.In, v)
		of := func(i int) graph.Type { return c.g.Type(n.In[i]) }
		switch name := n.Op.Name; {
		case name == "gather_qmm" || name == "gather_mm":
			lhs := len(n.Op.Operands) - 2
			matrices := of(min(1, at-lhs)) // x or a, else w or b
			if at < lhs || matrices.Rank() < 3 {
				continue
			}
			below(graph.Product(matrices.Shape[:matrices.Rank()-2]))
			sorted, _ := n.Attr("sorted_indices").(graph.Flag)
			c.sorted = c.sorted || bool(sorted) && at == lhs+1
		case (name == "take" || name == "take_along_axis" || name == "put_along_axis") && at == 1:
			axis, _ := n.Attr("axis").(graph.Dim)
			if d, ok := of(0).Dim(axis.Int()); ok {
				below(d)
			}
		case name == "floor_divide" && at == 0:
			if l := c.g.Literal(n.In[1]); l != nil {
				if k, ok := l.Scalar(); ok && k >= 1 {
					c.follow(n.Out[0], by*int64(k))
				}
			}
		case n.Op.IsView() || name == "astype" || name == "contiguous" || name == "concatenate":
			c.follow(n.Out[0], by)
		}
	}
}

// indices makes n indices in rows; those of a row are distinct if there are enough.
func (c *choice) indices(t graph.DType, n, row int64, r *rand.Rand) []byte {
	limit := max(c.limit, 1)
	list := make([]int64, 0, n)
	for int64(len(list)) < n {
		if row > 1 && row <= limit {
			seen := map[int64]bool{}
			for int64(len(seen)) < row {
				if k := r.Int64N(limit); !seen[k] {
					seen[k] = true
					list = append(list, k)
				}
			}
			continue
		}
		list = append(list, r.Int64N(limit))
	}
	if c.sorted {
		slices.Sort(list)
	}
	var b []byte
	for _, k := range list {
		b = graph.AppendElem(b, t, float64(k))
	}
	return b
}

// chosenOf returns among how many an integer result chooses, 0 if that is not known, and
// whether the order of what it chooses is MLX's own affair.
func chosenOf(g *graph.Graph, v graph.ValueID, env map[string]int64) (of int64, unordered bool) {
	for {
		n := g.Def(v)
		switch name := n.Op.Name; {
		case name == "argpartition" || name == "argsort" || name == "argmax" || name == "argmin":
			axis, _ := n.Attr("axis").(graph.Dim)
			d, _ := g.Type(n.In[0]).Dim(axis.Int())
			k, err := d.Eval(env)
			if err != nil {
				k = 0
			}
			return k, name == "argpartition"
		case len(n.In) > 0 && n.In[0] != graph.None && (n.Op.IsView() || name == "astype"):
			v = n.In[0]
		default:
			return 0, false
		}
	}
}

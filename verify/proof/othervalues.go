package proof

import (
	"encoding/binary"
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// otherAttrs are values that attribute i of a node could have instead of the one it has:
// the next number and others further away, every axis, every word. Inference says which of
// them make sense.
func otherAttrs(g *graph.Graph, n *graph.Node, i int) []graph.Attr {
	spec, was := &n.Op.Attrs[i], n.Attrs[i]
	rank := 0
	if len(n.In) > 0 && n.In[0] != graph.None {
		rank = g.Type(n.In[0]).Rank()
	}
	if n.Op.Name == "expand_dims" {
		rank = g.Type(n.Out[0]).Rank()
	}
	var all []graph.Attr
	switch spec.Kind {
	case graph.KindWord:
		for _, w := range spec.Words {
			all = append(all, graph.Str(w))
		}
	case graph.KindAxis:
		for axis := range rank {
			all = append(all, graph.N(int64(axis-rank)))
		}
	case graph.KindAxes:
		axes, _ := was.(graph.Dims)
		for k := range axes {
			for axis := range rank {
				all = append(all, with(axes, k, graph.N(int64(axis-rank))))
			}
			all = append(all, slices.Delete(slices.Clone(axes), k, k+1))
		}
		for axis := range rank {
			all = append(all, append(slices.Clone(axes), graph.N(int64(axis-rank))))
		}
	case graph.KindPosList:
		all = otherPositions(g, n, spec, was)
	default:
		all = otherValues(was)
	}
	if spec.Optional && was != nil {
		all = append(all, nil)
	}
	return different(all, was)
}

// otherPositions are starts, stops and such of a slice, one of them moved.
func otherPositions(g *graph.Graph, n *graph.Node, spec *graph.AttrSpec, was graph.Attr) []graph.Attr {
	axes, _ := n.Attr("axis").(graph.Dims)
	at, _ := was.(graph.Dims)
	if at == nil {
		at = make(graph.Dims, len(axes))
		if t := g.Type(n.In[0]); spec.Name == "stop" {
			for k, axis := range axes {
				at[k], _ = t.Dim(axis.Int())
			}
		}
	}
	var all []graph.Attr
	for k, d := range at {
		for _, x := range otherDims(d) {
			all = append(all, with(at, k, x))
		}
	}
	return all
}

func with(list graph.Dims, k int, d graph.Dim) graph.Dims {
	c := slices.Clone(list)
	c[k] = d
	return c
}

func different(all []graph.Attr, was graph.Attr) []graph.Attr {
	var out []graph.Attr
	for _, a := range all {
		same := func(b graph.Attr) bool { return a == nil && b == nil || a != nil && b != nil && a.Equal(b) }
		if !same(was) && !slices.ContainsFunc(out, same) {
			out = append(out, a)
		}
	}
	return out
}

// otherValues are values of the kind of a.
func otherValues(a graph.Attr) []graph.Attr {
	var all []graph.Attr
	switch x := a.(type) {
	case graph.Flag:
		return []graph.Attr{!x}
	case graph.DType:
		for _, t := range otherTypes {
			all = append(all, t)
		}
	case graph.Float:
		next := graph.Float(math.Nextafter32(float32(x), float32(math.Inf(1))))
		for _, y := range []graph.Float{next, -x, 2 * x, -2 * x, 0, 1} {
			all = append(all, y)
		}
	case graph.Dim:
		for _, d := range otherDims(x) {
			all = append(all, d)
		}
	case graph.Dims:
		for k, d := range x {
			for _, y := range otherDims(d) {
				all = append(all, with(x, k, y))
			}
			for j := range k {
				all = append(all, with(with(x, k, x[j]), j, d))
			}
			if half, ok := d.Div(graph.N(2)); ok && len(x) > 1 {
				next := (k + 1) % len(x)
				all = append(all, with(with(x, k, half), next, x[next].Mul(graph.N(2))))
			}
		}
	case *graph.Literal:
		for _, l := range otherLiterals(x) {
			all = append(all, l)
		}
	}
	return different(all, a)
}

var otherTypes = []graph.DType{graph.Float32, graph.Float16, graph.BFloat16, graph.Int32, graph.Uint32}

func otherDims(d graph.Dim) []graph.Dim {
	all := []graph.Dim{d.Add(graph.N(1)), d.Sub(graph.N(1)), d.Mul(graph.N(2))}
	if half, ok := d.Div(graph.N(2)); ok {
		all = append(all, half)
	}
	return all
}

// otherLiterals are constants of the same type with another value, and of another type with
// the same.
func otherLiterals(l *graph.Literal) []*graph.Literal {
	all := []*graph.Literal{nextLiteral(l)}
	x, ok := l.Scalar()
	if !ok {
		return all
	}
	for _, y := range []float64{-x, 2 * x, -2 * x, x + 1, 0, 1} {
		all = append(all, graph.ScalarLiteral(l.DType, y))
	}
	for _, t := range otherTypes {
		if t.IsFloat() || x == math.Trunc(x) && x >= 0 {
			all = append(all, graph.ScalarLiteral(t, x))
		}
	}
	return all
}

// nextLiteral changes the last bit of the first element.
func nextLiteral(l *graph.Literal) *graph.Literal {
	c := *l
	c.Data = slices.Clone(l.Data)
	switch {
	case len(c.Data) == 0:
	case c.DType == graph.Bool:
		c.Data[0] ^= 1
	case c.DType.Size() == 2:
		binary.LittleEndian.PutUint16(c.Data, binary.LittleEndian.Uint16(c.Data)+1)
	case c.DType.Size() == 4:
		binary.LittleEndian.PutUint32(c.Data, binary.LittleEndian.Uint32(c.Data)+1)
	default:
		c.Data[0]++
	}
	return &c
}

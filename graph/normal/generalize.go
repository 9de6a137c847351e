package normal

import (
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/graph"
)

// Sample is a graph in normal form without symbols, and the numbers that they had.
type Sample struct {
	Graph *graph.Graph
	Env   map[string]int64
}

// Generalize is the opposite of [Specialize]: it returns a graph over the symbols of
// the samples that is each of them, node for node, once the symbols are numbers. The
// samples must have the same nodes but for their dimensions.
//
// A dimension or attribute that is one number in all samples is that number; what changes
// is the simplest of s, n*s, s+n and n*s+m that gives all of its numbers, s being a symbol
// or a product of two. If two of the same kind do, the samples do not tell, and the
// error says which number it is. What lies between the samples is not known from them.
//
// dims names dimensions of inputs that are symbols for sure: dims["tokens"] is ["batch",
// "seq_len"], "" where nothing is known.
func Generalize(samples []Sample, dims map[string][]string) (*graph.Graph, error) {
	if len(samples) < 2 {
		return nil, fmt.Errorf("one sample does not tell what is a symbol")
	}
	z := &generalizer{samples: samples, dims: dims, out: graph.New(), terms: terms(samples)}
	g, err := z.run()
	if err != nil {
		return nil, err
	}
	// What was added knows nothing of the values between: look.
	for _, s := range samples {
		ok, err := IsSample(g, s)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("with %v it is another graph than the sample", s.Env)
		}
	}
	return g, nil
}

// IsSample reports whether g with the sample's numbers is the sample, in normal form.
func IsSample(g *graph.Graph, s Sample) (bool, error) {
	one, err := Specialize(g, s.Env)
	if err != nil {
		return false, err
	}
	if _, err := Form(one); err != nil {
		return false, err
	}
	return one.Hash() == s.Graph.Hash(), nil
}

// SameNodes reports whether two graphs have the same nodes but for dimensions.
func SameNodes(a, b *graph.Graph) bool {
	if a.NumNodes() != b.NumNodes() || len(a.Inputs()) != len(b.Inputs()) || !slices.Equal(a.Outputs(), b.Outputs()) {
		return false
	}
	for id := range a.NumNodes() {
		x, y := a.Node(graph.NodeID(id)), b.Node(graph.NodeID(id))
		if x.Op != y.Op || !slices.Equal(x.In, y.In) {
			return false
		}
		for i, p := range x.Attrs {
			if q := y.Attrs[i]; !sameButDims(p, q) {
				return false
			}
		}
		for i, v := range x.Out {
			s, t := a.Type(v), b.Type(y.Out[i])
			if s.DType != t.DType || s.Rank() != t.Rank() || x.Op.Name == "param" && !s.Equal(t) {
				return false
			}
		}
	}
	return true
}

func sameButDims(p, q graph.Attr) bool {
	switch p := p.(type) {
	case nil:
		return q == nil
	case graph.Dim:
		_, ok := q.(graph.Dim)
		return ok
	case graph.Dims:
		d, ok := q.(graph.Dims)
		return ok && len(p) == len(d)
	}
	return q != nil && p.Equal(q)
}

type generalizer struct {
	samples []Sample
	dims    map[string][]string
	out     *graph.Graph
	terms   []term
}

// term is a symbol that changes, or a product of two, with its numbers.
type term struct {
	dim    graph.Dim
	values []int64
}

func terms(samples []Sample) []term {
	var symbols, all []term
	for _, name := range slices.Sorted(maps.Keys(samples[0].Env)) {
		t := term{dim: graph.Sym(name)}
		for _, s := range samples {
			t.values = append(t.values, s.Env[name])
		}
		if distinct(t.values) > 1 {
			symbols = append(symbols, t)
		}
	}
	all = append(all, symbols...)
	for i, a := range symbols {
		for _, b := range symbols[i:] {
			t := term{dim: a.dim.Mul(b.dim)}
			for k := range samples {
				t.values = append(t.values, a.values[k]*b.values[k])
			}
			all = append(all, t)
		}
	}
	return all
}

func distinct(values []int64) int { return len(slices.Compact(slices.Sorted(slices.Values(values)))) }

func (z *generalizer) run() (*graph.Graph, error) {
	first := z.samples[0].Graph
	for _, s := range z.samples[1:] {
		if !SameNodes(first, s.Graph) {
			return nil, fmt.Errorf("the samples have other nodes")
		}
	}
	to := make([]graph.ValueID, first.NumValues())
	for _, v := range first.Inputs() { // in the order of the signature
		t, err := z.input(v)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", first.InputName(v), err)
		}
		to[v] = z.out.Input(first.InputName(v), t)
	}
	for id := range graph.NodeID(first.NumNodes()) {
		n := first.Node(id)
		switch n.Op.Name {
		case "input":
			continue
		case "param":
			to[n.Out[0]] = z.out.Param(first.InputName(n.Out[0]), first.Type(n.Out[0]))
			continue
		case "constant":
			to[n.Out[0]] = z.out.Constant(first.Literal(n.Out[0]))
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for i, v := range n.In {
			in[i] = v
			if v != graph.None {
				in[i] = to[v]
			}
		}
		attrs, err := z.attrs(id)
		if err == nil {
			var results []graph.ValueID
			if results, err = z.out.Add(n.Op, n.Scope, in, attrs...); err == nil {
				for i, v := range n.Out {
					to[v] = results[i]
				}
			}
		}
		if err != nil {
			return nil, atScope(fmt.Errorf("%s: %w", n.Op.Name, err), n.Scope)
		}
	}
	for _, o := range first.Outputs() {
		z.out.Output(o.Name, to[o.Value])
	}
	return z.out, z.out.Compact()
}

// input is the type of an input of all samples.
func (z *generalizer) input(v graph.ValueID) (graph.Type, error) {
	first := z.samples[0].Graph
	t, named := first.Type(v), z.dims[first.InputName(v)]
	shape := make([]graph.Dim, t.Rank())
	for i := range shape {
		d, err := z.dim(func(g *graph.Graph) graph.Dim { return g.Type(v).Shape[i] })
		if k := z.term(named, i); k != nil {
			d, err = k.dim, nil
		}
		if err != nil {
			return t, fmt.Errorf("dimension %d: %w", i, err)
		}
		shape[i] = d
	}
	return graph.T(t.DType, shape...), nil
}

// term returns the symbol that dimension i is named by, if it changes.
func (z *generalizer) term(named []string, i int) *term {
	if i >= len(named) || named[i] == "" {
		return nil
	}
	k := slices.IndexFunc(z.terms, func(t term) bool { return t.dim == graph.Sym(named[i]) })
	if k < 0 {
		return nil
	}
	return &z.terms[k]
}

// attrs are the attributes of a node of all samples.
func (z *generalizer) attrs(id graph.NodeID) ([]graph.Attr, error) {
	n := z.samples[0].Graph.Node(id)
	attrs := slices.Clone(n.Attrs)
	var err error
	for i, a := range attrs {
		switch a := a.(type) {
		case graph.Dim:
			attrs[i], err = z.dim(func(g *graph.Graph) graph.Dim { return g.Node(id).Attrs[i].(graph.Dim) })
		case graph.Dims:
			d := make(graph.Dims, len(a))
			for k := range a {
				if err == nil {
					d[k], err = z.dim(func(g *graph.Graph) graph.Dim { return g.Node(id).Attrs[i].(graph.Dims)[k] })
				}
			}
			attrs[i] = d
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Op.Attrs[i].Name, err)
		}
	}
	return attrs, nil
}

// dim is a number that each sample has.
func (z *generalizer) dim(of func(*graph.Graph) graph.Dim) (graph.Dim, error) {
	first := of(z.samples[0].Graph)
	values, same := make([]int64, len(z.samples)), true
	for i, s := range z.samples {
		d := of(s.Graph)
		n, isNumber := d.Const()
		if same = same && d == first; !same && !isNumber {
			return first, fmt.Errorf("%s is %s in another sample", first, d)
		}
		values[i] = n
	}
	if same { // kv_len is a symbol in every sample
		return first, nil
	}
	return z.solve(values)
}

// solve finds what gives values.
func (z *generalizer) solve(values []int64) (graph.Dim, error) {
	for _, kind := range []func(t term) (factor, rest int64){
		func(term) (int64, int64) { return 1, 0 },
		func(t term) (int64, int64) { return values[0] / max(t.values[0], 1), 0 },
		func(t term) (int64, int64) { return 1, values[0] - t.values[0] },
		func(t term) (int64, int64) {
			if distinct(t.values) < 3 {
				return 0, 0 // a line goes through any two points
			}
			for i, v := range t.values {
				if d := v - t.values[0]; d != 0 {
					f := (values[i] - values[0]) / d
					return f, values[0] - f*t.values[0]
				}
			}
			return 0, 0
		},
	} {
		var found []graph.Dim
		for _, t := range z.terms {
			factor, rest := kind(t)
			fits := func() bool {
				for i, v := range t.values {
					if factor*v+rest != values[i] {
						return false
					}
				}
				return true
			}
			if fits() {
				found = append(found, t.dim.Mul(graph.N(factor)).Add(graph.N(rest)))
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return graph.Dim{}, fmt.Errorf("%v may be %s or %s", values, found[0], found[1])
		}
	}
	return graph.Dim{}, fmt.Errorf("%v follows from no symbol", values)
}

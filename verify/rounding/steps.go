// Package rounding tells whether two graphs round in the same way: whether each element of
// their results comes about by the same sequence of rounded operations on the same inputs.
// If it does, the graphs give the same bits, on any engine that rounds an operation of the
// same kind in the same way.
//
// An element is followed through views, gathers and concatenations. An elementwise op is a
// step on elements. A sum (matmul, softmax, a norm) is a step on whole operands: how an
// engine groups its terms may depend on the shapes of all of them, so that two sums are the
// same only if everything that goes in is. Conversions to a wider type and back round
// nothing.
//
// The package says nothing of how large a difference is, or of the sources of kernels.
package rounding

import (
	"context"
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

// Step names how an element came about. Equal steps give equal bits.
type Step struct {
	hash  uint64
	t     graph.DType // a type that holds the element's value
	known bool        // the value is n, a whole number: of constants and ranges
	n     int64
}

// Same reports whether two elements came about in the same way.
func (s Step) Same(o Step) bool { return s.hash == o.hash }

// Array is the steps of a value's elements, row-major.
type Array struct {
	DType graph.DType
	Shape []int
	V     []Step
}

// Run returns how the results of a graph, in which no symbols are left, come about. params
// are the parameters of its program: those that are made from others are followed to these.
func Run(ctx context.Context, g *graph.Graph, params []*graph.Param) (map[string]*Array, error) {
	r := &run{ctx: ctx, g: g, values: make([]*Array, g.NumValues()), params: map[string]*graph.Param{}, made: map[string]*Array{}}
	for _, q := range params {
		r.params[q.Name] = q
	}
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if err := r.node(n); err != nil {
			return nil, fmt.Errorf("%s: %w", n.Op.Name, err)
		}
	}
	out := map[string]*Array{}
	for _, o := range g.Outputs() {
		out[o.Name] = r.values[o.Value]
	}
	return out, nil
}

type run struct {
	ctx    context.Context
	g      *graph.Graph
	values []*Array
	params map[string]*graph.Param
	made   map[string]*Array
}

func (r *run) node(n *graph.Node) error {
	for i, v := range n.Out {
		typ := r.g.Type(v)
		shape, err := engine.Shape(typ.Shape, nil)
		if err != nil {
			return err
		}
		a := &Array{DType: typ.DType, Shape: shape, V: make([]Step, moves.Size(shape))}
		r.values[v] = a
		if err := r.result(n, i, a); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) result(n *graph.Node, i int, a *Array) error {
	switch n.Op.Name {
	case "input":
		return r.leaf(r.g.InputName(n.Out[0]), a)
	case "param":
		return r.param(r.g.InputName(n.Out[0]), a)
	case "constant":
		l := r.g.Literal(n.Out[0])
		for k := range a.V {
			x := graph.DecodeElem(l.DType, l.Data[k*l.DType.Size():])
			a.V[k] = Step{hash: mix(text("constant"), math.Float64bits(x)), t: l.DType, known: x == math.Trunc(x), n: int64(x)}
		}
		return nil
	case "arange":
		start, _ := n.Attr("start").(graph.Dim)
		step, _ := n.Attr("step").(graph.Dim)
		for k := range a.V {
			x := int64(start.Int() + k*step.Int())
			a.V[k] = Step{hash: mix(text("constant"), math.Float64bits(float64(x))), t: a.DType, known: true, n: x}
		}
		return nil
	}
	in := make([]*Array, len(n.In))
	for k, v := range n.In {
		if v != graph.None {
			in[k] = r.values[v]
		}
	}
	switch {
	case n.Op.Elementwise:
		elementwise(n, in, a)
		return nil
	case slices.Contains([]string{"sum", "prod", "max", "min"}, n.Op.Name) && len(in[0].V) == len(a.V): // of one element each
		for k, s := range in[0].V {
			a.V[k] = convert(s, a.DType)
		}
		return nil
	case moves.Moves(n.Op):
		if done, err := r.moves(n, in, a); done || err != nil {
			return err
		}
	}
	whole(n, in, i, a)
	return nil
}

func (r *run) leaf(name string, a *Array) error {
	for k := range a.V {
		a.V[k] = Step{hash: mix(text(name), uint64(k)), t: a.DType}
	}
	return nil
}

// param follows a parameter that is made from others to these.
func (r *run) param(name string, a *Array) error {
	q := r.params[name]
	if q == nil || q.From == nil {
		return r.leaf(name, a)
	}
	var shapes [][]int
	var elements []Step
	for _, arg := range q.From.Args {
		from := r.params[arg]
		if from == nil {
			return fmt.Errorf("%s is made of %s, which is not there", name, arg)
		}
		shape, err := engine.Shape(from.Type.Shape, nil)
		if err != nil {
			return err
		}
		b := &Array{DType: from.Type.DType, Shape: shape, V: make([]Step, moves.Size(shape))}
		if err := r.param(arg, b); err != nil {
			return err
		}
		shapes, elements = append(shapes, shape), append(elements, b.V...)
	}
	if q.From.Op == "increment" { // add(1, x)
		one := &Array{DType: a.DType, V: []Step{{hash: mix(text("constant"), math.Float64bits(1)), t: a.DType}}}
		elementwise(&graph.Node{Op: graph.LookupOp("add")}, []*Array{one, {DType: a.DType, Shape: a.Shape, V: elements}}, a)
		return nil
	}
	from, err := moves.Derived(r.ctx, q, shapes)
	for k, at := range from {
		a.V[k] = elements[at]
	}
	return err
}

// moves follows the elements of an op that moves them, unless where they go depends on
// numbers that are not known.
func (r *run) moves(n *graph.Node, in []*Array, a *Array) (bool, error) {
	operands := make([]*moves.Operand, len(in))
	var elements []Step
	for i, x := range in {
		if x == nil {
			continue
		}
		operands[i] = &moves.Operand{DType: x.DType, Shape: x.Shape}
		if !moves.IsIndex(n.Op, i) {
			elements = append(elements, x.V...)
			continue
		}
		for _, s := range x.V {
			if !s.known {
				return false, nil
			}
			operands[i].Index = append(operands[i].Index, s.n)
		}
	}
	from, err := moves.Sources(r.ctx, n, operands)
	for k, at := range from {
		a.V[k] = convert(elements[at], a.DType)
	}
	return true, err
}

// holds reports whether every value of type t is one of type u.
func holds(u, t graph.DType) bool {
	if u == t {
		return true
	}
	switch t {
	case graph.Float16, graph.BFloat16:
		return u == graph.Float32 || u == graph.Float64
	case graph.Float32:
		return u == graph.Float64
	}
	return false
}

// convert is a conversion: nothing, if the new type holds the value.
func convert(s Step, t graph.DType) Step {
	if holds(t, s.t) {
		return s
	}
	s.hash, s.t, s.known = mix(text("astype"), uint64(t), s.hash), t, s.known && t.IsInteger()
	return s
}

// exactly are elementwise ops that do not round: what type they are in does not matter.
var exactly = []string{"negative", "abs", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "maximum", "minimum", "where",
	"logical_and", "logical_or", "logical_not"}

func elementwise(n *graph.Node, in []*Array, a *Array) {
	at := make([][]int, len(in))
	for i, x := range in {
		at[i] = moves.Broadcast(x.Shape, a.Shape)
	}
	key := attrs(n)
	if !slices.Contains(exactly, n.Op.Name) {
		key = mix(key, uint64(a.DType))
	}
	args := make([]Step, len(in))
	for k := range a.V {
		for i, x := range in {
			args[i] = x.V[at[i][k]]
		}
		switch {
		case n.Op.Name == "astype":
			a.V[k] = convert(args[0], a.DType)
			continue
		case n.Op.Name == "where" && args[0].known:
			a.V[k] = args[2]
			if args[0].n != 0 {
				a.V[k] = args[1]
			}
			a.V[k] = convert(a.V[k], a.DType)
			continue
		case known(args) && a.DType == graph.Bool && len(args) == 2:
			if b, ok := compare(n.Op.Name, args[0].n, args[1].n); ok {
				a.V[k] = Step{hash: mix(text("truth"), b), t: graph.Bool, known: true, n: int64(b)}
				continue
			}
		case known(args) && n.Op.Name == "remainder" && a.DType.IsInteger() && args[1].n > 0:
			m := args[1].n
			x := (args[0].n%m + m) % m
			a.V[k] = Step{hash: mix(text("constant"), math.Float64bits(float64(x))), t: a.DType, known: true, n: x}
			continue
		}
		h := key
		if n.Op.Commutative && args[0].hash > args[1].hash {
			args[0], args[1] = args[1], args[0]
		}
		for _, s := range args {
			h = mix(h, s.hash)
		}
		a.V[k] = Step{hash: h, t: a.DType}
	}
}

func known(args []Step) bool {
	return !slices.ContainsFunc(args, func(s Step) bool { return !s.known })
}

func compare(op string, x, y int64) (uint64, bool) {
	b, ok := map[string]bool{"equal": x == y, "not_equal": x != y, "less": x < y, "less_equal": x <= y, "greater": x > y, "greater_equal": x >= y}[op]
	if b {
		return 1, ok
	}
	return 0, ok
}

// whole makes each element of a result a step on all that the op reads.
func whole(n *graph.Node, in []*Array, result int, a *Array) {
	h := mix(attrs(n), uint64(result), uint64(a.DType))
	for _, x := range in {
		if x == nil {
			h = mix(h, 0)
			continue
		}
		h = mix(h, 1, uint64(x.DType))
		for _, d := range x.Shape {
			h = mix(h, uint64(d))
		}
		for _, s := range x.V {
			h = mix(h, s.hash)
		}
	}
	for k := range a.V {
		a.V[k] = Step{hash: mix(h, uint64(k)), t: a.DType}
	}
}

func attrs(n *graph.Node) uint64 {
	var b []byte
	for _, x := range n.Attrs {
		b = graph.AppendAttrKey(b, x)
	}
	return mix(text(n.Op.Name), text(string(b)))
}

// text and mix are hashes; two different steps share one with a chance of 2^-64.
func text(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func mix(h uint64, more ...uint64) uint64 {
	for _, x := range more { // SplitMix64's finalizer
		h = h*0x9e3779b97f4a7c15 + x
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

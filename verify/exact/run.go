package exact

import (
	"context"
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

// Array is the elements of a value, row-major. Integers and booleans are whole numbers.
type Array struct {
	DType graph.DType
	Shape []int
	V     []Number
}

// FromBytes makes an array of the elements that an engine gave: row-major, little-endian.
func FromBytes(t graph.DType, shape []int, data []byte) *Array {
	a := &Array{DType: t, Shape: shape, V: make([]Number, len(data)/t.Size())}
	for i := range a.V {
		a.V[i] = Exactly(graph.DecodeElem(t, data[i*t.Size():]))
	}
	return a
}

// Trace is what an evaluation had to take for granted.
type Trace struct {
	// Choices are the ops that chose by comparing values of the sample.
	Choices map[string]int
	// Functions are those that nothing is known of, but that equal arguments give equal
	// values.
	Functions map[string]int
	// Steps is about how many numbers were computed with.
	Steps int

	whole bool // the op at hand is one of integers
}

// NewTrace returns an empty trace, to which evaluations add.
func NewTrace() *Trace { return &Trace{Choices: map[string]int{}, Functions: map[string]int{}} }

// UnsupportedError says that a graph has an op that has no meaning in a field, such as one that
// looks at the bits of a number.
type UnsupportedError struct{ Op string }

func (e *UnsupportedError) Error() string { return e.Op + " cannot be evaluated exactly" }

// Run evaluates a graph, in which no symbols are left (normal.Specialize), for given inputs
// and parameters by name, and returns its results by name. The error is an
// *UnsupportedError, or says what is wrong with the inputs.
func Run(ctx context.Context, g *graph.Graph, in map[string]*Array, t *Trace) (map[string]*Array, error) {
	r := &run{ctx: ctx, g: g, t: t, values: make([]*Array, g.NumValues())}
	for id := range graph.NodeID(g.NumNodes()) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := g.Node(id)
		if err := r.node(n, in); err != nil {
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
	t      *Trace
	values []*Array
}

// call is one node with its operands.
type call struct {
	*run
	n   *graph.Node
	in  []*Array // nil for absent ones
	out *Array   // to be filled in
}

func (r *run) node(n *graph.Node, in map[string]*Array) error {
	out := n.Out[0]
	typ := r.g.Type(out)
	shape, err := engine.Shape(typ.Shape, nil)
	if err != nil {
		return err
	}
	a := &Array{DType: typ.DType, Shape: shape}
	r.values[out] = a
	switch n.Op.Name {
	case "input", "param":
		name := r.g.InputName(out)
		given := in[name]
		if given == nil || !slices.Equal(given.Shape, shape) || given.DType != typ.DType {
			return fmt.Errorf("%s is not given as %s", name, typ)
		}
		r.values[out] = given
		return nil
	case "constant":
		l := r.g.Literal(out)
		a.V = FromBytes(l.DType, shape, l.Data).V
		for i := range a.V {
			a.V[i].has |= constant
		}
		return nil
	}
	c := &call{r, n, make([]*Array, max(len(n.In), len(n.Op.Operands))), a}
	for i, v := range n.In {
		if v != graph.None {
			c.in[i] = r.values[v]
		}
	}
	f := ops[n.Op.Name]
	switch {
	case f != nil:
		a.V = make([]Number, moves.Size(shape))
		r.t.Steps += len(a.V) * c.depth()
		if err := f(c); err != nil {
			return err
		}
		return inRange(n.Op.Name, a)
	case moves.Moves(n.Op):
		return c.moves()
	}
	return &UnsupportedError{n.Op.Name}
}

// depth is about how many numbers make one element of the result.
func (c *call) depth() int {
	if c.n.Op.Numerics == graph.Sums {
		if a := c.in[0]; len(a.Shape) > 0 {
			return a.Shape[len(a.Shape)-1]
		}
	}
	return 1
}

// inRange refuses integers that wrap, which is arithmetic of bits.
func inRange(op string, a *Array) error {
	low, high := 0.0, math.Ldexp(1, 8*a.DType.Size())
	switch {
	case a.DType == graph.Bool:
		high = 2
	case !a.DType.IsInteger():
		return nil
	case !a.DType.IsUnsigned():
		low, high = -high/2, high/2
	}
	for _, x := range a.V {
		if x.r < low || x.r >= high {
			return &UnsupportedError{op + " out of " + a.DType.String() + "'s range"}
		}
	}
	return nil
}

// moves runs an op whose results are elements of its operands.
func (c *call) moves() error {
	operands := make([]*moves.Operand, len(c.n.In))
	var elements []Number
	for i, a := range c.in[:len(operands)] {
		if a == nil {
			continue
		}
		operands[i] = &moves.Operand{DType: a.DType, Shape: a.Shape}
		if !moves.IsIndex(c.n.Op, i) {
			elements = append(elements, a.V...)
			continue
		}
		operands[i].Index = make([]int64, len(a.V))
		for k, x := range a.V {
			operands[i].Index[k] = int64(x.r)
		}
	}
	from, err := moves.Sources(c.ctx, c.n, operands)
	c.out.V = make([]Number, len(from))
	for i, k := range from {
		c.out.V[i] = elements[k]
	}
	return err
}

package graph

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Op is one row of the op table: all there is to know about an operation. Rows
// are made once and never changed; nodes point at them, and two nodes do the same
// kind of thing exactly if their Op pointers are equal.
type Op struct {
	Name string // as in mlx.core: "quantized_matmul"; kernels: "kernel.NAME"
	Doc  string // one line, with shapes

	Operands []Operand
	Variadic bool // Operands[0] stands for one or more operands
	Attrs    []AttrSpec
	Results  int // number of outputs

	// Commutative says that the first two operands may be swapped.
	Commutative bool
	// Elementwise says that each element of the result is made of the operands' elements in
	// the same place, after broadcasting.
	Elementwise bool
	// Packed says that MLX multiplies by a packed matrix in the op.
	Packed bool
	// Launches is how many GPU kernels MLX starts for the op: 0 for views and
	// leaves. It is the unit of every cost that plans and reports state.
	Launches int
	// Numerics says how results come about, which decides what a proof may claim.
	Numerics Numerics
	// Accum tells in which type long sums are kept, where that differs by backend.
	Accum Accum
	// Prims are MLX's primitives that mean this op in a .mlxfn file, with the state
	// that tells apart ops sharing one: "Reduce:sum".
	Prims []string

	// Infer returns the types of the outputs. Leaves have none: their types are
	// given when they are made.
	Infer func(*Call) ([]Type, error)

	row int // 1 + its place in the table; 0 for an op of a kernel
}

// Row returns the place of the op in Ops, and whether it is there: ops of kernels are
// not. It makes tables by op cheaper than maps.
func (o *Op) Row() (int, bool) { return o.row - 1, o.row > 0 }

// Operand is one operand of an op.
type Operand struct {
	Name     string
	Optional bool
}

// AttrKind is the kind of an attribute.
type AttrKind uint8

const (
	KindInt     AttrKind = iota // Dim
	KindInts                    // Dims
	KindAxis                    // Dim: an axis of operand 0, kept negative
	KindAxes                    // Dims: axes of operand 0, kept negative and sorted
	KindPos                     // Dim: a position along attribute "axis", from the end if negative
	KindPosList                 // Dims: positions along the axes of attribute "axis"
	KindFloat                   // Float
	KindFlag                    // Flag
	KindWord                    // Str, one of Words (any text if Words is empty)
	KindDType                   // DType
	KindLiteral                 // *Literal
)

// AttrSpec describes an attribute of an op.
type AttrSpec struct {
	Name     string
	Kind     AttrKind
	Default  Attr     // nil: required, unless Optional
	Optional bool     // may be absent without a default
	Words    []string // of KindWord
}

// Numerics says how the results of an op come about.
type Numerics uint8

const (
	// Moves: every result is an operand's element or its bits; exact everywhere.
	Moves Numerics = iota
	// Selects: results are chosen by comparing (max, argpartition, where). Exact
	// except for the order of ties and NaN, which backends and spellings decide.
	Selects
	// Rounds: each result is a fixed sequence of rounded steps on matching
	// elements. The same op gives the same bits whatever the shape.
	Rounds
	// Sums: results add up many terms; order and grouping depend on backend and shape.
	Sums
)

func (n Numerics) String() string { return [...]string{"moves", "selects", "rounds", "sums"}[n] }

// Accum names, for each backend, the type that sums are kept in; "T" is the
// operand's own type. Empty means float32 everywhere.
type Accum struct{ CPU, Metal, CUDA string }

// Call is an op applied to typed operands: what type inference looks at.
type Call struct {
	Op    *Op
	In    []Type // DType is NoDType for an absent optional operand
	Attrs []Attr // in the order of Op.Attrs, nil for absent
}

// Attr returns the attribute of that name, or nil.
func (c *Call) Attr(name string) Attr {
	if i := c.Op.AttrIndex(name); i >= 0 {
		return c.Attrs[i]
	}
	return nil
}

// Dim returns an integer attribute, 0 if absent.
func (c *Call) Dim(name string) Dim { d, _ := c.Attr(name).(Dim); return d }

// Dims returns a list attribute, nil if absent.
func (c *Call) Dims(name string) Dims { d, _ := c.Attr(name).(Dims); return d }

// Flag returns a boolean attribute, false if absent.
func (c *Call) Flag(name string) bool { f, _ := c.Attr(name).(Flag); return bool(f) }

// Str returns a word attribute, "" if absent.
func (c *Call) Str(name string) string { s, _ := c.Attr(name).(Str); return string(s) }

// Has reports whether operand i is there.
func (c *Call) Has(i int) bool { return i < len(c.In) && c.In[i].DType != NoDType }

// axis returns a negative axis attribute as an index into the shape of operand 0.
func (c *Call) axis(name string) int { return c.Dim(name).Int() + c.In[0].Rank() }

// AttrIndex returns the index of an attribute in Attrs, or -1.
func (o *Op) AttrIndex(name string) int {
	for i := range o.Attrs {
		if o.Attrs[i].Name == name {
			return i
		}
	}
	return -1
}

// OperandIndex returns the index of an operand, or -1.
func (o *Op) OperandIndex(name string) int {
	return slices.IndexFunc(o.Operands, func(x Operand) bool { return x.Name == name })
}

// IsLeaf reports whether the op has no operands and no inference: input, param, constant.
func (o *Op) IsLeaf() bool { return o.Infer == nil }

// Cost is what a rewrite has to lower, so that rewriting ends: MLX's products of packed matrices; if
// there are as many, MLX's own launches; if there are as many, all launches.
type Cost struct{ Packed, Own, Launches int }

// Cost returns what the op counts for.
func (o *Op) Cost() Cost {
	c := Cost{Launches: o.Launches}
	if !o.IsKernel() {
		c.Own = o.Launches
	}
	if o.Packed {
		c.Packed = 1
	}
	return c
}

// Plus returns the cost of both.
func (c Cost) Plus(d Cost) Cost {
	return Cost{c.Packed + d.Packed, c.Own + d.Own, c.Launches + d.Launches}
}

// Below reports whether c is lower than d.
func (c Cost) Below(d Cost) bool {
	return cmp.Or(cmp.Compare(c.Packed, d.Packed), cmp.Compare(c.Own, d.Own), cmp.Compare(c.Launches, d.Launches)) < 0
}

// IsKernel reports whether the op is a call of a kernel.
func (o *Op) IsKernel() bool { return strings.HasPrefix(o.Name, KernelPrefix) }

// KernelPrefix begins the names of ops that are kernel calls.
const KernelPrefix = "kernel."

// IsView reports whether the op moves no memory: it has operands and no launch.
func (o *Op) IsView() bool { return o.Launches == 0 && !o.IsLeaf() }

// Signature prints the op as a reader would call it: "sum(a, axis, keepdims=false)".
func (o *Op) Signature() string {
	var parts []string
	for _, x := range o.Operands {
		switch {
		case o.Variadic:
			parts = append(parts, x.Name+", ...")
		case x.Optional:
			parts = append(parts, x.Name+"?")
		default:
			parts = append(parts, x.Name)
		}
	}
	for _, a := range o.Attrs {
		switch {
		case a.Default != nil:
			parts = append(parts, a.Name+"="+AttrText(a.Kind, a.Default))
		case a.Optional:
			parts = append(parts, a.Name+"?")
		default:
			parts = append(parts, a.Name)
		}
	}
	return o.Name + "(" + strings.Join(parts, ", ") + ")"
}

// AttrText prints an attribute the way people write it: lists of one axis or one
// position as a plain number, element types without quotes.
func AttrText(kind AttrKind, a Attr) string {
	if d, ok := a.(Dims); ok && len(d) == 1 && (kind == KindAxes || kind == KindPosList) {
		return d[0].String()
	}
	return a.String()
}

var opIndex = func() map[string]*Op {
	m := make(map[string]*Op, len(opTable))
	for i, o := range opTable {
		o.row = i + 1
		if m[o.Name] != nil {
			panic("graph: op " + o.Name + " is in the table twice")
		}
		m[o.Name] = o
	}
	return m
}()

// LookupOp returns the row of the op table for a name, or nil.
func LookupOp(name string) *Op { return opIndex[name] }

// Ops returns all rows of the op table, in the table's order.
func Ops() []*Op { return slices.Clone(opTable) }

// mustOp is for ops that this package itself names.
func mustOp(name string) *Op {
	if o := opIndex[name]; o != nil {
		return o
	}
	panic("graph: no op " + name)
}

// checkCall fills in defaults, brings attributes to their normal spelling (axes
// negative, full slices dropped) and checks counts and kinds. It returns the
// call ready for inference.
func checkCall(op *Op, in []Type, attrs []Attr) (*Call, error) {
	c := &Call{Op: op, In: in, Attrs: make([]Attr, len(op.Attrs))}
	copy(c.Attrs, attrs)
	if len(attrs) > len(op.Attrs) {
		return nil, fmt.Errorf("%s has %d attributes, got %d", op.Name, len(op.Attrs), len(attrs))
	}
	switch {
	case op.Variadic && len(in) == 0:
		return nil, fmt.Errorf("%s needs at least one operand", op.Name)
	case !op.Variadic && len(in) > len(op.Operands):
		return nil, fmt.Errorf("%s takes %d operands, got %d", op.Name, len(op.Operands), len(in))
	}
	for i, o := range op.Operands {
		if !o.Optional && !c.Has(i) {
			return nil, fmt.Errorf("%s: operand %s is missing", op.Name, o.Name)
		}
	}
	if op.Variadic {
		for i := range in {
			if !c.Has(i) {
				return nil, fmt.Errorf("%s: operand %d is missing", op.Name, i)
			}
		}
	}
	for i := range op.Attrs {
		s := &op.Attrs[i]
		if c.Attrs[i] == nil {
			c.Attrs[i] = s.Default
			if s.Default == nil && !s.Optional {
				return nil, fmt.Errorf("%s: attribute %s is missing", op.Name, s.Name)
			}
			if c.Attrs[i] == nil {
				continue
			}
		}
		if d, ok := c.Attrs[i].(Dims); ok && len(d) > maxRank {
			return nil, fmt.Errorf("%s: attribute %s has %d entries, more than %d", op.Name, s.Name, len(d), maxRank)
		}
		a, err := s.normal(c, c.Attrs[i])
		if err != nil {
			return nil, fmt.Errorf("%s: attribute %s: %w", op.Name, s.Name, err)
		}
		c.Attrs[i] = a
	}
	return c, nil
}

// normal checks the kind of an attribute and brings it to its normal spelling.
func (s *AttrSpec) normal(c *Call, a Attr) (Attr, error) {
	switch s.Kind {
	case KindInt, KindPos:
		if _, ok := a.(Dim); ok {
			return a, nil // as it is: wrapping it again would allocate
		}
		return nil, fmt.Errorf("expected an integer, got %s", a)
	case KindInts:
		if _, ok := a.(Dims); ok {
			return a, nil
		}
		return nil, fmt.Errorf("expected a list of integers, got %s", a)
	case KindAxis:
		d, ok := a.(Dim)
		if !ok {
			return nil, fmt.Errorf("expected an axis, got %s", a)
		}
		n, err := normalAxis(d, c.In[0].Rank())
		if err != nil {
			return nil, err
		}
		if n == d {
			return a, nil
		}
		return n, nil
	case KindAxes, KindPosList:
		d, ok := a.(Dims)
		if n, one := a.(Dim); one {
			d, ok = Dims{n}, true
		}
		if !ok {
			return nil, fmt.Errorf("expected one integer or a list of them, got %s", a)
		}
		if s.Kind == KindPosList {
			if _, list := a.(Dims); list {
				return a, nil
			}
			return d, nil
		}
		rank := c.In[0].Rank()
		if c.Op.Name == "expand_dims" { // its axes are those of the result
			rank += len(d)
		}
		out := make(Dims, len(d))
		for i, x := range d {
			var err error
			if out[i], err = normalAxis(x, rank); err != nil {
				return nil, err
			}
		}
		if c.Op.Name != "slice" && c.Op.Name != "slice_update" && c.Op.Name != "slice_update_dynamic" {
			// These pair each axis with a position; for all others order says nothing.
			slices.SortFunc(out, func(a, b Dim) int { return a.Int() - b.Int() })
		}
		for i, x := range out {
			if slices.Contains(out[:i], x) {
				return nil, fmt.Errorf("axis %s is there twice", x)
			}
		}
		return out, nil
	case KindFloat:
		switch v := a.(type) {
		case Float:
			return a, nil
		case Dim:
			if n, ok := v.Const(); ok {
				return Float(n), nil
			}
		}
		return nil, fmt.Errorf("expected a number, got %s", a)
	case KindFlag:
		if _, ok := a.(Flag); ok {
			return a, nil
		}
		return nil, fmt.Errorf("expected true or false, got %s", a)
	case KindWord:
		w, ok := a.(Str)
		if !ok || len(s.Words) > 0 && !slices.Contains(s.Words, string(w)) {
			return nil, fmt.Errorf("expected one of %s, got %s", strings.Join(s.Words, ", "), a)
		}
		return a, nil
	case KindDType:
		if _, ok := a.(DType); ok {
			return a, nil
		}
		return nil, fmt.Errorf("expected an element type, got %s", a)
	case KindLiteral:
		if l, ok := a.(*Literal); ok {
			return l, nil
		}
		return nil, fmt.Errorf("expected a constant, got %s", a)
	}
	panic("graph: unknown attribute kind")
}

func normalAxis(d Dim, rank int) (Dim, error) {
	n, ok := d.Const()
	if !ok {
		return d, fmt.Errorf("axis %s is not a number", d)
	}
	if n >= int64(rank) || n < -int64(rank) {
		return d, fmt.Errorf("axis %d is out of range for %d dimensions", n, rank)
	}
	if n >= 0 {
		n -= int64(rank)
	}
	return N(n), nil
}

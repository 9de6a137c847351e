package author

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// node is a value of a formula: a leaf, or an op on other nodes. Equal nodes of one
// builder are the same node.
type node struct {
	id    int // operands have smaller ones
	op    string
	in    []*node
	name  string  // of an input, parameter or cotangent
	value float64 // of a number
	shape shape
	truth bool   // true or false, not a number
	hint  string // what a person called it
}

// Leaves have these in place of an op's name.
const (
	inputOp     = "input"
	paramOp     = "param"     // a float attribute
	numberOp    = "number"    // a number, or if truth is set, 0 or 1 for false or true
	countOp     = "count"     // the length n of a row
	cotangentOp = "cotangent" // d_out
)

// shape says along which axes a value varies.
type shape uint8

const (
	single shape = 0               // no axis: numbers, parameters
	vector shape = 1               // [n]: the same in every row
	perRow shape = 2               // [..., 1]: one value a row, as a reduction makes
	full   shape = vector | perRow // [..., n]
)

// weak reports whether a value is known without any input: it takes its element type from
// what it stands beside, as a Python number does. A graph cannot hold it by itself.
func (n *node) weak() bool {
	switch n.op {
	case numberOp, paramOp:
		return !n.truth
	case "where":
		return n.in[1].weak() && n.in[2].weak()
	}
	return false
}

func (n *node) isNumber() bool           { return n.op == numberOp && !n.truth }
func (n *node) is(v float64) bool        { return n.isNumber() && n.value == v }
func (n *node) isTruth() (v, known bool) { return n.value != 0, n.op == numberOp && n.truth }

// maxNodes bounds a formula; the largest that people write have some dozens. maxSteps
// bounds the work, since choices within choices can be walked in very many ways.
const (
	maxNodes = 4096
	maxSteps = 1 << 16
)

// builder makes nodes and keeps equal ones the same.
type builder struct {
	nodes  []*node
	byKey  map[string]*node
	inputs []*node // in order of first use
	params []*node
	// simplify is set while a gradient is made: there x*0 is 0, whatever x is.
	simplify bool
	steps    int
	at       int // offset in the text of what is being made, for errors
}

func newBuilder() *builder { return &builder{byKey: map[string]*node{}} }

// intern returns the node that equals n, n itself if there is none yet.
func (b *builder) intern(n *node) (*node, error) {
	var k strings.Builder
	fmt.Fprintf(&k, "%s %s %t %s", n.op, n.name, n.truth, strconv.FormatFloat(n.value, 'x', -1, 64))
	for _, x := range n.in {
		fmt.Fprintf(&k, " %d", x.id)
	}
	if old := b.byKey[k.String()]; old != nil {
		return old, nil
	}
	if len(b.nodes) >= maxNodes {
		return nil, faultf("size", b.at, "the formula has more than %d parts", maxNodes)
	}
	n.id = len(b.nodes)
	b.nodes = append(b.nodes, n)
	b.byKey[k.String()] = n
	return n, nil
}

func (b *builder) number(v float64) (*node, error) {
	if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
		return nil, faultf("number", b.at, "%v is not a number that float32 can hold", v)
	}
	if v == 0 {
		v = 0 // not -0, which would not be interned as the same
	}
	return b.intern(&node{op: numberOp, value: v})
}

func (b *builder) boolean(v bool) (*node, error) {
	n := &node{op: numberOp, truth: true}
	if v {
		n.value = 1
	}
	return b.intern(n)
}

// leaf makes an input, a parameter or a cotangent.
func (b *builder) leaf(op, name string, s shape) (*node, error) {
	before := len(b.nodes)
	n, err := b.intern(&node{op: op, name: name, shape: s})
	if err == nil && len(b.nodes) > before {
		switch op {
		case inputOp:
			b.inputs = append(b.inputs, n)
		case paramOp:
			b.params = append(b.params, n)
		}
	}
	return n, err
}

// make applies an op of the table to operands.
func (b *builder) make(op string, in ...*node) (*node, error) {
	o := ops[op]
	if b.steps++; b.steps > maxSteps {
		return nil, faultf("size", b.at, "the formula takes more than %d steps to write out", maxSteps)
	}
	for i, x := range in {
		want := o.takesTruth || op == "where" && i == 0
		if x.truth == want {
			continue
		}
		if want {
			return nil, faultf("kind", b.at, "%s needs a condition, such as x > 0, not a number", o.written(op))
		}
		return nil, faultf("kind", b.at, "%s needs numbers, not a condition", o.written(op)).withHint("where(condition, a, b) makes a number of one")
	}
	if n, err := b.known(op, in); n != nil || err != nil {
		return n, err
	}
	if n, err := b.choice(op, in); n != nil || err != nil {
		return n, err
	}
	if !o.truth && op != "where" && !slices.ContainsFunc(in, func(x *node) bool { return !x.weak() }) {
		return nil, faultf("parameters", b.at, "%s of parameters and numbers alone has no element type", o.written(op)).
			withHint("begin with an input, x * a * 2 for x * (a * 2), or make the result a parameter of its own")
	}
	if op == "power" && in[1].isNumber() {
		if n, err := b.power(in[0], in[1].value); n != nil || err != nil {
			return n, err
		}
	}
	if b.simplify {
		if n, err := b.simpler(op, in); n != nil || err != nil {
			return n, err
		}
	}
	n := &node{op: op, in: slices.Clone(in), truth: o.truth}
	for _, x := range in {
		n.shape |= x.shape
	}
	return b.intern(n)
}

// known evaluates an op on numbers, and a choice by a condition that is known.
func (b *builder) known(op string, in []*node) (*node, error) {
	o := ops[op]
	if op == "where" {
		if v, ok := in[0].isTruth(); ok {
			if v {
				return in[1], nil
			}
			return in[2], nil
		}
		return nil, nil
	}
	if o.takesTruth {
		for i, x := range in {
			v, ok := x.isTruth()
			switch {
			case !ok:
				continue
			case op == "logical_not":
				return b.boolean(!v)
			case (op == "logical_and") == v: // true && y, false || y
				return in[1-i], nil
			}
			return x, nil
		}
		return nil, nil
	}
	args := make([]float64, len(in))
	for i, x := range in {
		if !x.isNumber() {
			return nil, nil
		}
		args[i] = x.value
	}
	v := o.eval(func(x float64) float64 { return x }, args)
	if o.truth {
		return b.boolean(v != 0)
	}
	return b.number(v)
}

// choice moves an op into a choice between numbers, f(where(c, 1, 2), x) to
// where(c, f(1, x), f(2, x)): MLX would give where(c, 1, 2) an element type of its own.
func (b *builder) choice(op string, in []*node) (*node, error) {
	if op == "where" && in[1].weak() && in[2].weak() {
		return nil, nil
	}
	for i, x := range in {
		if x.op != "where" || !x.weak() {
			continue
		}
		with := func(v *node) (*node, error) {
			args := slices.Clone(in)
			args[i] = v
			return b.make(op, args...)
		}
		yes, err := with(x.in[1])
		if err != nil {
			return nil, err
		}
		no, err := with(x.in[2])
		if err != nil {
			return nil, err
		}
		return b.either(x.in[0], yes, no)
	}
	return nil, nil
}

// either is where(c, yes, no), of numbers or of conditions.
func (b *builder) either(c, yes, no *node) (*node, error) {
	if yes == no {
		return yes, nil
	}
	if !yes.truth || !no.truth {
		return b.make("where", c, yes, no)
	}
	not, err := b.make("logical_not", c)
	if err != nil {
		return nil, err
	}
	if yes, err = b.make("logical_and", c, yes); err != nil {
		return nil, err
	}
	if no, err = b.make("logical_and", not, no); err != nil {
		return nil, err
	}
	return b.make("logical_or", yes, no)
}

// power makes products and roots of common exponents: power itself is slow, and less
// exact on most devices.
func (b *builder) power(x *node, p float64) (*node, error) {
	if x.weak() {
		return nil, nil
	}
	c := chain{b: b}
	switch p {
	case 1:
		return x, nil
	case 2:
		return b.make("square", x)
	case 3:
		return c.make("multiply", c.make("square", x), x), c.err
	case 4:
		return c.make("square", c.make("square", x)), c.err
	case 0.5:
		return b.make("sqrt", x)
	case -0.5:
		return b.make("rsqrt", x)
	case -1:
		return c.make("divide", c.number(1), x), c.err
	case -2:
		return c.make("divide", c.number(1), c.make("square", x)), c.err
	}
	return nil, nil
}

// reduce makes a reduction of each row to one value.
func (b *builder) reduce(op string, x *node) (*node, error) {
	switch {
	case x.weak():
		return nil, faultf("reduce", b.at, "%s of numbers alone has no element type", op).withHint("let a side of the choice be an input")
	case x.shape&vector == 0:
		return nil, faultf("reduce", b.at, "%s of one value a row: there is nothing to reduce", op)
	case x.truth && op != "sum":
		return nil, faultf("kind", b.at, "%s needs numbers, not a condition", op)
	}
	if b.simplify && op == "sum" && x.op == "negative" {
		c := chain{b: b}
		return c.make("negative", c.reduce(op, x.in[0])), c.err
	}
	return b.intern(&node{op: op, in: []*node{x}, shape: perRow})
}

// count is the length of a row, as a number that takes the element type of what it is
// beside; it is not weak, since a graph holds it as an int32.
func (b *builder) count() (*node, error) { return b.intern(&node{op: countOp}) }

// chain makes nodes until the first error.
type chain struct {
	b   *builder
	err error
}

func (c *chain) do(f func() (*node, error)) *node {
	if c.err != nil {
		return nil
	}
	n, err := f()
	c.err = err
	return n
}
func (c *chain) make(op string, in ...*node) *node {
	return c.do(func() (*node, error) { return c.b.make(op, in...) })
}
func (c *chain) number(v float64) *node {
	return c.do(func() (*node, error) { return c.b.number(v) })
}
func (c *chain) reduce(op string, x *node) *node {
	return c.do(func() (*node, error) { return c.b.reduce(op, x) })
}
func (c *chain) count() *node { return c.do(c.b.count) }

// reachable returns the nodes that make roots, operands first.
func reachable(roots ...*node) []*node {
	return reachableWhere(func(*node) bool { return true }, roots)
}

// reachableWhere is reachable that goes no further than nodes that hold.
func reachableWhere(holds func(*node) bool, roots []*node) []*node {
	seen := map[*node]bool{}
	var list []*node
	var visit func(n *node)
	visit = func(n *node) {
		if seen[n] || !holds(n) {
			return
		}
		seen[n] = true
		for _, x := range n.in {
			visit(x)
		}
		list = append(list, n)
	}
	for _, r := range roots {
		visit(r)
	}
	slices.SortFunc(list, func(a, b *node) int { return a.id - b.id })
	return list
}

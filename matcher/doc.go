// Package matcher finds the places in a graph where a rule's pattern fits, and
// says of every place where it nearly does how far it got and why it stopped.
//
// A rule compiles to one [Pattern] for each way of expanding its fragments,
// any(…) and optional(…). Matching starts at the rarest op of a pattern, goes down
// along operands and up along users, and backs out of wrong turns (operands of
// commutative ops in the other order, another user). A pattern is closed: what is
// not written must have its default.
//
// This package does not know what becomes of a match: guards that look at the
// setting, kernels, overlaps and replacements are package rewrite's.
package matcher

import (
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/rules"
)

// Pattern is one expansion of a rule's match block.
type Pattern struct {
	Rule *rules.Rule

	nodes   []pnode
	values  []string // names of value variables
	vars    []string // names of $variables
	preset  []preset // $variables that the chosen alternatives decide
	whens   []when   // conditions of the chosen alternatives
	results []result // values that may be used outside
	twins   [][]int  // groups of roots that differ in names only
	byName  map[string]ref
	checks  []check  // of attributes, in order
	names   []string // of byName and of operands that this expansion does without, in order
	bound   []ref    // what each of them stands for
}

// check is an attribute of a node that has to be looked at.
type check struct{ node, attr int }

type preset struct {
	v    int
	attr graph.Attr
}

// when is the condition of an alternative, with its names resolved.
type when struct {
	guard *guard.Guard
	vars  map[string]varOrConst
	refs  map[string]ref
	at    int    // the node that the spelling stands for, or another of its line
	line  string // that the spelling is written in
}

type varOrConst struct {
	v     int // index into vars, or -1
	value graph.Attr
}

type result struct {
	name string
	ref  ref
}

// pnode is a node of a pattern.
type pnode struct {
	op    *graph.Op
	name  string // of the line that it is, or "" if it is inside one
	line  string // that it is, or is inside of
	in    []ref
	attrs []pattr // in the order of op.Attrs
}

type refKind uint8

const (
	refAbsent  refKind = iota // the operand must not be there
	refNode                   // result res of pnode i
	refValue                  // value variable i
	refLiteral                // a scalar constant equal to num
	refScalar                 // any scalar constant, bound to variable i
)

// ref is what an operand of a pattern stands for.
type ref struct {
	kind     refKind
	i, res   int
	num      float64
	whole    bool // refLiteral: written without a point
	optional bool // refValue: the operand may be absent
}

type attrKind uint8

const (
	attrDefault attrKind = iota // must have its default
	attrAny
	attrConst
	attrVar
	attrInt  // an integer expression
	attrList // a list of integer expressions
)

// pattr is what an attribute must be.
type pattr struct {
	kind  attrKind
	value graph.Attr
	v     int
	ints  []*intExpr
	src   syntax.Expr // as the rule writes it, of attrInt and attrList
}

// intExpr is an integer expression over variables and dimensions.
type intExpr struct {
	op   byte // 'n' number, 'v' variable, 'd' dim, 'r' rows, 's' size, '+', '-', '*'
	n    int64
	v    int
	ref  ref
	l, r *intExpr
}

// Size is the number of nodes that the pattern covers.
func (p *Pattern) Size() int { return len(p.nodes) }

// HasOp reports whether a node of the pattern has one of the ops.
func (p *Pattern) HasOp(ops map[*graph.Op]bool) bool {
	for i := range p.nodes {
		if ops[p.nodes[i].op] {
			return true
		}
	}
	return false
}

// Match is one place where a pattern fits.
type Match struct {
	Pattern *Pattern
	Nodes   []graph.NodeID  // for each node of the pattern
	Values  []graph.ValueID // for each value variable; graph.None if absent
	Vars    []graph.Attr    // for each $variable; nil if unbound
}

// Names returns the names of values that a match of the pattern binds, in order.
func (p *Pattern) Names() []string { return p.names }

// Cost returns that of the nodes that go away with a match. Ranges may stay, since others may read
// them.
func (p *Pattern) Cost() graph.Cost {
	var c graph.Cost
	for i := range p.nodes {
		if len(p.nodes[i].in) > 0 {
			c = c.Plus(p.nodes[i].op.Cost())
		}
	}
	return c
}

// Named returns what name i of the pattern's Names is bound to; graph.None if absent.
func (m *Match) Named(g *graph.Graph, i int) graph.ValueID { return m.resolve(g, m.Pattern.bound[i]) }

// Result returns the value that result i of the rule is bound to.
func (m *Match) Result(g *graph.Graph, i int) graph.ValueID {
	return m.resolve(g, m.Pattern.results[i].ref)
}

// Value returns what a name of the pattern is bound to, and whether it is there.
func (m *Match) Value(g *graph.Graph, name string) (graph.ValueID, bool) {
	r, ok := m.Pattern.byName[name]
	if !ok {
		return graph.None, false
	}
	v := m.resolve(g, r)
	return v, v != graph.None
}

// AppendShape appends bytes that are the same for two matches of one pattern if
// everything that their names and $variables stand for is alike: the types of values,
// the operands that are absent, and the values of variables.
func (m *Match) AppendShape(g *graph.Graph, b []byte) []byte {
	for i := range m.Pattern.bound {
		if v := m.Named(g, i); v != graph.None {
			b = g.Type(v).AppendKey(append(b, 1))
		} else {
			b = append(b, 0)
		}
	}
	for _, a := range m.Vars {
		b = graph.AppendAttrKey(b, a)
	}
	return b
}

func (m *Match) resolve(g *graph.Graph, r ref) graph.ValueID {
	switch r.kind {
	case refNode:
		if id := m.Nodes[r.i]; id >= 0 {
			return g.Node(id).Out[r.res]
		}
	case refValue:
		if v := m.Values[r.i]; v >= 0 {
			return v
		}
	}
	return graph.None
}

// Var returns the value of a $variable, or nil.
func (m *Match) Var(name string) graph.Attr {
	for i, n := range m.Pattern.vars {
		if n == name {
			return m.Vars[i]
		}
	}
	return nil
}

// Bindings returns the names of the match for building expressions.
func (m *Match) Bindings(g *graph.Graph) *graph.Bindings {
	b := &graph.Bindings{Values: make(map[string]graph.ValueID, len(m.Pattern.names)), Vars: make(map[string]graph.Attr, len(m.Vars))}
	for i, name := range m.Pattern.names {
		b.Values[name] = m.Named(g, i)
	}
	for i, name := range m.Pattern.vars {
		if m.Vars[i] != nil {
			b.Vars[name] = m.Vars[i]
		}
	}
	return b
}

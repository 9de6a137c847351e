package matcher

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
)

// Codes say why a match stopped. They are stable: JSON output and tests name them.
const (
	CodeOp           = "match/op"            // another op than expected
	CodeOperands     = "match/operands"      // another number of operands
	CodeAbsent       = "match/absent"        // an operand that must be there is not
	CodePresent      = "match/present"       // an operand that must not be there is
	CodeBound        = "match/bound"         // a repeated name would stand for two values
	CodeDistinct     = "match/distinct"      // two names would stand for one node
	CodeLiteral      = "match/literal"       // a constant differs, or is none
	CodeAttr         = "match/attr"          // an attribute differs
	CodeNoReader     = "match/no-reader"     // no node of the expected op reads the value
	CodeWhen         = "match/when"          // the condition of a fragment's spelling is false
	CodeEscape       = "match/escape"        // an inner value is used outside
	CodeEscapeOutput = "match/escape-output" // an inner value is a result of the graph
	CodeConvex       = "match/convex"        // a path leaves the match and comes back
	CodeFuel         = "match/fuel"          // too many ways to try
)

// Miss is a place where a pattern nearly fits. It is data; Text formats it.
type Miss struct {
	Pattern *Pattern
	Anchor  graph.NodeID
	Node    graph.NodeID // where matching stopped
	Matched int          // nodes that were bound then
	Code    string

	at, item int
	value    graph.ValueID
	vars     []graph.Attr
}

// Clone returns a copy that lasts.
func (m *Miss) Clone() *Miss {
	c := *m
	c.vars = slices.Clone(m.vars)
	return &c
}

// Text is expected and observed at the place where matching stopped, for people. g must
// be the graph that was searched.
func (m *Miss) Text(g *graph.Graph) (expected, observed string) {
	p := m.Pattern
	pn := &p.nodes[min(m.at, len(p.nodes)-1)]
	n := g.Node(m.Node)
	describe := func(v graph.ValueID) string {
		if v == graph.None {
			return "nothing"
		}
		if l := g.Literal(v); l != nil {
			return "constant " + l.String()
		}
		if name := g.InputName(v); name != "" {
			return name
		}
		return g.Def(v).Op.Name
	}
	operand := func() string { return pn.op.Name + " operand " + operandName(pn.op, m.item) }
	switch m.Code {
	case CodeOp:
		return p.place(m.at) + pn.op.Name, n.Op.Name
	case CodeOperands:
		return fmt.Sprintf("%s of %d operands", pn.op.Name, len(pn.in)), fmt.Sprintf("%d operands", len(n.In))
	case CodeAbsent:
		return operand(), "no such operand"
	case CodePresent:
		return "no " + operand(), describe(m.value)
	case CodeBound:
		return fmt.Sprintf("%s to be the same %s as before", operand(), p.refName(pn.in[m.item])), describe(m.value)
	case CodeDistinct:
		if m.value != graph.None {
			return "operands that the match does not make", "one is " + p.placeOr(m.at, pn.op.Name)
		}
		return fmt.Sprintf("another %s for %s", pn.op.Name, p.place(m.at)), "the node that another name stands for"
	case CodeLiteral:
		if r := pn.in[m.item]; r.kind == refLiteral {
			return fmt.Sprintf("%s to be the constant %v, rounded", operand(), r.num), describe(m.value)
		}
		return operand() + " to be a scalar constant, the same everywhere", describe(m.value)
	case CodeAttr:
		spec := pn.op.Attrs[m.item]
		got := "absent"
		if a := n.Attrs[m.item]; a != nil {
			got = graph.AttrText(spec.Kind, a)
		}
		return fmt.Sprintf("%s %s=%s", pn.op.Name, spec.Name, p.attrText(pn.attrs[m.item], spec, m.vars)), spec.Name + "=" + got
	case CodeNoReader:
		what := "a value"
		if m.value != graph.None {
			what = describe(m.value)
		}
		return fmt.Sprintf("%s%s that reads %s", p.place(m.at), pn.op.Name, what), "no such reader"
	case CodeWhen:
		return "when: " + p.whens[m.item].guard.Text, "false"
	case CodeEscape:
		return fmt.Sprintf("%s to be used inside the match only", p.placeOr(m.at, pn.op.Name)), fmt.Sprintf("%s reads it at %q", n.Op.Name, n.Scope)
	case CodeConvex:
		return "nodes of one place", fmt.Sprintf("a path from %s leaves the match and comes back to it", p.placeOr(m.at, pn.op.Name))
	case CodeEscapeOutput:
		return fmt.Sprintf("%s to be used inside the match only", p.placeOr(m.at, pn.op.Name)), "it is a result of the graph"
	}
	return "a match within bounds", "too many ways to try"
}

// place names the line that a pattern node is, or belongs to.
func (p *Pattern) place(q int) string {
	if name := p.nodes[q].name; name != "" {
		return name + ": "
	}
	return ""
}

func (p *Pattern) placeOr(q int, other string) string {
	if name := p.nodes[q].name; name != "" {
		return name
	}
	return other
}

func operandName(op *graph.Op, i int) string {
	if op.Variadic {
		return fmt.Sprint(i)
	}
	return op.Operands[i].Name
}

func (p *Pattern) refName(r ref) string {
	switch r.kind {
	case refValue:
		return p.values[r.i]
	case refNode:
		return p.placeOr(r.i, p.nodes[r.i].op.Name)
	}
	return "value"
}

func (p *Pattern) attrText(a pattr, spec graph.AttrSpec, vars []graph.Attr) string {
	switch a.kind {
	case attrDefault:
		if a.value == nil {
			return "absent"
		}
		return graph.AttrText(spec.Kind, a.value) + " (the default; not written in the rule)"
	case attrConst:
		return graph.AttrText(spec.Kind, a.value)
	case attrVar:
		if a.v < len(vars) && vars[a.v] != nil {
			return fmt.Sprintf("$%s, which is %s", p.vars[a.v], vars[a.v])
		}
		return "$" + p.vars[a.v]
	}
	// An expression, and what its variables have been bound to.
	text, where := a.src.String(), ""
	for i, name := range p.vars {
		if i < len(vars) && vars[i] != nil && slices.ContainsFunc(a.ints, func(e *intExpr) bool { return e.reads(i) }) {
			where += fmt.Sprintf(", $%s is %s", name, vars[i])
		}
	}
	return text + where
}

// Line returns the name of the pattern line where matching stopped.
func (m *Miss) Line() string {
	if m.Code == CodeWhen {
		return m.Pattern.whens[m.item].line
	}
	return m.Pattern.nodes[m.at].line
}

// Better reports whether m got further than o: more nodes matched, or as many of a
// smaller pattern, which lacks less.
func (m *Miss) Better(o *Miss) bool {
	return o == nil || m.Matched > o.Matched || m.Matched == o.Matched && m.Pattern.Size() < o.Pattern.Size()
}

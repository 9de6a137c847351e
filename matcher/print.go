package matcher

import (
	"fmt"
	"strings"

	"zmlx-rewrite/graph"
)

// String prints the pattern, a node a line: what a rule has become when its fragments,
// any(…) and optional(…) are expanded. Nodes inside a line are _0, _1, …; "..." stands for
// attributes that are not looked at.
func (p *Pattern) String() string {
	var b strings.Builder
	for q := range p.nodes {
		n := &p.nodes[q]
		names := make([]string, max(1, n.op.Results))
		for res := range names {
			names[res] = p.text(ref{kind: refNode, i: q, res: res})
		}
		args := make([]string, 0, len(n.in)+len(n.attrs))
		for _, r := range n.in {
			args = append(args, p.text(r))
		}
		for len(args) > 0 && args[len(args)-1] == "none" {
			args = args[:len(args)-1]
		}
		open := false
		for i, a := range n.attrs {
			switch a.kind {
			case attrDefault:
			case attrAny:
				open = true
			default:
				args = append(args, n.op.Attrs[i].Name+"="+p.attr(&a, n.op.Attrs[i].Kind))
			}
		}
		if open {
			args = append(args, "...")
		}
		fmt.Fprintf(&b, "%s = %s(%s)\n", strings.Join(names, ", "), n.op.Name, strings.Join(args, ", "))
	}
	for _, x := range p.preset {
		fmt.Fprintf(&b, "$%s = %s\n", p.vars[x.v], x.attr)
	}
	for _, w := range p.whens {
		fmt.Fprintf(&b, "when %s\n", w.guard.Text)
	}
	list := func(what string, names []string) { fmt.Fprintf(&b, "%s %s\n", what, strings.Join(names, ", ")) }
	var results []string
	for _, r := range p.results {
		results = append(results, p.text(r.ref))
	}
	list("results", results)
	for _, group := range p.twins {
		var names []string
		for _, q := range group {
			names = append(names, p.text(ref{kind: refNode, i: q}))
		}
		list("twins", names)
	}
	return b.String()
}

// text prints what an operand stands for.
func (p *Pattern) text(r ref) string {
	switch r.kind {
	case refNode:
		name := p.nodes[r.i].name
		if name == "" {
			name = fmt.Sprintf("_%d", r.i)
		}
		if p.nodes[r.i].op.Results > 1 {
			name = fmt.Sprintf("%s.%d", name, r.res)
		}
		return name
	case refValue:
		if r.optional {
			return p.values[r.i] + "?"
		}
		return p.values[r.i]
	case refScalar:
		return "$" + p.vars[r.i]
	case refLiteral:
		if text := fmt.Sprint(r.num); r.whole || strings.ContainsAny(text, ".e") {
			return text
		} else {
			return text + ".0"
		}
	}
	return "none"
}

func (p *Pattern) attr(a *pattr, kind graph.AttrKind) string {
	switch a.kind {
	case attrConst:
		return graph.AttrText(kind, a.value)
	case attrVar:
		return "$" + p.vars[a.v]
	}
	items := make([]string, len(a.ints))
	for i, e := range a.ints {
		items[i] = p.integer(e)
	}
	if a.kind == attrInt {
		return items[0]
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func (p *Pattern) integer(e *intExpr) string {
	switch e.op {
	case 'n':
		return fmt.Sprint(e.n)
	case 'v':
		return "$" + p.vars[e.v]
	case 'd':
		return fmt.Sprintf("dim(%s, %d)", p.text(e.ref), e.n)
	case 'r':
		return fmt.Sprintf("rows(%s)", p.text(e.ref))
	case 's':
		return fmt.Sprintf("size(%s)", p.text(e.ref))
	}
	if e.op == '-' && e.l.op == 'n' && e.l.n == 0 {
		return "-" + p.integer(e.r)
	}
	return fmt.Sprintf("(%s %c %s)", p.integer(e.l), e.op, p.integer(e.r))
}

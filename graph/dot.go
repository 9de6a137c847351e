package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Picture is what DOT, Mermaid and reports draw: boxes with lines of text, and labelled
// arrows between them.
type Picture struct {
	Boxes  []Box
	Arrows []Arrow
}

// Box is a node, or what a value comes from or goes to.
type Box struct {
	ID    string
	Lines []string
	Round bool // an input or output of what is drawn
}

// Arrow is a value on its way from one box, by its ID, to another.
type Arrow struct{ From, To, Label string }

// Draw pictures the nodes whose scope is the given one or lies inside it; all
// nodes if it is empty. Parameters and scalars are not boxes of their own: they
// stand by name in the boxes that read them.
func (g *Graph) Draw(scope string) *Picture {
	p := &Picture{}
	inside := make([]bool, len(g.nodes))
	drawn := map[ValueID]bool{} // values from outside that have a box
	for i := range g.nodes {
		n := &g.nodes[i]
		inside[i] = scope == "" || n.Scope == scope || strings.HasPrefix(n.Scope, scope+".")
	}
	text := func(v ValueID) (string, bool) {
		if v == None {
			return "none", true
		}
		n := g.Def(v)
		if n.Op == opParam {
			return g.InputName(v), true
		}
		if l := g.Literal(v); l != nil && len(l.Shape) == 0 {
			return l.String(), true
		}
		return "", false
	}
	from := func(v ValueID) string {
		n := g.Def(v)
		if inside[g.values[v].Def] && n.Op != opInput {
			return fmt.Sprintf("n%d", g.values[v].Def)
		}
		id := fmt.Sprintf("x%d", v)
		if !drawn[v] {
			drawn[v] = true
			label := []string{g.InputName(v)}
			if n.Op != opInput {
				label = []string{n.Op.Name, n.Scope}
			}
			p.Boxes = append(p.Boxes, Box{id, label, true})
		}
		return id
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		if !inside[i] || n.Op == opInput || n.Op == opParam {
			continue
		}
		if _, inline := text(n.Out[0]); inline {
			continue
		}
		id := fmt.Sprintf("n%d", i)
		b := Box{ID: id, Lines: []string{n.Op.Name}}
		if n.Scope != scope {
			b.Lines = append(b.Lines, strings.TrimPrefix(n.Scope, scope+"."))
		}
		for k, v := range n.In {
			operand := fmt.Sprintf("operand %d", k)
			if k < len(n.Op.Operands) && !n.Op.Variadic {
				operand = n.Op.Operands[k].Name
			}
			if s, ok := text(v); ok {
				if v != None {
					b.Lines = append(b.Lines, operand+": "+s)
				}
				continue
			}
			p.Arrows = append(p.Arrows, Arrow{from(v), id, g.Type(v).String()})
		}
		for k, a := range n.Attrs {
			spec := &n.Op.Attrs[k]
			if a == nil || spec.Default != nil && spec.Default.Equal(a) {
				continue
			}
			s := "bytes of " + g.Type(n.Out[0]).String()
			if spec.Kind != KindLiteral {
				s = AttrText(spec.Kind, a)
			}
			b.Lines = append(b.Lines, spec.Name+"="+s)
		}
		p.Boxes = append(p.Boxes, b)
	}
	// What leaves the picture: the graph's outputs, and one arrow a value that is
	// read outside.
	for k, o := range g.outputs {
		if !inside[g.values[o.Value].Def] {
			continue
		}
		b := Box{fmt.Sprintf("out%d", k), []string{o.Name}, true}
		if s, inline := text(o.Value); inline {
			b.Lines = append(b.Lines, s)
		} else {
			p.Arrows = append(p.Arrows, Arrow{from(o.Value), b.ID, g.Type(o.Value).String()})
		}
		p.Boxes = append(p.Boxes, b)
	}
	left := map[ValueID]bool{}
	for i := range g.nodes {
		for _, v := range g.nodes[i].In {
			if inside[i] || v == None || left[v] || !inside[g.values[v].Def] || g.Def(v).Op.IsLeaf() {
				continue
			}
			left[v] = true
			id := fmt.Sprintf("y%d", v)
			p.Boxes = append(p.Boxes, Box{id, []string{g.nodes[i].Op.Name, g.nodes[i].Scope}, true})
			p.Arrows = append(p.Arrows, Arrow{from(v), id, g.Type(v).String()})
		}
	}
	return p
}

// DOT returns a picture of the graph, or of the part under a scope such as
// "model.layers.0", in the language of Graphviz.
func (g *Graph) DOT(scope string) string {
	p := g.Draw(scope)
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
	}
	var b strings.Builder
	b.WriteString("digraph {\n\tnode [shape=box, fontname=\"monospace\"]\n\tedge [fontname=\"monospace\", fontsize=10]\n")
	for _, x := range p.Boxes {
		style := ""
		if x.Round {
			style = ", style=rounded"
		}
		fmt.Fprintf(&b, "\t%s [label=%s%s]\n", x.ID, quote(joinLines(x.Lines)), style)
	}
	for _, a := range p.Arrows {
		fmt.Fprintf(&b, "\t%s -> %s [label=%s]\n", a.From, a.To, quote(a.Label))
	}
	b.WriteString("}\n")
	return b.String()
}

// Mermaid returns the same picture in the language of Mermaid, which Markdown
// viewers draw.
func (g *Graph) Mermaid(scope string) string {
	p := g.Draw(scope)
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "\n", "<br>").Replace(s) + `"`
	}
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, x := range p.Boxes {
		open, shut := "[", "]"
		if x.Round {
			open, shut = "([", "])"
		}
		fmt.Fprintf(&b, "  %s%s%s%s\n", x.ID, open, quote(joinLines(x.Lines)), shut)
	}
	for _, a := range p.Arrows {
		fmt.Fprintf(&b, "  %s -->|%s| %s\n", a.From, quote(a.Label), a.To)
	}
	return b.String()
}

func joinLines(lines []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return s == "" }), "\n")
}

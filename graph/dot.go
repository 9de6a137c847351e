package graph

import (
	"fmt"
	"slices"
	"strings"
)

// picture is what DOT and Mermaid draw: boxes with lines of text, and labelled
// arrows between them.
type picture struct {
	boxes  []box
	arrows []arrow
}

type box struct {
	id    string
	lines []string
	round bool // an input or output of what is drawn
}

type arrow struct{ from, to, label string }

// draw pictures the nodes whose scope is the given one or lies inside it; all
// nodes if it is empty. Parameters and scalars are not boxes of their own: they
// stand by name in the boxes that read them.
func (g *Graph) draw(scope string) *picture {
	p := &picture{}
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
			p.boxes = append(p.boxes, box{id, label, true})
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
		b := box{id: id, lines: []string{n.Op.Name}}
		if n.Scope != scope {
			b.lines = append(b.lines, strings.TrimPrefix(n.Scope, scope+"."))
		}
		for k, v := range n.In {
			operand := fmt.Sprintf("operand %d", k)
			if k < len(n.Op.Operands) && !n.Op.Variadic {
				operand = n.Op.Operands[k].Name
			}
			if s, ok := text(v); ok {
				if v != None {
					b.lines = append(b.lines, operand+": "+s)
				}
				continue
			}
			p.arrows = append(p.arrows, arrow{from(v), id, g.Type(v).String()})
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
			b.lines = append(b.lines, spec.Name+"="+s)
		}
		p.boxes = append(p.boxes, b)
	}
	// What leaves the picture: the graph's outputs, and one arrow a value that is
	// read outside.
	for k, o := range g.outputs {
		if !inside[g.values[o.Value].Def] {
			continue
		}
		b := box{fmt.Sprintf("out%d", k), []string{o.Name}, true}
		if s, inline := text(o.Value); inline {
			b.lines = append(b.lines, s)
		} else {
			p.arrows = append(p.arrows, arrow{from(o.Value), b.id, g.Type(o.Value).String()})
		}
		p.boxes = append(p.boxes, b)
	}
	left := map[ValueID]bool{}
	for i := range g.nodes {
		for _, v := range g.nodes[i].In {
			if inside[i] || v == None || left[v] || !inside[g.values[v].Def] || g.Def(v).Op.IsLeaf() {
				continue
			}
			left[v] = true
			id := fmt.Sprintf("y%d", v)
			p.boxes = append(p.boxes, box{id, []string{g.nodes[i].Op.Name, g.nodes[i].Scope}, true})
			p.arrows = append(p.arrows, arrow{from(v), id, g.Type(v).String()})
		}
	}
	return p
}

// DOT returns a picture of the graph, or of the part under a scope such as
// "model.layers.0", in the language of Graphviz.
func (g *Graph) DOT(scope string) string {
	p := g.draw(scope)
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
	}
	var b strings.Builder
	b.WriteString("digraph {\n\tnode [shape=box, fontname=\"monospace\"]\n\tedge [fontname=\"monospace\", fontsize=10]\n")
	for _, x := range p.boxes {
		style := ""
		if x.round {
			style = ", style=rounded"
		}
		fmt.Fprintf(&b, "\t%s [label=%s%s]\n", x.id, quote(joinLines(x.lines)), style)
	}
	for _, a := range p.arrows {
		fmt.Fprintf(&b, "\t%s -> %s [label=%s]\n", a.from, a.to, quote(a.label))
	}
	b.WriteString("}\n")
	return b.String()
}

// Mermaid returns the same picture in the language of Mermaid, which Markdown
// viewers draw.
func (g *Graph) Mermaid(scope string) string {
	p := g.draw(scope)
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "\n", "<br>").Replace(s) + `"`
	}
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, x := range p.boxes {
		open, shut := "[", "]"
		if x.round {
			open, shut = "([", "])"
		}
		fmt.Fprintf(&b, "  %s%s%s%s\n", x.id, open, quote(joinLines(x.lines)), shut)
	}
	for _, a := range p.arrows {
		fmt.Fprintf(&b, "  %s -->|%s| %s\n", a.from, quote(a.label), a.to)
	}
	return b.String()
}

func joinLines(lines []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return s == "" }), "\n")
}

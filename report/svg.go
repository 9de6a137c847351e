package report

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
)

// Sizes of a drawing, in units of SVG.
const (
	charWidth  = 7.3 // of the monospaced text, on average
	lineHeight = 16.0
	padding    = 8.0
	gapX       = 22.0
	gapY       = 34.0
)

// cell is a box of a drawing, or the place where an arrow passes a layer.
type cell struct {
	box    *graph.Box
	faint  string // the type of what leaves the box
	layer  int
	x      float64 // of its middle
	w, h   float64
	weight float64 // where the cells that it hangs on stand
	up     []*cell // that it hangs on, in the order of its operands
	down   []*cell
}

// SVG draws a graph from its inputs downwards: each node stands below all that it reads.
// Meant for graphs of tens of nodes, as rules have. A scope that all nodes have is left out.
func SVG(g *graph.Graph, scope, title string) string {
	p := g.Draw("")
	for i := range p.Boxes {
		p.Boxes[i].Lines = slices.DeleteFunc(p.Boxes[i].Lines, func(s string) bool { return s == scope })
	}
	return Drawing(p, title)
}

// Arrowhead is what the arrows of drawings end with: once in each page that has some.
const Arrowhead = `<svg width="0" height="0" aria-hidden="true"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs></svg>`

// Drawing draws a picture without cycles as SVG does.
func Drawing(p *graph.Picture, title string) string {
	layers := layOut(p)
	var width, height float64
	tops := make([]float64, len(layers))
	for i, layer := range layers {
		tops[i] = height
		h := 0.0
		for _, c := range layer {
			h = max(h, c.h)
			width = max(width, c.x+c.w/2)
		}
		for _, c := range layer {
			if c.box == nil {
				c.h = h
			}
		}
		height += h + gapY
	}
	width, height = width+4, max(0, height-gapY)+4
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="-2 -2 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n", width+2, height+2, width, height, html.EscapeString(title))
	for i, layer := range layers {
		for _, c := range layer {
			for k, u := range c.up {
				x2 := c.x
				if c.box != nil {
					x2 = c.x - c.w/2 + c.w*(float64(k)+1)/(float64(len(c.up))+1)
				}
				y1, y2 := tops[u.layer]+u.h, tops[i]
				start := y1
				if u.box == nil { // straight past the boxes of its layer
					start = tops[u.layer]
				}
				end := ""
				if c.box != nil {
					end = ` marker-end="url(#arrow)"`
				}
				fmt.Fprintf(&b, `<path class="edge" d="M%.1f %.1fV%.1fC%.1f %.1f %.1f %.1f %.1f %.1f"%s/>`+"\n", u.x, start, y1, u.x, (y1+y2)/2, x2, (y1+y2)/2, x2, y2, end)
			}
		}
	}
	for i, layer := range layers {
		for _, c := range layer {
			if c.box == nil {
				continue
			}
			class, round := "node", 3.0
			if c.box.Round {
				class, round = "leaf", 12.0
			} else if strings.HasPrefix(c.box.Lines[0], graph.KernelPrefix) {
				class = "node made"
			}
			fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f"/>`, class, c.x-c.w/2, tops[i], c.w, c.h, round)
			for k, line := range c.text() {
				style := ""
				if k > 0 {
					style = ` class="faint"`
				}
				fmt.Fprintf(&b, `<text%s x="%.1f" y="%.1f">%s</text>`, style, c.x, tops[i]+padding/2+lineHeight*(float64(k)+0.8), html.EscapeString(line))
			}
			b.WriteByte('\n')
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c *cell) text() []string {
	lines := slices.DeleteFunc(slices.Clone(c.box.Lines), func(s string) bool { return s == "" })
	if c.faint != "" {
		lines = append(lines, c.faint)
	}
	return lines
}

// layOut puts boxes into layers, each below all that it hangs on; where an arrow passes
// a layer it has a place of its own. Within a layer, cells stand in the order of what
// they hang on, which a few sweeps settle.
func layOut(p *graph.Picture) [][]*cell {
	cells := map[string]*cell{}
	var all []*cell
	for i := range p.Boxes {
		c := &cell{box: &p.Boxes[i]}
		cells[c.box.ID] = c
		all = append(all, c)
	}
	for _, a := range p.Arrows {
		if c := cells[a.From]; c.faint == "" {
			c.faint = a.Label
		}
	}
	for again := true; again; { // graphs have no cycles
		again = false
		for _, a := range p.Arrows {
			if from, to := cells[a.From], cells[a.To]; to.layer <= from.layer {
				to.layer, again = from.layer+1, true
			}
		}
	}
	// An input stands right above what reads it first.
	for _, c := range all {
		if first := -1; c.layer == 0 {
			for _, a := range p.Arrows {
				if a.From == c.box.ID && (first < 0 || cells[a.To].layer < first) {
					first = cells[a.To].layer
				}
			}
			c.layer = max(0, first-1)
		}
	}
	for _, c := range all {
		text := c.text()
		for _, line := range text {
			c.w = max(c.w, charWidth*float64(len([]rune(line))))
		}
		c.w += 2 * padding
		c.h = lineHeight*float64(len(text)) + padding
	}
	passing := map[string]*cell{} // by source and layer: arrows of one value run together
	for _, a := range p.Arrows {
		from, to := cells[a.From], cells[a.To]
		for layer := from.layer + 1; layer < to.layer; layer++ {
			key := fmt.Sprint(a.From, " ", layer)
			if passing[key] == nil {
				c := &cell{layer: layer, w: 2, up: []*cell{from}}
				passing[key] = c
				all = append(all, c)
				from.down = append(from.down, c)
			}
			from = passing[key]
		}
		to.up = append(to.up, from)
		from.down = append(from.down, to)
	}
	depth := 0
	for _, c := range all {
		depth = max(depth, c.layer+1)
	}
	layers := make([][]*cell, depth)
	for _, c := range all {
		layers[c.layer] = append(layers[c.layer], c)
	}
	place := func(layer []*cell) {
		x := 0.0
		for _, c := range layer {
			c.x = x + c.w/2
			x += c.w + gapX
		}
		for _, c := range layer { // about the middle 0
			c.x -= (x - gapX) / 2
		}
	}
	for _, layer := range layers {
		place(layer)
	}
	sweep := func(layer []*cell, near func(*cell) []*cell) {
		for _, c := range layer {
			c.weight = c.x
			if list := near(c); len(list) > 0 {
				sum := 0.0
				for _, u := range list {
					sum += u.x
				}
				c.weight = sum / float64(len(list))
			}
		}
		slices.SortStableFunc(layer, func(a, b *cell) int { return cmp.Compare(a.weight, b.weight) })
		place(layer)
	}
	for range 4 {
		for i := 1; i < depth; i++ {
			sweep(layers[i], func(c *cell) []*cell { return c.up })
		}
		for i := depth - 2; i >= 0; i-- {
			sweep(layers[i], func(c *cell) []*cell { return c.down })
		}
	}
	left := 0.0
	for _, c := range all {
		left = min(left, c.x-c.w/2)
	}
	for _, c := range all {
		c.x -= left
	}
	return layers
}

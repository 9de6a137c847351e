package capsule

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// Replacement is what a rule took and what it put there, as drawings, so that they can be
// shown without the model and by versions that have other ops.
type Replacement struct {
	Rule   string  `json:"rule"`
	Round  int     `json:"found_in_round" jsonschema:"1 if it was found in the program as loaded, more if in what other rules had made"`
	Saved  int     `json:"saved" jsonschema:"launches"`
	Before Picture `json:"before"`
	After  Picture `json:"after"`
}

// Picture is a graph as boxes and arrows.
type Picture struct {
	Boxes  []Box   `json:"boxes"`
	Arrows []Arrow `json:"arrows"`
}

// Box is an op with its operands and attributes, or what comes in or goes out.
type Box struct {
	Lines []string `json:"lines"`
	Leaf  bool     `json:"leaf,omitempty"`
}

// Arrow is a value on its way from one box to a later one.
type Arrow struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Type string `json:"type"`
}

// PictureOf draws a graph.
func PictureOf(g *graph.Graph) Picture {
	p := g.Draw("")
	out := Picture{Boxes: []Box{}, Arrows: []Arrow{}}
	at := map[string]int{}
	for i, b := range p.Boxes {
		at[b.ID] = i
		lines := []string{}
		for _, l := range b.Lines {
			if l != "" {
				lines = append(lines, cut(l))
			}
		}
		out.Boxes = append(out.Boxes, Box{lines, b.Round})
	}
	for _, a := range p.Arrows {
		out.Arrows = append(out.Arrows, Arrow{at[a.From], at[a.To], a.Label})
	}
	return out
}

// cut keeps the beginning of a line, such as that of a long list of numbers.
func cut(s string) string {
	if r := []rune(s); len(r) > maxText/8 {
		return string(r[:maxText/8-1]) + "…"
	}
	return s
}

// Drawing is the picture as package report draws it.
func (p *Picture) Drawing() *graph.Picture {
	out := &graph.Picture{}
	for i, b := range p.Boxes {
		out.Boxes = append(out.Boxes, graph.Box{ID: fmt.Sprint(i), Lines: b.Lines, Round: b.Leaf})
	}
	for _, a := range p.Arrows {
		out.Arrows = append(out.Arrows, graph.Arrow{From: fmt.Sprint(a.From), To: fmt.Sprint(a.To), Label: a.Type})
	}
	return out
}

// What a file may hold of drawings: more than any rule has, and little enough to lay out.
const (
	maxReplacements = 256
	maxBoxes        = 200
	maxArrows       = 500
	maxLines        = 40
	maxText         = 400   // bytes of a line
	maxReplaced     = 20000 // places, of all layers
)

// check reports what cannot be drawn. Arrows that only go forwards are no cycle.
func (p *Picture) check() error {
	if len(p.Boxes) < 1 || len(p.Boxes) > maxBoxes || len(p.Arrows) > maxArrows {
		return fmt.Errorf("a drawing of %d boxes and %d arrows", len(p.Boxes), len(p.Arrows))
	}
	for _, b := range p.Boxes {
		if len(b.Lines) < 1 || len(b.Lines) > maxLines {
			return fmt.Errorf("a box of %d lines", len(b.Lines))
		}
		for _, l := range b.Lines {
			if len(l) > maxText {
				return fmt.Errorf("a line of %d bytes", len(l))
			}
		}
	}
	for _, a := range p.Arrows {
		if a.From < 0 || a.From >= a.To || a.To >= len(p.Boxes) {
			return fmt.Errorf("an arrow from box %d to box %d of %d", a.From, a.To, len(p.Boxes))
		}
	}
	return nil
}

func checkReplacements(list []Replacement, layers []Layer) error {
	if len(list) > maxReplacements {
		return fmt.Errorf("%d replacements", len(list))
	}
	for i := range list {
		one := &list[i]
		if len(one.Rule) > maxText {
			return fmt.Errorf("replacement %d is of a rule with a name of %d bytes", i, len(one.Rule))
		}
		for _, p := range []*Picture{&one.Before, &one.After} {
			if err := p.check(); err != nil {
				return fmt.Errorf("replacement %d, of rule %s: %w", i, one.Rule, err)
			}
		}
	}
	places := 0
	for _, l := range layers {
		if places += len(l.Replaced); places > maxReplaced {
			return fmt.Errorf("more than %d places with a replacement", maxReplaced)
		}
		for _, k := range l.Replaced {
			if k < 0 || k >= len(list) {
				return fmt.Errorf("%s has replacement %d of %d", l.Scope, k, len(list))
			}
		}
	}
	return nil
}

func (r *Rewrite) check() error {
	if err := checkReplacements(r.Replacements, r.Launches); err != nil {
		return err
	}
	if q := r.Quantized; q != nil {
		if err := checkReplacements(q.Replacements, q.Launches); err != nil {
			return fmt.Errorf("with a quantized cache: %w", err)
		}
	}
	return nil
}

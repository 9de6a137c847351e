package convert

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
)

// This file makes one case over symbols of traces that are the same but for their
// dimensions: what package models builds from a configuration, recovered from calls.

// class is a graph and the traces that it is.
type class struct {
	graph  *graph.Graph
	traces []int
	merged bool // graph has symbols
}

// merge replaces cases that are one graph for several calls by that graph. The cases
// are in normal form. It returns why cases that look alike were left apart.
func merge(cases []graph.Case, bindings []binding) ([]graph.Case, []normal.Note) {
	sample := func(i int) normal.Sample { return normal.Sample{Graph: cases[i].Graph, Env: bindings[i].env} }
	var alike []class // traces of the same nodes
	for i, c := range cases {
		k := slices.IndexFunc(alike, func(x class) bool { return normal.SameNodes(x.graph, c.Graph) })
		if k < 0 {
			k = len(alike)
			alike = append(alike, class{graph: c.Graph})
		}
		alike[k].traces = append(alike[k].traces, i)
	}
	var classes []class
	var notes []normal.Note
	for _, a := range alike {
		if len(a.traces) > 1 {
			samples := make([]normal.Sample, len(a.traces))
			for k, i := range a.traces {
				samples[k] = sample(i)
			}
			g, err := normal.Generalize(samples, bindings[a.traces[0]].dims)
			if err == nil {
				classes = append(classes, class{g, a.traces, true})
				continue
			}
			notes = append(notes, normal.Note{What: fmt.Sprintf("%s have the same nodes, but stay apart: %v", traceNames(cases, a.traces), err)})
		}
		for _, i := range a.traces {
			classes = append(classes, class{cases[i].Graph, []int{i}, false})
		}
	}
	// With a dimension of 1 more is folded, so that a trace may have other nodes than those
	// of the graph that it is.
	for k := 0; k < len(classes); k++ {
		c := classes[k]
		if c.merged {
			continue
		}
		i := c.traces[0]
		for m := range classes {
			if !classes[m].merged {
				continue
			}
			if is, err := normal.IsSample(classes[m].graph, sample(i)); err == nil && is {
				classes[m].traces = append(classes[m].traces, i)
				classes = slices.Delete(classes, k, k+1)
				k--
				break
			}
		}
	}
	for _, c := range classes {
		slices.Sort(c.traces)
	}
	slices.SortFunc(classes, func(a, b class) int { return a.traces[0] - b.traces[0] })

	conds := conditions(classes, bindings, false)
	if conds == nil {
		conds = conditions(classes, bindings, true)
	}
	var out []graph.Case
	used := map[string]int{}
	for k, c := range classes {
		one := graph.Case{Name: cases[c.traces[0]].Name, When: cases[c.traces[0]].When, Graph: c.graph}
		if conds != nil {
			one.When = conds[k]
		}
		if c.merged {
			one.Name = "prefill"
			if bindings[c.traces[0]].env[graph.SymSeqLen] == 1 {
				one.Name = "decode"
			}
			if used[one.Name]++; used[one.Name] > 1 {
				one.Name = fmt.Sprintf("%s%d", one.Name, used[one.Name])
			}
		}
		out = append(out, one)
	}
	return out, notes
}

func traceNames(cases []graph.Case, traces []int) string {
	text := ""
	for k, i := range traces {
		switch {
		case k > 0 && k == len(traces)-1:
			text += " and "
		case k > 0:
			text += ", "
		}
		text += cases[i].Name
	}
	return text
}

// conditions says when each class applies: between two of its traces, symbol by symbol.
// What a model does differently from some size on, it does from there on, so that what
// lies between two calls that are alike is like them; beyond them, nobody looked. The
// capacity of caches is left out, unless capacity says so. It is nil if
// a trace would not find its own class.
func conditions(classes []class, bindings []binding, capacity bool) []graph.Cond {
	point := func(i int) ([]string, []int64) {
		names := bindings[i].named
		for _, sym := range []string{graph.SymKVCap, graph.SymWindowCap} {
			if _, ok := bindings[i].env[sym]; ok && capacity && !slices.Contains(names, sym) {
				names = append(slices.Clone(names), sym)
			}
		}
		at := make([]int64, len(names))
		for k, name := range names {
			at[k] = bindings[i].env[name]
		}
		return names, at
	}
	type box struct{ low, high []int64 }
	holds := func(b box, at []int64) bool {
		for k := range at {
			if at[k] < b.low[k] || at[k] > b.high[k] {
				return false
			}
		}
		return true
	}
	var conds []graph.Cond
	var all [][]box
	for _, c := range classes {
		var boxes []box
		names, _ := point(c.traces[0])
		for _, i := range c.traces {
			for _, j := range c.traces {
				_, low := point(i)
				_, high := point(j)
				b := box{low, high}
				if !holds(b, low) {
					continue // not the one below the other
				}
				others := func(d class) bool {
					return !slices.Equal(d.traces, c.traces) && slices.ContainsFunc(d.traces, func(t int) bool { _, at := point(t); return holds(b, at) })
				}
				if i != j && slices.ContainsFunc(classes, others) {
					continue
				}
				boxes = append(boxes, b)
			}
		}
		// Boxes within others say nothing.
		var largest []box
		for k, b := range boxes {
			within := func(n int) bool {
				d := boxes[n]
				return n != k && holds(d, b.low) && holds(d, b.high) && (!(holds(b, d.low) && holds(b, d.high)) || n < k)
			}
			inside := false
			for n := range boxes {
				inside = inside || within(n)
			}
			if !inside {
				largest = append(largest, b)
			}
		}
		all = append(all, largest)
		var or []graph.Cond
		for _, b := range largest {
			var and []graph.Cond
			for k, name := range names {
				sym, low, high := graph.Sym(name), graph.N(b.low[k]), graph.N(b.high[k])
				if low == high {
					and = append(and, graph.Compare(sym, graph.EQ, low))
				} else {
					and = append(and, graph.Compare(sym, graph.GE, low), graph.Compare(sym, graph.LE, high))
				}
			}
			or = append(or, graph.And(and...))
		}
		conds = append(conds, graph.Or(or...))
	}
	for k, c := range classes {
		for _, i := range c.traces {
			_, at := point(i)
			first := slices.IndexFunc(all, func(boxes []box) bool {
				return slices.ContainsFunc(boxes, func(b box) bool { return len(b.low) == len(at) && holds(b, at) })
			})
			if first != k {
				return nil
			}
		}
	}
	return conds
}

package matcher

import (
	"fmt"
	"slices"
	"strings"
)

// twins groups results that are alike up to names, such as the three projections of one
// x: taking one for the other makes the same match again. Matching orders them, so that a
// site counts once. A result that another line reads, or an attribute or a condition asks
// about, is told apart by that, and is no twin.
func twins(p *Pattern) [][]int {
	f := newFamily(p)
	groups := map[string][]int{}
	var order []string
	for _, r := range p.results {
		if r.ref.kind != refNode || len(f.nodes[r.ref.i]) > 0 {
			continue
		}
		key := f.key(r.ref.i)
		if groups[key] == nil {
			order = append(order, key)
		}
		if !slices.Contains(groups[key], r.ref.i) {
			groups[key] = append(groups[key], r.ref.i)
		}
	}
	var out [][]int
	for _, key := range order {
		if len(groups[key]) > 1 {
			// A search begins at the first node of its op, and must find the first twin there.
			slices.Sort(groups[key])
			out = append(out, groups[key])
		}
	}
	return out
}

// family knows who reads the nodes and values of a pattern: nodes by number, and -1 for
// conditions.
type family struct {
	p             *Pattern
	nodes, values [][]int
}

func newFamily(p *Pattern) *family {
	f := &family{p, make([][]int, len(p.nodes)), make([][]int, len(p.values))}
	for q := range p.nodes {
		for _, r := range p.nodes[q].in {
			f.read(r, q)
		}
		for _, a := range p.nodes[q].attrs {
			for _, e := range a.ints {
				f.measure(e, q)
			}
		}
	}
	for _, w := range p.whens {
		for _, r := range w.refs {
			f.read(r, -1)
		}
	}
	return f
}

func (f *family) read(r ref, by int) {
	switch r.kind {
	case refNode:
		f.nodes[r.i] = append(f.nodes[r.i], by)
	case refValue:
		f.values[r.i] = append(f.values[r.i], by)
	}
}

func (f *family) measure(e *intExpr, by int) {
	if e != nil {
		f.read(e.ref, by) // nothing, if e measures nothing
		f.measure(e.l, by)
		f.measure(e.r, by)
	}
}

func (f *family) result(i int) bool {
	return slices.ContainsFunc(f.p.results, func(r result) bool { return r.ref.kind == refNode && r.ref.i == i })
}

// key describes how a node is made. Nodes and values that something else reads, too, are
// named; those that are this node's alone are numbered.
func (f *family) key(root int) string {
	var tree []int // of this node alone, if it is no twin
	var grow func(q int)
	grow = func(q int) {
		if !slices.Contains(tree, q) {
			tree = append(tree, q)
			for _, r := range f.p.nodes[q].in {
				if r.kind == refNode {
					grow(r.i)
				}
			}
		}
	}
	grow(root)
	shared := func(readers []int) bool {
		return slices.ContainsFunc(readers, func(q int) bool { return !slices.Contains(tree, q) })
	}
	// What something else reads is not this node's alone, and neither is what that is made of.
	for n := 0; n != len(tree); {
		n = len(tree)
		tree = slices.DeleteFunc(slices.Clone(tree), func(q int) bool { return q != root && shared(f.nodes[q]) })
	}
	var b strings.Builder
	var nodes, values []int // numbered so far
	var visit func(r ref)
	var integer func(e *intExpr)
	number := func(list *[]int, i int) bool {
		k := slices.Index(*list, i)
		known := k >= 0
		if !known {
			k = len(*list)
			*list = append(*list, i)
		}
		fmt.Fprintf(&b, "#%d", k)
		return known
	}
	visit = func(r ref) {
		fmt.Fprintf(&b, " %d.%d", r.kind, r.res)
		switch r.kind {
		case refNode:
			if shared(f.nodes[r.i]) {
				fmt.Fprintf(&b, "=%d", r.i)
				return
			}
			if number(&nodes, r.i) {
				return
			}
			n := &f.p.nodes[r.i]
			fmt.Fprintf(&b, "(%s", n.op.Name)
			if r.i != root && f.result(r.i) { // may be used outside, where others may not
				b.WriteByte('*')
			}
			for _, x := range n.in {
				visit(x)
			}
			for _, a := range n.attrs {
				fmt.Fprintf(&b, " %d:%v:%d", a.kind, a.value, a.v)
				for _, e := range a.ints {
					integer(e)
				}
			}
			b.WriteByte(')')
		case refValue:
			fmt.Fprintf(&b, "%v", r.optional)
			if shared(f.values[r.i]) {
				fmt.Fprintf(&b, "=%d", r.i)
			} else {
				number(&values, r.i)
			}
		default:
			fmt.Fprintf(&b, "%d:%v:%v", r.i, r.num, r.whole)
		}
	}
	integer = func(e *intExpr) {
		if e == nil {
			return
		}
		fmt.Fprintf(&b, "[%c%d,%d", e.op, e.n, e.v)
		visit(e.ref)
		integer(e.l)
		integer(e.r)
		b.WriteByte(']')
	}
	visit(ref{kind: refNode, i: root})
	return b.String()
}

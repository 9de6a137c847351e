package proof

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rewrite"
)

// point gives the symbols of an instance numbers.
type point map[string]int64

func (p point) String() string {
	var parts []string
	for _, name := range sortedKeys(p) {
		parts = append(parts, fmt.Sprintf("%s=%d", name, p[name]))
	}
	return strings.Join(parts, ", ")
}

// size orders points: what is small is looked at first.
func (p point) size() int64 {
	n := int64(1)
	for _, x := range p {
		n *= x
	}
	return n
}

// ones counts the symbols that are 1.
func (p point) ones() int {
	n := 0
	for _, x := range p {
		if x == 1 {
			n++
		}
	}
	return n
}

var digits = regexp.MustCompile(`[0-9]+`)

// edges are the numbers in texts, and those beside them.
func edges(texts ...string) []int64 {
	set := map[int64]bool{1: true, 2: true, 3: true}
	for _, text := range texts {
		for _, number := range digits.FindAllString(text, -1) {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil {
				for _, x := range []int64{n - 1, n, n + 1} {
					if x > 0 {
						set[x] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// maxEdge bounds batch and seq_len: their product is the number of rows. maxRows bounds the
// others of a point, which is evaluated, such as the rows of a cache. A larger number in a
// guard, such as how many groups a launch may have, is about a product of lengths: as a length
// alone it would take the memory of the machine.
const (
	maxEdge = 64
	maxRows = 4096
)

// points lists values of the instance's symbols around the numbers that guards, and the
// conditions of the rewritten cases, speak of. A point is a call that can be: rows that
// attention sees are no fewer than those that are added, and the caches have room for them.
func (in *Instance) points(results ...*rewrite.Result) []point {
	var texts []string
	for _, g := range in.Rule.Guards {
		texts = append(texts, g.Text)
	}
	for _, res := range results {
		for _, c := range res.Cases {
			texts = append(texts, c.When.String())
			for _, s := range c.Sites {
				for i := range s.Guards {
					texts = append(texts, s.Guards[i].Cond.String())
				}
			}
		}
	}
	names := symbolsOf(in.Program.Cases[0].Graph, in.When)
	symbols := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == graph.SymKVCap || name == graph.SymWindowCap })
	values := slices.DeleteFunc(edges(texts...), func(x int64) bool { return x > maxRows })
	all := grid(symbols, values)
	out := all[:0]
	for _, p := range all {
		for _, pair := range [][2]string{{graph.SymKVLen, graph.SymKVCap}, {graph.SymWindowLen, graph.SymWindowCap}} {
			if slices.Contains(names, pair[1]) {
				p[pair[1]] = p[pair[0]] + 3 // room that is not used
			}
		}
		if lacksRows(p, graph.SymKVLen) || lacksRows(p, graph.SymWindowLen) {
			continue
		}
		if ok, err := in.When.Eval(p); err == nil && ok {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b point) int { return cmp.Compare(a.size(), b.size()) })
	return out
}

// lacksRows reports whether attention of a point sees fewer rows than there are new tokens.
func lacksRows(p point, rows string) bool {
	n, ok := p[rows]
	return ok && n < p[graph.SymSeqLen]
}

// grid gives symbols all combinations of values.
func grid(symbols []string, values []int64) []point {
	all := []point{{}}
	for _, name := range symbols {
		var next []point
		for _, p := range all {
			for _, x := range values {
				if x > maxEdge && (name == graph.SymBatch || name == graph.SymSeqLen) {
					continue
				}
				q := maps.Clone(p)
				q[name] = x
				next = append(next, q)
			}
		}
		all = next
	}
	return all
}

// appliesAt reports whether the case of a rewritten program that a call takes is one where
// the rule was applied.
func appliesAt(res *rewrite.Result, p point) bool {
	for i, c := range res.Program.Cases {
		ok, err := c.When.Eval(p)
		if err != nil {
			return false
		}
		if ok {
			return len(res.Cases[i].Sites) > 0
		}
	}
	return false
}

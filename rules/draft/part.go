// Package draft writes a rule and a kernel from a part of a model's graph: the pattern
// that fits there and nowhere else, and a kernel whose reference graph is that very part.
// It is where a rule's author begins. It knows no meaning of what it copies, so that it
// generalizes nothing but the names of dimensions: every attribute and constant stands as
// it was found, and what was observed of types and sizes becomes a guard.
package draft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Part is some nodes of one case of a program.
type Part struct {
	Program *graph.Program
	Case    *graph.Case
	Scope   string         // as asked for, or of the last node
	Nodes   []graph.NodeID // in topological order; no leaves
}

// maxNodes is how many nodes a pattern may have.
const maxNodes = 256

// Select returns the nodes of a case that are at a scope or below it, if scope is not "",
// and whose values the list names, if it is not "": "v31..v33,v35", as the text of the
// program calls them. The case is the first one if its name is "".
func Select(p *graph.Program, name, scope, values string) (*Part, error) {
	if scope == "" && values == "" {
		return nil, diag.Errorf("usage/scope", diag.Pos{}, "nothing says which nodes to take").WithHint("--scope model.layers.0.mlp, or --values v31..v35; zmlx-rewrite graph prints both")
	}
	var c *graph.Case
	var names []string
	for i := range p.Cases {
		if names = append(names, p.Cases[i].Name); c == nil && (name == "" || name == p.Cases[i].Name) {
			c = &p.Cases[i]
		}
	}
	if c == nil {
		return nil, diag.Errorf("usage/case", diag.Pos{}, "the model has no case %q", name).WithHint("its cases: %s", strings.Join(names, ", "))
	}
	in, err := ranges(values)
	if err != nil {
		return nil, err
	}
	part := &Part{Program: p, Case: c, Scope: scope}
	text := p.ValueNames(c.Graph)
	scopes := map[string]bool{}
	for id := range graph.NodeID(c.Graph.NumNodes()) {
		n := c.Graph.Node(id)
		scopes[n.Scope] = true
		if n.Op.IsLeaf() || scope != "" && n.Scope != scope && !strings.HasPrefix(n.Scope, scope+".") {
			continue
		}
		if values != "" && !slices.ContainsFunc(n.Out, func(v graph.ValueID) bool { return in.have(text[v]) }) {
			continue
		}
		part.Nodes = append(part.Nodes, id)
	}
	if len(part.Nodes) == 0 {
		issue := diag.Errorf("usage/scope", diag.Pos{}, "no op of case %s is at scope %q", c.Name, scope)
		if values != "" {
			issue = diag.Errorf("usage/values", diag.Pos{}, "no op of case %s makes one of the values %s", c.Name, values)
		}
		if near := diag.Nearest(scope, slices.Collect(keys(scopes))); near != "" && values == "" {
			return nil, issue.WithHint("did you mean %s?", near)
		}
		return nil, issue.WithHint("zmlx-rewrite graph prints values, and scopes behind @")
	}
	if len(part.Nodes) > maxNodes {
		return nil, diag.Errorf("usage/scope", diag.Pos{}, "%d ops are too many for a rule, which has at most %d", len(part.Nodes), maxNodes).WithHint("take a scope further in, or --values v31..v35")
	}
	if part.Scope == "" {
		part.Scope = c.Graph.Node(part.Nodes[len(part.Nodes)-1]).Scope
	}
	return part, nil
}

func keys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// spans are ranges of numbers of values.
type spans [][2]int

func ranges(text string) (spans, error) {
	var list spans
	if text == "" {
		return nil, nil
	}
	for _, item := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(item), "..")
		if !isRange {
			to = from
		}
		a, ok := number(from)
		b, ok2 := number(to)
		if !ok || !ok2 || b < a {
			return nil, diag.Errorf("usage/values", diag.Pos{}, "%q is not a value or a range of them", item).WithHint("as zmlx-rewrite graph prints them: v31..v33,v35")
		}
		list = append(list, [2]int{a, b})
	}
	return list, nil
}

func (s spans) have(name string) bool {
	n, ok := number(name)
	return ok && slices.ContainsFunc(s, func(r [2]int) bool { return r[0] <= n && n <= r[1] })
}

func number(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "v")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0 && fmt.Sprint(n) == digits
}

// Package routing finds, in a program, which experts each token is sent to and with which
// weights, and adds up what was seen over a text. It finds them by dataflow, so in a rewritten
// program as in the one it was made of; names of parameters and scopes play no part. It runs
// nothing itself.
package routing

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
)

// Layer is one mixture of experts in a graph.
type Layer struct {
	Scope   string        // of the first op that reads experts
	Experts int           // in the stack
	K       int           // chosen for each token
	IDs     graph.ValueID // [batch, seq_len, k], integers
	Weights graph.ValueID // [batch, seq_len, k]; None if no product of that shape was found
}

// Find returns the mixtures of a graph in order. An op reads experts if one of its operands is
// a stack of matrices, a parameter of three dimensions, and another one integers that are none:
// those say which. They are followed back to where they have a row for each token.
func Find(g *graph.Graph) []Layer {
	f := finder{g: g, uses: g.Uses(), params: map[graph.ValueID]bool{}}
	for _, v := range g.Params() {
		f.params[v] = true
	}
	var out []Layer
	for i := range graph.NodeID(g.NumNodes()) {
		n := g.Node(i)
		experts := f.experts(n)
		if experts < 2 {
			continue
		}
		for _, v := range n.In {
			if v == graph.None || f.params[v] || !g.Type(v).DType.IsInteger() {
				continue
			}
			ids, k := f.rows(v)
			if ids == graph.None || slices.ContainsFunc(out, func(l Layer) bool { return l.IDs == ids }) {
				continue
			}
			out = append(out, Layer{Scope: n.Scope, Experts: experts, K: k, IDs: ids, Weights: f.weights(n, g.Type(ids))})
		}
	}
	return out
}

type finder struct {
	g      *graph.Graph
	uses   *graph.Uses
	params map[graph.ValueID]bool
}

// experts is the length of the stacks that an op chooses from; 0 if it does not.
func (f *finder) experts(n *graph.Node) int {
	if n.Op.Name != "gather_qmm" && n.Op.Name != "gather_mm" && !n.Op.IsKernel() {
		return 0
	}
	for _, v := range n.In {
		for range 4 { // a stack may be read transposed, and unpacked
			if v == graph.None || f.params[v] {
				break
			}
			from := f.g.Def(v)
			if len(from.In) == 0 || !from.Op.IsView() && from.Op.Name != "dequantize" {
				break
			}
			v = from.In[0]
		}
		if v != graph.None && f.params[v] && f.g.Type(v).Rank() == 3 {
			if e, ok := f.g.Type(v).Shape[0].Const(); ok {
				return int(e)
			}
		}
	}
	return 0
}

// rows follows integers back, through views and through the taking of some, to a value with
// a few for each token of each sequence.
func (f *finder) rows(v graph.ValueID) (graph.ValueID, int) {
	for range 16 {
		t := f.g.Type(v)
		if !t.DType.IsInteger() {
			return graph.None, 0
		}
		if t.Rank() == 3 {
			k, ok := t.Shape[2].Const()
			symbol, named := t.Shape[0].Symbol()
			if ok && named && symbol == graph.SymBatch {
				return v, int(k)
			}
		}
		n := f.g.Def(v)
		if !n.Op.IsView() && n.Op.Name != "take" && n.Op.Name != "astype" && n.Op.Name != "contiguous" {
			return graph.None, 0
		}
		if len(n.In) == 0 || n.In[0] == graph.None {
			return graph.None, 0
		}
		v = n.In[0]
	}
	return graph.None, 0
}

// weights finds what the results of experts are weighted by: the nearest product behind them
// whose other factor has a number for each id.
func (f *finder) weights(from *graph.Node, ids graph.Type) graph.ValueID {
	seen := map[graph.ValueID]bool{}
	front := slices.Clone(from.Out)
	if w := f.weightOf(from, graph.None, ids); w != graph.None {
		return w
	}
	for range 24 {
		var next []graph.ValueID
		for _, v := range front {
			for _, id := range f.uses.Of(v) {
				n := f.g.Node(id)
				if w := f.weightOf(n, v, ids); w != graph.None {
					return w
				}
				for _, o := range n.Out {
					if !seen[o] {
						seen[o] = true
						next = append(next, o)
					}
				}
			}
		}
		front = next
	}
	return graph.None
}

// weightOf returns the weights if a node is a product with them; v is its other factor.
func (f *finder) weightOf(n *graph.Node, v graph.ValueID, ids graph.Type) graph.ValueID {
	if n.Op.Name != "multiply" && n.Op.Name != "matmul" && !n.Op.IsKernel() {
		return graph.None
	}
	for _, w := range n.In {
		if w == graph.None || w == v || f.params[w] {
			continue
		}
		for range 6 {
			t := f.g.Type(w)
			if t.DType.IsFloat() && slices.EqualFunc(t.Shape, ids.Shape, func(a, b graph.Dim) bool { return a.Equal(b) }) {
				return w
			}
			d := f.g.Def(w)
			if !d.Op.IsView() && d.Op.Name != "astype" || len(d.In) == 0 || d.In[0] == graph.None {
				break
			}
			w = d.In[0]
		}
	}
	return graph.None
}

// Mark returns the program with the ids and weights of each mixture as further outputs:
// "routing.N.ids" and "routing.N.weights". All cases must have the same mixtures.
func Mark(p *graph.Program) (*graph.Program, []Layer, error) {
	out := &graph.Program{Name: p.Name, Window: p.Window, Params: p.Params}
	var first []Layer
	for i, c := range p.Cases {
		g := c.Graph.Clone()
		list := Find(g)
		if i == 0 {
			first = list
		}
		if len(list) != len(first) {
			return nil, nil, fmt.Errorf("case %s has %d mixtures of experts, case %s has %d", c.Name, len(list), p.Cases[0].Name, len(first))
		}
		for k, l := range list {
			if l.Experts != first[k].Experts || l.K != first[k].K || (l.Weights == graph.None) != (first[k].Weights == graph.None) {
				return nil, nil, fmt.Errorf("mixture %d of case %s is not that of case %s", k, c.Name, p.Cases[0].Name)
			}
			g.Output(IDs(k), l.IDs)
			if l.Weights != graph.None {
				g.Output(Weights(k), l.Weights)
			}
		}
		out.Cases = append(out.Cases, graph.Case{Name: c.Name, When: c.When, Graph: g})
	}
	return out, first, nil
}

// IDs and Weights are the names of the outputs of a mixture.
func IDs(layer int) string     { return fmt.Sprintf("routing.%d.ids", layer) }
func Weights(layer int) string { return fmt.Sprintf("routing.%d.weights", layer) }

// Short is the part of a scope up to the layer's number.
func Short(scope string) string {
	parts := strings.Split(scope, ".")
	for i, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return scope
}

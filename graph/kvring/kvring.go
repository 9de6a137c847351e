// Package kvring makes of a program one whose caches of keys and values are rings of a
// number of rows: mlx-lm's max_kv_size, which is a RotatingKVCache for each layer.
//
// New rows go where the ring goes on, and attention over several tokens sees a window of
// as many rows. It refuses programs that have rings already, and those of which something
// else than attention reads the caches, since such a reader goes by positions. It knows
// nothing of the rows themselves, nor of those that stay for good: package engine/cache
// does.
package kvring

import (
	"fmt"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
)

// Keep is the number of rows that stay for good, the first ones, as in mlx-lm.
const Keep = 4

// Program returns p with rings of that many rows, more than Keep.
func Program(p *graph.Program, rows int) (*graph.Program, error) {
	refuse := func(code, scope, format string, args ...any) error {
		return diag.Errorf("kv/"+code, diag.Pos{}, format, args...).WithScope(scope).WithHint("leave --max-kv-size out")
	}
	switch {
	case rows <= Keep:
		return nil, refuse("size", "", "a cache of %d rows has no room behind the first %d, which stay", rows, Keep)
	case p.Window > 0:
		return nil, refuse("window", "", "layers have a sliding window of %d rows already", p.Window)
	}
	out := &graph.Program{Name: p.Name, Window: rows, Params: slices.Clone(p.Params)}
	for _, c := range p.Cases {
		w := &writer{old: c.Graph, new: graph.New(), rows: graph.N(int64(rows)), caches: map[graph.ValueID]bool{}}
		if reader := w.find(); reader != nil {
			return nil, refuse("reader", reader.Scope, "a cache is read by %s, not only by attention", reader.Op.Name)
		}
		if len(w.caches) == 0 {
			return nil, refuse("none", "", "the model has no cache of keys and values that grows")
		}
		if err := w.write(); err != nil {
			return nil, fmt.Errorf("rings in case %s: %w", c.Name, err)
		}
		if _, err := normal.Form(w.new); err != nil {
			return nil, fmt.Errorf("rings in case %s: %w", c.Name, err)
		}
		out.Cases = append(out.Cases, graph.Case{Name: c.Name, When: c.When, Graph: w.new})
	}
	return out, nil
}

// writer writes the graph of one case anew.
type writer struct {
	old, new *graph.Graph
	rows     graph.Dim
	caches   map[graph.ValueID]bool // inputs that grow, and these with new rows behind them
	at       graph.ValueID          // where new rows go
	to       []graph.ValueID        // what values of old are in new
}

// find finds the caches, and returns what reads one but must not.
func (w *writer) find() *graph.Node {
	for _, id := range w.old.Inputs() {
		if slices.ContainsFunc(w.old.Type(id).Shape, func(d graph.Dim) bool { s, _ := d.Symbol(); return s == graph.SymKVCap }) {
			w.caches[id] = true
		}
	}
	for i := range w.old.NumNodes() {
		n := w.old.Node(graph.NodeID(i))
		for k, v := range n.In {
			if v == graph.None || !w.caches[v] {
				continue
			}
			grown := w.old.Def(v).Op.Name == "kv_append"
			mask, _ := n.Attr("mask").(graph.Str)
			switch {
			case n.Op.Name == "kv_append" && k == 0 && !grown:
				w.caches[n.Out[0]] = true
			case n.Op.Name == "sdpa" && (k == 1 || k == 2) && grown && (mask == "none" || mask == "causal"):
			default:
				return n
			}
		}
	}
	return nil
}

func (w *writer) write() error {
	w.to = make([]graph.ValueID, w.old.NumValues())
	rename := map[string]graph.Dim{graph.SymKVCap: graph.Sym(graph.SymWindowCap)}
	first := true
	for i := range w.old.NumNodes() {
		n := w.old.Node(graph.NodeID(i))
		out := n.Out[0]
		switch n.Op.Name {
		case "input":
			name := w.old.InputName(out)
			w.to[out] = w.new.Input(name, w.old.Type(out).Subst(rename))
			if name == "offset" && first {
				w.at, first = w.new.Input("window_offset", graph.T(graph.Int32)), false
			}
			continue
		case "param":
			w.to[out] = w.new.Param(w.old.InputName(out), w.old.Type(out))
			continue
		case "constant":
			w.to[out] = w.new.Constant(w.old.Literal(out))
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for k, v := range n.In {
			if in[k] = v; v != graph.None {
				in[k] = w.to[v]
			}
		}
		attrs := slices.Clone(n.Attrs)
		if len(n.In) > 0 && w.caches[n.In[0]] && n.Op.Name == "kv_append" {
			if first {
				return fmt.Errorf("new rows of %s are written, and there is no input offset", n.Scope)
			}
			in[2] = w.at
		}
		if n.Op.Name == "sdpa" && w.caches[n.In[1]] {
			attrs[n.Op.AttrIndex("kv_len")] = graph.Sym(graph.SymWindowLen)
			if n.Attr("mask").(graph.Str) == "causal" {
				attrs[n.Op.AttrIndex("mask")], attrs[n.Op.AttrIndex("window")] = graph.Str("window"), w.rows
			}
		}
		made, err := w.new.Add(n.Op, n.Scope, in, attrs...)
		if err != nil {
			return fmt.Errorf("%s at %q: %w", n.Op.Name, n.Scope, err)
		}
		for k, v := range n.Out {
			w.to[v] = made[k]
		}
	}
	for _, o := range w.old.Outputs() {
		w.new.Output(o.Name, w.to[o.Value])
	}
	return w.new.Compact()
}

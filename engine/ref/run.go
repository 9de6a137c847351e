package ref

import (
	"context"
	"fmt"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// run is one Step: the values of one graph, made node by node.
type run struct {
	session *session
	g       *graph.Graph
	uses    *graph.Uses
	env     map[string]int64
	values  []*array
	mine    map[graph.ValueID]bool // inputs whose data may be written to
	lent    map[*byte]bool         // data of other inputs, parameters and constants
}

func (r *run) nodes(ctx context.Context) error {
	left := make([]int, r.g.NumValues()) // readers that are still to come
	for v := range left {
		left[v] = len(r.uses.Of(graph.ValueID(v)))
	}
	for i := range r.g.NumNodes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := r.g.Node(graph.NodeID(i))
		if err := r.node(n); err != nil {
			return diag.Errorf("engine/op", diag.Pos{}, "%s: %v", n.Op.Name, err).WithScope(n.Scope)
		}
		for _, v := range n.In {
			if v == graph.None {
				continue
			}
			if left[v]--; left[v] == 0 && !r.uses.IsOutput(v) {
				r.values[v] = nil
			}
		}
	}
	return nil
}

func (r *run) node(n *graph.Node) error {
	out := n.Out[0]
	switch n.Op.Name {
	case "input":
		return nil
	case "param":
		r.values[out] = r.lend(r.session.params[r.g.InputName(out)])
		return nil
	case "constant":
		l := r.g.Literal(out)
		r.values[out] = r.lend(fromBytes(l.DType, l.Shape, l.Data))
		return nil
	}
	c, in, err := r.call(n)
	if err != nil {
		return err
	}
	if many := manyEmitters[n.Op.Name]; many != nil {
		all, err := many(c, in)
		for i := 0; i < len(all) && err == nil; i++ {
			err = r.keep(n.Out[i], all[i])
		}
		return err
	}
	f := emitters[n.Op.Name] // Load has found it
	if n.Op.Name == "kv_append" && r.mine[n.In[0]] && len(r.uses.Of(n.In[0])) == 1 && !r.uses.IsOutput(n.In[0]) {
		f = kvAppendInPlace
	}
	a, err := f(c, in)
	if err != nil {
		return err
	}
	return r.keep(out, a)
}

// keep gives a value its array: what inference said of symbols must hold for their values.
func (r *run) keep(out graph.ValueID, a *array) error {
	want, err := engine.Shape(r.g.Type(out).Shape, r.env)
	if err != nil {
		return err
	}
	if !slices.Equal(a.shape, want) || a.t != r.g.Type(out).DType {
		return fmt.Errorf("the result is %s%v, but inference says %s", a.t, a.shape, r.g.Type(out))
	}
	r.values[out] = a
	return nil
}

// call is the node with numbers instead of symbols, checked as if it had been
// written with them, and the arrays of its operands.
type call struct {
	*graph.Call
	t     graph.DType // of the result
	shape []int       // of the result
}

func (r *run) call(n *graph.Node) (*call, []*array, error) {
	in := make([]*array, len(n.In))
	types := make([]graph.Type, len(n.In))
	for i, v := range n.In {
		if v == graph.None {
			types[i].DType = graph.NoDType
			continue
		}
		in[i] = r.values[v]
		types[i] = typeOf(in[i])
	}
	attrs := make([]graph.Attr, len(n.Attrs))
	for i, a := range n.Attrs {
		var err error
		if attrs[i], err = r.attr(n.Op.Attrs[i], a); err != nil {
			return nil, nil, err
		}
	}
	c, results, err := graph.Infer(n.Op, types, attrs)
	if err != nil {
		return nil, nil, err
	}
	shape, err := engine.Shape(results[0].Shape, nil)
	return &call{c, results[0].DType, shape}, in, err
}

func typeOf(a *array) graph.Type {
	shape := make([]graph.Dim, len(a.shape))
	for i, d := range a.shape {
		shape[i] = graph.N(int64(d))
	}
	return graph.T(a.t, shape...)
}

// attr evaluates the symbols of an attribute. Axes stay as they are; anything
// else that a symbol makes negative would be taken for a position from the end.
func (r *run) attr(spec graph.AttrSpec, a graph.Attr) (graph.Attr, error) {
	eval := func(d graph.Dim) (graph.Dim, error) {
		if _, ok := d.Const(); ok {
			return d, nil
		}
		v, err := d.Eval(r.env)
		if err == nil && v < 0 {
			err = fmt.Errorf("attribute %s: %s is %d", spec.Name, d, v)
		}
		return graph.N(v), err
	}
	switch a := a.(type) {
	case graph.Dim:
		return eval(a)
	case graph.Dims:
		out := make(graph.Dims, len(a))
		for i, d := range a {
			var err error
			if out[i], err = eval(d); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return a, nil
}

// lend notes that a's data belongs to somebody else.
func (r *run) lend(a *array) *array {
	if p := a.base(); p != nil {
		r.lent[p] = true
	}
	return a
}

// outputs makes tensors of the graph's results. A result is alone on its data if
// it was made by this step and no other result shows it.
func (r *run) outputs() map[string]engine.Tensor {
	shown := map[*byte]int{}
	for _, o := range r.g.Outputs() {
		shown[r.values[o.Value].base()]++
	}
	out := make(map[string]engine.Tensor, len(r.g.Outputs()))
	for _, o := range r.g.Outputs() {
		a := r.values[o.Value]
		p := a.base()
		out[o.Name] = newTensor(a, p != nil && !r.lent[p] && shown[p] == 1)
	}
	return out
}

// float returns a floating-point attribute, 0 if absent.
func (c *call) float(name string) float64 { f, _ := c.Attr(name).(graph.Float); return float64(f) }

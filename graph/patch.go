package graph

import "fmt"

// Patch is a change of a graph: nodes that are added, and values of the graph that
// others take the place of. The graph itself stays as it is; Apply makes another one.
// Values of the graph keep their IDs in the patch, and added ones come behind them.
type Patch struct {
	g      *Graph
	nodes  []Node // behind those of g
	values []Value
	params map[string]ValueID // parameters that were asked for
	inG    map[string]ValueID // all parameters of g; made when they are needed
	repl   []replaced
}

// replaced is a value and what takes its place, which may be replaced in turn.
type replaced struct{ old, new ValueID }

// Patch begins a change of g, with room for that many nodes and values more.
func (g *Graph) Patch(nodes, values int) *Patch {
	return &Patch{g: g, nodes: make([]Node, 0, nodes), values: make([]Value, 0, values)}
}

func (p *Patch) node(id NodeID) *Node {
	if n := int(id) - len(p.g.nodes); n >= 0 {
		return &p.nodes[n]
	}
	return &p.g.nodes[id]
}

func (p *Patch) value(id ValueID) *Value {
	if n := int(id) - len(p.g.values); n >= 0 {
		return &p.values[n]
	}
	return &p.g.values[id]
}

func (p *Patch) nextValue() ValueID { return ValueID(len(p.g.values) + len(p.values)) }
func (p *Patch) nextNode() NodeID   { return NodeID(len(p.g.nodes) + len(p.nodes)) }

// Param returns the value of a parameter, adding it if the graph does not have it.
// isNew says that the graph as it was does not: the caller may know, and finding out
// takes a walk through the graph.
func (p *Patch) Param(name string, t Type, isNew bool) ValueID {
	if id, ok := p.params[name]; ok {
		return id
	}
	if p.params == nil {
		p.params = map[string]ValueID{}
	}
	if !isNew {
		if p.inG == nil {
			p.inG = p.g.Params()
		}
		if id, ok := p.inG[name]; ok {
			return id
		}
	}
	id := p.nextValue()
	n := &struct {
		out   [1]ValueID
		attrs [1]Attr
	}{[1]ValueID{id}, [1]Attr{Str(name)}}
	p.values = append(p.values, Value{typ: &t, Def: p.nextNode()})
	p.nodes = append(p.nodes, Node{Op: opParam, Out: n.out[:], Attrs: n.attrs[:]})
	p.params[name] = id
	return id
}

// Graft adds the nodes of h under a scope, and returns the values that the outputs of h
// have here, in order. The inputs of h stand for the values in, one each, which must
// have their types; so everything that was inferred and checked in h holds here. h has
// no parameters and no pending replacements, and is not changed.
func (p *Patch) Graft(h *Graph, scope string, in []ValueID) ([]ValueID, error) {
	if len(in) != len(h.inputs) {
		return nil, fmt.Errorf("%d values for %d inputs", len(in), len(h.inputs))
	}
	operands, results := 0, 0
	for i := range h.nodes {
		operands += len(h.nodes[i].In)
		results += len(h.nodes[i].Out)
	}
	// What each value of h is here, the outputs, and operands and results of the new
	// nodes share one array.
	known := len(h.values) + len(h.outputs)
	ids := make([]ValueID, known, known+operands+results)
	now, out := ids[:len(h.values)], ids[len(h.values):known:known]
	for i, v := range h.inputs {
		if want, got := h.values[v].Type(), p.value(in[i]).Type(); !got.Equal(want) {
			return nil, fmt.Errorf("a value of type %s for input %s of type %s", got, h.InputName(v), want)
		}
		now[v] = in[i]
	}
	for i := range h.nodes {
		n := h.nodes[i]
		if n.Op == opInput {
			continue
		}
		from := len(ids)
		for _, v := range n.In {
			if v != None {
				v = now[v]
			}
			ids = append(ids, v)
		}
		mid := len(ids)
		for k, v := range n.Out {
			now[v] = p.nextValue()
			ids = append(ids, now[v])
			p.values = append(p.values, Value{h.values[v].typ, p.nextNode(), int32(k)})
		}
		n.In, n.Out = ids[from:mid:mid], ids[mid:len(ids):len(ids)]
		if !n.Op.IsLeaf() {
			n.Scope = scope
		}
		p.nodes = append(p.nodes, n)
	}
	for i, o := range h.outputs {
		out[i] = now[o.Value]
	}
	return out, nil
}

// Replace makes every use of old a use of new, outputs included. Both must have the
// same type.
func (p *Patch) Replace(old, new ValueID) error {
	if a, b := p.value(old).Type(), p.value(new).Type(); !a.Equal(b) {
		return fmt.Errorf("replacement has type %s, not %s", b, a)
	}
	p.repl = append(p.repl, replaced{old, new})
	return nil
}

// Apply returns the changed graph in canonical order: nodes that no output needs are
// gone, and what is left is numbered in the order in which outputs reach it, depth
// first. Two graphs that compute the same outputs by the same nodes are thereby in the
// same order, however they were made. Inputs stay, used or not. It fails on a cycle.
func (p *Patch) Apply() (*Graph, error) {
	// What each value stands for now, looked up once: operands outnumber replacements.
	now := make([]ValueID, p.nextValue())
	for i := range now {
		now[i] = ValueID(i)
	}
	for _, r := range p.repl {
		now[r.old] = r.new
	}
	for _, r := range p.repl {
		v := r.new
		for now[v] != v {
			v = now[v]
		}
		now[r.old] = v
	}
	order, err := p.order(now)
	if err != nil {
		return nil, err
	}
	// Operands and results of all nodes share one array.
	total, results := 0, 0
	for _, id := range order {
		n := p.node(id)
		total += len(n.In) + len(n.Out)
		results += len(n.Out)
	}
	out := &Graph{
		nodes: make([]Node, 0, len(order)), values: make([]Value, 0, results),
		inputs: make([]ValueID, len(p.g.inputs)), outputs: make([]Output, len(p.g.outputs)),
	}
	renamed := make([]ValueID, len(now))
	ids := make([]ValueID, 0, total)
	for _, id := range order {
		n := *p.node(id)
		from := len(ids)
		for _, v := range n.In {
			if v != None {
				v = renamed[now[v]]
			}
			ids = append(ids, v)
		}
		mid := len(ids)
		for i, v := range n.Out {
			renamed[v] = ValueID(len(out.values))
			ids = append(ids, renamed[v])
			out.values = append(out.values, Value{p.value(v).typ, NodeID(len(out.nodes)), int32(i)})
		}
		n.In, n.Out = ids[from:mid:mid], ids[mid:len(ids):len(ids)]
		out.nodes = append(out.nodes, n)
	}
	for i, v := range p.g.inputs {
		out.inputs[i] = renamed[v]
	}
	for i, o := range p.g.outputs {
		out.outputs[i] = Output{o.Name, renamed[now[o.Value]]}
	}
	return out, nil
}

// order returns the nodes that inputs and outputs need, operands first. now is what
// values stand for.
func (p *Patch) order(now []ValueID) ([]NodeID, error) {
	const (
		unseen = iota
		open
		done
	)
	state := make([]uint8, p.nextNode())
	order := make([]NodeID, 0, len(state))
	// An explicit stack: graphs of 100,000 nodes may be 100,000 deep.
	type frame struct {
		node NodeID
		next int32 // operand to look at
		in   []ValueID
	}
	var stack []frame
	visit := func(root NodeID) error {
		if state[root] == done {
			return nil
		}
		stack = append(stack[:0], frame{root, 0, p.node(root).In})
		state[root] = open
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if int(f.next) == len(f.in) {
				state[f.node] = done
				order = append(order, f.node)
				stack = stack[:len(stack)-1]
				continue
			}
			v := f.in[f.next]
			f.next++
			if v == None {
				continue
			}
			d := p.value(now[v]).Def
			switch state[d] {
			case open:
				n := p.node(d)
				return fmt.Errorf("the replacement makes a cycle through %s at %q", n.Op.Name, n.Scope)
			case unseen:
				state[d] = open
				stack = append(stack, frame{d, 0, p.node(d).In})
			}
		}
		return nil
	}
	for _, v := range p.g.inputs {
		if err := visit(p.value(v).Def); err != nil {
			return nil, err
		}
	}
	for _, o := range p.g.outputs {
		if err := visit(p.value(now[o.Value]).Def); err != nil {
			return nil, err
		}
	}
	return order, nil
}

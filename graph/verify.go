package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file checks that graphs and programs are what the rest of the project
// takes for granted. What it finds is a bug of this project: readers of files
// refuse bad input before it becomes a graph.

// Verify checks a whole graph: nodes in topological order, definitions and
// operands that fit together, attributes in normal form, types as inferred, and
// unique names. It fails if replacements are pending.
func (g *Graph) Verify() error {
	if len(g.repl) > 0 {
		return errors.New("graph: replacements are pending; Compact comes first")
	}
	values := 0
	for id := range g.nodes {
		if err := g.verifyDefs(NodeID(id)); err != nil {
			return err
		}
		values += len(g.nodes[id].Out)
		for _, v := range g.nodes[id].In {
			if v != None && g.values[v].Def >= NodeID(id) {
				return g.broken(NodeID(id), "operand %d is defined behind its use", v)
			}
		}
		if err := g.verifyCall(NodeID(id)); err != nil {
			return err
		}
	}
	if values != len(g.values) {
		return fmt.Errorf("graph: nodes define %d values of %d", values, len(g.values))
	}
	if err := g.verifyNames(); err != nil {
		return err
	}
	return g.verifySymbols()
}

// verifySymbols checks that the symbols of shapes and attributes are those that a call
// binds: of the inputs' shapes, and the common ones.
func (g *Graph) verifySymbols() error {
	bound := slices.Clone(callSymbols)
	for _, v := range g.inputs {
		for _, d := range g.values[v].Type().Shape {
			bound = d.Symbols(bound)
		}
	}
	seen := map[Dim]string{} // the first symbol that is not bound, or ""
	free := func(dims ...Dim) string {
		for _, d := range dims {
			if _, number := d.Const(); number {
				continue
			}
			name, known := seen[d]
			if !known {
				if i := slices.IndexFunc(d.Symbols(nil), func(s string) bool { return !slices.Contains(bound, s) }); i >= 0 {
					name = d.Symbols(nil)[i]
				}
				seen[d] = name
			}
			if name != "" {
				return name
			}
		}
		return ""
	}
	for id := range g.nodes {
		n := &g.nodes[id]
		for i, a := range n.Attrs {
			name := ""
			switch a := a.(type) {
			case Dim:
				name = free(a)
			case Dims:
				name = free(a...)
			}
			if name != "" {
				return g.broken(NodeID(id), "attribute %s has the symbol %s, which no input has", n.Op.Attrs[i].Name, name)
			}
		}
		for _, v := range n.Out {
			if name := free(g.values[v].Type().Shape...); name != "" {
				return g.broken(NodeID(id), "its type %s has the symbol %s, which no input has", g.values[v].Type(), name)
			}
		}
	}
	return nil
}

// VerifyNodes checks the given nodes and all that read their results, replaced
// ones included, in one pass over the graph's operands. Unlike Verify it allows
// pending replacements, and leaves order to Compact and names to Verify.
func (g *Graph) VerifyNodes(ids []NodeID) error {
	check := make([]bool, len(g.nodes))
	touched := make([]bool, len(g.values))
	for _, id := range ids {
		if id < 0 || int(id) >= len(g.nodes) {
			return fmt.Errorf("graph: node %d of %d", id, len(g.nodes))
		}
		if err := g.verifyDefs(id); err != nil {
			return err
		}
		check[id] = true
		for _, v := range g.nodes[id].Out {
			touched[v] = true
		}
	}
	for id := range g.nodes {
		for _, v := range g.nodes[id].In {
			if v != None && (touched[v] || touched[g.resolve(v)]) {
				check[id] = true
			}
		}
		if check[id] {
			if err := g.verifyCall(NodeID(id)); err != nil {
				return err
			}
		}
	}
	for _, o := range g.outputs {
		if v := g.resolve(o.Value); !g.values[o.Value].Type().Equal(g.values[v].Type()) {
			return fmt.Errorf("graph: output %s changes its type from %s to %s", o.Name, g.values[o.Value].Type(), g.values[v].Type())
		}
	}
	return nil
}

func (g *Graph) broken(id NodeID, format string, args ...any) error {
	n := &g.nodes[id]
	name := "?"
	if n.Op != nil {
		name = n.Op.Name
	}
	return fmt.Errorf("graph: node %d (%s at %q): %s", id, name, n.Scope, fmt.Sprintf(format, args...))
}

// verifyDefs checks that a node's results point back at it, and that its operands exist.
func (g *Graph) verifyDefs(id NodeID) error {
	n := &g.nodes[id]
	if n.Op == nil {
		return g.broken(id, "has no op")
	}
	if len(n.Out) != n.Op.Results {
		return g.broken(id, "has %d results, not %d", len(n.Out), n.Op.Results)
	}
	for i, v := range n.Out {
		if v < 0 || int(v) >= len(g.values) || g.values[v].Def != id || g.values[v].Res != int32(i) {
			return g.broken(id, "result %d is not defined by it", i)
		}
	}
	for i, v := range n.In {
		if v != None && (v < 0 || int(v) >= len(g.values)) {
			return g.broken(id, "operand %d is value %d, which is not in the graph", i, v)
		}
	}
	if len(n.In) > 0 && n.In[len(n.In)-1] == None {
		return g.broken(id, "an absent last operand is kept")
	}
	if n.Scope != "" && !validName(n.Scope) {
		return g.broken(id, "the scope cannot be written")
	}
	return nil
}

// verifyCall checks a node against its row of the op table.
func (g *Graph) verifyCall(id NodeID) error {
	n := &g.nodes[id]
	if n.Op.IsLeaf() {
		return g.verifyLeaf(id)
	}
	in := make([]Type, len(n.In))
	for i, v := range n.In {
		in[i].DType = NoDType
		if v != None {
			in[i] = g.values[g.resolve(v)].Type()
		}
	}
	if len(n.Attrs) != len(n.Op.Attrs) {
		return g.broken(id, "has %d attributes, not %d", len(n.Attrs), len(n.Op.Attrs))
	}
	c, results, err := Infer(n.Op, in, n.Attrs)
	if err != nil {
		return g.broken(id, "%v", err)
	}
	for i, a := range n.Attrs {
		if (a == nil) != (c.Attrs[i] == nil) || a != nil && !a.Equal(c.Attrs[i]) {
			return g.broken(id, "attribute %s is %v, in normal form %v", n.Op.Attrs[i].Name, a, c.Attrs[i])
		}
	}
	for i, v := range n.Out {
		if t := g.values[v].Type(); !t.Equal(results[i]) {
			return g.broken(id, "result %d has type %s, not %s", i, t, results[i])
		}
	}
	return nil
}

func (g *Graph) verifyLeaf(id NodeID) error {
	n := &g.nodes[id]
	if len(n.In) != 0 || len(n.Attrs) != 1 {
		return g.broken(id, "a leaf with %d operands and %d attributes", len(n.In), len(n.Attrs))
	}
	t := g.values[n.Out[0]].Type()
	if !t.DType.Valid() {
		return g.broken(id, "has no element type")
	}
	if err := t.check(); err != nil {
		return g.broken(id, "%v", err)
	}
	if n.Op == opConstant {
		l, ok := n.Attrs[0].(*Literal)
		if !ok || l == nil {
			return g.broken(id, "a constant without a literal")
		}
		if !l.Type().Equal(t) {
			return g.broken(id, "type %s, but its literal has %s", t, l.Type())
		}
		if size := t.Size(); !size.Mul(N(int64(t.DType.Size()))).Is(int64(len(l.Data))) {
			return g.broken(id, "%d bytes for %s", len(l.Data), t)
		}
		return nil
	}
	if name, ok := n.Attrs[0].(Str); !ok || !validName(string(name)) {
		return g.broken(id, "has no name that can be written")
	}
	return nil
}

// validName reports whether a name can stand in the text form.
func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r == '`' || unicode.IsControl(r) })
}

// verifyNames checks the signature and the tables of inputs and parameters.
func (g *Graph) verifyNames() error {
	names := map[string]bool{}
	for _, v := range g.inputs {
		if v < 0 || int(v) >= len(g.values) || g.Def(v).Op != opInput {
			return fmt.Errorf("graph: value %d is listed as an input", v)
		}
		if name := g.InputName(v); names[name] {
			return fmt.Errorf("graph: two inputs are called %q", name)
		}
		names[g.InputName(v)] = true
	}
	inputs := 0
	for i := range g.nodes {
		switch g.nodes[i].Op {
		case opInput:
			inputs++
		case opParam:
			name := g.InputName(g.nodes[i].Out[0])
			if names[name] {
				return fmt.Errorf("graph: two parameters, or an input and a parameter, are called %q", name)
			}
			names[name] = true
		}
	}
	if inputs != len(g.inputs) {
		return fmt.Errorf("graph: %d inputs, listed are %d", inputs, len(g.inputs))
	}
	outputs := map[string]bool{}
	for _, o := range g.outputs {
		if o.Value < 0 || int(o.Value) >= len(g.values) {
			return fmt.Errorf("graph: output %q is value %d, which is not in the graph", o.Name, o.Value)
		}
		if outputs[o.Name] || !validName(o.Name) {
			return fmt.Errorf("graph: output %q is there twice, or cannot be written", o.Name)
		}
		outputs[o.Name] = true
	}
	return nil
}

// Verify checks a whole program: its table of parameters, each graph, one
// signature for all cases, and conditions over symbols that a call binds.
func (p *Program) Verify() error {
	if p.Name != "" && !validName(p.Name) {
		return fmt.Errorf("program: the name %q cannot be written", p.Name)
	}
	if p.Window < 0 {
		return fmt.Errorf("program %s: the window is %d", p.Name, p.Window)
	}
	if err := p.verifyParams(); err != nil {
		return err
	}
	if len(p.Cases) == 0 {
		return fmt.Errorf("program %s: has no cases", p.Name)
	}
	symbols := slices.Clone(callSymbols)
	for i := range p.Cases {
		g := p.Cases[i].Graph
		for _, v := range g.inputs {
			for _, d := range g.Type(v).Shape {
				symbols = d.Symbols(symbols)
			}
		}
	}
	for i := range p.Cases {
		c := &p.Cases[i]
		fail := func(format string, args ...any) error {
			return fmt.Errorf("case %d (%s): %w", i, c.Name, fmt.Errorf(format, args...))
		}
		if c.Name != "" && !validName(c.Name) {
			return fail("the name cannot be written")
		}
		if err := c.Graph.Verify(); err != nil {
			return fail("%w", err)
		}
		params := c.Graph.Params()
		for _, name := range slices.Sorted(maps.Keys(params)) {
			t := c.Graph.Type(params[name])
			if q := p.Param(name); q == nil || !q.Type.Equal(t) {
				return fail("parameter %s of type %s is not in the program's table", name, t)
			}
		}
		for _, v := range c.Graph.inputs {
			if p.Param(c.Graph.InputName(v)) != nil {
				return fail("an input and a parameter are called %q", c.Graph.InputName(v))
			}
		}
		for _, s := range c.When.Symbols(nil) {
			if !slices.Contains(symbols, s) {
				return fail("the condition mentions %s, which no input has", s)
			}
		}
		if err := sameSignature(p.Cases[0].Graph, c.Graph); err != nil {
			return fail("%w", err)
		}
	}
	return nil
}

// sameSignature compares names in order, and element types and ranks of inputs.
// Dimensions may differ: a case for one token has 1 where others have seq_len.
func sameSignature(a, b *Graph) error {
	if len(a.inputs) != len(b.inputs) || len(a.outputs) != len(b.outputs) {
		return fmt.Errorf("%d inputs and %d outputs, the first case has %d and %d", len(b.inputs), len(b.outputs), len(a.inputs), len(a.outputs))
	}
	for i := range a.inputs {
		x, y := a.Type(a.inputs[i]), b.Type(b.inputs[i])
		if m, n := a.InputName(a.inputs[i]), b.InputName(b.inputs[i]); m != n || x.DType != y.DType || x.Rank() != y.Rank() {
			return fmt.Errorf("input %s : %s, the first case has %s : %s", n, y, m, x)
		}
	}
	for i := range a.outputs {
		if a.outputs[i].Name != b.outputs[i].Name {
			return fmt.Errorf("output %s, the first case has %s", b.outputs[i].Name, a.outputs[i].Name)
		}
	}
	return nil
}

func (p *Program) verifyParams() error {
	for i, q := range p.Params {
		if !validName(q.Name) {
			return fmt.Errorf("parameter %q: the name cannot be written", q.Name)
		}
		if i > 0 && p.Params[i-1].Name >= q.Name {
			return fmt.Errorf("parameter %s: not in order of names, or there twice", q.Name)
		}
		if err := p.verifyParam(q); err != nil {
			return fmt.Errorf("parameter %s: %w", q.Name, err)
		}
	}
	return p.verifyDerived()
}

func (p *Program) verifyParam(q *Param) error {
	if !q.Type.DType.Valid() {
		return errors.New("has no element type")
	}
	if err := q.Type.check(); err != nil {
		return err
	}
	if q.Quant == nil && q.Part != "" {
		return fmt.Errorf("part %q of no quantized matrix", q.Part)
	}
	if q.Quant != nil {
		if err := q.Quant.check(q.Part); err != nil {
			return err
		}
	}
	if q.From == nil {
		return nil
	}
	args := make([]Type, len(q.From.Args))
	for i, name := range q.From.Args {
		a := p.Param(name)
		if a == nil {
			return fmt.Errorf("is made from %s, which is not in the program's table", name)
		}
		args[i] = a.Type
	}
	t, err := q.From.Infer(args)
	if err != nil {
		return err
	}
	if !t.Equal(q.Type) {
		return fmt.Errorf("has type %s, but is made with %s", q.Type, t)
	}
	return nil
}

func (z *Quant) check(part string) error {
	switch {
	case !slices.Contains(QuantModes, z.Mode):
		return fmt.Errorf("mode %q is not one of %s", z.Mode, strings.Join(QuantModes, ", "))
	case z.Bits < 2 || z.Bits > 8 || z.Bits == 7:
		return fmt.Errorf("bits must be 2, 3, 4, 5, 6 or 8, got %d", z.Bits)
	case z.GroupSize < 1:
		return fmt.Errorf("group_size must be positive, got %d", z.GroupSize)
	case !slices.Contains([]string{"weight", "scales", "biases"}, part):
		return fmt.Errorf("part %q is not one of weight, scales, biases", part)
	case !utf8.ValidString(z.Module):
		return errors.New("the module's name cannot be written")
	}
	return nil
}

// verifyDerived refuses parameters that are made from themselves.
func (p *Program) verifyDerived() error {
	const (
		open = 1 + iota
		done
	)
	state := map[string]int{}
	type frame struct {
		q    *Param
		next int
	}
	for _, root := range p.Params {
		if root.From == nil || state[root.Name] == done {
			continue
		}
		stack := []frame{{root, 0}}
		state[root.Name] = open
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.q.From == nil || f.next == len(f.q.From.Args) {
				state[f.q.Name] = done
				stack = stack[:len(stack)-1]
				continue
			}
			a := p.Param(f.q.From.Args[f.next])
			f.next++
			switch state[a.Name] {
			case open:
				return fmt.Errorf("parameter %s is made from itself", a.Name)
			case 0:
				state[a.Name] = open
				stack = append(stack, frame{a, 0})
			}
		}
	}
	return nil
}

package main

import "zmlx-rewrite/graph"

// shownGraph is a case of a program as JSON: what the text form says, taken apart.
type shownGraph struct {
	Model    string       `json:"model" jsonschema:"as it was named"`
	Program  string       `json:"program" jsonschema:"its name, which for a model is its type"`
	Case     string       `json:"case" jsonschema:"of the program"`
	When     string       `json:"when" jsonschema:"condition of the case"`
	Nodes    int          `json:"nodes" jsonschema:"of the whole graph"`
	Launches int          `json:"launches" jsonschema:"of one call"`
	Hash     string       `json:"hash" jsonschema:"of the whole graph"`
	Inputs   []shownValue `json:"inputs" jsonschema:"in order"`
	Params   []shownValue `json:"parameters" jsonschema:"that the ops read, in the program's order"`
	Ops      []shownOp    `json:"ops" jsonschema:"in order; with --site those there"`
	Outputs  []shownTaken `json:"outputs" jsonschema:"in order"`
}

type shownValue struct {
	Name string `json:"name" jsonschema:"of the value, as in the text form"`
	Type string `json:"type" jsonschema:"element type and shape"`
}

type shownOp struct {
	Results  []shownValue      `json:"results" jsonschema:"values that it gives"`
	Op       string            `json:"op" jsonschema:"of the op table, or kernel.NAME"`
	Operands []string          `json:"operands" jsonschema:"names of values, in order; none where an optional one is absent"`
	Attrs    map[string]string `json:"attributes" jsonschema:"those that have not their default, as the text form has them"`
	Scope    string            `json:"scope,omitempty" jsonschema:"part of the model; absent if it is in none"`
}

type shownTaken struct {
	Name  string `json:"name" jsonschema:"of the output"`
	Value string `json:"value" jsonschema:"name of the value that it is"`
}

// shownGraphOf has all ops, or those that are in a scope.
func shownGraphOf(s *subject, c *graph.Case, scope string) *shownGraph {
	g := c.Graph
	names := s.program.ValueNames(g)
	out := &shownGraph{
		Model: s.name, Program: s.program.Name, Case: c.Name, When: c.When.String(), Nodes: g.NumNodes(), Launches: g.Launches(), Hash: g.Hash().String(),
		Inputs: []shownValue{}, Params: []shownValue{}, Ops: []shownOp{}, Outputs: []shownTaken{},
	}
	value := func(v graph.ValueID) shownValue { return shownValue{names[v], g.Type(v).String()} }
	for _, v := range g.Inputs() {
		out.Inputs = append(out.Inputs, value(v))
	}
	read := map[string]bool{}
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if !inSite(n.Scope, scope) || n.Op.Name == "input" || n.Op.Name == "param" {
			continue
		}
		op := shownOp{Results: []shownValue{}, Op: n.Op.Name, Operands: []string{}, Attrs: map[string]string{}, Scope: n.Scope}
		for _, v := range n.Out {
			op.Results = append(op.Results, value(v))
		}
		for _, v := range n.In {
			if v == graph.None {
				op.Operands = append(op.Operands, "none")
				continue
			}
			op.Operands = append(op.Operands, names[v])
			if g.Def(v).Op.Name == "param" {
				read[g.InputName(v)] = true
			}
		}
		for k, x := range n.Attrs {
			if spec := &n.Op.Attrs[k]; x != nil && (spec.Default == nil || !spec.Default.Equal(x)) {
				op.Attrs[spec.Name] = graph.AttrText(spec.Kind, x)
			}
		}
		out.Ops = append(out.Ops, op)
	}
	for _, o := range g.Outputs() {
		out.Outputs = append(out.Outputs, shownTaken{o.Name, names[o.Value]})
		if scope == "" && g.Def(o.Value).Op.Name == "param" {
			read[g.InputName(o.Value)] = true
		}
	}
	for _, q := range s.program.Params {
		if read[q.Name] {
			out.Params = append(out.Params, shownValue{q.Name, q.Type.String()})
		}
	}
	return out
}

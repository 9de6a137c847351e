package rewrite

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// shape is what matches of one pattern have in common whose names and $variables stand
// for things that are alike (matcher.Match.AppendShape): a model of 48 layers has one
// shape of a match, not 48. Guards, inference and the domains of kernels see the types
// of values, the operands that are absent and the values of variables, and nothing
// else of a match; what they say of one match they say of all of its shape, so that
// they are asked once. What does look at more than that is asked of every match:
// weights, of which the names count.
type shape struct {
	guards []GuardValue
	cond   graph.Cond // of guards and kernels' domains; True if decided
	no     *objection // why no match of this shape is taken, or nil

	*replacement // nil until a match has its weights
}

// replacement is what is put in the place of each match of a shape.
type replacement struct {
	// graph computes the results, its outputs, from the values that the rule's names
	// stand for, its inputs. It is grafted onto the rewritten graph for each match.
	graph *graph.Graph
	names []int // for each of its first inputs, which name of the pattern it is
	lines []int // for each of the others, which line of the rule's weights it is
	saved int   // launches
}

// judge evaluates the guards for the matches of the shape that m has.
func (f *finder) judge(r *rules.Rule, m *matcher.Match) *shape {
	s := &shape{cond: graph.True}
	env := f.matchEnv(m)
	for _, gd := range r.Guards {
		v := gd.Eval(env)
		if v.Cond.IsFalse() {
			code := CodeGuard
			if v.Unknown != "" {
				code = CodeUnknown
			}
			s.no = &objection{code, gd.Name, func() (string, string) { return gd.Text, gd.Values(env) }}
			return s
		}
		s.guards = append(s.guards, GuardValue{Name: gd.Name, Text: gd.Text, Cond: v.Cond, guard: gd.Guard, env: env})
		s.cond = graph.And(s.cond, v.Cond)
	}
	return s
}

// matchEnv gives names of guards their meaning at a match.
func (f *finder) matchEnv(m *matcher.Match) *guard.Env {
	g, env := f.g, f.env // the finder itself must not be kept by the result
	env.Type = func(name string) (graph.Type, bool) {
		v, ok := m.Value(g, name)
		if !ok {
			return graph.Type{}, false
		}
		return g.Type(v), true
	}
	env.Var = m.Var
	return &env
}

// rowsFit holds in every call: what attention sees of a cache is in it. Engines refuse a
// call where it is not.
var rowsFit = graph.And(
	graph.Compare(graph.Sym(graph.SymKVLen), graph.LE, graph.Sym(graph.SymKVCap)),
	graph.Compare(graph.Sym(graph.SymWindowLen), graph.LE, graph.Sym(graph.SymWindowCap)))

// build builds the replacement for the shape of a match, and checks it: results of the
// same types, calls in the domains of their kernels, fewer launches.
func (f *finder) build(s *shape, r *rules.Rule, cand *candidate) (*replacement, *objection) {
	no := func(code, guard, expected, observed string) (*replacement, *objection) {
		return nil, &objection{code, guard, func() (string, string) { return expected, observed }}
	}
	rep, b := operands(f.g, r, cand.match, cand.params)
	b.Op = f.rw.cfg.Set.Kernels.Op
	lines := make([]graph.Define, len(r.Replace))
	for k, l := range r.Replace {
		lines[k] = graph.Define{Names: l.Names, Expr: l.Expr}
	}
	h := rep.graph
	first := graph.NodeID(h.NumNodes())
	if err := h.BuildAll(lines, b); err != nil {
		return no(CodeBuild, "", "a replacement that can be built", err.Error())
	}
	made := slices.DeleteFunc(slices.Clone(cand.params), func(q *madeParam) bool { return q == nil })
	if err := readTriplets(h, len(rep.names), made); err != nil {
		return no(CodeWeights, "", "parameters that can be rearranged", err.Error())
	}
	for k, result := range r.Results {
		v := b.Values[result]
		if v == graph.None { // an optional operand, as it is
			return no(CodeBuild, "", "a replacement that can be built", result+" is an operand that is absent")
		}
		if got, want := h.Type(v), f.g.Type(cand.match.Result(f.g, k)); !got.Equal(want) {
			return no(CodeType, "", fmt.Sprintf("%s of type %s", result, want), got.String())
		}
		h.Output(result, v)
	}
	var cost graph.Cost
	for id := first; id < graph.NodeID(h.NumNodes()); id++ {
		n := h.Node(id)
		cost = cost.Plus(n.Op.Cost())
		spec := f.rw.cfg.Set.Kernels.SpecOf(n.Op)
		if spec == nil {
			continue
		}
		cond, failure := domain(spec, h, n, f.matchEnv(cand.match))
		if failure != nil {
			return no(CodeKernel, failure.Name, "operands in the kernel's domain", failure.Text)
		}
		cond = cond.Given(rowsFit)
		if !cond.IsTrue() {
			s.guards = append(s.guards, GuardValue{Name: n.Op.Name, Text: cond.String(), Cond: cond})
		}
		s.cond = graph.And(s.cond, cond)
	}
	// Rewriting ends, since each step lowers the cost. More launches in all need a rule that says so.
	before := cand.match.Pattern.Cost()
	if cost.Packed > before.Packed {
		return no(CodeCost, "", fmt.Sprintf("at most %d products of packed matrices", before.Packed), fmt.Sprintf("%d", cost.Packed))
	}
	if rep.saved = before.Launches - cost.Launches; rep.saved < -r.More || !cost.Below(before) {
		return no(CodeCost, "", fmt.Sprintf("fewer than %d launches", before.Launches), fmt.Sprintf("%d", cost.Launches))
	}
	return rep, nil
}

// operands begins a replacement: a graph with an input for each name of a match and
// each parameter that was made for it, and what the names stand for there.
func operands(g *graph.Graph, r *rules.Rule, m *matcher.Match, params []*madeParam) (*replacement, *graph.Bindings) {
	rep, b := &replacement{graph: graph.New()}, m.Bindings(g)
	for i, name := range m.Pattern.Names() {
		if v := m.Named(g, i); v != graph.None {
			b.Values[name] = rep.graph.Input(name, g.Type(v))
			rep.names = append(rep.names, i)
		}
	}
	for k, q := range params {
		name := r.Weights[k].Names[0]
		b.Values[name] = graph.None
		if q != nil {
			b.Values[name] = rep.graph.Input(name, q.Type)
			rep.lines = append(rep.lines, k)
		}
	}
	return rep, b
}

func domain(spec *kernels.Spec, g *graph.Graph, n *graph.Node, env *guard.Env) (graph.Cond, *kernels.Failure) {
	types := make([]graph.Type, len(n.In))
	for i, v := range n.In {
		types[i] = graph.Type{DType: graph.NoDType}
		if v != graph.None {
			types[i] = g.Type(v)
		}
	}
	return spec.Check(types, n.Attrs, env)
}

// put adds the replacement of a match to a patch of g, the graph that was matched, and
// lets its results take the place of the match's. In the first round g is as it was
// loaded, and has only parameters that the program's table had then.
func (c *candidate) put(p *graph.Patch, g *graph.Graph, round int) error {
	rep := c.shape.replacement
	in := make([]graph.ValueID, len(rep.graph.Inputs()))
	for k, i := range rep.names {
		in[k] = c.match.Named(g, i)
	}
	for k, line := range rep.lines {
		q := c.params[line]
		in[len(rep.names)+k] = p.Param(q.Name, q.Type, round == 1 && q.there == nil)
	}
	out, err := p.Graft(rep.graph, c.scope, in)
	if err != nil {
		return err
	}
	for i, v := range out {
		if err := p.Replace(c.match.Result(g, i), v); err != nil {
			return err
		}
	}
	return nil
}

package author

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// Load is kernels.Load, with sources for the kernels that have none and whose references
// are elementwise, a reduction of rows, or reductions and a map.
func Load(dirs ...string) (*kernels.Catalog, diag.List) {
	c, issues := kernels.Load(dirs...)
	return c, append(issues, c.Generate(Generate)...)
}

// Generate makes the source of a kernel of its reference graph, as it is made of a formula:
// an elementwise one rounds after each op, as MLX's ops do; one with reductions computes in
// float32 and rounds once. The error says why there is none.
func Generate(s *kernels.Spec) (*kernels.Generated, error) {
	if s.Launch != nil {
		return nil, errors.New("its launch is that of a source written by hand")
	}
	g := &generator{reader: &reader{builder: newBuilder(), options: &Options{}, results: true}, spec: s, lines: map[string]term{}}
	if err := g.operands(); err != nil {
		return nil, err
	}
	for _, d := range s.Reference() {
		if len(d.Names) != 1 {
			return nil, fmt.Errorf("line %s has several results", d.Names[0])
		}
		t, err := g.term(d.Expr)
		if err != nil {
			return nil, fmt.Errorf("line %s: %w", d.Names[0], err)
		}
		g.lines[d.Names[0]] = t
	}
	return g.write()
}

// term is a value of a reference.
type term struct {
	*node
	flat bool // of one value a row: [...], not [..., 1]
}

type generator struct {
	*reader
	spec  *kernels.Spec
	lines map[string]term
	dim   string // the length of a row
	typ   string // the element type, as sources call it
	types []graph.DType
}

// maxPasses bounds how often a generated source goes over a row.
const maxPasses = 8

// typeName is the form of names under types that no variable of a source has.
var typeName = regexp.MustCompile(`^[A-Z][A-Z0-9]*$`)

// operands makes leaves of the inputs.
func (g *generator) operands() error {
	for i, x := range g.spec.Inputs {
		if err := checkName(x.Name); err != nil {
			return err
		}
		s, rest := vector, x.Shape
		if len(rest) > 0 && rest[0].Name == "..." {
			s, rest = full, rest[1:]
		}
		switch {
		case x.Optional:
			return fmt.Errorf("input %s may be absent", x.Name)
		case len(rest) != 1 || rest[0].Name == "" || g.dim != "" && rest[0].Name != g.dim:
			return fmt.Errorf("input %s is neither [..., n] nor [n], with one n for all", x.Name)
		case i > 0 && (x.TypeName != g.spec.Inputs[0].TypeName || !slices.Equal(x.DTypes, g.types)):
			return fmt.Errorf("input %s has an element type of its own", x.Name)
		}
		g.dim, g.types = rest[0].Name, x.DTypes
		if g.typ = x.TypeName; g.typ == "" {
			g.typ = x.Name + "_t"
		} else if !typeName.MatchString(g.typ) {
			return fmt.Errorf("type %s is not in capital letters", g.typ)
		}
		n, err := g.leaf(inputOp, x.Name, s)
		if err != nil {
			return err
		}
		g.lines[x.Name] = term{node: n}
	}
	for _, t := range g.types {
		if t != graph.Float16 && t != graph.BFloat16 && t != graph.Float32 {
			return fmt.Errorf("elements of %s", t)
		}
	}
	for _, a := range g.spec.Attrs {
		if err := checkName(a.Name); err != nil {
			return err
		}
		if a.Kind != guard.Number {
			return fmt.Errorf("attribute %s is not a float", a.Name)
		}
	}
	if g.dim != "n" {
		return checkName(g.dim)
	}
	return nil
}

// term is the value of an expression of the reference.
func (g *generator) term(e syntax.Expr) (term, error) {
	switch x := e.(type) {
	case *syntax.Name:
		if t, ok := g.lines[x.Name]; ok {
			return t, nil
		}
	case *syntax.Number:
		n, err := g.number(x.Float)
		return term{node: n}, err
	case *syntax.Var:
		n, err := g.leaf(paramOp, x.Name, single)
		return term{node: n}, err
	case *syntax.Call:
		return g.apply(x)
	}
	return term{}, fmt.Errorf("%s is not part of what can be generated", e)
}

func (g *generator) apply(c *syntax.Call) (term, error) {
	no := func(format string, args ...any) (term, error) { return term{}, fmt.Errorf(format, args...) }
	op := graph.LookupOp(c.Fun)
	if op == nil {
		return no("there is no op %s", c.Fun)
	}
	args, err := graph.ResolveArgs(op, c)
	if err != nil {
		return term{}, err
	}
	attr := func(name string) syntax.Expr {
		if i := op.AttrIndex(name); i >= 0 {
			return args.Attrs[i]
		}
		return nil
	}
	if c.Fun == "arange" {
		if !isCount(attr("start"), attr("stop")) || attr("step") != nil || attr("dtype") != nil {
			return no("arange is understood as the length of a row only, arange(start=dim(x, -1), stop=dim(x, -1)+1)")
		}
		n, err := g.count()
		return term{node: n}, err
	}
	var in []term
	var nodes []*node
	for _, a := range args.Operands {
		if a == nil {
			return no("%s lacks an operand", c.Fun)
		}
		t, err := g.term(a)
		if err != nil {
			return term{}, err
		}
		in, nodes = append(in, t), append(nodes, t.node)
	}
	switch isLast := lastAxis(attr("axis")); {
	case slices.Contains(reductions, c.Fun):
		if !isLast {
			return no("%s is not over the last axis, axis=-1", c.Fun)
		}
		n, err := g.reader.apply(c.Fun, nodes)
		keeps, _ := attr("keepdims").(*syntax.Bool)
		return term{n, keeps == nil || !keeps.Value}, err
	case c.Fun == "softmax":
		if attr("axis") != nil && !isLast {
			return no("softmax is not over the last axis, axis=-1")
		}
		k := chain{b: g.builder}
		e := k.make("exp", k.make("subtract", in[0].node, k.reduce("max", in[0].node)))
		return term{node: k.make("divide", e, k.reduce("sum", e))}, k.err
	case c.Fun == "expand_dims" && in[0].flat && isLast:
		return term{node: in[0].node}, nil
	case c.Fun == "squeeze" && in[0].shape == perRow && !in[0].flat && isLast:
		return term{in[0].node, true}, nil
	case slices.ContainsFunc(args.Attrs, func(e syntax.Expr) bool { return e != nil }):
		return no("MLX's %s is not in what sources can compute on all targets", c.Fun)
	}
	values := in
	if c.Fun == "where" {
		values = in[1:]
	}
	if !slices.ContainsFunc(values, func(t term) bool { return !t.weak() }) {
		return no("%s of numbers alone has an element type of its own", c.Fun)
	}
	// [...] and [..., n] would be broadcast against each other from the wrong end.
	flat := slices.ContainsFunc(in, func(t term) bool { return t.flat })
	if flat && slices.ContainsFunc(in, func(t term) bool { return !t.flat && t.shape != single }) {
		return no("%s of one value a row and of rows: keepdims=true is missing", c.Fun)
	}
	n, err := g.reader.apply(c.Fun, nodes)
	return term{n, flat}, err
}

func lastAxis(e syntax.Expr) bool {
	if l, ok := e.(*syntax.List); ok && len(l.Items) == 1 {
		e = l.Items[0]
	}
	n, ok := e.(*syntax.Number)
	return ok && n.IsInt && n.Int == -1
}

// isCount reports whether start and stop are dim(x, -1) and dim(x, -1)+1.
func isCount(start, stop syntax.Expr) bool {
	c, ok := start.(*syntax.Call)
	if !ok || c.Fun != "dim" || len(c.Args) != 2 || !lastAxis(c.Args[1].Value) {
		return false
	}
	b, ok := stop.(*syntax.Binary)
	if !ok || b.Op != "+" || b.X.String() != start.String() {
		return false
	}
	one, ok := b.Y.(*syntax.Number)
	return ok && one.IsInt && one.Int == 1
}

// write makes the source.
func (g *generator) write() (*kernels.Generated, error) {
	s := g.spec
	if len(s.Results) != 1 {
		return nil, fmt.Errorf("%d results", len(s.Results))
	}
	name := s.Results[0]
	result := g.lines[name]
	nodes := reachable(result.node)
	want := elementwise
	switch {
	case result.shape == perRow:
		want = reduction
	case slices.ContainsFunc(nodes, func(n *node) bool { return isReduction(n.op) }):
		want = mapReduce
	}
	if err := shapeFault(g.builder, result.node, want); err != nil {
		return nil, err
	}
	if name != "out" {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	if err := g.sameTypes(result); err != nil {
		return nil, err
	}
	once := want != elementwise
	if s.Numerics == kernels.Exact && (once || !exact(result.node) || g.calls("power")) {
		return nil, errors.New("no generated source can promise that it is exact: numerics reordered would do")
	}

	n := newNaming(g.builder)
	for _, taken := range append(slices.Concat(s.Results, s.Ints()), s.Floats()...) {
		n.taken[taken] = true
	}
	for _, d := range s.Reference() {
		if t := g.lines[d.Names[0]]; isLine(t.node) && n.of[t.node] == "" && t.node != result.node {
			n.of[t.node] = n.taken.take(d.Names[0])
		}
	}
	root := result.node
	if want != elementwise {
		var err error
		if root, err = lower(g.builder, root); err != nil {
			return nil, err
		}
		if n := passes(reachable(root)); n > maxPasses {
			return nil, fmt.Errorf("%d reductions depend on each other, and each goes over the row again", n)
		}
	}
	c := newCoder(n, nodes, once)
	c.typ, c.dim, c.store = g.typ, g.dim, name
	made := &kernels.Generated{Dims: []kernels.CheckDim{{Name: kernels.RowsName, Values: []int64{1, 2, 5, 9}}, {Name: g.dim, Values: []int64{1, 31, 96, 1000}}}}
	if want == elementwise {
		elementwiseSource(c, root)
		made.Grid, made.Group = [3]string{"rows * " + g.dim, "1", "1"}, [3]string{"256", "1", "1"}
	} else {
		rowSource(c, root)
		t := rowThreads(g.dim)
		made.Grid, made.Group = [3]string{"rows * " + t, "1", "1"}, [3]string{t, "1", "1"}
	}
	for _, a := range s.Attrs {
		made.Attrs = append(made.Attrs, kernels.CheckAttr{Name: a.Name, Values: []float64{0.5, 1}})
	}
	made.Source = c.file(s.Name, []string{s.Doc, "Generated by zmlx-rewrite from the reference graph of the spec."})
	return made, nil
}

// calls reports whether the reference calls an op: formulas write some ops in another way,
// which is as good but for the last bit.
func (g *generator) calls(op string) bool {
	found := false
	for _, d := range g.spec.Reference() {
		syntax.Walk(d.Expr, func(e syntax.Expr) bool {
			c, ok := e.(*syntax.Call)
			found = found || ok && c.Fun == op
			return true
		})
	}
	return found
}

// sameTypes holds what was understood of the reference against what inference says of it:
// the result has the element type of the inputs, and their shape or that of their rows.
func (g *generator) sameTypes(result term) error {
	rows, n := graph.Sym("batch"), graph.Sym("seq_len")
	for _, d := range g.types {
		var in []graph.Type
		for _, x := range g.spec.Inputs {
			if x.Shape[0].Name == "..." {
				in = append(in, graph.T(d, rows, n))
			} else {
				in = append(in, graph.T(d, n))
			}
		}
		attrs := make([]graph.Attr, len(g.spec.Attrs))
		for i := range attrs {
			attrs[i] = graph.Float(0.5)
		}
		want := graph.T(d, rows, n)
		switch {
		case result.flat:
			want = graph.T(d, rows)
		case result.shape == perRow:
			want = graph.T(d, rows, graph.N(1))
		}
		_, got, err := graph.Infer(g.spec.Op(), in, attrs)
		if err != nil {
			return err
		}
		if !got[0].Equal(want) {
			return fmt.Errorf("of %s the reference makes %s, not %s", in[0], got[0], want)
		}
	}
	return nil
}

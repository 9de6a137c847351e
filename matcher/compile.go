package matcher

import (
	"cmp"
	"maps"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/rules"
)

// MaxExpansions bounds the ways to combine one rule's alternatives that are tried, those
// that contradict themselves included; maxNodes the nodes of each, and maxCalls the
// fragments that it goes through.
const (
	MaxExpansions = 256
	maxNodes      = 256
	maxCalls      = 4096
)

// Compile expands a rule that rules.Link has accepted, once for a set. It fails only if
// that makes too many patterns or too large ones; the error is a *diag.Issue.
func Compile(set *rules.Set, r *rules.Rule) ([]*Pattern, error) {
	type compiled struct {
		patterns []*Pattern
		err      error
	}
	c := set.Once(r, func() any {
		patterns, err := expand(set, r)
		return compiled{patterns, err}
	}).(compiled)
	return c.patterns, c.err
}

func expand(set *rules.Set, r *rules.Rule) ([]*Pattern, error) {
	var all []*Pattern
	var script []int // the alternative taken at each choice, in order of meeting them
	for tried := 1; ; tried++ {
		if tried > MaxExpansions {
			return nil, diag.Errorf("rule/expansions", r.Pos, "more than %d ways to expand the pattern of %s", MaxExpansions, r.Name).
				WithHint("split the rule, or its fragments' spellings")
		}
		c := &compiler{set: set, script: script, p: &Pattern{Rule: r, byName: map[string]ref{}}}
		c.rule(r)
		if c.large != nil {
			return nil, c.large
		}
		if !c.never {
			all = append(all, c.p)
		}
		// Count up: the last choice that has another alternative takes it, and what
		// came after it starts anew.
		script = c.taken
		for len(script) > 0 && script[len(script)-1] == c.ways[len(script)-1]-1 {
			script = script[:len(script)-1]
		}
		if len(script) == 0 {
			break
		}
		script = slices.Clone(script)
		script[len(script)-1]++
	}
	// A larger expansion is tried first, so that an optional part that can match does.
	slices.SortStableFunc(all, func(a, b *Pattern) int { return b.Size() - a.Size() })
	return all, nil
}

type compiler struct {
	set    *rules.Set
	p      *Pattern
	script []int
	taken  []int // alternatives taken so far
	ways   []int // how many there were at each choice
	never  bool  // this expansion contradicts itself: nothing matches
	line   rules.Line
	calls  int
	large  *diag.Issue
}

// scope gives names their meaning: in a rule, lines and operands; in a fragment,
// its arguments.
type scope struct {
	file   *rules.File
	values map[string]ref // of a fragment's arguments; nil in a rule
	vars   map[string]varOrConst
}

func (c *compiler) choose(n int) int {
	if n == 1 {
		return 0
	}
	k := 0
	if len(c.taken) < len(c.script) {
		k = c.script[len(c.taken)]
	}
	c.taken = append(c.taken, k)
	c.ways = append(c.ways, n)
	return k
}

func (c *compiler) rule(r *rules.Rule) {
	sc := &scope{file: r.File}
	// A line may read a later one, so that names get their nodes on demand.
	lines := map[string]rules.Line{}
	for _, l := range r.Match {
		for _, name := range l.Names {
			lines[name] = l
		}
	}
	var line func(l rules.Line)
	line = func(l rules.Line) {
		if _, done := c.p.byName[l.Names[0]]; done {
			return
		}
		c.needLines(l.Expr, lines, line)
		c.line = l
		root := c.expr(sc, l.Expr)
		if root.kind == refNode {
			c.p.nodes[root.i].name = l.Names[0]
		}
		for i, name := range l.Names {
			at := root
			at.res += i
			c.p.byName[name] = at
		}
	}
	for _, l := range r.Match {
		if line(l); c.never || c.large != nil {
			return
		}
	}
	for _, name := range r.Results {
		at := c.p.byName[name]
		if at.kind != refNode { // an optional(f(x)) that is x: nothing to replace
			c.never = true
		}
		c.p.results = append(c.p.results, result{name, at})
	}
	c.p.twins = twins(c.p)
	c.p.nameAll(r)
	c.p.orderChecks()
}

// orderChecks lists the attributes that are checked. Those that bind a variable as it is
// come first, so that expressions over it can be compared.
func (p *Pattern) orderChecks() {
	var late []check
	for q := range p.nodes {
		for i, a := range p.nodes[q].attrs {
			switch a.kind {
			case attrAny:
			case attrInt, attrList:
				late = append(late, check{q, i})
			default:
				p.checks = append(p.checks, check{q, i})
			}
		}
	}
	p.checks = append(p.checks, late...)
}

// nameAll lists the names that a match binds, and what they stand for.
func (p *Pattern) nameAll(r *rules.Rule) {
	names := map[string]ref{}
	for name := range r.Optional {
		names[name] = ref{kind: refAbsent} // unless the expansion has it
	}
	maps.Copy(names, p.byName)
	p.names = slices.Sorted(maps.Keys(names))
	for _, name := range p.names {
		p.bound = append(p.bound, names[name])
	}
}

// needLines compiles the lines that an expression reads before it is compiled: those
// whose dimensions an attribute asks for, too.
func (c *compiler) needLines(e syntax.Expr, lines map[string]rules.Line, line func(rules.Line)) {
	syntax.Walk(e, func(e syntax.Expr) bool {
		if x, ok := e.(*syntax.Name); ok {
			if l, ok := lines[x.Name]; ok {
				line(l)
			}
		}
		return true
	})
}

func (c *compiler) expr(sc *scope, e syntax.Expr) ref {
	switch x := e.(type) {
	case *syntax.Name:
		return c.name(sc, x)
	case *syntax.Var:
		v := c.variable(sc, x.Name)
		if v.v >= 0 {
			return ref{kind: refScalar, i: v.v}
		} else if r, ok := number(v.value); ok {
			return r
		}
	case *syntax.Number:
		return ref{kind: refLiteral, num: x.Float, whole: x.IsInt}
	case *syntax.Unary:
		if n, ok := x.X.(*syntax.Number); ok {
			return ref{kind: refLiteral, num: -n.Float, whole: n.IsInt}
		}
	case *syntax.Call:
		return c.call(sc, x)
	}
	return ref{kind: refAbsent} // rules.Link lets nothing else through
}

func (c *compiler) name(sc *scope, x *syntax.Name) ref {
	if sc.values != nil {
		return sc.values[x.Name]
	}
	if r, ok := c.p.byName[x.Name]; ok {
		r.optional = x.Optional
		return r
	}
	r := ref{kind: refValue, i: len(c.p.values), optional: x.Optional}
	c.p.values = append(c.p.values, x.Name)
	c.p.byName[x.Name] = ref{kind: refValue, i: r.i}
	return r
}

func (c *compiler) variable(sc *scope, name string) varOrConst {
	if sc.vars != nil {
		return sc.vars[name]
	}
	i := slices.Index(c.p.vars, name)
	if i < 0 {
		i = len(c.p.vars)
		c.p.vars = append(c.p.vars, name)
	}
	return varOrConst{v: i}
}

func (c *compiler) call(sc *scope, x *syntax.Call) ref {
	c.calls++
	if c.bounded(); c.never || c.large != nil {
		return ref{} // what is left of this expansion says nothing, nor do its alternatives
	}
	switch x.Fun {
	case "any":
		return c.expr(sc, x.Args[c.choose(len(x.Args))].Value)
	case "optional": // the op, or its first operand alone
		inner, ok := x.Args[0].Value.(*syntax.Call)
		if !ok || c.choose(2) == 0 {
			return c.expr(sc, x.Args[0].Value)
		}
		return c.expr(sc, c.set.FirstOperand(sc.file, inner))
	}
	if fr := c.set.Fragment(sc.file, x.Fun); fr != nil {
		return c.fragment(sc, x, fr)
	}
	op := graph.LookupOp(x.Fun)
	if op == nil {
		op = c.set.Kernels.Op(x.Fun)
	}
	args, err := graph.ResolveArgs(op, x)
	if err != nil {
		panic("matcher: " + err.Error()) // rules.Link has checked it
	}
	sortAxes(op, args)
	n := pnode{op: op, line: c.line.Names[0], attrs: make([]pattr, len(op.Attrs))}
	for _, a := range args.Operands {
		switch a.(type) {
		case nil, *syntax.None:
			n.in = append(n.in, ref{kind: refAbsent})
		default:
			n.in = append(n.in, c.expr(sc, a))
		}
	}
	for i, a := range args.Attrs {
		n.attrs[i] = c.attr(sc, a, &op.Attrs[i], args.Open)
	}
	c.p.nodes = append(c.p.nodes, n)
	c.bounded()
	return ref{kind: refNode, i: len(c.p.nodes) - 1}
}

// bounded notes that an expansion has become too large.
func (c *compiler) bounded() {
	if c.large == nil && (c.calls > maxCalls || len(c.p.nodes) > maxNodes) {
		c.large = c.line.Node.Errorf("rule/expansions", "the pattern of %s has more than %d nodes, or its fragments stand for more than %d others", c.p.Rule.Name, maxNodes, maxCalls)
	}
}

// sortAxes brings the axes of a slice in the graph's order, and with them what is paired
// with them. Axes of which some are counted from the start and some from the end stay: how
// they lie is not known before they meet a value.
func sortAxes(op *graph.Op, args *graph.Args) {
	at := op.AttrIndex("axis")
	if op.Name != "slice" && op.Name != "slice_update" {
		return
	}
	axes, ok := args.Attrs[at].(*syntax.List)
	if !ok {
		return
	}
	order := make([]int, len(axes.Items))
	numbers := make([]int64, len(axes.Items))
	for i, x := range axes.Items {
		n, ok := x.(*syntax.Number)
		if !ok {
			return
		}
		order[i], numbers[i] = i, n.Int
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(numbers[a], numbers[b]) })
	if len(order) > 0 && slices.Min(numbers) < 0 && slices.Max(numbers) >= 0 {
		return
	}
	for i, a := range args.Attrs {
		list, ok := a.(*syntax.List)
		if !ok || len(list.Items) != len(order) {
			continue
		}
		sorted := &syntax.List{At: list.At}
		for _, k := range order {
			sorted.Items = append(sorted.Items, list.Items[k])
		}
		args.Attrs[i] = sorted
	}
}

func (c *compiler) fragment(sc *scope, x *syntax.Call, fr *rules.Fragment) ref {
	inner := &scope{file: fr.File, values: map[string]ref{}, vars: map[string]varOrConst{}}
	for i, prm := range fr.Params {
		a := x.Args[i].Value
		if !prm.IsVar {
			inner.values[prm.Name] = c.expr(sc, a)
			continue
		}
		if v, ok := a.(*syntax.Var); ok {
			inner.vars[prm.Name] = c.variable(sc, v.Name)
			continue
		}
		value, err := prm.Constant(a)
		if err != nil {
			panic("matcher: " + err.Error()) // rules.Link has checked it
		}
		inner.vars[prm.Name] = varOrConst{-1, value}
	}
	alt := fr.Alts[c.choose(len(fr.Alts))]
	for _, s := range alt.Set {
		c.setVar(inner.vars[s.Name], s.Value)
	}
	r := c.expr(inner, alt.Is)
	if alt.When != nil {
		at := max(0, len(c.p.nodes)-1)
		if r.kind == refNode {
			at = r.i
		}
		c.p.whens = append(c.p.whens, when{alt.When, inner.vars, inner.values, at, c.line.Names[0]})
	}
	return r
}

// setVar gives a variable the value that a spelling decides. A use with a constant is a
// use of the spellings that set it so, no others; and two spellings that set one
// variable to two values do not go together.
func (c *compiler) setVar(v varOrConst, a graph.Attr) {
	if v.v < 0 {
		c.never = c.never || !a.Equal(v.value)
		return
	}
	for _, x := range c.p.preset {
		c.never = c.never || x.v == v.v && !a.Equal(x.attr)
	}
	c.p.preset = append(c.p.preset, preset{v.v, a})
}

func (c *compiler) attr(sc *scope, e syntax.Expr, spec *graph.AttrSpec, open bool) pattr {
	switch x := e.(type) {
	case nil:
		if open {
			return pattr{kind: attrAny}
		}
		return pattr{kind: attrDefault, value: spec.Default}
	case *syntax.Var:
		v := c.variable(sc, x.Name)
		switch d, isInt := v.value.(graph.Dim); {
		case v.v < 0 && isInt: // counted from either end
			return pattr{kind: attrInt, src: &syntax.Number{Text: d.String()}, ints: []*intExpr{{op: 'n', n: int64(d.Int())}}}
		case v.v < 0:
			return pattr{kind: attrConst, value: v.value}
		case spec.Kind == graph.KindPos || spec.Kind == graph.KindPosList:
			return pattr{kind: attrInt, src: e, ints: []*intExpr{{op: 'v', v: v.v}}}
		}
		return pattr{kind: attrVar, v: v.v}
	case *syntax.List:
		p := pattr{kind: attrList, src: e}
		for _, item := range x.Items {
			p.ints = append(p.ints, c.intExpr(sc, item))
		}
		return p
	}
	switch spec.Kind {
	case graph.KindFloat, graph.KindFlag, graph.KindWord, graph.KindDType:
		a, err := graph.ConstAttr(spec.Kind, e)
		if err != nil {
			panic("matcher: " + err.Error())
		}
		return pattr{kind: attrConst, value: a}
	}
	return pattr{kind: attrInt, src: e, ints: []*intExpr{c.intExpr(sc, e)}}
}

func (c *compiler) intExpr(sc *scope, e syntax.Expr) *intExpr {
	switch x := e.(type) {
	case *syntax.Number:
		return &intExpr{op: 'n', n: x.Int}
	case *syntax.Var:
		v := c.variable(sc, x.Name)
		if v.v >= 0 {
			return &intExpr{op: 'v', v: v.v}
		}
		d, _ := v.value.(graph.Dim)
		n, _ := d.Const()
		return &intExpr{op: 'n', n: n}
	case *syntax.Unary:
		return &intExpr{op: '-', l: &intExpr{op: 'n'}, r: c.intExpr(sc, x.X)}
	case *syntax.Binary:
		return &intExpr{op: x.Op[0], l: c.intExpr(sc, x.X), r: c.intExpr(sc, x.Y)}
	case *syntax.Call:
		i := &intExpr{op: x.Fun[0], ref: c.name(sc, x.Args[0].Value.(*syntax.Name))}
		if len(x.Args) > 1 {
			if n, ok := x.Args[1].Value.(*syntax.Number); ok {
				i.n = n.Int
			}
		}
		return i
	}
	panic("matcher: integer expression " + e.String())
}

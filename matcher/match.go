package matcher

import (
	"math"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// maxSteps bounds the work at one anchor; patterns of rules need a few dozen.
const maxSteps = 20000

const unbound graph.ValueID = -2

// maxStarts bounds the ops at which a search begins.
const maxStarts = 3

// Find calls emit for each place where the pattern fits, in the order of the graph's
// nodes.
func (p *Pattern) Find(ix *Index, emit func(*Match)) {
	anchor := p.rarest(ix)
	if anchor < 0 {
		return
	}
	s := &search{p: p, ix: ix, g: ix.Graph}
	for _, id := range ix.ofOp(p.nodes[anchor].op) {
		if s.at(anchor, id) {
			emit(s.match())
		}
	}
}

// Explain is Find that also calls miss for each anchor where the pattern does not fit,
// with the attempt that got furthest. A Miss is valid during the call; Clone keeps it.
//
// The anchors are the nodes of the pattern's rarest op. If an op does not occur at all,
// or no anchor gets half of the way, its next ops are tried as well, and then the attempts
// that got furthest of all are misses, too: code that has changed is near in all but the
// op that has become another one.
func (p *Pattern) Explain(ix *Index, emit func(*Match), miss func(*Miss)) {
	starts, complete := p.starts(ix)
	s := &search{p: p, ix: ix, g: ix.Graph}
	furthest := 0
	if complete {
		anchor, matched := starts[0], false
		starts = starts[1:]
		for _, id := range ix.ofOp(p.nodes[anchor].op) {
			if s.at(anchor, id) {
				matched = true
				emit(s.match())
			} else if s.miss.Code != "" {
				furthest = max(furthest, s.miss.Matched)
				miss(&s.miss)
			}
		}
		if matched || 2*furthest >= len(p.nodes) {
			return
		}
	}
	furthest = max(furthest, 1) // one op alone is like many
	var near []*Miss
	for _, anchor := range starts {
		for _, id := range ix.ofOp(p.nodes[anchor].op) {
			s.at(anchor, id)
			if s.miss.Code == "" || s.miss.Matched < furthest || s.miss.Matched == furthest && near == nil {
				continue
			}
			if s.miss.Matched > furthest {
				furthest, near = s.miss.Matched, nil
			}
			if !slices.ContainsFunc(near, func(m *Miss) bool { return m.Node == s.miss.Node && m.at == s.miss.at }) {
				near = append(near, s.miss.Clone())
			}
		}
	}
	for _, m := range near {
		miss(m)
	}
}

// rarest returns a node of the pattern whose op is rarest in the graph, the first of
// those, or -1 if one op does not occur at all.
func (p *Pattern) rarest(ix *Index) int {
	best, least := -1, 0
	for i := range p.nodes {
		n := len(ix.ofOp(p.nodes[i].op))
		if n == 0 {
			return -1
		}
		if best < 0 || n < least {
			best, least = i, n
		}
	}
	return best
}

// starts returns nodes of the pattern of different ops, those first whose op is rarest in
// the graph, and whether all ops of the pattern occur.
func (p *Pattern) starts(ix *Index) (starts []int, complete bool) {
	complete = true
	for i := range p.nodes {
		op := p.nodes[i].op
		if len(ix.ofOp(op)) == 0 {
			complete = false
		} else if !slices.ContainsFunc(starts, func(k int) bool { return p.nodes[k].op == op }) {
			starts = append(starts, i)
		}
	}
	slices.SortStableFunc(starts, func(a, b int) int { return len(ix.ofOp(p.nodes[a].op)) - len(ix.ofOp(p.nodes[b].op)) })
	return starts[:min(len(starts), maxStarts)], complete
}

// search is one attempt at one anchor.
type search struct {
	p  *Pattern
	ix *Index
	g  *graph.Graph

	nodes  []graph.NodeID
	values []graph.ValueID
	vars   []graph.Attr
	bound  int // how many nodes are bound
	trail  []change
	steps  int
	stop   bool // nothing more can be found at this anchor

	arena []goal
	lines []linear // of the attribute that is looked at
	kept  struct { // where matches keep what they bind
		nodes  []graph.NodeID
		values []graph.ValueID
		vars   []graph.Attr
	}

	start   int // the node of the pattern that the search begins at, and where
	anchor  graph.NodeID
	miss    Miss
	visited []graph.NodeID // of the check for convexity, in order
}

// change is an assignment that backing out takes back.
type change struct {
	kind uint8 // 0 node, 1 value, 2 variable, 3 variable that was bound before
	i    int
	was  graph.Attr // 3
}

// goal is an operand that must match a value. Goals form lists in an arena of the
// search; ways that were given up leave theirs behind until the next anchor.
type goal struct {
	value graph.ValueID
	at    int32 // the pattern node whose operand it is
	item  int32 // which operand
	next  int32 // the goal after it, or noGoal
}

const noGoal = -1

func (s *search) reset(anchor int, id graph.NodeID) {
	s.nodes = slices.Grow(s.nodes[:0], len(s.p.nodes))[:len(s.p.nodes)]
	s.values = slices.Grow(s.values[:0], len(s.p.values))[:len(s.p.values)]
	s.vars = slices.Grow(s.vars[:0], len(s.p.vars))[:len(s.p.vars)]
	for i := range s.nodes {
		s.nodes[i] = -1
	}
	for i := range s.values {
		s.values[i] = unbound
	}
	clear(s.vars)
	for _, x := range s.p.preset {
		s.vars[x.v] = x.attr
	}
	s.bound, s.trail, s.steps, s.stop, s.arena = 0, s.trail[:0], 0, false, s.arena[:0]
	s.start, s.anchor, s.miss = anchor, id, Miss{vars: s.miss.vars[:0]}
}

// at tries the pattern with a node of it at a node of the graph.
func (s *search) at(anchor int, id graph.NodeID) bool {
	s.reset(anchor, id)
	return s.node(anchor, id, noGoal)
}

func (s *search) match() *Match {
	return &Match{s.p, keep(&s.kept.nodes, s.nodes), keep(&s.kept.values, s.values), keep(&s.kept.vars, s.vars)}
}

// keep returns a copy of list, made in an array that it shares with the copies before
// and after it: matches are many and small.
func keep[T any](array *[]T, list []T) []T {
	if cap(*array)-len(*array) < len(list) {
		*array = make([]T, 0, 16*len(list))
	}
	from := len(*array)
	*array = append(*array, list...)
	return slices.Clip((*array)[from:])
}

func (s *search) undo(to int) {
	for len(s.trail) > to {
		c := s.trail[len(s.trail)-1]
		s.trail = s.trail[:len(s.trail)-1]
		switch c.kind {
		case 0:
			s.nodes[c.i] = -1
			s.bound--
		case 1:
			s.values[c.i] = unbound
		case 2:
			s.vars[c.i] = nil
		case 3:
			s.vars[c.i] = c.was
		}
	}
}

// fail records why an attempt stopped, if it got further than those before.
func (s *search) fail(code string, at, item int, node graph.NodeID, value graph.ValueID) bool {
	if s.stop {
		return false
	}
	if s.miss.Code == "" || s.bound > s.miss.Matched {
		s.miss = Miss{Pattern: s.p, Anchor: s.anchor, Matched: s.bound, Code: code, at: at, item: item, Node: node, value: value, vars: s.miss.vars[:0]}
		if code == CodeAttr { // its text says what variables were bound to
			s.miss.vars = append(s.miss.vars, s.vars...)
		}
	}
	return false
}

// node tries to bind pattern node q to graph node id and then meets the goals.
func (s *search) node(q int, id graph.NodeID, rest int32) bool {
	if s.stop {
		return false
	}
	if s.steps++; s.steps > maxSteps { // how near it was says nothing then
		s.miss.Code = ""
		s.fail(CodeFuel, q, 0, id, graph.None)
		s.stop = true
		return false
	}
	pn, n := &s.p.nodes[q], s.g.Node(id)
	if n.Op != pn.op {
		return s.fail(CodeOp, q, 0, id, graph.None)
	}
	if slices.Contains(s.nodes, id) {
		return s.fail(CodeDistinct, q, 0, id, graph.None)
	}
	if pn.op.Variadic && len(n.In) != len(pn.in) || len(n.In) > len(pn.in) {
		return s.fail(CodeOperands, q, 0, id, graph.None)
	}
	mark := len(s.trail)
	s.nodes[q] = id
	s.bound++
	s.trail = append(s.trail, change{kind: 0, i: q})

	orders := 1
	if pn.op.Commutative && pn.in[0] != pn.in[1] {
		orders = 2
	}
	for o := range orders {
		goals := rest
		for i := len(pn.in) - 1; i >= 0; i-- {
			k := i
			if o == 1 && i < 2 {
				k = 1 - i
			}
			v := graph.None
			if k < len(n.In) {
				v = n.In[k]
			}
			s.arena = append(s.arena, goal{v, int32(q), int32(i), goals})
			goals = int32(len(s.arena) - 1)
		}
		if s.goals(goals) {
			return true
		}
		s.undo(mark + 1)
	}
	s.undo(mark)
	return false
}

// goals meets the goals of a list; when none is left, it goes on to nodes of the
// pattern that are still free, and at last checks the whole.
func (s *search) goals(list int32) bool {
	if list == noGoal {
		return s.up()
	}
	gl := s.arena[list]
	at, item := int(gl.at), int(gl.item)
	rest, r, v := gl.next, &s.p.nodes[at].in[item], gl.value
	parent := s.nodes[at]
	if v == graph.None {
		if r.kind == refAbsent {
			return s.goals(rest)
		}
		if r.kind == refValue && r.optional && (s.values[r.i] == unbound || s.values[r.i] == graph.None) {
			if s.values[r.i] == unbound {
				s.values[r.i] = graph.None
				s.trail = append(s.trail, change{kind: 1, i: r.i})
			}
			return s.goals(rest)
		}
		return s.fail(CodeAbsent, at, item, parent, v)
	}
	switch r.kind {
	case refAbsent:
		return s.fail(CodePresent, at, item, parent, v)
	case refValue:
		switch s.values[r.i] {
		case v:
		case unbound:
			s.values[r.i] = v
			s.trail = append(s.trail, change{kind: 1, i: r.i})
		default:
			return s.fail(CodeBound, at, item, parent, v)
		}
		return s.goals(rest)
	case refLiteral:
		if !s.isNumber(v, r, s.g.Node(parent)) {
			return s.fail(CodeLiteral, at, item, parent, v)
		}
		return s.goals(rest)
	case refScalar:
		l := s.g.Literal(v)
		if _, ok := scalarOf(l); !ok {
			return s.fail(CodeLiteral, at, item, parent, v)
		}
		if set, isSet := number(s.vars[r.i]); isSet { // by a fragment
			if !s.isNumber(v, &set, s.g.Node(parent)) {
				return s.fail(CodeLiteral, at, item, parent, v)
			}
			return s.goals(rest)
		}
		if !s.bind(r.i, l) {
			return s.fail(CodeLiteral, at, item, parent, v)
		}
		return s.goals(rest)
	}
	val := s.g.Value(v)
	if bound := s.nodes[r.i]; bound >= 0 {
		if bound != val.Def || int(val.Res) != r.res {
			return s.fail(CodeBound, at, item, parent, v)
		}
		return s.goals(rest)
	}
	if int(val.Res) != r.res {
		return s.fail(CodeOp, r.i, 0, val.Def, v)
	}
	return s.node(r.i, val.Def, rest)
}

// number is the number that a constant of a rule stands for among operands, if it is one.
func number(a graph.Attr) (ref, bool) {
	switch x := a.(type) {
	case graph.Float:
		return ref{kind: refLiteral, num: float64(x)}, true
	case graph.Dim:
		return ref{kind: refLiteral, num: float64(x.Int()), whole: true}, true
	}
	return ref{}, false
}

func scalarOf(l *graph.Literal) (float64, bool) {
	if l == nil || len(l.Data) != l.DType.Size() || l.DType == graph.Complex64 {
		return 0, false
	}
	return graph.DecodeElem(l.DType, l.Data), true
}

// isNumber reports whether value v, an operand of n, is the number that the rule
// writes. A number takes the element type of the operands beside it, as in Python:
// v must have the value that the number has there, and must not widen the result.
func (s *search) isNumber(v graph.ValueID, r *ref, n *graph.Node) bool {
	l := s.g.Literal(v)
	x, ok := scalarOf(l)
	if !ok {
		return false
	}
	beside, skipped := graph.NoDType, false
	for _, u := range n.In {
		switch {
		case u == graph.None:
		case u == v && !skipped:
			skipped = true
		case beside == graph.NoDType:
			beside = s.g.Type(u).DType
		default:
			beside = graph.Promote(beside, s.g.Type(u).DType)
		}
	}
	t := graph.NumberType(beside, r.whole)
	if beside == graph.NoDType && l.DType != t || beside != graph.NoDType && graph.Promote(beside, l.DType) != graph.Promote(beside, t) {
		return false
	}
	want := r.num
	if l.DType.IsFloat() {
		want = graph.Round(t, want)
	}
	return x == want && math.Signbit(x) == math.Signbit(want)
}

// maxReaders bounds how many readers of one value are tried. A value that the
// whole graph reads, such as the position, says little about which nodes belong
// together; trying all its readers at each of them would grow with the square of
// the layers.
const maxReaders = 32

// up finds a node of the pattern that is not bound yet but reads a bound value,
// and tries the readers of that value, those nearest to the anchor first.
func (s *search) up() bool {
	q, v := s.nextFree()
	if q < 0 {
		return s.complete()
	}
	if v == graph.None {
		return s.fail(CodeNoReader, q, 0, s.anchor, v)
	}
	readers := s.ix.Uses.Of(v)
	// Readers are in order: walk outwards from the anchor.
	hi, _ := slices.BinarySearch(readers, s.anchor)
	lo, tried := hi-1, 0
	for last := graph.NodeID(-1); (lo >= 0 || hi < len(readers)) && tried < maxReaders && !s.stop; {
		var id graph.NodeID
		if hi >= len(readers) || lo >= 0 && s.anchor-readers[lo] <= readers[hi]-s.anchor {
			id, lo = readers[lo], lo-1
		} else {
			id, hi = readers[hi], hi+1
		}
		if id == last || s.g.Node(id).Op != s.p.nodes[q].op || slices.Contains(s.nodes, id) {
			continue
		}
		last = id
		tried++
		mark := len(s.trail)
		if s.node(q, id, noGoal) {
			return true
		}
		s.undo(mark)
	}
	if tried == 0 {
		return s.fail(CodeNoReader, q, 0, s.g.Value(v).Def, v)
	}
	return false
}

// nextFree returns the free node of the pattern whose known operand has the
// fewest readers, and that operand; -1 if no node is free.
func (s *search) nextFree() (int, graph.ValueID) {
	best, operand, least := -1, graph.None, math.MaxInt
	for q := range s.p.nodes {
		if s.nodes[q] >= 0 {
			continue
		}
		if best < 0 {
			best = q
		}
		for _, r := range s.p.nodes[q].in {
			v := graph.None
			switch {
			case r.kind == refNode && s.nodes[r.i] >= 0:
				v = s.g.Node(s.nodes[r.i]).Out[r.res]
			case r.kind == refValue && s.values[r.i] >= 0:
				v = s.values[r.i]
			}
			if v == graph.None {
				continue
			}
			if n := len(s.ix.Uses.Of(v)); n < least {
				best, operand, least = q, v, n
			}
		}
	}
	return best, operand
}

// complete checks what needs all nodes: the order of twins, operands, attributes,
// conditions of alternatives, and values used outside.
func (s *search) complete() bool {
	for _, group := range s.p.twins {
		for i := 1; i < len(group); i++ {
			if s.nodes[group[i-1]] > s.nodes[group[i]] {
				// The same site, named in another order. If this search began at one of
				// the twins, the site is found from the first of them, and there is
				// nothing more to find from here.
				if slices.Contains(group, s.start) {
					s.stop, s.miss.Code = true, ""
				}
				return false
			}
		}
	}
	mark := len(s.trail)
	if s.operands() && s.attrs() && s.scalars() && s.whens() && s.escapes() && s.convex() {
		return true
	}
	s.undo(mark)
	return false
}

// operands refuses a match of which a value variable stands for something that the
// match itself makes: the replacement would read what it replaces.
func (s *search) operands() bool {
	for _, v := range s.values {
		if v < 0 {
			continue
		}
		id := s.g.Value(v).Def
		if q := slices.Index(s.nodes, id); q >= 0 && len(s.g.Node(id).In) > 0 {
			return s.fail(CodeDistinct, q, 0, id, v)
		}
	}
	return true
}

// scalars refuses constants that are not what the number of an attribute, bound to the same
// $variable, is beside the operands that they have: a float16 one beside float32 is not.
func (s *search) scalars() bool {
	for q := range s.p.nodes {
		pn, n := &s.p.nodes[q], s.g.Node(s.nodes[q])
		for i, r := range pn.in {
			if r.kind != refScalar {
				continue
			}
			f, isFloat := s.vars[r.i].(graph.Float)
			if !isFloat {
				continue
			}
			num := ref{kind: refLiteral, num: float64(f)}
			ok := s.isNumber(n.In[i], &num, n)
			if !ok && pn.op.Commutative && i < 2 {
				ok = s.isNumber(n.In[1-i], &num, n)
			}
			if !ok {
				return s.fail(CodeLiteral, q, i, s.nodes[q], n.In[i])
			}
		}
	}
	return true
}

// attrs matches the attributes of all nodes.
func (s *search) attrs() bool {
	for _, c := range s.p.checks {
		id := s.nodes[c.node]
		if !s.attr(&s.p.nodes[c.node].attrs[c.attr], s.g.Node(id), c.attr) {
			return s.fail(CodeAttr, c.node, c.attr, id, graph.None)
		}
	}
	return true
}

func (s *search) bind(v int, a graph.Attr) bool {
	if old := s.vars[v]; old != nil {
		if !isRounded(old, a) {
			return old.Equal(a)
		}
		s.vars[v] = a // the constant is known better now
		s.trail = append(s.trail, change{kind: 3, i: v, was: old})
		return true
	}
	s.vars[v] = a
	s.trail = append(s.trail, change{kind: 2, i: v})
	return true
}

// isRounded reports whether a constant among operands is what an attribute's number is
// beside operands of its element type: a Python number is a float32 first.
func isRounded(constant, attr graph.Attr) bool {
	l, isConstant := constant.(*graph.Literal)
	f, isFloat := attr.(graph.Float)
	if !isConstant || !isFloat || !l.DType.IsFloat() {
		return false
	}
	x, ok := scalarOf(l)
	once, twice := graph.Round(l.DType, float64(f)), graph.Round(l.DType, float64(float32(f)))
	return ok && x == once && x == twice && math.Signbit(x) == math.Signbit(once)
}

func (s *search) attr(a *pattr, n *graph.Node, i int) bool {
	spec, got := &n.Op.Attrs[i], n.Attrs[i]
	switch a.kind {
	case attrDefault:
		return got == nil && a.value == nil || got != nil && a.value != nil && got.Equal(a.value)
	case attrVar:
		if axes, ok := got.(graph.Dims); ok && len(axes) == 1 && spec.Kind == graph.KindAxes {
			got = axes[0] // one axis is one however the op takes it
		}
		return got != nil && s.bind(a.v, got)
	case attrConst:
		return got != nil && got.Equal(a.value)
	}
	return s.intAttr(a, spec, n, got)
}

func (s *search) whens() bool {
	for i := range s.p.whens {
		w := &s.p.whens[i]
		env := &guard.Env{
			Type: func(name string) (graph.Type, bool) { return s.refType(w.refs[name]) },
			Var: func(name string) graph.Attr {
				v, ok := w.vars[name]
				switch {
				case !ok:
					return nil
				case v.v >= 0:
					return s.vars[v.v]
				}
				return v.value
			},
		}
		if !w.guard.Eval(env).Cond.IsTrue() {
			return s.fail(CodeWhen, w.at, i, s.anchor, graph.None)
		}
	}
	return true
}

func (s *search) refType(r ref) (graph.Type, bool) {
	switch {
	case r.kind == refNode && s.nodes[r.i] >= 0:
		return s.g.Type(s.g.Node(s.nodes[r.i]).Out[r.res]), true
	case r.kind == refValue && s.values[r.i] >= 0:
		return s.g.Type(s.values[r.i]), true
	}
	return graph.Type{}, false
}

// escapes refuses a match whose inner values are used outside of it. Constants
// and ranges never escape: whoever needs one makes another.
func (s *search) escapes() bool {
	for q, id := range s.nodes {
		n := s.g.Node(id)
		if len(n.In) == 0 {
			continue
		}
		for res, v := range n.Out {
			if s.isResult(q, res) {
				continue
			}
			if s.ix.Uses.IsOutput(v) {
				return s.fail(CodeEscapeOutput, q, 0, id, v)
			}
			for _, user := range s.ix.Uses.Of(v) {
				if !slices.Contains(s.nodes, user) {
					return s.fail(CodeEscape, q, 0, user, v)
				}
			}
		}
	}
	return true
}

// maxConvex bounds how many nodes the check for convexity visits.
const maxConvex = 4096

// convex refuses a match with a path from one of its nodes to another that leaves
// the match in between: replacing it would make a cycle, as when q of one layer
// is taken together with k of the next.
func (s *search) convex() bool {
	last := slices.Max(s.nodes)
	s.visited = s.visited[:0]
	var walk func(id graph.NodeID) bool
	walk = func(id graph.NodeID) bool {
		for _, v := range s.g.Node(id).Out {
			for _, user := range s.ix.Uses.Of(v) {
				if slices.Contains(s.nodes, user) {
					return false
				}
				if user > last || s.seen(user) {
					continue
				}
				if len(s.visited) > maxConvex || !walk(user) {
					return false
				}
			}
		}
		return true
	}
	for q, id := range s.nodes {
		for res, v := range s.g.Node(id).Out {
			if !s.isResult(q, res) {
				continue // its readers are all inside
			}
			for _, user := range s.ix.Uses.Of(v) {
				if user <= last && !slices.Contains(s.nodes, user) && !s.seen(user) && !walk(user) {
					return s.fail(CodeConvex, q, 0, id, v)
				}
			}
		}
	}
	return true
}

// seen marks a node as visited and reports whether it already was.
func (s *search) seen(id graph.NodeID) bool {
	if i, found := slices.BinarySearch(s.visited, id); !found {
		s.visited = slices.Insert(s.visited, i, id)
		return false
	}
	return true
}

func (s *search) isResult(q, res int) bool {
	for _, r := range s.p.results {
		if r.ref.kind == refNode && r.ref.i == q && r.ref.res == res {
			return true
		}
	}
	return false
}

package rules

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// Link joins files into a set: includes are resolved, every name is looked up,
// guards are compiled, and each rule learns its values, variables and results. Of what
// Parse reported errors of, the rest is checked; what would follow from them is not
// reported again.
func Link(files []*File, catalog *kernels.Catalog) (*Set, diag.List) {
	return link(files, nil, catalog)
}

// link is Link with the names of files that could not be read at all.
func link(files []*File, unread map[string]bool, catalog *kernels.Catalog) (*Set, diag.List) {
	s := &Set{Files: files, Kernels: catalog, fragments: map[*File]map[string]*Fragment{}, partial: map[*File]bool{}}
	var issues diag.List
	byName := map[string]*File{}
	for _, f := range files {
		base := f.Path[strings.LastIndexByte(f.Path, '/')+1:]
		byName[base] = f
	}
	for _, f := range files {
		issues = append(issues, s.linkFragments(f, byName, unread)...)
	}
	if issue := s.recursive(); issue != nil {
		issues.Add(issue)
		return s, issues // expanding such a fragment would not end
	}
	issues = append(issues, s.fragmentBodies()...)
	for _, f := range files {
		for _, r := range f.Rules {
			l := linker{set: s, rule: r, file: f}
			l.link()
			issues = append(issues, l.issues...)
		}
	}
	return s, issues
}

// each calls f for the parts of an expression that are of type T.
func each[T syntax.Expr](e syntax.Expr, f func(T)) {
	syntax.Walk(e, func(e syntax.Expr) bool {
		if x, ok := e.(T); ok {
			f(x)
		}
		return true
	})
}

// linker checks one rule.
type linker struct {
	set    *Set
	rule   *Rule
	file   *File
	issues diag.List

	lines    map[string]bool // names of lines of the pattern
	operands map[string]bool // names that stand for any value
	uses     map[string]int  // how often a line's name is read by other lines
	measured []measured
	missing  bool // a fragment is not there, for an error that was reported
}

// measured is a value whose dimensions the pattern asks for. It may be named further
// down, so that all are looked up at the end.
type measured struct {
	node   *diag.Node
	name   *syntax.Name
	params *Fragment
}

func (l *linker) bad(n *diag.Node, at int, code, format string, args ...any) *diag.Issue {
	i := n.ErrorfAt(at, code, format, args...)
	l.issues.Add(i)
	return i
}

func (l *linker) link() {
	r := l.rule
	r.Vars, r.Optional = map[string]guard.Kind{}, map[string]bool{}
	l.lines, l.operands, l.uses = map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, line := range r.Match {
		for _, name := range line.Names {
			if l.lines[name] {
				l.bad(line.Node, 0, "rule/duplicate", "%s is matched twice", name)
			}
			l.lines[name] = true
			r.Values = append(r.Values, name)
		}
	}
	for _, line := range r.Match {
		if _, ok := line.Expr.(*syntax.Call); !ok {
			l.bad(line.Node, 0, "rule/pattern", "a line of a pattern must be an op applied to values, found %s", line.Expr)
			continue
		}
		if n := l.results(line.Expr); len(line.Names) != n {
			l.bad(line.Node, 0, "rule/pattern", "%d names for %d results", len(line.Names), n)
		}
		l.pattern(line.Node, line.Expr, l.file, nil)
	}
	if !r.block["match"] || l.missing {
		return // what the rule binds is not known
	}
	l.measures()
	l.order()
	l.connected()
	l.roots()
	l.guards()
	if r.block["weights"] {
		l.weights()
		if r.block["replace"] && r.block["results"] {
			l.replacement()
		}
	}
	l.hash()
}

// results returns how many results an op or fragment has.
func (l *linker) results(e syntax.Expr) int {
	if c, ok := e.(*syntax.Call); ok {
		if op := l.op(c.Fun); op != nil {
			return op.Results
		}
	}
	return 1
}

func (l *linker) op(name string) *graph.Op {
	if op := graph.LookupOp(name); op != nil {
		return op
	}
	return l.set.Kernels.Op(name)
}

// pattern checks an expression of a pattern. params is nil in a rule; in a
// fragment it gives the fragment's parameters.
func (l *linker) pattern(n *diag.Node, e syntax.Expr, file *File, params *Fragment) {
	switch x := e.(type) {
	case *syntax.Name:
		if params != nil {
			if params.param(x.Name, false) == nil {
				l.bad(n, x.At, "rule/name", "%s is not a parameter of fragment %s", x.Name, params.Name)
			}
			return
		}
		if l.lines[x.Name] {
			l.uses[x.Name]++
			if x.Optional {
				l.bad(n, x.At, "rule/pattern", "%s is a line of the pattern and cannot be optional", x.Name)
			}
			return
		}
		if !l.operands[x.Name] {
			l.operands[x.Name] = true
			l.rule.Values = append(l.rule.Values, x.Name)
		}
		if x.Optional {
			l.rule.Optional[x.Name] = true
		}
	case *syntax.Var:
		l.patternVar(n, x, guard.Number, params)
	case *syntax.Number:
		l.scalar(n, x)
	case *syntax.Unary:
		if num, ok := x.X.(*syntax.Number); !ok || x.Op != "-" {
			l.bad(n, x.At, "rule/pattern", "%s is not a value", e)
		} else {
			l.scalar(n, num)
		}
	case *syntax.Call:
		l.patternCall(n, x, file, params)
	default:
		l.bad(n, e.Offset(), "rule/pattern", "%s is not a value", e)
	}
}

// optional checks that what is written inside optional(…) has a first operand that can
// stand for it.
func (l *linker) optional(n *diag.Node, e syntax.Expr, file *File) {
	c, ok := e.(*syntax.Call)
	if !ok || isForm(c.Fun) {
		l.bad(n, e.Offset(), "rule/pattern", "optional takes an op or a fragment applied to values, found %s", e)
		return
	}
	switch l.set.FirstOperand(file, c).(type) {
	case *syntax.Name, *syntax.Call:
	default:
		l.bad(n, c.At, "rule/pattern", "optional(%s) needs a first operand that is a name or an op, which stands for it where it is left out", c)
	}
}

// FirstOperand returns what a call of an op or a fragment has for its first operand,
// wherever it is written; nil if it has none.
func (s *Set) FirstOperand(file *File, c *syntax.Call) syntax.Expr {
	if fr := s.Fragment(file, c.Fun); fr != nil {
		for i, prm := range fr.Params {
			if !prm.IsVar && i < len(c.Args) {
				return c.Args[i].Value
			}
		}
		return nil
	}
	op := graph.LookupOp(c.Fun)
	if op == nil {
		op = s.Kernels.Op(c.Fun)
	}
	if op == nil {
		return nil
	}
	args, err := graph.ResolveArgs(op, c)
	if err != nil || len(args.Operands) == 0 {
		return nil
	}
	return args.Operands[0]
}

// nested checks the operands among arguments that do not fit their op.
func (l *linker) nested(n *diag.Node, e syntax.Expr, file *File, params *Fragment) {
	switch e.(type) {
	case *syntax.Name, *syntax.Call:
		l.pattern(n, e, file, params)
	}
}

func (l *linker) patternCall(n *diag.Node, c *syntax.Call, file *File, params *Fragment) {
	if isForm(c.Fun) {
		if c.Fun == "optional" && len(c.Args) != 1 || len(c.Args) == 0 {
			l.bad(n, c.At, "rule/pattern", "%s takes %s", c.Fun, map[string]string{"any": "at least one pattern", "optional": "one pattern"}[c.Fun])
		}
		for _, a := range c.Args {
			if a.Name != "" {
				l.bad(n, a.At, "rule/pattern", "arguments of %s have no names", c.Fun)
			}
			l.pattern(n, a.Value, file, params)
		}
		if c.Fun == "optional" && len(c.Args) == 1 {
			l.optional(n, c.Args[0].Value, file)
		}
		return
	}
	if fr := l.set.Fragment(file, c.Fun); fr != nil {
		l.fragmentUse(n, c, fr, file, params)
		return
	}
	op := l.op(c.Fun)
	if op == nil && l.set.partial[file] {
		l.missing = true
		return
	}
	if op == nil {
		i := l.bad(n, c.At, "rule/unknown-op", "no op or fragment %q", c.Fun)
		if near := diag.Nearest(c.Fun, l.opNames(file)); near != "" {
			i.WithHint("did you mean %q?", near)
		}
		return
	}
	if op.IsLeaf() {
		l.bad(n, c.At, "rule/pattern", "%s cannot be matched; a bare name stands for any value", op.Name)
		return
	}
	args, err := graph.ResolveArgs(op, c)
	if err != nil {
		l.issues.Add(kernels.SyntaxIssue(n, err))
		for _, a := range c.Args { // other lines may use the names
			if a.Name == "" {
				l.nested(n, a.Value, file, params)
			}
		}
		return
	}
	for i, a := range args.Operands {
		switch x := a.(type) {
		case nil:
			if !op.Operands[i].Optional {
				l.bad(n, c.At, "rule/pattern", "operand %s is missing; it is %s", op.Operands[i].Name, op.Signature())
			}
		case *syntax.None:
		case *syntax.Name:
			if x.Optional && !op.Variadic && !op.Operands[i].Optional {
				l.bad(n, x.At, "rule/pattern", "operand %s of %s is never absent", op.Operands[i].Name, op.Name)
			}
			l.pattern(n, a, file, params)
		default:
			l.pattern(n, a, file, params)
		}
	}
	for i, a := range args.Attrs {
		spec := &op.Attrs[i]
		switch {
		case a != nil:
			l.attribute(n, a, spec, params)
		case spec.Default == nil && !spec.Optional && !args.Open:
			l.bad(n, c.At, "rule/pattern", "attribute %s is not written; it is %s", spec.Name, op.Signature()).
				WithHint("write %s=$%s to bind it, or ... to let attributes be anything", spec.Name, spec.Name)
		}
	}
}

func guardKind(k graph.AttrKind) guard.Kind {
	switch k {
	case graph.KindFloat, graph.KindLiteral:
		return guard.Number
	case graph.KindWord, graph.KindDType:
		return guard.Word
	case graph.KindFlag:
		return guard.Bool
	}
	return guard.Int
}

// patternVar checks a $variable of a pattern: in a fragment it must be a parameter, in a
// rule it is bound.
func (l *linker) patternVar(n *diag.Node, v *syntax.Var, k guard.Kind, params *Fragment) {
	if params == nil {
		l.variable(n, v, k)
	} else if prm := params.param(v.Name, true); prm == nil {
		l.bad(n, v.At, "rule/name", "$%s is not a parameter of fragment %s", v.Name, params.Name)
	} else if have := guardKind(prm.spec.Kind); have != k {
		l.bad(n, v.At, "rule/kind", "$%s is %s elsewhere in %s; %s is needed here", v.Name, kindText[have], params.Name, kindText[k])
	}
}

func (l *linker) variable(n *diag.Node, v *syntax.Var, k guard.Kind) {
	if prev, ok := l.rule.Vars[v.Name]; ok && prev != k {
		l.bad(n, v.At, "rule/kind", "$%s stands for two kinds of attribute", v.Name)
	}
	if l.lines[v.Name] || l.operands[v.Name] {
		l.bad(n, v.At, "rule/name", "$%s has the name of a value", v.Name)
	}
	l.rule.Vars[v.Name] = k
}

// attribute checks what is written for an attribute in a pattern.
func (l *linker) attribute(n *diag.Node, e syntax.Expr, spec *graph.AttrSpec, params *Fragment) {
	switch x := e.(type) {
	case *syntax.Var:
		l.patternVar(n, x, guardKind(spec.Kind), params)
		return
	case *syntax.List:
		for _, item := range x.Items {
			l.attribute(n, item, &graph.AttrSpec{Name: spec.Name, Kind: graph.KindInt}, params)
		}
		return
	}
	switch spec.Kind {
	case graph.KindFloat, graph.KindFlag, graph.KindWord, graph.KindDType:
		l.constant(n, e, spec)
	default:
		l.intExpr(n, e, params)
	}
}

// intExpr checks an integer expression of a pattern: numbers, $variables, dim(), + - *.
func (l *linker) intExpr(n *diag.Node, e syntax.Expr, params *Fragment) {
	switch x := e.(type) {
	case *syntax.Number:
		l.integer(n, x)
	case *syntax.Var:
		l.attribute(n, x, &graph.AttrSpec{Kind: graph.KindInt}, params)
	case *syntax.Unary:
		if x.Op != "-" {
			l.bad(n, x.At, "rule/attr", "operator %s is not allowed in an attribute", x.Op)
		}
		l.intExpr(n, x.X, params)
	case *syntax.Binary:
		l.arithmetic(n, x)
		l.intExpr(n, x.X, params)
		l.intExpr(n, x.Y, params)
	case *syntax.Call:
		if name := l.measure(n, x); name != nil {
			l.measured = append(l.measured, measured{n, name, params})
		}
	default:
		l.bad(n, e.Offset(), "rule/attr", "%s is not an integer", e)
	}
}

// scalar checks a number among operands. Constants are compared and made as float64,
// which keeps whole numbers below 2^53.
func (l *linker) scalar(n *diag.Node, x *syntax.Number) {
	if x.IsInt && (x.Int >= 1<<53 || x.Int <= -1<<53) {
		l.bad(n, x.At, "rule/number", "%s is not below 2^53 and would be rounded", x)
	}
}

func (l *linker) integer(n *diag.Node, x *syntax.Number) {
	if !x.IsInt {
		l.bad(n, x.At, "rule/attr", "%s is not an integer", x)
	}
}

func (l *linker) arithmetic(n *diag.Node, x *syntax.Binary) {
	if !slices.Contains([]string{"+", "-", "*"}, x.Op) {
		l.bad(n, x.At, "rule/attr", "operator %s is not allowed in an attribute", x.Op)
	}
}

// measure checks dim(value, axis), rows(value) or size(value) and returns the value's
// name, or nil. The axis is written out: one that a $variable or a symbol gives would
// have to be known before the dimension is.
func (l *linker) measure(n *diag.Node, c *syntax.Call) *syntax.Name {
	args := map[string]int{"dim": 2, "rows": 1, "size": 1}[c.Fun]
	if args == 0 || len(c.Args) != args || slices.ContainsFunc(c.Args, func(a syntax.Arg) bool { return a.Name != "" }) {
		l.bad(n, c.At, "rule/attr", "%s is not an integer; dim(value, axis), rows(value) and size(value) are", c)
		return nil
	}
	name, ok := c.Args[0].Value.(*syntax.Name)
	if !ok || name.Optional {
		l.bad(n, c.Args[0].Value.Offset(), "rule/attr", "%s takes the name of a value, found %s", c.Fun, c.Args[0].Value)
		return nil
	}
	if args == 2 {
		if axis, ok := c.Args[1].Value.(*syntax.Number); !ok || !axis.IsInt {
			l.bad(n, c.Args[1].Value.Offset(), "rule/attr", "the axis of dim must be written as an integer, found %s", c.Args[1].Value)
		}
	}
	return name
}

// measures checks the values whose dimensions the pattern asks for.
func (l *linker) measures() {
	for _, m := range l.measured {
		switch {
		case m.params == nil && !slices.Contains(l.rule.Values, m.name.Name):
			l.bad(m.node, m.name.At, "rule/name", "%s is not a value of the pattern", m.name.Name)
		case m.params != nil && m.params.param(m.name.Name, false) == nil:
			l.bad(m.node, m.name.At, "rule/name", "%s is not a parameter of fragment %s", m.name.Name, m.params.Name)
		}
	}
}

// order refuses lines that read each other in a circle. A line may read a later one.
func (l *linker) order() {
	lines := map[string]*Line{}
	for i := range l.rule.Match {
		for _, name := range l.rule.Match[i].Names {
			lines[name] = &l.rule.Match[i]
		}
	}
	open, done := map[*Line]bool{}, map[*Line]bool{}
	var visit func(line *Line)
	visit = func(line *Line) {
		open[line] = true
		each(line.Expr, func(name *syntax.Name) {
			switch to := lines[name.Name]; {
			case to == nil || done[to]:
			case open[to]:
				l.bad(line.Node, name.At, "rule/pattern", "%s is made of itself", name.Name)
			default:
				visit(to)
			}
		})
		open[line], done[line] = false, true
	}
	for i := range l.rule.Match {
		if line := &l.rule.Match[i]; !done[line] {
			visit(line)
		}
	}
}

// connected refuses a line that no chain of names joins to the first one: matching
// goes from value to value, and would never find it.
func (l *linker) connected() {
	joined, lines := map[string]bool{}, slices.Clone(l.rule.Match)
	for grown := true; grown; {
		grown = false
		lines = slices.DeleteFunc(lines, func(line Line) bool {
			names := slices.Clone(line.Names)
			operandNames(line.Expr, func(n *syntax.Name) { names = append(names, n.Name) })
			if len(joined) > 0 && !slices.ContainsFunc(names, func(n string) bool { return joined[n] }) {
				return false
			}
			for _, n := range names {
				joined[n] = true
			}
			grown = true
			return true
		})
	}
	for _, line := range lines {
		l.bad(line.Node, 0, "rule/pattern", "%s shares no value with the first line of the pattern, directly or through others", strings.Join(line.Names, ", "))
	}
}

// operandNames calls f for each operand that is a bare name. A value whose dimensions an
// attribute asks for is none: matching cannot go from there to here.
func operandNames(e syntax.Expr, f func(*syntax.Name)) {
	syntax.Walk(e, func(e syntax.Expr) bool {
		switch x := e.(type) {
		case *syntax.Name:
			f(x)
		case *syntax.Call:
			return !isMeasure(x.Fun)
		}
		return false
	})
}

// roots makes Results the lines that the rule lists and those that no other line reads.
func (l *linker) roots() {
	r := l.rule
	for _, name := range r.Results {
		if !l.lines[name] {
			l.issues.Add(r.node.Get("results").Errorf("rule/results", "%s is not a line of the pattern", name))
		}
	}
	for _, line := range r.Match {
		for _, name := range line.Names {
			if l.uses[name] == 0 && !slices.Contains(r.Results, name) {
				r.Results = append(r.Results, name)
			}
		}
	}
}

func (l *linker) guards() {
	r := l.rule
	scope := guard.Scope{Values: r.Values, Vars: r.Vars}
	for _, key := range []string{"guards", "cost"} {
		n := r.node.Get(key)
		if n == nil {
			continue
		}
		if n.Kind != diag.Map {
			l.issues.Add(n.Errorf("yaml/type", "%s must be a mapping of name: condition, found a %s", key, n.Kind))
			continue
		}
		for i, k := range n.Keys {
			g := Guard{Name: k.Text, Cost: key == "cost"}
			cond := n.Vals[i]
			if g.Cost && cond.Kind == diag.Map {
				l.issues.Add(cond.Known("rule/unknown-key", "when", "source")...)
				if src := cond.Get("source"); src != nil {
					g.Source = src.Text
				}
				if cond = cond.Get("when"); cond == nil {
					l.issues.Add(k.Errorf("rule/missing-key", "key \"when\" is missing"))
					continue
				}
			}
			if g.Guard = l.guard(cond, "guard "+k.Text, scope); g.Guard == nil {
				continue
			}
			r.Guards = append(r.Guards, g)
		}
	}
}

// weightOps are the operations of a weights block, which move bytes only, with their
// options.
var weightOps = map[string][]string{"concat": {"axis"}, "stack": {"axis"}, "split": {"axis", "start", "stop"}, "transpose": {"axes"}, "permute": {"axis", "rows"}}

func (l *linker) weights() {
	for _, line := range l.rule.Weights {
		c, ok := line.Expr.(*syntax.Call)
		if !ok || weightOps[c.Fun] == nil {
			l.bad(line.Node, 0, "rule/weights", "a line of weights must be one of concat, stack, split, transpose, permute applied to parameters")
			continue
		}
		if len(line.Names) != 1 {
			l.bad(line.Node, 0, "rule/weights", "%d names for one parameter", len(line.Names))
		}
		l.weightCall(line.Node, c)
		for _, name := range line.Names {
			if l.lines[name] || l.operands[name] {
				l.bad(line.Node, 0, "rule/duplicate", "%s is already a value of the pattern", name)
			}
		}
	}
}

// weightCall checks the arguments of one line of weights, as far as no sizes are needed.
func (l *linker) weightCall(n *diag.Node, c *syntax.Call) {
	values, options := 0, map[string]bool{}
	for _, a := range c.Args {
		if a.Name == "" {
			values++
			if name, ok := a.Value.(*syntax.Name); !ok {
				l.bad(n, a.At, "rule/weights", "%s is not the name of a value", a.Value)
			} else if !slices.Contains(l.rule.Values, name.Name) {
				l.bad(n, name.At, "rule/name", "%s is not a value of the pattern", name.Name)
			}
			continue
		}
		if !slices.Contains(weightOps[c.Fun], a.Name) || options[a.Name] {
			l.bad(n, a.At, "rule/weights", "%s has no option %s, or has it twice", c.Fun, a.Name).
				WithHint("its options are %s", strings.Join(weightOps[c.Fun], ", "))
			continue
		}
		options[a.Name] = true
		list, isList := a.Value.(*syntax.List)
		switch many := a.Name == "axes" || a.Name == "rows"; {
		case many && !isList:
			l.bad(n, a.Value.Offset(), "rule/weights", "%s needs a list, such as [1, 0]", a.Name)
		case many:
			for _, x := range list.Items {
				l.weightNumber(n, x)
			}
			if !isPermutation(list.Items) {
				l.bad(n, list.At, "rule/weights", "%s is not each of %d numbers once", list, len(list.Items))
			}
		default:
			l.weightNumber(n, a.Value)
		}
	}
	if many := c.Fun == "concat" || c.Fun == "stack"; values == 0 || values > 1 && !many {
		l.bad(n, c.At, "rule/weights", "%s makes a parameter from one, found %d", c.Fun, values)
	}
	if need := map[string]string{"transpose": "axes", "permute": "rows"}[c.Fun]; need != "" && !options[need] {
		l.bad(n, c.At, "rule/weights", "%s needs %s=[…]", c.Fun, need)
	}
}

// weightNumber checks an option, which must be a number wherever the pattern matches.
func (l *linker) weightNumber(n *diag.Node, e syntax.Expr) {
	if name, ok := e.(*syntax.Name); ok {
		l.bad(n, name.At, "rule/weights", "%s is not a number", name.Name)
		return
	}
	l.builtInt(n, e, func(name string) bool { return slices.Contains(l.rule.Values, name) })
}

// isPermutation reports whether a list may be a permutation, counted from either end.
// What is not written as a number is left to the site.
func isPermutation(items []syntax.Expr) bool {
	seen := make([]bool, len(items))
	for _, x := range items {
		num, ok := x.(*syntax.Number)
		if !ok {
			continue
		}
		i := num.Int
		if i < 0 {
			i += int64(len(items))
		}
		if i < 0 || i >= int64(len(items)) || seen[i] {
			return false
		}
		seen[i] = true
	}
	return true
}

// builtInt checks an integer expression that is evaluated where a rule applies: numbers,
// bound $variables, symbols, the dimensions of values that are known, + - *.
func (l *linker) builtInt(n *diag.Node, e syntax.Expr, known func(name string) bool) {
	switch x := e.(type) {
	case *syntax.Var:
		l.builtVar(n, x, guard.Int)
	case *syntax.Name:
		if !slices.Contains(symbols, x.Name) {
			i := l.bad(n, x.At, "rule/attr", "%s is no symbol; %s are", x.Name, strings.Join(symbols, ", "))
			if known(x.Name) {
				i.WithHint("dim(%s, axis), rows(%s) and size(%s) are integers", x.Name, x.Name, x.Name)
			} else if _, ok := l.rule.Vars[x.Name]; ok {
				i.WithHint("did you mean $%s?", x.Name)
			}
		}
	case *syntax.Unary:
		if x.Op != "-" {
			l.bad(n, x.At, "rule/attr", "operator %s is not allowed in an attribute", x.Op)
		}
		l.builtInt(n, x.X, known)
	case *syntax.Binary:
		l.arithmetic(n, x)
		l.builtInt(n, x.X, known)
		l.builtInt(n, x.Y, known)
	case *syntax.Call:
		if name := l.measure(n, x); name != nil && !known(name.Name) {
			l.bad(n, name.At, "rule/name", "%s is not known here", name.Name)
		}
	case *syntax.Number:
		l.integer(n, x)
	default:
		l.bad(n, e.Offset(), "rule/attr", "%s is not an integer", e)
	}
}

// symbols may stand in attributes of replacements.
var symbols = []string{graph.SymBatch, graph.SymSeqLen, graph.SymKVLen}

func (l *linker) replacement() {
	r := l.rule
	known := map[string]bool{}
	for name := range l.operands {
		known[name] = true
	}
	for _, line := range r.Weights {
		for _, name := range line.Names {
			known[name] = true
		}
	}
	done := map[string]bool{}
	for _, line := range r.Replace {
		l.replaceExpr(line.Node, line.Expr, known)
		if n := l.results(line.Expr); len(line.Names) != n {
			l.bad(line.Node, 0, "rule/replace", "%d names for %d results", len(line.Names), n)
		}
		for _, name := range line.Names {
			if done[name] || l.operands[name] {
				l.bad(line.Node, 0, "rule/duplicate", "%s is defined twice", name)
			}
			known[name], done[name] = true, true
		}
	}
	if len(r.Replace) == 0 {
		return
	}
	for _, name := range r.Kernels {
		if k := l.set.Kernels.Spec(name); k != nil && r.block["numerics"] && k.Numerics.WorseThan(r.Numerics) {
			l.issues.Add(r.node.Get("numerics").Errorf("rule/numerics", "%s is more than kernel.%s promises, which is %s", r.Numerics, name, k.Numerics))
		}
	}
	for _, name := range r.Results {
		if !done[name] && l.lines[name] {
			l.issues.Add(r.node.Get("replace").Errorf("rule/replace", "result %s has no replacement", name).
				WithHint("add a line `%s: …`, or have another line of the pattern read it", name))
		}
	}
}

func (l *linker) replaceExpr(n *diag.Node, e syntax.Expr, known map[string]bool) {
	switch x := e.(type) {
	case *syntax.Name:
		if !known[x.Name] {
			i := l.bad(n, x.At, "rule/name", "%s is not known here", x.Name)
			if l.lines[x.Name] {
				i.WithHint("%s is matched and goes away; only operands and earlier lines of replace can be used", x.Name)
			} else if near := diag.Nearest(x.Name, keys(known)); near != "" {
				i.WithHint("did you mean %q?", near)
			}
		}
	case *syntax.Var:
		l.builtVar(n, x, guard.Number)
	case *syntax.Number:
		l.scalar(n, x)
	case *syntax.Call:
		if name, ok := strings.CutPrefix(x.Fun, graph.KernelPrefix); ok && !slices.Contains(l.rule.Kernels, name) {
			l.rule.Kernels = append(l.rule.Kernels, name)
		}
		op := l.op(x.Fun)
		if op == nil {
			i := l.bad(n, x.At, "rule/unknown-op", "no op or kernel %q", x.Fun)
			if near := diag.Nearest(x.Fun, l.opNames(nil)); near != "" {
				i.WithHint("did you mean %q?", near)
			}
			return
		}
		args, err := graph.ResolveArgs(op, x)
		if err != nil {
			l.issues.Add(kernels.SyntaxIssue(n, err))
			return
		}
		if args.Open {
			l.bad(n, x.At, "rule/replace", "... stands for attributes that a pattern does not look at; what is made needs them written").
				WithHint("bind them in the pattern (axis=$axis) and write them here")
		}
		for i, a := range args.Operands {
			if a == nil {
				if !op.Operands[i].Optional {
					l.bad(n, x.At, "rule/replace", "operand %s is missing; it is %s", op.Operands[i].Name, op.Signature())
				}
				continue
			}
			if _, none := a.(*syntax.None); !none {
				l.replaceExpr(n, a, known)
			}
		}
		for i, a := range args.Attrs {
			if a == nil {
				if spec := op.Attrs[i]; spec.Default == nil && !spec.Optional {
					l.bad(n, x.At, "rule/replace", "attribute %s is missing; it is %s", spec.Name, op.Signature())
				}
				continue
			}
			l.built(n, a, &op.Attrs[i], func(name string) bool { return known[name] || l.lines[name] })
		}
	}
}

// built checks an attribute of a replacement.
func (l *linker) built(n *diag.Node, e syntax.Expr, spec *graph.AttrSpec, known func(name string) bool) {
	many := spec.Kind == graph.KindInts || spec.Kind == graph.KindAxes || spec.Kind == graph.KindPosList
	switch x := e.(type) {
	case *syntax.Var:
		l.builtVar(n, x, guardKind(spec.Kind))
		return
	case *syntax.List:
		if many {
			for _, item := range x.Items {
				l.builtInt(n, item, known)
			}
			return
		}
	}
	switch spec.Kind {
	case graph.KindFloat, graph.KindFlag, graph.KindWord, graph.KindDType:
		l.constant(n, e, spec)
	default:
		l.builtInt(n, e, known)
	}
}

// builtVar checks a $variable of a replacement, where a value of kind k is needed.
func (l *linker) builtVar(n *diag.Node, v *syntax.Var, k guard.Kind) {
	have, ok := l.rule.Vars[v.Name]
	switch {
	case !ok:
		l.bad(n, v.At, "rule/name", "$%s is not bound by the pattern", v.Name)
	case have != k && !(have == guard.Int && k == guard.Number):
		l.bad(n, v.At, "rule/kind", "$%s is %s; %s is needed here", v.Name, kindText[have], kindText[k])
	}
}

var kindText = map[guard.Kind]string{guard.Int: "an integer", guard.Number: "a number", guard.Word: "a word", guard.Bool: "true or false"}

// constant checks an attribute that is written out.
func (l *linker) constant(n *diag.Node, e syntax.Expr, spec *graph.AttrSpec) {
	if _, err := graph.ConstAttr(spec.Kind, e); err != nil {
		l.issues.Add(kernels.SyntaxIssue(n, fmt.Errorf("%s: %w", spec.Name, err)))
	} else if w, ok := e.(*syntax.String); ok && len(spec.Words) > 0 && !slices.Contains(spec.Words, w.Text) {
		l.bad(n, e.Offset(), "rule/attr", "%s=%s is none of %s", spec.Name, e, strings.Join(spec.Words, ", "))
	}
}

func keys(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func (l *linker) opNames(file *File) []string {
	var names []string
	for _, op := range graph.Ops() {
		names = append(names, op.Name)
	}
	for _, s := range l.set.Kernels.All() {
		names = append(names, s.Op().Name)
	}
	for name := range l.set.fragments[file] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// hash covers what a rule means: its lines, guards and replacement, the fragments
// that it uses, and its kernels; not its doc or its place in the file.
func (l *linker) hash() {
	r := l.rule
	parts := []string{r.Name, string(r.Numerics)}
	used := map[*Fragment]bool{}
	var visit func(f *File, e syntax.Expr)
	visit = func(f *File, e syntax.Expr) {
		each(e, func(c *syntax.Call) {
			if fr := l.set.Fragment(f, c.Fun); fr != nil && !used[fr] {
				used[fr] = true
				parts = append(parts, "fragment", fr.Name)
				for _, p := range fr.Params {
					parts = append(parts, p.Name)
				}
				for _, a := range fr.Alts {
					parts = append(parts, a.Is.String())
					if a.When != nil {
						parts = append(parts, a.When.Text)
					}
					for _, s := range a.Set {
						parts = append(parts, s.Name, s.Value.String())
					}
					visit(fr.File, a.Is)
				}
			}
		})
	}
	for key, lines := range [][]Line{r.Match, r.Weights, r.Replace} {
		parts = append(parts, [...]string{"match", "weights", "replace"}[key])
		for _, line := range lines {
			parts = append(parts, strings.Join(line.Names, ","), line.Expr.String())
			visit(l.file, line.Expr)
		}
	}
	parts = append(parts, "results")
	parts = append(parts, r.Results...)
	for _, g := range r.Guards {
		parts = append(parts, "guard", g.Name, g.Text)
	}
	for _, k := range r.Kernels {
		if s := l.set.Kernels.Spec(k); s != nil {
			parts = append(parts, "kernel", s.Hash)
		}
	}
	r.Hash = hashText(parts...)
}

package rules

import (
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

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
	l.integers(n, e, func(e syntax.Expr) bool {
		switch x := e.(type) {
		case *syntax.Var:
			l.attribute(n, x, &graph.AttrSpec{Kind: graph.KindInt}, params)
		case *syntax.Call:
			if name := l.measure(n, x); name != nil {
				l.measured = append(l.measured, measured{n, name, params})
			}
		default:
			return false
		}
		return true
	})
}

// integers checks an integer expression: numbers, + - *, and what leaf checks, which
// returns false for an expression that it does not take.
func (l *linker) integers(n *diag.Node, e syntax.Expr, leaf func(e syntax.Expr) bool) {
	switch x := e.(type) {
	case *syntax.Number:
		l.integer(n, x)
	case *syntax.Unary:
		if x.Op != "-" {
			l.bad(n, x.At, "rule/attr", "operator %s is not allowed in an attribute", x.Op)
		}
		l.integers(n, x.X, leaf)
	case *syntax.Binary:
		l.arithmetic(n, x)
		l.integers(n, x.X, leaf)
		l.integers(n, x.Y, leaf)
	default:
		if !leaf(e) {
			l.bad(n, e.Offset(), "rule/attr", "%s is not an integer", e)
		}
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

package guard

import (
	"fmt"
	"math"
	"strings"

	"github.com/expr-lang/expr/ast"

	"zmlx-rewrite/graph"
)

// Verdict is what a guard says at one site.
type Verdict struct {
	// Cond is True or False where the guard is decided, else what must hold of the
	// symbols when the graph runs.
	Cond graph.Cond
	// Unknown names what the guard needed and the site does not define: a symbol or
	// an absent operand. The guard is then false.
	Unknown string
}

// Eval decides the guard at a site.
func (g *Guard) Eval(env *Env) Verdict {
	e := evaluator{env: env}
	c := e.cond(g.root)
	if e.unknown != "" {
		return Verdict{graph.False, e.unknown}
	}
	return Verdict{Cond: c.Given(env.Given)}
}

// Values prints what the guard's names and calls stand for at a site:
// "rows(x) = 16, bits = 4".
func (g *Guard) Values(env *Env) string {
	var parts []string
	seen := map[string]bool{}
	add := func(n ast.Node) {
		text := strings.ReplaceAll(n.String(), `"`, "")
		if seen[text] {
			return
		}
		seen[text] = true
		e := evaluator{env: env}
		v := e.value(n)
		if e.unknown != "" {
			parts = append(parts, text+" is not known")
		} else {
			parts = append(parts, fmt.Sprintf("%s = %v", text, v))
		}
	}
	var visit func(n ast.Node)
	visit = func(n ast.Node) {
		switch x := n.(type) {
		case *ast.IdentifierNode, *ast.CallNode:
			add(n)
		case *ast.UnaryNode:
			visit(x.Node)
		case *ast.BinaryNode:
			visit(x.Left)
			visit(x.Right)
		}
	}
	visit(g.root)
	return strings.Join(parts, ", ")
}

type evaluator struct {
	env     *Env
	unknown string
}

func (e *evaluator) missing(name string) any {
	if e.unknown == "" {
		e.unknown = name
	}
	return nil
}

// cond evaluates an expression that expr-lang has typed as boolean.
func (e *evaluator) cond(n ast.Node) graph.Cond {
	switch x := n.(type) {
	case *ast.UnaryNode:
		return graph.Not(e.cond(x.Node))
	case *ast.BinaryNode:
		switch x.Operator {
		case "&&", "and":
			return graph.And(e.cond(x.Left), e.cond(x.Right))
		case "||", "or":
			return graph.Or(e.cond(x.Left), e.cond(x.Right))
		case "in":
			l, list := e.value(x.Left), x.Right.(*ast.ArrayNode)
			var any []graph.Cond
			for _, item := range list.Nodes {
				any = append(any, e.compare(l, graph.EQ, e.value(item)))
			}
			return graph.Or(any...)
		}
		return e.compare(e.value(x.Left), graph.Cmp(x.Operator), e.value(x.Right))
	}
	b, _ := e.value(n).(bool)
	return decided(b)
}

// compare compares two values. What cannot be decided and is no condition over
// symbols either (rows(x) < 8.5) is not known: guards must not take it for false,
// since its opposite would be true.
func (e *evaluator) compare(l any, op graph.Cmp, r any) graph.Cond {
	ld, lok := l.(graph.Dim)
	rd, rok := r.(graph.Dim)
	if lok && rok {
		return graph.Compare(ld, op, rd)
	}
	if lf, rf, ok := floats(l, r); ok {
		if !lok && !rok { // attributes are float32: 1e-6 is what eps=1e-6 is
			lf, rf = float64(float32(lf)), float64(float32(rf))
		}
		sign := 0
		switch {
		case lf < rf:
			sign = -1
		case lf > rf:
			sign = 1
		case lf != rf: // NaN
			return decided(op == graph.NE)
		}
		return graph.Compare(graph.N(int64(sign)), op, graph.N(0))
	}
	switch {
	case l == nil || r == nil:
		return graph.False // what was missing is noted already
	case lok || rok:
		e.missing(fmt.Sprintf("%v %s %v", l, op, r))
		return graph.False
	}
	return decided(op == graph.EQ && l == r || op == graph.NE && l != r)
}

func decided(b bool) graph.Cond {
	if b {
		return graph.True
	}
	return graph.False
}

func floats(l, r any) (float64, float64, bool) {
	lf, lok := asFloat(l)
	rf, rok := asFloat(r)
	return lf, rf, lok && rok
}

func asFloat(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case graph.Dim:
		n, ok := x.Const()
		return float64(n), ok
	}
	return 0, false
}

// value returns a graph.Dim, float64, string or bool; nil if it is not known.
func (e *evaluator) value(n ast.Node) any {
	switch x := n.(type) {
	case *ast.IntegerNode:
		return graph.N(int64(x.Value))
	case *ast.FloatNode:
		return x.Value
	case *ast.StringNode:
		return x.Value
	case *ast.BoolNode:
		return x.Value
	case *ast.IdentifierNode:
		return e.name(x.Value)
	case *ast.UnaryNode:
		if x.Operator == "-" {
			switch v := e.value(x.Node).(type) {
			case graph.Dim:
				return graph.N(0).Sub(v)
			case float64:
				return -v
			}
		}
		return e.truth(n)
	case *ast.BinaryNode:
		if !arithmetic[x.Operator] {
			return e.truth(n)
		}
		return e.arith(x)
	case *ast.CallNode:
		return e.call(x)
	}
	return nil
}

// truth is a condition as a value. One that is open until the graph runs is none: taken for
// false, it would make its opposite true.
func (e *evaluator) truth(n ast.Node) any {
	c := e.cond(n).Given(e.env.Given)
	if !c.IsTrue() && !c.IsFalse() {
		return e.missing(fmt.Sprintf("%s, used as a value,", c))
	}
	return c.IsTrue()
}

var arithmetic = map[string]bool{"+": true, "-": true, "*": true, "%": true}

func (e *evaluator) name(name string) any {
	switch name {
	case "target":
		return e.env.Setting.Target
	case "training":
		return e.env.Setting.Training
	case "tp_size":
		return graph.N(int64(max(1, e.env.Setting.TPSize)))
	}
	if a := e.env.Var(name); a != nil {
		switch v := a.(type) {
		case graph.Dim:
			return v
		case graph.Float:
			return float64(float32(v))
		case graph.Str:
			return string(v)
		case graph.Flag:
			return bool(v)
		case graph.DType:
			return v.String()
		case graph.Dims:
			if len(v) == 1 {
				return v[0]
			}
		case *graph.Literal:
			if f, ok := v.Scalar(); ok {
				if v.DType.IsInteger() && math.Abs(f) < 1<<53 { // to be calculated with as dimensions are
					return graph.N(int64(f))
				}
				return f
			}
		}
	}
	if d, ok := e.env.Symbols[name]; ok {
		return d
	}
	return e.missing(name)
}

func (e *evaluator) arith(x *ast.BinaryNode) any {
	l, r := e.value(x.Left), e.value(x.Right)
	ld, lok := l.(graph.Dim)
	rd, rok := r.(graph.Dim)
	if lok && rok {
		switch x.Operator {
		case "+":
			return ld.Add(rd)
		case "-":
			return ld.Sub(rd)
		case "*":
			return ld.Mul(rd)
		case "%":
			a, aok := ld.Const()
			b, bok := rd.Const()
			switch {
			case bok && b == 0:
				return e.missing("the remainder by 0")
			case aok && bok:
				return graph.N(a % b)
			}
			if _, whole := ld.Div(rd); whole {
				return graph.N(0) // a polynomial whose every coefficient divides
			}
			return e.missing(fmt.Sprintf("%s %% %s", ld, rd))
		}
	}
	if lf, rf, ok := floats(l, r); ok {
		switch x.Operator {
		case "+":
			return lf + rf
		case "-":
			return lf - rf
		case "*":
			return lf * rf
		case "%":
			return math.Mod(lf, rf)
		}
	}
	return e.missing(fmt.Sprintf("%v %s %v", l, x.Operator, r))
}

func (e *evaluator) call(x *ast.CallNode) any {
	fun := x.Callee.(*ast.IdentifierNode).Value
	arg := x.Arguments[0].(*ast.IdentifierNode).Value
	t, ok := e.env.Type(arg)
	if fun == "has" {
		return ok
	}
	if !ok {
		return e.missing(arg)
	}
	switch fun {
	case "rows":
		return t.Rows()
	case "size":
		return t.Size()
	case "rank":
		return graph.N(int64(t.Rank()))
	case "dtype":
		return t.DType.String()
	}
	i, ok := e.value(x.Arguments[1]).(graph.Dim)
	if !ok {
		return e.missing(fmt.Sprintf("the axis of dim(%s, …)", arg))
	}
	if n, ok := i.Const(); ok {
		if d, ok := t.Dim(int(n)); ok {
			return d
		}
	}
	return e.missing(fmt.Sprintf("dim(%s, %s)", arg, i))
}

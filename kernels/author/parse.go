package author

import (
	"errors"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
)

// maxText bounds a text; a formula has some dozens of bytes.
const maxText = 1 << 16

// reader makes nodes of a formula.
type reader struct {
	*builder
	options *Options
	lines   map[string]*node // by the names that people gave them
	results bool             // reductions are part of the language
}

// formula reads "name = expression" lines and, last, the result. Lines end at ";" or at
// the end of a line, outside of brackets.
func (r *reader) formula(text string) (*node, error) {
	if len(text) > maxText {
		return nil, faultf("size", 0, "the formula has %d bytes, more than %d", len(text), maxText)
	}
	pieces := split(text)
	if len(pieces) == 0 {
		return nil, faultf("syntax", 0, "the formula is empty")
	}
	for i, p := range pieces {
		name, expr, at := definition(p.text)
		if name == "" && i < len(pieces)-1 {
			return nil, faultf("syntax", p.at, "a line before the last must be name = expression")
		}
		e, err := syntax.ParseArithmetic(expr)
		if err != nil {
			var se *syntax.Error
			if errors.As(err, &se) {
				return nil, faultf("syntax", p.at+at+se.At, "%s", se.Message)
			}
			return nil, err
		}
		shift(e, p.at+at)
		n, err := r.expr(e)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return n, nil
		}
		r.at = p.at
		if err := checkName(name); err != nil {
			return nil, faultf("name", r.at, "%v", err)
		}
		if r.lines[name] != nil || slices.ContainsFunc(r.inputs, func(x *node) bool { return x.name == name }) {
			return nil, faultf("name", r.at, "%s has a meaning already", name)
		}
		if i == len(pieces)-1 {
			return n, nil
		}
		r.lines[name] = n
		if n.hint == "" && len(n.in) > 0 {
			n.hint = name
		}
	}
	return nil, nil // not reached
}

type piece struct {
	text string
	at   int
}

// split cuts a text at ";" and ends of lines outside of brackets.
func split(text string) []piece {
	var list []piece
	depth, from := 0, 0
	cut := func(to int) {
		s := text[from:to]
		trimmed := strings.TrimLeft(s, " \t\r\n")
		if strings.TrimSpace(s) != "" {
			list = append(list, piece{strings.TrimRight(trimmed, " \t\r\n"), from + len(s) - len(trimmed)})
		}
		from = to + 1
	}
	for i := range len(text) {
		switch text[i] {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ';', '\n':
			if depth <= 0 {
				cut(i)
			}
		}
	}
	cut(len(text))
	return list
}

// definition takes "name = " off a line; at is where the expression starts.
func definition(text string) (name, expr string, at int) {
	left, right, ok := strings.Cut(text, "=")
	if !ok || strings.HasPrefix(right, "=") {
		return "", text, 0
	}
	name = strings.TrimSpace(left)
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9' || i == 0) {
			return "", text, 0
		}
	}
	return name, right, len(left) + 1
}

// shift moves all offsets of an expression, so that they count from the text's beginning.
func shift(e syntax.Expr, by int) {
	switch x := e.(type) {
	case *syntax.Name:
		x.At += by
	case *syntax.Var:
		x.At += by
	case *syntax.Number:
		x.At += by
	case *syntax.String:
		x.At += by
	case *syntax.Bool:
		x.At += by
	case *syntax.None:
		x.At += by
	case *syntax.Rest:
		x.At += by
	case *syntax.List:
		x.At += by
	case *syntax.Call:
		x.At += by
		for i := range x.Args {
			x.Args[i].At += by
			shift(x.Args[i].Value, by)
		}
	case *syntax.Unary:
		x.At += by
		shift(x.X, by)
	case *syntax.Binary:
		x.At += by
		shift(x.X, by)
		shift(x.Y, by)
	}
}

func (r *reader) expr(e syntax.Expr) (*node, error) {
	switch x := e.(type) {
	case *syntax.Number:
		r.at = x.At
		return r.number(x.Float)
	case *syntax.Bool:
		return r.boolean(x.Value)
	case *syntax.Name:
		r.at = x.At
		if x.Optional {
			return nil, faultf("syntax", x.At, "%s: operands of a formula are always there", x)
		}
		return r.value(x.Name)
	case *syntax.Unary:
		in, err := r.expr(x.X)
		if err != nil {
			return nil, err
		}
		r.at = x.At
		if x.Op == "!" {
			return r.make("logical_not", in)
		}
		return r.make("negative", in)
	case *syntax.Binary:
		op := operators[x.Op]
		if op == "" {
			return nil, faultf("operator", x.At, "%s is not part of formulas", x.Op)
		}
		return r.call(op, x.At, []syntax.Expr{x.X, x.Y})
	case *syntax.Call:
		args := make([]syntax.Expr, len(x.Args))
		for i, a := range x.Args {
			if a.Name != "" {
				return nil, faultf("call", a.At, "%s: arguments of a formula have no names", a.Name).withHint("a reduction is always over the last axis")
			}
			args[i] = a.Value
		}
		return r.call(x.Fun, x.At, args)
	}
	return nil, faultf("syntax", e.Offset(), "%s is not part of formulas", e)
}

// value is what a name stands for: a line, a parameter, or else an input.
func (r *reader) value(name string) (*node, error) {
	if n := r.lines[name]; n != nil {
		return n, nil
	}
	if slices.ContainsFunc(r.options.Params, func(p Param) bool { return p.Name == name }) {
		return r.leaf(paramOp, name, single)
	}
	if err := checkName(name); err != nil {
		f := faultf("name", r.at, "%v", err)
		if ops[name] != nil || slices.Contains(reductions, name) {
			f.withHint("call it: %s(...)", name)
		}
		return nil, f
	}
	if slices.Contains(r.options.Vectors, name) {
		return r.leaf(inputOp, name, vector)
	}
	return r.leaf(inputOp, name, full)
}

// call applies a function to expressions.
func (r *reader) call(name string, at int, args []syntax.Expr) (*node, error) {
	in := make([]*node, len(args))
	for i, a := range args {
		var err error
		if in[i], err = r.expr(a); err != nil {
			return nil, err
		}
	}
	r.at = at
	return r.apply(name, in)
}

// apply applies a function, by any of its names, to values.
func (r *reader) apply(name string, in []*node) (*node, error) {
	if a := aliases[name]; a != "" {
		name = a
	}
	if slices.Contains(reductions, name) {
		return r.reduction(name, in)
	}
	o := ops[name]
	if o == nil {
		f := faultf("function", r.at, "there is no function %s", name)
		if graph.LookupOp(name) != nil {
			f = faultf("function", r.at, "MLX's %s is not in what sources can compute on all targets", name)
		}
		if near := diag.Nearest(name, functionNames(r.results)); near != "" {
			return nil, f.withHint("did you mean %q?", near)
		}
		return nil, f.withHint("functions: %s", strings.Join(functionNames(r.results), ", "))
	}
	if len(in) != o.operands {
		return nil, faultf("call", r.at, "%s takes %s, found %d", name, plural(o.operands, "operand"), len(in))
	}
	return r.make(name, in...)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return []string{"no", "1", "2", "3"}[n] + " " + what + "s"
}

// reduction makes the reductions that people write of those that graphs have.
func (r *reader) reduction(name string, in []*node) (*node, error) {
	if len(in) != 1 {
		f := faultf("call", r.at, "%s is of one operand, over the last axis; found %d", name, len(in))
		if name == "max" || name == "min" {
			f.withHint("of two values it is %simum(a, b)", name)
		}
		return nil, f
	}
	if !r.results {
		return nil, faultf("reduce", r.at, "%s reduces a row, which an elementwise formula cannot", name).withHint("use a reduction (one value a row) or map_reduce (reductions, then a map)")
	}
	x := in[0]
	c := chain{b: r.builder}
	mean := func(x *node) *node { return c.make("divide", c.reduce("sum", x), c.count()) }
	switch {
	case x.truth:
		return nil, faultf("kind", r.at, "%s needs numbers, not a condition", name)
	case name == "mean" && x.shape&vector != 0:
		return mean(x), c.err
	case name == "var" && x.shape&vector != 0:
		return mean(c.make("square", c.make("subtract", x, mean(x)))), c.err
	}
	return r.reduce(name, x)
}

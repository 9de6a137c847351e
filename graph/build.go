package graph

import (
	"fmt"
	"strings"

	"zmlx-rewrite/graph/syntax"
)

// Bindings give meaning to the names of an expression.
type Bindings struct {
	Values map[string]ValueID // names of values; None for an optional operand that is absent
	Vars   map[string]Attr    // $variables
	Scope  string             // of the nodes that are made
	Op     func(name string) *Op
}

// Define is one line of a block of expressions: names and what they stand for.
type Define struct {
	Names []string
	Expr  syntax.Expr
}

// BuildAll builds lines in order; each line's names are bound for the next ones.
func (g *Graph) BuildAll(lines []Define, b *Bindings) error {
	for _, l := range lines {
		vs, err := g.Build(l.Expr, b)
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(l.Names, ", "), err)
		}
		if len(vs) != len(l.Names) {
			return fmt.Errorf("%s: %d names for %d results", strings.Join(l.Names, ", "), len(l.Names), len(vs))
		}
		for i, name := range l.Names {
			b.Values[name] = vs[i]
		}
	}
	return nil
}

// Build adds the nodes of an expression and returns its results. A number among
// operands becomes a constant in the element type of the other operands, as a
// Python number does in MLX.
func (g *Graph) Build(e syntax.Expr, b *Bindings) ([]ValueID, error) {
	switch x := e.(type) {
	case *syntax.Name:
		v, ok := b.Values[x.Name]
		if !ok {
			return nil, &syntax.Error{At: x.At, Message: fmt.Sprintf("%s is not a value", x.Name)}
		}
		return []ValueID{v}, nil
	case *syntax.Call:
		return g.buildCall(x, b)
	}
	return nil, &syntax.Error{At: e.Offset(), Message: fmt.Sprintf("%s is not a value", e)}
}

func (g *Graph) buildCall(c *syntax.Call, b *Bindings) ([]ValueID, error) {
	fail := func(at int, format string, args ...any) ([]ValueID, error) {
		return nil, &syntax.Error{At: at, Message: fmt.Sprintf(format, args...)}
	}
	op := LookupOp(c.Fun)
	if op == nil && b.Op != nil {
		op = b.Op(c.Fun)
	}
	if op == nil {
		return fail(c.At, "no op %s", c.Fun)
	}
	args, err := ResolveArgs(op, c)
	if err != nil {
		return nil, err
	}
	if args.Open {
		return fail(c.At, "... stands for attributes that a pattern does not look at; what is made needs them written")
	}
	in := make([]ValueID, len(args.Operands))
	literals := false
	for i, a := range args.Operands {
		switch x := a.(type) {
		case nil, *syntax.None:
			in[i] = None
		case *syntax.Number, *syntax.Var, *syntax.Unary:
			in[i], literals = None, true
		default:
			vs, err := g.Build(x, b)
			if err != nil {
				return nil, err
			}
			if len(vs) != 1 {
				return fail(x.Offset(), "%s has %d results, not one", x, len(vs))
			}
			in[i] = vs[0]
		}
	}
	if literals {
		if err := g.buildLiterals(args.Operands, in, b); err != nil {
			return nil, err
		}
	}
	attrs := make([]Attr, len(op.Attrs))
	for i, a := range args.Attrs {
		if a == nil {
			continue
		}
		if attrs[i], err = g.EvalAttr(op.Attrs[i].Kind, a, b); err != nil {
			return nil, err
		}
	}
	out, err := g.Add(op, b.Scope, in, attrs...)
	if err != nil {
		return fail(c.At, "%v", err)
	}
	return out, nil
}

// buildLiterals makes constants of the numbers and scalar variables among operands.
func (g *Graph) buildLiterals(operands []syntax.Expr, in []ValueID, b *Bindings) error {
	t := NoDType
	for _, v := range in {
		if v != None {
			if u := g.values[v].Type().DType; t == NoDType {
				t = u
			} else {
				t = Promote(t, u)
			}
		}
	}
	for i, e := range operands {
		if e == nil || in[i] != None {
			continue
		}
		switch e.(type) {
		case *syntax.Number, *syntax.Var, *syntax.Unary:
		default:
			continue
		}
		if v, ok := e.(*syntax.Var); ok {
			if l, ok := b.Vars[v.Name].(*Literal); ok { // a scalar that was bound as it is
				in[i] = g.Constant(l)
				continue
			}
		}
		a, err := g.EvalAttr(KindFloat, e, b)
		if err != nil {
			return err
		}
		n, ok := e.(*syntax.Number)
		whole := ok && n.IsInt
		if whole && (n.Int >= 1<<53 || n.Int <= -1<<53) {
			return &syntax.Error{At: e.Offset(), Message: fmt.Sprintf("%s is not below 2^53 and would be rounded", e)}
		}
		if d, isInt := a.(Dim); isInt { // a $variable of an attribute
			if c, known := d.Const(); known {
				a, whole = Float(c), true
			}
		}
		f, ok := a.(Float)
		if !ok {
			return &syntax.Error{At: e.Offset(), Message: fmt.Sprintf("%s is %s, not a number", e, a)}
		}
		in[i] = g.Scalar(NumberType(t, whole), float64(f))
	}
	return nil
}

// NumberType returns the element type that a number takes beside operands of type
// t, as a Python number does in MLX; t is NoDType if there are none.
func NumberType(t DType, whole bool) DType {
	switch {
	case t.IsFloat() || t == Complex64 || t.IsInteger() && whole:
		return t
	case t == Bool && whole:
		return Int32
	}
	return Float32
}

// Args are the arguments of a call in the order of an op's row; nil for those
// that are not written.
type Args struct {
	Operands []syntax.Expr
	Attrs    []syntax.Expr
	Open     bool // "..." was written
}

// ResolveArgs assigns the arguments of a call to the operands and attributes of
// an op. Positional arguments are operands first, then attributes, in order.
func ResolveArgs(op *Op, c *syntax.Call) (*Args, error) {
	r := &Args{Attrs: make([]syntax.Expr, len(op.Attrs))}
	if !op.Variadic {
		r.Operands = make([]syntax.Expr, len(op.Operands))
	}
	fail := func(at int, format string, args ...any) (*Args, error) {
		return nil, &syntax.Error{At: at, Message: fmt.Sprintf(format, args...)}
	}
	pos := 0
	for _, a := range c.Args {
		if _, rest := a.Value.(*syntax.Rest); rest && a.Name == "" {
			r.Open = true
			continue
		}
		if a.Name != "" {
			if i := op.AttrIndex(a.Name); i >= 0 {
				if r.Attrs[i] != nil {
					return fail(a.At, "%s: attribute %s is given twice", op.Name, a.Name)
				}
				r.Attrs[i] = a.Value
				continue
			}
			if i := op.OperandIndex(a.Name); i >= 0 && !op.Variadic {
				if r.Operands[i] != nil {
					return fail(a.At, "%s: operand %s is given twice", op.Name, a.Name)
				}
				r.Operands[i] = a.Value
				continue
			}
			return fail(a.At, "%s has no attribute or operand %q; it is %s", op.Name, a.Name, op.Signature())
		}
		switch {
		case op.Variadic:
			r.Operands = append(r.Operands, a.Value)
		case pos < len(op.Operands):
			r.Operands[pos] = a.Value
		case pos-len(op.Operands) < len(op.Attrs):
			r.Attrs[pos-len(op.Operands)] = a.Value
		default:
			return fail(a.At, "too many arguments; it is %s", op.Signature())
		}
		pos++
	}
	return r, nil
}

// EvalAttr evaluates an expression as an attribute of the given kind. Integers may
// use $variables, + - *, dim(value, axis), rows(value) and symbols.
func (g *Graph) EvalAttr(kind AttrKind, e syntax.Expr, b *Bindings) (Attr, error) {
	if v, ok := e.(*syntax.Var); ok {
		a := b.Vars[v.Name]
		if l, isLit := a.(*Literal); isLit && kind == KindFloat {
			if f, ok := l.Scalar(); ok {
				return Float(f), nil
			}
		}
		if a == nil {
			return nil, &syntax.Error{At: v.At, Message: fmt.Sprintf("$%s has no value", v.Name)}
		}
		return a, nil
	}
	switch kind {
	case KindInt, KindAxis, KindPos:
		return g.EvalDim(e, b)
	case KindInts, KindAxes, KindPosList:
		l, ok := e.(*syntax.List)
		if !ok {
			d, err := g.EvalDim(e, b)
			return Dims{d}, err
		}
		dims := make(Dims, len(l.Items))
		for i, x := range l.Items {
			var err error
			if dims[i], err = g.EvalDim(x, b); err != nil {
				return nil, err
			}
		}
		return dims, nil
	}
	return ConstAttr(kind, e)
}

// EvalDim evaluates an integer expression.
func (g *Graph) EvalDim(e syntax.Expr, b *Bindings) (Dim, error) {
	fail := func(format string, args ...any) (Dim, error) {
		return Dim{}, &syntax.Error{At: e.Offset(), Message: fmt.Sprintf(format, args...)}
	}
	switch x := e.(type) {
	case *syntax.Number:
		if x.IsInt {
			return N(x.Int), nil
		}
	case *syntax.Var:
		switch a := b.Vars[x.Name].(type) {
		case Dim:
			return a, nil
		case nil:
			return fail("$%s has no value", x.Name)
		}
		return fail("$%s is not an integer", x.Name)
	case *syntax.Unary:
		if x.Op == "-" {
			d, err := g.EvalDim(x.X, b)
			return N(0).Sub(d), err
		}
	case *syntax.Binary:
		l, err := g.EvalDim(x.X, b)
		if err != nil {
			return l, err
		}
		r, err := g.EvalDim(x.Y, b)
		if err != nil {
			return r, err
		}
		switch x.Op {
		case "+":
			return l.Add(r), nil
		case "-":
			return l.Sub(r), nil
		case "*":
			return l.Mul(r), nil
		}
	case *syntax.Name:
		if _, isValue := b.Values[x.Name]; !isValue && !strings.Contains(x.Name, ".") {
			return Sym(x.Name), nil
		}
	case *syntax.Call:
		if t, ok := g.typeArg(x, b); ok {
			switch {
			case x.Fun == "rows" && len(x.Args) == 1:
				return t.Rows(), nil
			case x.Fun == "size" && len(x.Args) == 1:
				return t.Size(), nil
			case x.Fun == "dim" && len(x.Args) == 2:
				if n, isNum := x.Args[1].Value.(*syntax.Number); isNum && n.IsInt {
					if d, ok := t.Dim(int(n.Int)); ok {
						return d, nil
					}
					return fail("%s has no dimension %d", x.Args[0].Value, n.Int)
				}
			}
		}
	}
	return fail("%s is not an integer", e)
}

func (g *Graph) typeArg(c *syntax.Call, b *Bindings) (Type, bool) {
	if len(c.Args) == 0 {
		return Type{}, false
	}
	n, ok := c.Args[0].Value.(*syntax.Name)
	if !ok {
		return Type{}, false
	}
	v, ok := b.Values[n.Name]
	if !ok || v == None {
		return Type{}, false
	}
	return g.values[v].Type(), true
}

// ConstAttr reads an attribute that is written out: a number or -inf, a word, true or
// false, an element type.
func ConstAttr(kind AttrKind, e syntax.Expr) (Attr, error) {
	switch x := e.(type) {
	case *syntax.Number:
		switch {
		case kind == KindFloat:
			return Float(x.Float), nil
		case x.IsInt && kind <= KindPosList:
			return N(x.Int), nil
		}
	case *syntax.Unary: // -inf, which no name of a value can be
		if v, ok := floatOf(x); ok && kind == KindFloat {
			return Float(v), nil
		}
	case *syntax.Bool:
		if kind == KindFlag {
			return Flag(x.Value), nil
		}
	case *syntax.String:
		if kind == KindWord {
			return Str(x.Text), nil
		}
	case *syntax.Name:
		if kind == KindDType {
			if t, ok := ParseDType(x.Name); ok {
				return t, nil
			}
			return nil, &syntax.Error{At: x.At, Message: fmt.Sprintf("%s is not an element type", x.Name)}
		}
	}
	want := map[AttrKind]string{KindFloat: "a number", KindFlag: "true or false", KindWord: `a word in quotes, such as "affine"`, KindDType: "an element type"}[kind]
	if want == "" {
		want = "an integer"
	}
	return nil, &syntax.Error{At: e.Offset(), Message: fmt.Sprintf("expected %s, found %s", want, e)}
}

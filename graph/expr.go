package graph

import (
	"fmt"
	"math"

	"zmlx-rewrite/graph/syntax"
)

// This file gives the expressions of package syntax their meaning as dimensions,
// conditions, types and attributes. All errors are *syntax.Error, with the byte
// offset in the text that was parsed.

// maxAtoms bounds the comparisons in one condition: joining conditions compares
// each with each.
const maxAtoms = 256

func errAt(e syntax.Expr, format string, args ...any) error {
	return &syntax.Error{At: e.Offset(), Message: fmt.Sprintf(format, args...)}
}

// ParseDim reads an integer expression over symbols: "8*batch + seq_len - 1".
func ParseDim(text string) (Dim, error) {
	e, err := syntax.Parse(text)
	if err != nil {
		return Dim{}, err
	}
	return DimOf(e)
}

// ParseCond reads a condition over symbols: "seq_len == 1 && batch <= 8".
func ParseCond(text string) (Cond, error) {
	e, err := syntax.Parse(text)
	if err != nil {
		return Cond{}, err
	}
	return CondOf(e)
}

// ParseType reads a type: "float16[batch, 1, 576]".
func ParseType(text string) (Type, error) {
	p := syntax.NewParser(text)
	t, err := ReadType(p)
	if err == nil {
		err = p.End()
	}
	return t, err
}

// DimOf is the integer expression that e stands for: numbers and symbols with
// +, - and *.
func DimOf(e syntax.Expr) (Dim, error) {
	var d Dim
	switch e := e.(type) {
	case *syntax.Number:
		if !e.IsInt {
			return d, errAt(e, "%s is not an integer that fits in 64 bits", e.Text)
		}
		return N(e.Int), nil
	case *syntax.Name:
		if e.Optional || !isSymbol(e.Name) {
			return d, errAt(e, "%s is not a symbol", e)
		}
		return Sym(e.Name), nil
	case *syntax.Unary:
		if e.Op != "-" {
			return d, errAt(e, "%s is not an integer", e)
		}
		x, err := DimOf(e.X)
		if err != nil {
			return d, err
		}
		d = x.Mul(N(-1))
	case *syntax.Binary:
		x, err := DimOf(e.X)
		if err != nil {
			return d, err
		}
		y, err := DimOf(e.Y)
		if err != nil {
			return d, err
		}
		switch e.Op {
		case "+":
			d = x.Add(y)
		case "-":
			d = x.Sub(y)
		case "*":
			d = x.Mul(y)
		default:
			return d, errAt(e, "%s gives no integer", e.Op)
		}
	default:
		return d, errAt(e, "expected an integer or a symbol")
	}
	if d.saturated() {
		return d, errAt(e, "too large for 64 bits, or of more than %d terms", maxTerms)
	}
	return d, nil
}

// isSymbol reports whether a name may stand for a dimension: a plain word, since
// the text of a polynomial joins symbols with *.
func isSymbol(name string) bool {
	if len(name) > 64 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return syntax.QuoteName(name) == name // not a word of the grammar
}

// CondOf is the condition that e stands for: comparisons of integer expressions,
// "in" with a list, joined with &&, || and !.
func CondOf(e syntax.Expr) (Cond, error) {
	atoms := 0
	return condOf(e, &atoms)
}

func condOf(e syntax.Expr, atoms *int) (Cond, error) {
	if *atoms++; *atoms > maxAtoms {
		return Cond{}, errAt(e, "a condition of more than %d parts", maxAtoms)
	}
	switch e := e.(type) {
	case *syntax.Bool:
		return boolCond(e.Value), nil
	case *syntax.Unary:
		if e.Op == "!" {
			c, err := condOf(e.X, atoms)
			return Not(c), err
		}
	case *syntax.Binary:
		switch e.Op {
		case "&&", "||":
			x, err := condOf(e.X, atoms)
			if err != nil {
				return Cond{}, err
			}
			y, err := condOf(e.Y, atoms)
			if err != nil {
				return Cond{}, err
			}
			if e.Op == "&&" {
				return And(x, y), nil
			}
			return Or(x, y), nil
		case "==", "!=", "<", "<=", ">", ">=":
			l, err := DimOf(e.X)
			if err != nil {
				return Cond{}, err
			}
			return compare(l, Cmp(e.Op), e.Y)
		case "in":
			l, err := DimOf(e.X)
			if err != nil {
				return Cond{}, err
			}
			list, ok := e.Y.(*syntax.List)
			if !ok {
				return Cond{}, errAt(e.Y, "expected a list behind in")
			}
			out := False
			for _, item := range list.Items {
				if *atoms++; *atoms > maxAtoms {
					return Cond{}, errAt(e, "a condition of more than %d parts", maxAtoms)
				}
				c, err := compare(l, EQ, item)
				if err != nil {
					return Cond{}, err
				}
				out = Or(out, c)
			}
			return out, nil
		}
	}
	return Cond{}, errAt(e, "expected a comparison")
}

func compare(l Dim, op Cmp, e syntax.Expr) (Cond, error) {
	r, err := DimOf(e)
	if err != nil {
		return Cond{}, err
	}
	if l.Sub(r).saturated() {
		return Cond{}, errAt(e, "the difference of both sides is too large")
	}
	return Compare(l, op, r), nil
}

// ReadType reads a type from p: "float16[batch, 1, 576]".
func ReadType(p *syntax.Parser) (Type, error) {
	at := p.Offset()
	fail := func(format string, args ...any) (Type, error) {
		return Type{}, &syntax.Error{At: at, Message: fmt.Sprintf(format, args...)}
	}
	name, err := p.Ident()
	if err != nil {
		return fail("expected a type, such as float16[batch, 1, 576]")
	}
	dtype, ok := ParseDType(name)
	if !ok {
		return fail("%s is not an element type", name)
	}
	list, err := p.List()
	if err != nil {
		return Type{}, err
	}
	t := Type{dtype, make([]Dim, len(list.Items))}
	for i, e := range list.Items {
		if t.Shape[i], err = DimOf(e); err != nil {
			return Type{}, err
		}
	}
	if err := t.check(); err != nil {
		return fail("%s", err)
	}
	return t, nil
}

// AttrOf is the attribute of kind s that e stands for. It is not yet in its
// normal spelling; Infer and Graph.Add see to that.
func AttrOf(s *AttrSpec, e syntax.Expr) (Attr, error) {
	if e, ok := e.(*syntax.List); ok && (s.Kind == KindInts || s.Kind == KindAxes || s.Kind == KindPosList) {
		list := make(Dims, len(e.Items))
		for i, x := range e.Items {
			var err error
			if list[i], err = DimOf(x); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	switch s.Kind {
	case KindInt, KindAxis, KindPos, KindAxes, KindPosList:
		return DimOf(e)
	case KindFloat:
		if v, ok := floatOf(e); ok {
			return Float(v), nil
		}
		return nil, errAt(e, "expected a number")
	case KindFlag:
		if b, ok := e.(*syntax.Bool); ok {
			return Flag(b.Value), nil
		}
		return nil, errAt(e, "expected true or false")
	case KindWord:
		if w, ok := e.(*syntax.String); ok {
			return Str(w.Text), nil
		}
		return nil, errAt(e, "expected a word in quotes")
	case KindDType:
		if n, ok := e.(*syntax.Name); ok {
			if t, ok := ParseDType(n.Name); ok {
				return t, nil
			}
		}
		return nil, errAt(e, "expected an element type, such as float16")
	case KindInts:
		return nil, errAt(e, "expected a list of integers")
	}
	return nil, errAt(e, "a constant cannot be an attribute here")
}

// floatOf reads a number, inf, -inf or nan.
func floatOf(e syntax.Expr) (float64, bool) {
	switch e := e.(type) {
	case *syntax.Number:
		return e.Float, true
	case *syntax.Name:
		switch e.Name {
		case "inf":
			return math.Inf(1), true
		case "nan":
			return math.NaN(), true
		}
	case *syntax.Unary:
		if n, ok := e.X.(*syntax.Name); ok && e.Op == "-" && n.Name == "inf" {
			return math.Inf(-1), true
		}
	}
	return 0, false
}

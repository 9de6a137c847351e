package chattemplate

import (
	"math"
	"strings"
)

func (m *machine) unary(e *unaryExpr, sc *scope) any {
	x := m.eval(e.x, sc)
	if e.op == "not" {
		return !truthy(x)
	}
	i, f, isInt, ok := number(x)
	switch {
	case !ok:
		m.typeError(e.at(), "%s%s is not a number", e.op, m.describe(x))
	case isInt && e.op == "-":
		if i == math.MinInt {
			m.overflow(e.at())
		}
		return -i
	case isInt:
		return i
	case e.op == "-":
		return -f
	}
	return f
}

func (m *machine) binary(e *binaryExpr, sc *scope) any {
	l := m.eval(e.l, sc)
	switch e.op {
	case "and":
		if !truthy(l) {
			return l
		}
		return m.eval(e.r, sc)
	case "or":
		if truthy(l) {
			return l
		}
		return m.eval(e.r, sc)
	}
	r := m.eval(e.r, sc)
	line := e.at()
	if e.op == "~" {
		a, b := m.str(line, l), m.str(line, r)
		m.charge(line, len(a)+len(b))
		return a + b
	}
	li, lf, lInt, lok := number(l)
	ri, rf, rInt, rok := number(r)
	switch {
	case lok && rok && lInt && rInt && e.op != "/":
		return m.intOp(line, e.op, li, ri)
	case lok && rok:
		return m.floatOp(line, e.op, lf, rf)
	case e.op == "+":
		if v, ok := m.joinMarkup(line, l, r); ok {
			return v
		}
		if v, ok := m.join(line, l, r); ok {
			return v
		}
	case e.op == "*" && rok && rInt:
		if v, ok := m.repeat(line, l, ri); ok {
			return v
		}
	case e.op == "*" && lok && lInt:
		if v, ok := m.repeat(line, r, li); ok {
			return v
		}
	case e.op == "%":
		if isType[string](plain(l)) {
			m.unsupported(line, "formatting with %%")
		}
	}
	m.typeError(line, "%s %s %s is not possible", m.describe(l), e.op, m.describe(r))
	return nil
}

// join is + of strings, lists and tuples.
func (m *machine) join(line int, l, r any) (any, bool) {
	switch l := l.(type) {
	case string:
		r, ok := r.(string)
		m.charge(line, len(l)+len(r))
		return l + r, ok
	case []any:
		r, ok := r.([]any)
		m.charge(line, 16*(len(l)+len(r)))
		return append(l[:len(l):len(l)], r...), ok
	case tuple:
		r, ok := r.(tuple)
		m.charge(line, 16*(len(l)+len(r)))
		return append(l[:len(l):len(l)], r...), ok
	}
	return nil, false
}

// joinMarkup is + with what the filter safe made: it escapes its neighbours.
func (m *machine) joinMarkup(line int, l, r any) (any, bool) {
	a, lsafe := l.(markup)
	b, rsafe := r.(markup)
	if s, ok := l.(string); ok && rsafe {
		a, lsafe = markup(escapeHTML.Replace(s)), true
	}
	if s, ok := r.(string); ok && lsafe {
		b, rsafe = markup(escapeHTML.Replace(s)), true
	}
	if !lsafe || !rsafe {
		return nil, false
	}
	m.charge(line, len(a)+len(b))
	return a + b, true
}

var escapeHTML = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

// repeat is * of a string, list or tuple and a number.
func (m *machine) repeat(line int, v any, n int) (any, bool) {
	n = max(n, 0)
	size := 0
	switch v := v.(type) {
	case string:
		size = len(v)
	default:
		items, ok := elements(v)
		if !ok {
			return nil, false
		}
		size = 16 * len(items)
	}
	if size == 0 {
		return v, true
	}
	if n > m.byteLimit/size {
		m.limit(line, "more than %d bytes are made", m.byteLimit)
	}
	m.charge(line, n*size)
	switch v := v.(type) {
	case string:
		return strings.Repeat(v, n), true
	case tuple:
		out := make(tuple, 0, n*len(v))
		for range n {
			out = append(out, v...)
		}
		return out, true
	}
	list := v.([]any)
	out := make([]any, 0, n*len(list))
	for range n {
		out = append(out, list...)
	}
	return out, true
}

func (m *machine) overflow(line int) {
	m.unsupported(line, "a whole number of more than 64 bits")
}

func (m *machine) intOp(line int, op string, a, b int) any {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
		m.overflow(line)
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
		m.overflow(line)
	case "*":
		c := a * b
		if a != 0 && (c/a != b || a == -1 && b == math.MinInt) {
			m.overflow(line)
		}
		return c
	}
	if b == 0 {
		m.typeError(line, "division by zero")
	}
	if a == math.MinInt && b == -1 {
		m.overflow(line)
	}
	q, r := a/b, a%b
	if r != 0 && (r < 0) != (b < 0) { // Python rounds down
		q, r = q-1, r+b
	}
	if op == "//" {
		return q
	}
	return r
}

func (m *machine) floatOp(line int, op string, a, b float64) any {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	}
	if b == 0 {
		m.typeError(line, "division by zero")
	}
	switch op {
	case "/":
		return a / b
	case "//", "%":
		m.unsupported(line, "operator %s on numbers with a fraction", op)
	}
	return nil
}

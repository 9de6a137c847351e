package chattemplate

import (
	"math"
	"strings"
	"unicode/utf8"
)

// eval evaluates an expression as Python would.
func (m *machine) eval(e expr, sc *scope) any {
	m.step(e.at())
	defer func() { m.stack-- }()
	switch e := e.(type) {
	case *constExpr:
		return e.value
	case *nameExpr:
		return m.variable(e, sc)
	case *capturedExpr:
		v, _ := sc.lookup(captured)
		return v
	case *listExpr:
		items := m.evalAll(e.at(), e.items, sc)
		if e.tuple {
			return tuple(items)
		}
		return items
	case *dictExpr:
		d := NewDict()
		for i, k := range e.keys {
			key, ok := m.eval(k, sc).(string)
			if !ok {
				m.unsupported(k.at(), "a key of a dict that is not a string")
			}
			d.Set(key, m.eval(e.values[i], sc))
		}
		m.charge(e.at(), 64*d.Len())
		return d
	case *unaryExpr:
		return m.unary(e, sc)
	case *binaryExpr:
		return m.binary(e, sc)
	case *compareExpr:
		return m.comparison(e, sc)
	case *condExpr:
		if truthy(m.eval(e.cond, sc)) {
			return m.eval(e.then, sc)
		}
		if e.els_ == nil {
			return undefined{"the value of an if without else"}
		}
		return m.eval(e.els_, sc)
	case *attrExpr:
		return m.attr(e.at(), m.eval(e.x, sc), e.name)
	case *indexExpr:
		x := m.eval(e.x, sc)
		return m.index(e.at(), x, m.eval(e.index, sc))
	case *sliceExpr:
		return m.slice(e, sc)
	case *callExpr:
		return m.call(e, sc)
	case *filterExpr:
		x := m.eval(e.x, sc)
		return filters[e.name](m, e.at(), x, m.args(e.args, sc))
	case *testExpr:
		x := m.eval(e.x, sc)
		return tests[e.name](m, e.at(), x, m.args(e.args, sc))
	}
	panic("an expression of no known type")
}

func (m *machine) evalAll(line int, list []expr, sc *scope) []any {
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = m.eval(e, sc)
	}
	m.charge(line, 16*len(out))
	return out
}

func (m *machine) variable(e *nameExpr, sc *scope) any {
	if v, ok := sc.lookup(e.name); ok {
		return v
	}
	if f, ok := functions[e.name]; ok {
		return function{e.name, f}
	}
	switch e.name {
	case "lipsum", "cycler", "joiner", "self", "super", "caller", "varargs", "kwargs":
		m.unsupported(e.at(), "%q", e.name)
	}
	return undefined{"variable " + e.name + ", which is not defined,"}
}

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

func (m *machine) comparison(e *compareExpr, sc *scope) any {
	l := m.eval(e.first, sc)
	for i, op := range e.ops {
		r := m.eval(e.rest[i], sc)
		ok := false
		switch op {
		case "==":
			ok = m.equal(e.at(), l, r, 0)
		case "!=":
			ok = !m.equal(e.at(), l, r, 0)
		case "in":
			ok = m.contains(e.at(), r, l)
		case "notin":
			ok = !m.contains(e.at(), r, l)
		case "<":
			ok = m.compare(e.at(), l, r, 0) < 0
		case "<=":
			ok = m.compare(e.at(), l, r, 0) <= 0
		case ">":
			ok = m.compare(e.at(), l, r, 0) > 0
		case ">=":
			ok = m.compare(e.at(), l, r, 0) >= 0
		}
		if !ok {
			return false
		}
		l = r
	}
	return true
}

// contains is Python's in.
func (m *machine) contains(line int, box, v any) bool {
	switch box := plain(box).(type) {
	case string:
		s, ok := plain(v).(string)
		if !ok {
			m.typeError(line, "%s cannot be in a string", m.describe(v))
		}
		m.charge(line, len(box)/64)
		return strings.Contains(box, s)
	case *Dict:
		switch v := v.(type) {
		case string:
			_, ok := box.vals[v]
			return ok
		case []any, *Dict:
			m.typeError(line, "%s cannot be a key", m.describe(v))
		}
		return false
	case *namespace, *loop, function:
		m.typeError(line, "nothing can be in %s", m.describe(box))
	}
	for _, item := range m.items(line, box) {
		if m.equal(line, item, v, 0) {
			return true
		}
	}
	return false
}

// index is x[i].
func (m *machine) index(line int, x, i any) any {
	missing := undefined{"an item that is not there"}
	switch x := x.(type) {
	case undefined:
		m.typeError(line, "%s has no items", x.what)
	case *Dict:
		key, ok := i.(string)
		if !ok {
			return missing
		}
		if v, ok := x.vals[key]; ok {
			return v
		}
		missing.what = "key " + repr(key) + ", which is not there,"
	case []any, tuple, string:
		n, _, isInt, _ := number(i)
		if isInt {
			v, ok := m.at(line, x, n)
			if !ok {
				return missing
			}
			return v
		}
	case *sequence, markup:
		m.unsupported(line, "an index into a %s", typeName(x))
	}
	// As Jinja2: what is no item may be an attribute.
	if name, ok := i.(string); ok {
		if f, ok := m.method(line, x, name); ok {
			return f
		}
	}
	return missing
}

// at returns the nth item of a list, tuple or string; negative n count from the end.
func (m *machine) at(line int, x any, n int) (any, bool) {
	if s, ok := x.(string); ok {
		m.charge(line, len(s)/16)
		if n < 0 {
			n += utf8.RuneCountInString(s)
		}
		if n < 0 {
			return nil, false
		}
		for _, r := range s {
			if n == 0 {
				return string(r), true
			}
			n--
		}
		return nil, false
	}
	items, _ := elements(x)
	if n < 0 {
		n += len(items)
	}
	if n < 0 || n >= len(items) {
		return nil, false
	}
	return items[n], true
}

// slice is x[start:stop:step].
func (m *machine) slice(e *sliceExpr, sc *scope) any {
	x := m.eval(e.x, sc)
	line := e.at()
	var items []any
	switch x := x.(type) {
	case string:
		items = m.items(line, x)
	case []any, tuple:
		items, _ = elements(x)
	default:
		m.typeError(line, "%s has no parts", m.describe(x))
	}
	bound := func(e expr, otherwise int) (int, bool) {
		if e == nil {
			return otherwise, false
		}
		v := m.eval(e, sc)
		if v == nil {
			return otherwise, false
		}
		n, _, isInt, _ := number(v)
		if !isInt {
			m.typeError(line, "%s is not an index", m.describe(v))
		}
		return n, true
	}
	step, _ := bound(e.step, 1)
	if step == 0 {
		m.typeError(line, "a slice with step 0")
	}
	n := len(items)
	low, high := 0, n // the range that bounds are cut to
	start, stop := 0, n
	if step < 0 {
		low, high = -1, n-1
		start, stop = n-1, -1
	}
	clamp := func(e expr, otherwise int) int {
		i, given := bound(e, otherwise)
		if !given {
			return otherwise
		}
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	start, stop = clamp(e.start, start), clamp(e.stop, stop)
	out := []any{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, items[i])
		if step > n || step < -n {
			break // one item, and i += step must not overflow
		}
	}
	m.charge(line, 16*len(out))
	switch x.(type) {
	case string:
		var b strings.Builder
		for _, c := range out {
			b.WriteString(c.(string))
		}
		return b.String()
	case tuple:
		return tuple(out)
	}
	return out
}

func (m *machine) call(e *callExpr, sc *scope) any {
	v := m.eval(e.fn, sc)
	f, ok := v.(function)
	if !ok {
		m.typeError(e.at(), "%s cannot be called", m.describe(v))
	}
	return f.call(m, e.at(), m.args(e.args, sc))
}

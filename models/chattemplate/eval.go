package chattemplate

import (
	"strings"
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
		a := m.args(e.args, sc)
		f, ok := filters[e.name]
		if !ok {
			m.unsupported(e.at(), "filter %q", e.name)
		}
		return f(m, e.at(), x, a)
	case *testExpr:
		x := m.eval(e.x, sc)
		a := m.args(e.args, sc)
		f, ok := tests[e.name]
		if !ok {
			m.unsupported(e.at(), "test %q", e.name)
		}
		return f(m, e.at(), x, a)
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

func (m *machine) call(e *callExpr, sc *scope) any {
	v := m.eval(e.fn, sc)
	f, ok := v.(function)
	if !ok {
		m.typeError(e.at(), "%s cannot be called", m.describe(v))
	}
	return f.call(m, e.at(), m.args(e.args, sc))
}

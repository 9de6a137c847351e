package chattemplate

import (
	"strings"
	"unicode/utf8"
)

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

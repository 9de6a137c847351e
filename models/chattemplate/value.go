package chattemplate

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values are nil (None), bool, int, float64, string, []any (list), *Dict, and the
// types below. None of them can be changed by a template but a namespace.
type (
	tuple     []any
	undefined struct{ what string } // how it came about, for messages
	// sequence is what Python makes items of one after the other: the result of
	// map, select, reject, reverse, items and of a dict's methods. It has no index.
	sequence struct {
		items []any
		sized bool // dict.items() and the like have a length, generators have none
	}
	namespace struct{ vars map[string]any }
	// markup is what the filter safe makes of a string. Printed, or in ~, it is that
	// string; + escapes its neighbours; methods and most filters are refused.
	markup   string
	function struct {
		name string
		call func(m *machine, line int, a args) any
	}
)

func truthy(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case []any:
		return len(v) > 0
	case tuple:
		return len(v) > 0
	case *Dict:
		return v.Len() > 0
	case *sequence:
		return !v.sized || len(v.items) > 0 // a generator is true whatever comes out of it
	}
	return true
}

// typeName is Python's name of the type.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case []any:
		return "list"
	case tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case *sequence:
		if v.sized {
			return "dict view"
		}
		return "generator"
	case *namespace:
		return "Namespace"
	case *loop:
		return "LoopContext"
	}
	return "function"
}

// number returns the value of a number; in arithmetic a bool is 0 or 1.
func number(v any) (i int, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

// elements returns the items of a list or tuple.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case tuple:
		return v, true
	}
	return nil, false
}

// equal is Python's ==.
func (m *machine) equal(line int, a, b any, depth int) bool {
	m.level(line, depth)
	m.charge(line, 1)
	a, b = plain(a), plain(b)
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		if !ok {
			return false
		}
		if aInt && bInt {
			return ai == bi
		}
		return af == bf
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		s, ok := b.(string)
		m.charge(line, len(a)/64)
		return ok && a == s
	case []any:
		l, ok := b.([]any)
		return ok && m.equalLists(line, a, l, depth)
	case tuple:
		l, ok := b.(tuple)
		return ok && m.equalLists(line, a, l, depth)
	case *Dict:
		d, ok := b.(*Dict)
		if !ok || a.Len() != d.Len() {
			return false
		}
		for _, k := range a.keys {
			v, ok := d.vals[k]
			if !ok || !m.equal(line, a.vals[k], v, depth+1) {
				return false
			}
		}
		return true
	case function:
		m.unsupported(line, "comparing functions")
	}
	return a == b // pointers: the same object
}

func (m *machine) equalLists(line int, a, b []any, depth int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !m.equal(line, a[i], b[i], depth+1) {
			return false
		}
	}
	return true
}

// compare is Python's order of two values: numbers, strings, lists and tuples.
func (m *machine) compare(line int, a, b any, depth int) int {
	m.level(line, depth)
	m.charge(line, 1)
	ai, af, aInt, aok := number(a)
	bi, bf, bInt, bok := number(b)
	if aok && bok {
		if aInt && bInt {
			return cmp.Compare(ai, bi)
		}
		if math.IsNaN(af) || math.IsNaN(bf) {
			m.unsupported(line, "ordering nan")
		}
		return cmp.Compare(af, bf)
	}
	if as, ok := a.(string); ok {
		if bs, ok := b.(string); ok {
			return strings.Compare(as, bs) // UTF-8 sorts as code points do
		}
	}
	al, aok := elements(a)
	bl, bok := elements(b)
	if aok && bok && typeName(a) == typeName(b) {
		for i := 0; i < len(al) && i < len(bl); i++ {
			if !m.equal(line, al[i], bl[i], depth+1) {
				return m.compare(line, al[i], bl[i], depth+1)
			}
		}
		return cmp.Compare(len(al), len(bl))
	}
	m.typeError(line, "%s and %s have no order", m.describe(a), m.describe(b))
	return 0
}

// plain is a string for markup, and any other value as it is.
func plain(v any) any {
	if s, ok := v.(markup); ok {
		return string(s)
	}
	return v
}

// str is Python's str().
func (m *machine) str(line int, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case undefined:
		return ""
	}
	var b strings.Builder
	m.repr(line, &b, v, 0)
	return b.String()
}

// repr writes Python's repr().
func (m *machine) repr(line int, b *strings.Builder, v any, depth int) {
	m.level(line, depth)
	before := b.Len()
	list := func(open, end string, items []any) {
		b.WriteString(open)
		for i, item := range items {
			if i > 0 {
				b.WriteString(", ")
			}
			m.repr(line, b, item, depth+1)
		}
		b.WriteString(end)
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		b.WriteString(repr(v))
	case []any:
		list("[", "]", v)
	case tuple:
		if len(v) == 1 {
			list("(", ",)", v)
		} else {
			list("(", ")", v)
		}
	case *Dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(repr(k))
			b.WriteString(": ")
			m.repr(line, b, v.vals[k], depth+1)
		}
		b.WriteByte('}')
	case undefined:
		b.WriteString("Undefined")
	default:
		m.unsupported(line, "printing a %s", typeName(v))
	}
	if depth == 0 {
		m.charge(line, b.Len()-before)
	}
}

// items returns what iterating over v gives.
func (m *machine) items(line int, v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case tuple:
		return v
	case *sequence:
		items := v.items
		if !v.sized {
			v.items = nil // a generator can be gone through once
		}
		return items
	case undefined:
		return nil
	case *Dict:
		out := make([]any, 0, v.Len())
		for _, k := range v.keys {
			out = append(out, k)
		}
		m.charge(line, 16*len(out))
		return out
	case string:
		out := make([]any, 0, utf8.RuneCountInString(v))
		for _, r := range v {
			out = append(out, string(r))
		}
		m.charge(line, 16*len(out))
		return out
	}
	m.typeError(line, "%s cannot be iterated over", m.describe(v))
	return nil
}

// describe says what a value is, for messages.
func (m *machine) describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case undefined:
		return v.what
	case string:
		if len(v) > 40 {
			v = v[:40] + "…"
		}
		return "the string " + strconv.Quote(v)
	}
	return "a value of type " + typeName(v)
}

// fromGo takes over a value of the caller and counts its bytes.
func (m *machine) fromGo(v any, depth int) any {
	m.level(0, depth)
	m.bytes += 16
	switch v := v.(type) {
	case nil, bool, int, float64:
		return v
	case int64:
		return int(v)
	case string:
		m.bytes += len(v)
		return v
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = m.fromGo(x, depth+1)
		}
		return out
	case []*Dict:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = m.fromGo(x, depth+1)
		}
		return out
	case *Dict:
		d := NewDict()
		for _, k := range v.keys {
			m.bytes += len(k)
			d.Set(k, m.fromGo(v.vals[k], depth+1))
		}
		return d
	case map[string]any:
		d := NewDict()
		for _, k := range sortedKeys(v) {
			m.bytes += len(k)
			d.Set(k, m.fromGo(v[k], depth+1))
		}
		return d
	}
	fail(m.name, 0, "template/data", "use nil, bool, int, float64, string, []any, *Dict or map[string]any", "a value of type %T cannot be given to a template", v)
	return nil
}

package chattemplate

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pythonAttrs are the attributes that Python's own types have. One of them that we
// do not have is an error, any other is undefined, as in Jinja2.
var pythonAttrs = map[string][]string{
	"str":   strings.Fields("capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill"),
	"dict":  strings.Fields("clear copy fromkeys get items keys pop popitem setdefault update values"),
	"list":  strings.Fields("append clear copy count extend index insert pop remove reverse sort"),
	"tuple": strings.Fields("count index"),
	"bool":  strings.Fields("as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes"),
	"int":   strings.Fields("as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes"),
	"float": strings.Fields("as_integer_ratio conjugate fromhex hex imag is_integer real"),
}

// attr is x.name.
func (m *machine) attr(line int, x any, name string) any {
	switch x := x.(type) {
	case undefined:
		m.typeError(line, "%s has no attribute %q", x.what, name)
	case *namespace:
		if v, ok := x.vars[name]; ok {
			return v
		}
	case *loop:
		return m.loopAttr(line, x, name)
	case function, markup:
		m.unsupported(line, "attribute %q of a %s", name, typeName(x))
	}
	if f, ok := m.method(line, x, name); ok {
		return f
	}
	if d, ok := x.(*Dict); ok {
		if v, ok := d.vals[name]; ok {
			return v
		}
	}
	return undefined{"attribute " + repr(name) + ", which is not there,"}
}

func (m *machine) loopAttr(line int, l *loop, name string) any {
	n := len(l.items)
	switch name {
	case "index":
		return l.i + 1
	case "index0":
		return l.i
	case "revindex":
		return n - l.i
	case "revindex0":
		return n - l.i - 1
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return n
	case "depth":
		return 1
	case "depth0":
		return 0
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1]
		}
		return undefined{"the item before the first"}
	case "nextitem":
		if l.i+1 < n {
			return l.items[l.i+1]
		}
		return undefined{"the item after the last"}
	case "cycle", "changed":
		m.unsupported(line, "loop.%s", name)
	}
	return undefined{"attribute " + repr(name) + " of loop, which is not there,"}
}

// method returns the method of a string or dict.
func (m *machine) method(line int, x any, name string) (any, bool) {
	if strings.HasPrefix(name, "__") {
		m.unsupported(line, "attribute %q", name)
	}
	switch x := x.(type) {
	case string:
		if f, ok := stringMethods[name]; ok {
			return function{name, func(m *machine, line int, a args) any { return f(m, line, x, a) }}, true
		}
	case *Dict:
		if f, ok := dictMethods[name]; ok {
			return function{name, func(m *machine, line int, a args) any { return f(m, line, x, a) }}, true
		}
	}
	if kind := typeName(x); slices.Contains(pythonAttrs[kind], name) {
		m.unsupported(line, "method %q of a %s", name, kind)
	}
	return nil, false
}

var dictMethods = map[string]func(m *machine, line int, d *Dict, a args) any{
	"get": func(m *machine, line int, d *Dict, a args) any {
		v := a.bind(m, line, "get", "", "")
		if key, ok := v[0].(string); ok {
			if x, ok := d.vals[key]; ok {
				return x
			}
		} else if v[0] == absent {
			m.typeError(line, "get needs a key")
		}
		if v[1] == absent {
			return nil
		}
		return v[1]
	},
	"items": func(m *machine, line int, d *Dict, a args) any {
		a.bind(m, line, "items")
		return &sequence{m.pairs(line, d), true}
	},
	"keys": func(m *machine, line int, d *Dict, a args) any {
		a.bind(m, line, "keys")
		return &sequence{m.items(line, d), true}
	},
	"values": func(m *machine, line int, d *Dict, a args) any {
		a.bind(m, line, "values")
		out := make([]any, 0, d.Len())
		for _, k := range d.keys {
			out = append(out, d.vals[k])
		}
		m.charge(line, 16*len(out))
		return &sequence{out, true}
	},
}

// pairs returns (key, value) of a dict.
func (m *machine) pairs(line int, d *Dict) []any {
	out := make([]any, 0, d.Len())
	for _, k := range d.keys {
		out = append(out, tuple{k, d.vals[k]})
	}
	m.charge(line, 64*len(out))
	return out
}

// upper, lower and capital are Python's, or an error where one character becomes
// several, or depends on its neighbours.
func (m *machine) upper(line int, s string) string {
	m.charge(line, len(s))
	for _, r := range s {
		if unicode.Is(longUpper, r) {
			m.unsupported(line, "upper case of %q", r)
		}
	}
	return strings.ToUpper(s)
}

func (m *machine) lower(line int, s string) string {
	m.charge(line, len(s))
	for _, r := range s {
		if r == 'İ' || r == 'Σ' {
			m.unsupported(line, "lower case of %q", r)
		}
	}
	return strings.ToLower(s)
}

// longUpper holds all characters whose upper case has more than one character, and
// some more.
var longUpper = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0xDF, 0xDF, 1}, {0x149, 0x149, 1}, {0x1F0, 0x1F0, 1}, {0x390, 0x390, 1}, {0x3B0, 0x3B0, 1},
		{0x587, 0x587, 1}, {0x1E96, 0x1E9A, 1}, {0x1F50, 0x1FFC, 1}, {0xFB00, 0xFB17, 1},
	},
	LatinOffset: 1,
}

func (m *machine) ascii(line int, what, s string) {
	for _, r := range s {
		if r >= utf8.RuneSelf {
			m.unsupported(line, "%s of a string with %q", what, r)
		}
	}
	m.charge(line, len(s))
}

func (m *machine) capitalize(line int, s string) string {
	m.ascii(line, "capitalize", s)
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.ToLower(s[1:])
}

package chattemplate

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter is what stands after "|".
type filter = func(m *machine, line int, x any, a args) any

// filters are the filters that templates use, as jinja2/filters.py has them.
var filters map[string]filter

func init() {
	text := func(name string, f func(m *machine, line int, s string) string) filter {
		return func(m *machine, line int, x any, a args) any {
			a.bind(m, line, name)
			return f(m, line, m.text(line, name, x))
		}
	}
	filters = map[string]filter{
		"tojson": tojson,
		"string": func(m *machine, line int, x any, a args) any {
			a.bind(m, line, "string")
			if isType[markup](x) {
				return x
			}
			return m.str(line, x)
		},
		"safe": func(m *machine, line int, x any, a args) any {
			a.bind(m, line, "safe")
			return markup(m.str(line, x))
		},
		"upper":      text("upper", (*machine).upper),
		"lower":      text("lower", (*machine).lower),
		"capitalize": text("capitalize", (*machine).capitalize),
		"trim": func(m *machine, line int, x any, a args) any {
			chars := a.bind(m, line, "trim", "chars")
			if chars[0] == absent {
				chars = nil
			}
			return stringMethods["strip"](m, line, m.text(line, "trim", x), args{pos: chars})
		},
		"replace": func(m *machine, line int, x any, a args) any {
			v := a.bind(m, line, "replace", "old", "new", "count")
			if v[0] == absent || v[1] == absent {
				m.typeError(line, "replace needs two arguments")
			}
			limit := -1
			if v[2] != nil {
				limit = m.intArg(line, "replace", v[2], -1)
			}
			return m.replace(line, m.text(line, "replace", x), m.str(line, v[0]), m.str(line, v[1]), limit)
		},
		"indent":  indent,
		"default": defaultTo,
		"d":       defaultTo,
		"length":  length,
		"count":   length,
		"first":   first,
		"last":    last,
		"list": func(m *machine, line int, x any, a args) any {
			a.bind(m, line, "list")
			return slices.Clone(m.items(line, x))
		},
		"reverse":    reverse,
		"join":       join,
		"items":      items,
		"dictsort":   dictsort,
		"sort":       sortItems,
		"unique":     unique,
		"min":        extreme("min", -1),
		"max":        extreme("max", 1),
		"int":        toInt,
		"map":        mapItems,
		"select":     choose("select", false, true),
		"reject":     choose("reject", false, false),
		"selectattr": choose("selectattr", true, true),
		"rejectattr": choose("rejectattr", true, false),
	}
}

// text is str for filters that would give markup for markup.
func (m *machine) text(line int, filter string, x any) string {
	if isType[markup](x) {
		m.unsupported(line, "filter %q after safe", filter)
	}
	return m.str(line, x)
}

func defaultTo(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "default", "default_value", "boolean")
	if isUndefined(x) || boolArg(v[1]) && !truthy(x) {
		if v[0] == absent {
			return ""
		}
		return v[0]
	}
	return x
}

func length(m *machine, line int, x any, a args) any {
	a.bind(m, line, "length")
	switch x := plain(x).(type) {
	case string:
		m.charge(line, len(x)/16)
		return utf8.RuneCountInString(x)
	case []any:
		return len(x)
	case tuple:
		return len(x)
	case *Dict:
		return x.Len()
	case undefined:
		return 0
	case *loop:
		return len(x.items)
	case *sequence:
		if x.sized {
			return len(x.items)
		}
	}
	m.typeError(line, "%s has no length", m.describe(x))
	return nil
}

func first(m *machine, line int, x any, a args) any {
	a.bind(m, line, "first")
	if s, ok := x.(string); ok {
		if v, ok := m.at(line, s, 0); ok {
			return v
		}
	} else if list := m.items(line, x); len(list) > 0 {
		return list[0]
	}
	return undefined{"the first of no items"}
}

func last(m *machine, line int, x any, a args) any {
	a.bind(m, line, "last")
	if g, ok := x.(*sequence); ok && !g.sized {
		m.typeError(line, "a generator has no last item")
	}
	if list := m.items(line, x); len(list) > 0 {
		return list[len(list)-1]
	}
	return undefined{"the last of no items"}
}

func reverse(m *machine, line int, x any, a args) any {
	a.bind(m, line, "reverse")
	out := slices.Clone(m.items(line, x))
	m.charge(line, 16*len(out))
	slices.Reverse(out)
	if _, ok := x.(string); ok {
		var b strings.Builder
		for _, c := range out {
			b.WriteString(c.(string))
		}
		return b.String()
	}
	return &sequence{items: out}
}

func join(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "join", "d", "attribute")
	sep := ""
	if v[0] != absent {
		sep = m.str(line, v[0])
	}
	list := m.items(line, x)
	parts := make([]string, len(list))
	for i, item := range list {
		if v[1] != absent && v[1] != nil {
			item = m.path(line, item, v[1], absent)
		}
		parts[i] = m.str(line, item)
	}
	m.charge(line, 16*len(parts))
	return m.joined(line, parts, sep)
}

func items(m *machine, line int, x any, a args) any {
	a.bind(m, line, "items")
	switch x := x.(type) {
	case undefined:
		return &sequence{}
	case *Dict:
		return &sequence{items: m.pairs(line, x)}
	}
	m.typeError(line, "items of %s: only a mapping has pairs", m.describe(x))
	return nil
}

func indent(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "indent", "width", "first", "blank")
	s, ok := x.(string)
	if !ok {
		m.typeError(line, "indent needs a string, not %s", m.describe(x))
	}
	by, ok := v[0].(string)
	if !ok {
		n := max(0, m.intArg(line, "indent", v[0], 4))
		m.charge(line, n)
		by = strings.Repeat(" ", n)
	}
	lines := splitLines(s + "\n")
	if len(lines) > 0 && len(by) > m.byteLimit/len(lines) {
		m.limit(line, "more than %d bytes are made", m.byteLimit)
	}
	m.charge(line, len(s)+len(lines)*(len(by)+16))
	for i, l := range lines {
		if i == 0 && boolArg(v[1]) || i > 0 && (l != "" || boolArg(v[2])) {
			lines[i] = by + l
		}
	}
	return strings.Join(lines, "\n")
}

// toInt is the filter int: what cannot be read as a number is the default.
func toInt(m *machine, line int, x any, a args) any {
	otherwise := a.bind(m, line, "int", "default")[0]
	if otherwise == absent {
		otherwise = 0
	}
	f := 0.0
	switch x := x.(type) {
	case bool, int:
		n, _, _, _ := number(x)
		return n
	case float64:
		f = x
	case string:
		s := strings.TrimFunc(x, isSpace)
		if strings.ContainsAny(s, "_") || strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
			m.unsupported(line, "int of %s", m.describe(x))
		}
		n, err := strconv.Atoi(s)
		if err == nil {
			return n
		}
		if f, err = strconv.ParseFloat(s, 64); err != nil || strings.ContainsAny(s, "xXpP") {
			return otherwise
		}
	default:
		return otherwise
	}
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return otherwise
	case math.Abs(f) >= 1<<63:
		m.overflow(line)
	}
	return int(f)
}

// path is the value of an attribute such as "function.name" or "0".
func (m *machine) path(line int, x, attribute, otherwise any) any {
	step := func(key any) {
		x = m.index(line, x, key)
		if isUndefined(x) && otherwise != absent && otherwise != nil {
			x = otherwise
		}
	}
	switch attribute := attribute.(type) {
	case string:
		for part := range strings.SplitSeq(attribute, ".") {
			if n, err := strconv.Atoi(part); err == nil && isDigits(part) {
				step(n)
			} else {
				step(part)
			}
		}
	case int:
		step(attribute)
	default:
		m.typeError(line, "%s is not the name of an attribute", m.describe(attribute))
	}
	return x
}

// itemsIfAny is for map, select and their like, which take anything false for empty.
func (m *machine) itemsIfAny(line int, x any) []any {
	if !truthy(x) {
		return nil
	}
	return m.items(line, x)
}

func mapItems(m *machine, line int, x any, a args) any {
	list := m.itemsIfAny(line, x)
	m.charge(line, 16*len(list))
	out := make([]any, len(list))
	if len(a.pos) == 0 {
		v := a.bind(m, line, "map", "attribute", "default")
		if v[0] == absent {
			m.typeError(line, "map needs the name of a filter, or attribute=")
		}
		for i, item := range list {
			out[i] = m.path(line, item, v[0], v[1])
		}
		return &sequence{items: out}
	}
	name := m.strArg(line, "map", a.pos[0])
	f, ok := filters[name]
	if !ok {
		m.unsupported(line, "filter %q", name)
	}
	for i, item := range list {
		m.steps++
		out[i] = f(m, line, item, args{a.pos[1:], a.kw})
	}
	return &sequence{items: out}
}

// choose is select, reject, selectattr and rejectattr.
func choose(name string, byAttr, keep bool) filter {
	return func(m *machine, line int, x any, a args) any {
		var attribute any
		if byAttr {
			if len(a.pos) == 0 {
				m.typeError(line, "%s needs the name of an attribute", name)
			}
			attribute, a.pos = a.pos[0], a.pos[1:]
		}
		check := func(m *machine, line int, x any, a args) any { return truthy(x) }
		if len(a.pos) > 0 {
			testName := m.strArg(line, name, a.pos[0])
			t, ok := tests[testName]
			if !ok {
				m.unsupported(line, "test %q", testName)
			}
			check, a.pos = t, a.pos[1:]
		}
		var out []any
		for _, item := range m.itemsIfAny(line, x) {
			m.steps++
			v := item
			if byAttr {
				v = m.path(line, item, attribute, absent)
			}
			if truthy(check(m, line, v, a)) == keep {
				out = append(out, item)
			}
		}
		m.charge(line, 16*len(out))
		return &sequence{items: out}
	}
}

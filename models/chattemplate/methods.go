package chattemplate

import (
	"strings"
	"unicode/utf8"
)

type stringMethod = func(m *machine, line int, s string, a args) any

// stringMethods are the methods of Python's str that templates use.
var stringMethods = map[string]stringMethod{
	"strip":  stripMethod("strip", strings.TrimFunc),
	"lstrip": stripMethod("lstrip", strings.TrimLeftFunc),
	"rstrip": stripMethod("rstrip", strings.TrimRightFunc),

	"startswith": affixMethod("startswith", strings.HasPrefix),
	"endswith":   affixMethod("endswith", strings.HasSuffix),

	"split":  splitMethod("split", splitLeft),
	"rsplit": splitMethod("rsplit", splitRight),

	"upper":      caseMethod("upper", (*machine).upper),
	"lower":      caseMethod("lower", (*machine).lower),
	"capitalize": caseMethod("capitalize", (*machine).capitalize),
	"title": caseMethod("title", func(m *machine, line int, s string) string {
		m.ascii(line, "title", s)
		out := []byte(s)
		for i, c := range out {
			letter := func(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
			if letter(c) {
				out[i] = c | 0x20
				if i == 0 || !letter(out[i-1]) {
					out[i] = c &^ 0x20
				}
			}
		}
		return string(out)
	}),

	"replace": func(m *machine, line int, s string, a args) any {
		v := a.bind(m, line, "replace", "", "", "")
		return m.replace(line, s, m.strArg(line, "replace", v[0]), m.strArg(line, "replace", v[1]), m.intArg(line, "replace", v[2], -1))
	},
	"join": func(m *machine, line int, s string, a args) any {
		items := m.items(line, a.bind(m, line, "join", "")[0])
		parts := make([]string, len(items))
		for i, item := range items {
			parts[i] = m.strArg(line, "join", item)
		}
		return m.joined(line, parts, s)
	},
	"splitlines": func(m *machine, line int, s string, a args) any {
		a.bind(m, line, "splitlines")
		return m.strings(line, splitLines(s))
	},
	"find": func(m *machine, line int, s string, a args) any {
		m.charge(line, len(s)/16)
		i := strings.Index(s, m.strArg(line, "find", a.bind(m, line, "find", "")[0]))
		if i < 0 {
			return -1
		}
		return utf8.RuneCountInString(s[:i])
	},
	"count": func(m *machine, line int, s string, a args) any {
		m.charge(line, len(s)/16)
		return strings.Count(s, m.strArg(line, "count", a.bind(m, line, "count", "")[0]))
	},
	"format": func(m *machine, line int, s string, a args) any {
		return m.format(line, s, a)
	},
}

func stripMethod(name string, strip func(string, func(rune) bool) string) stringMethod {
	return func(m *machine, line int, s string, a args) any {
		chars := a.bind(m, line, name, "")[0]
		m.charge(line, len(s)/16)
		if chars == absent || chars == nil {
			return strip(s, isSpace)
		}
		set := m.strArg(line, name, chars)
		m.charge(line, len(set))
		in := map[rune]bool{}
		for _, r := range set {
			in[r] = true
		}
		return strip(s, func(r rune) bool { return in[r] })
	}
}

func affixMethod(name string, has func(s, affix string) bool) stringMethod {
	return func(m *machine, line int, s string, a args) any {
		affix := a.bind(m, line, name, "")[0]
		if several, ok := affix.(tuple); ok {
			for _, x := range several {
				if has(s, m.strArg(line, name, x)) {
					return true
				}
			}
			return false
		}
		return has(s, m.strArg(line, name, affix))
	}
}

func caseMethod(name string, f func(m *machine, line int, s string) string) stringMethod {
	return func(m *machine, line int, s string, a args) any {
		a.bind(m, line, name)
		return f(m, line, s)
	}
}

// splitMethod is str.split and rsplit. max < 0 is no limit.
func splitMethod(name string, split func(s, sep string, max int) []string) stringMethod {
	return func(m *machine, line int, s string, a args) any {
		v := a.bind(m, line, name, "sep", "maxsplit")
		limit := m.intArg(line, name, v[1], -1)
		m.charge(line, len(s)/16)
		if v[0] == absent || v[0] == nil {
			if limit >= 0 {
				m.unsupported(line, "%s at spaces with maxsplit", name)
			}
			return m.strings(line, strings.FieldsFunc(s, isSpace))
		}
		sep := m.strArg(line, name, v[0])
		if sep == "" {
			m.typeError(line, "%s at an empty string", name)
		}
		return m.strings(line, split(s, sep, limit))
	}
}

func splitLeft(s, sep string, limit int) []string {
	if limit < 0 {
		return strings.Split(s, sep)
	}
	return strings.SplitN(s, sep, limit+1)
}

func splitRight(s, sep string, limit int) []string {
	if limit < 0 {
		return strings.Split(s, sep)
	}
	var tail []string // from right to left
	for ; limit > 0; limit-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		tail = append(tail, s[i+len(sep):])
		s = s[:i]
	}
	out := []string{s}
	for i := len(tail) - 1; i >= 0; i-- {
		out = append(out, tail[i])
	}
	return out
}

// strings makes a list of strings.
func (m *machine) strings(line int, list []string) any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	m.charge(line, 48*len(out))
	return out
}

// joined joins strings, counting first.
func (m *machine) joined(line int, parts []string, sep string) string {
	n := len(parts) * len(sep)
	for _, p := range parts {
		n += len(p)
	}
	m.charge(line, n)
	return strings.Join(parts, sep)
}

// replace is str.replace, counting first. With an empty old, new goes between all
// characters, as strings.Replace does too.
func (m *machine) replace(line int, s, old, with string, limit int) string {
	n := strings.Count(s, old)
	if limit >= 0 {
		n = min(n, limit)
	}
	m.charge(line, len(s))
	if n > 0 && len(with) > m.byteLimit/n {
		m.limit(line, "more than %d bytes are made", m.byteLimit)
	}
	m.charge(line, n*len(with))
	return strings.Replace(s, old, with, limit)
}

// format is str.format with plain {}, {0} and {name}.
func (m *machine) format(line int, s string, a args) string {
	var b strings.Builder
	auto, numbered := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(s) && s[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if c == '}' || end < 0 {
			m.typeError(line, "a single %q in a format string", c)
		}
		field := s[i+1 : i+end]
		i += end
		if strings.ContainsAny(field, ".[:!{") {
			m.unsupported(line, "format field {%s}", field)
		}
		if field == "" && numbered || isDigits(field) && auto > 0 {
			m.typeError(line, "a format string with numbered fields and with {}")
		}
		numbered = numbered || isDigits(field)
		v := m.formatArg(line, field, auto, a)
		if field == "" {
			auto++
		}
		if _, ok := v.(undefined); ok {
			m.unsupported(line, "format of an undefined value")
		}
		text := m.str(line, v)
		m.charge(line, len(text))
		b.WriteString(text)
	}
	m.charge(line, len(s))
	return b.String()
}

func (m *machine) formatArg(line int, field string, auto int, a args) any {
	n := auto
	if field != "" {
		n = -1
		if isDigits(field) && len(field) < 4 {
			n = 0
			for _, c := range field {
				n = 10*n + int(c-'0')
			}
		}
		for _, kw := range a.kw {
			if kw.name == field {
				return kw.value
			}
		}
	}
	if n < 0 || n >= len(a.pos) {
		m.typeError(line, "format has no argument for {%s}", field)
	}
	return a.pos[n]
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

package chattemplate

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// jsonStyle is how Python's json.dumps writes.
type jsonStyle struct {
	ascii, sorted bool
	indent        string // of one level; with multi set
	multi         bool   // one item a line
	item, key     string // separators
}

// tojson is transformers' filter of that name: json.dumps with ensure_ascii false,
// and without the HTML escapes of Jinja2's own.
func tojson(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "tojson", "ensure_ascii", "indent", "separators", "sort_keys")
	style := jsonStyle{ascii: boolArg(v[0]), sorted: boolArg(v[3]), item: ", ", key: ": "}
	if v[1] != absent && v[1] != nil {
		style.multi, style.item = true, ","
		if s, ok := v[1].(string); ok {
			style.indent = s
		} else {
			n := max(0, m.intArg(line, "tojson", v[1], 0))
			m.charge(line, n)
			style.indent = strings.Repeat(" ", n)
		}
	}
	if v[2] != absent && v[2] != nil {
		pair, ok := elements(v[2])
		if !ok || len(pair) != 2 {
			m.typeError(line, "separators of tojson must be two strings")
		}
		style.item, style.key = m.strArg(line, "tojson", pair[0]), m.strArg(line, "tojson", pair[1])
	}
	var b strings.Builder
	m.json(line, &b, x, style, 0)
	return b.String()
}

func (m *machine) json(line int, b *strings.Builder, v any, style jsonStyle, depth int) {
	m.level(line, depth)
	before := b.Len()
	switch v := plain(v).(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(jsonFloat(v))
	case string:
		jsonString(b, v, style.ascii)
	case []any:
		m.jsonItems(line, b, "[", "]", len(v), style, depth, func(i int) { m.json(line, b, v[i], style, depth+1) })
		return
	case tuple:
		m.jsonItems(line, b, "[", "]", len(v), style, depth, func(i int) { m.json(line, b, v[i], style, depth+1) })
		return
	case *Dict:
		keys := v.keys
		if style.sorted {
			keys = slices.Sorted(slices.Values(keys))
		}
		m.jsonItems(line, b, "{", "}", len(keys), style, depth, func(i int) {
			jsonString(b, keys[i], style.ascii)
			b.WriteString(style.key)
			m.charge(line, len(keys[i])+len(style.key))
			m.json(line, b, v.vals[keys[i]], style, depth+1)
		})
		return
	default:
		m.typeError(line, "%s cannot be written as JSON", m.describe(v))
	}
	m.charge(line, b.Len()-before)
}

func (m *machine) jsonItems(line int, b *strings.Builder, open, end string, n int, style jsonStyle, depth int, item func(int)) {
	newline := func(depth int) {
		if style.multi {
			m.charge(line, 1+depth*len(style.indent))
			b.WriteByte('\n')
			for range depth {
				b.WriteString(style.indent)
			}
		}
	}
	b.WriteString(open)
	for i := range n {
		if i > 0 {
			m.charge(line, len(style.item))
			b.WriteString(style.item)
		}
		newline(depth + 1)
		item(i)
	}
	if n > 0 {
		newline(depth)
	}
	b.WriteString(end)
	m.charge(line, 2)
}

func jsonFloat(f float64) string {
	switch s := floatRepr(f); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

func jsonString(b *strings.Builder, s string, ascii bool) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < ' ' || ascii && 0x7F <= r && r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		case ascii && r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			b.WriteString(`\u` + hex(high, 4) + `\u` + hex(low, 4))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

package chattemplate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// functions are the functions that templates can call by name.
var functions = map[string]func(m *machine, line int, a args) any{
	"namespace": func(m *machine, line int, a args) any {
		ns := &namespace{vars: map[string]any{}}
		d := m.dict(line, "namespace", a)
		for _, k := range d.keys {
			m.setAttr(line, ns, k, d.vals[k])
		}
		return ns
	},
	"dict":            func(m *machine, line int, a args) any { return m.dict(line, "dict", a) },
	"range":           (*machine).rangeOf,
	"raise_exception": (*machine).raise,
	"strftime_now": func(m *machine, line int, a args) any {
		return m.strftime(line, m.strArg(line, "strftime_now", a.bind(m, line, "strftime_now", "format")[0]))
	},
}

// dict makes a dict of a mapping, if one is given, and named arguments.
func (m *machine) dict(line int, name string, a args) *Dict {
	d := NewDict()
	if len(a.pos) > 0 {
		from, ok := a.pos[0].(*Dict)
		if !ok || len(a.pos) > 1 {
			m.unsupported(line, "%s of %s", name, m.describe(a.pos[0]))
		}
		for _, k := range from.keys {
			d.Set(k, from.vals[k])
		}
	}
	for _, kw := range a.kw {
		d.Set(kw.name, kw.value)
	}
	m.charge(line, 64*d.Len())
	return d
}

// maxRange is the sandbox's own limit.
const maxRange = 100_000

func (m *machine) rangeOf(line int, a args) any {
	v := a.bind(m, line, "range", "start", "stop", "step")
	start, stop, step := 0, m.intArg(line, "range", v[0], 0), m.intArg(line, "range", v[2], 1)
	if v[0] == absent || step == 0 {
		m.typeError(line, "range needs a stop, and a step that is not 0")
	}
	if v[1] != absent {
		start, stop = stop, m.intArg(line, "range", v[1], 0)
	}
	out := []any{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; {
		if len(out) >= maxRange {
			m.limit(line, "a range of more than %d numbers", maxRange)
		}
		out = append(out, i)
		next := i + step
		if (next > i) != (step > 0) {
			break // past the largest number
		}
		i = next
	}
	m.charge(line, 16*len(out))
	return &sequence{out, true}
}

func (m *machine) raise(line int, a args) any {
	text := m.str(line, a.bind(m, line, "raise_exception", "message")[0])
	fail(m.name, line, "template/raised", "change the messages or tools as the template asks", "the template refuses this chat: %s", text)
	return nil
}

// strftime is Python's datetime.strftime in the C locale.
func (m *machine) strftime(line int, format string) string {
	t := m.now()
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i == len(format) {
			m.unsupported(line, "strftime format %q", format)
		}
		b.WriteString(m.strftimeField(line, t, format[i]))
	}
	m.charge(line, b.Len())
	return b.String()
}

func (m *machine) strftimeField(line int, t time.Time, c byte) string {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'H': "15", 'I': "03",
		'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006",
		'F': "2006-01-02", 'T': "15:04:05",
	}
	switch c {
	case '%':
		return "%"
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 'w':
		return strconv.Itoa(int(t.Weekday()))
	}
	layout, ok := layouts[c]
	if !ok {
		m.unsupported(line, "strftime format %%%c", c)
	}
	return t.Format(layout)
}

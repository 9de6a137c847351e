package chattemplate

import "slices"

// args are the evaluated arguments of a call.
type args struct {
	pos []any
	kw  []kwValue
}

type kwValue struct {
	name  string
	value any
}

// absent stands for a parameter that was not given.
var absent = &struct{ _ byte }{}

func (m *machine) args(e argExprs, sc *scope) args {
	a := args{}
	for _, x := range e.pos {
		a.pos = append(a.pos, m.eval(x, sc))
	}
	for _, kw := range e.kw {
		a.kw = append(a.kw, kwValue{kw.name, m.eval(kw.value, sc)})
	}
	return a
}

// bind gives each parameter its argument or absent. Too many arguments and
// unknown names are errors. A parameter "" can only be given by position.
func (a args) bind(m *machine, line int, name string, params ...string) []any {
	out := make([]any, len(params))
	for i := range out {
		out[i] = absent
	}
	if len(a.pos) > len(params) {
		m.typeError(line, "%s takes %d arguments, but %d are given", name, len(params), len(a.pos))
	}
	copy(out, a.pos)
	for _, kw := range a.kw {
		i := slices.Index(params, kw.name)
		if i < 0 {
			m.unsupported(line, "argument %q of %s", kw.name, name)
		}
		if out[i] != absent {
			m.typeError(line, "argument %q of %s is given twice", kw.name, name)
		}
		out[i] = kw.value
	}
	return out
}

// str returns a bound argument that must be a string.
func (m *machine) strArg(line int, name string, v any) string {
	s, ok := v.(string)
	if !ok {
		if v == absent {
			m.typeError(line, "%s needs one more argument", name)
		}
		m.typeError(line, "%s needs a string, not %s", name, m.describe(v))
	}
	return s
}

// intArg returns a bound argument that must be a whole number.
func (m *machine) intArg(line int, name string, v any, otherwise int) int {
	if v == absent {
		return otherwise
	}
	n, _, isInt, _ := number(v)
	if !isInt {
		m.typeError(line, "%s needs a whole number, not %s", name, m.describe(v))
	}
	return n
}

// boolArg returns a bound argument by its truth.
func boolArg(v any) bool { return v != absent && truthy(v) }

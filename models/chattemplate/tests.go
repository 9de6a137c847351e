package chattemplate

// test is what stands after "is".
type test = func(m *machine, line int, x any, a args) any

// tests are the tests that templates use. They are set in init since tests and
// filters refer to each other by name.
var tests map[string]test

func init() {
	is := func(name string, f func(x any) bool) test {
		return func(m *machine, line int, x any, a args) any {
			a.bind(m, line, "test "+name)
			return f(x)
		}
	}
	tests = map[string]test{
		"defined":   is("defined", func(x any) bool { return !isUndefined(x) }),
		"undefined": is("undefined", isUndefined),
		"none":      is("none", func(x any) bool { return x == nil }),
		"true":      is("true", func(x any) bool { return x == true }),
		"false":     is("false", func(x any) bool { return x == false }),
		"boolean":   is("boolean", isType[bool]),
		"string":    is("string", func(x any) bool { return isType[string](plain(x)) }),
		"integer":   is("integer", isType[int]),
		"float":     is("float", isType[float64]),
		"number": is("number", func(x any) bool {
			_, _, _, ok := number(x)
			return ok
		}),
		"mapping":  is("mapping", isType[*Dict]),
		"sequence": is("sequence", isSequence),
		"iterable": is("iterable", func(x any) bool { return isSequence(x) || isType[*sequence](x) }),
		"callable": is("callable", isType[function]),
		"odd":      parity("odd", 1),
		"even":     parity("even", 0),
		"in": func(m *machine, line int, x any, a args) any {
			return m.contains(line, a.bind(m, line, "test in", "seq")[0], x)
		},
	}
	order := func(f func(m *machine, line int, x, y any) bool, names ...string) {
		for _, name := range names {
			tests[name] = func(m *machine, line int, x any, a args) any {
				y := a.bind(m, line, "test "+name, "other")[0]
				if y == absent {
					m.typeError(line, "test %q needs a value to compare with", name)
				}
				return f(m, line, x, y)
			}
		}
	}
	order(func(m *machine, line int, x, y any) bool { return m.equal(line, x, y, 0) }, "eq", "equalto", "==")
	order(func(m *machine, line int, x, y any) bool { return !m.equal(line, x, y, 0) }, "ne", "!=")
	order(func(m *machine, line int, x, y any) bool { return m.compare(line, x, y, 0) < 0 }, "lt", "lessthan", "<")
	order(func(m *machine, line int, x, y any) bool { return m.compare(line, x, y, 0) <= 0 }, "le", "<=")
	order(func(m *machine, line int, x, y any) bool { return m.compare(line, x, y, 0) > 0 }, "gt", "greaterthan", ">")
	order(func(m *machine, line int, x, y any) bool { return m.compare(line, x, y, 0) >= 0 }, "ge", ">=")
}

func isType[T any](x any) bool {
	_, ok := x.(T)
	return ok
}

func isUndefined(x any) bool { return isType[undefined](x) }

// isSequence: what has a length and items, as Jinja2 asks for it. A mapping and an
// undefined value do.
func isSequence(x any) bool {
	switch plain(x).(type) {
	case string, []any, tuple, *Dict, undefined:
		return true
	}
	return false
}

func parity(name string, rest int) test {
	return func(m *machine, line int, x any, a args) any {
		a.bind(m, line, "test "+name)
		n, _, isInt, _ := number(x)
		if !isInt {
			m.typeError(line, "%s is neither odd nor even", m.describe(x))
		}
		return n&1 == rest
	}
}

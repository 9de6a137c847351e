package chattemplate

import (
	"strings"
	"time"
)

// machine runs a template once.
type machine struct {
	name string
	now  func() time.Time

	steps, stepLimit int
	bytes, byteLimit int
	stack            int
}

// scope holds the names of a block: loops, macros and captures have their own, if
// has not.
type scope struct {
	vars   map[string]any
	parent *scope
}

func (s *scope) inner() *scope { return &scope{vars: map[string]any{}, parent: s} }

func (s *scope) lookup(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// fail, typeError, unsupported and limit end the rendering.
func (m *machine) typeError(line int, format string, args ...any) {
	fail(m.name, line, "template/type", "check the messages, tools and variables that are given to the template", format, args...)
}

func (m *machine) unsupported(line int, format string, args ...any) {
	fail(m.name, line, "template/unsupported", hintReport, format, args...)
}

func (m *machine) limit(line int, format string, args ...any) {
	fail(m.name, line, "template/limit", "the template does not end, or is not made for such an input", format, args...)
}

// step counts an evaluation, and enters one more level; the caller leaves it.
func (m *machine) step(line int) {
	if m.steps++; m.steps > m.stepLimit {
		m.limit(line, "more than %d steps", m.stepLimit)
	}
	if m.stack++; m.stack > maxStack {
		m.limit(line, "evaluations are nested more than %d deep", maxStack)
	}
}

// charge counts bytes that are made.
func (m *machine) charge(line, n int) {
	if m.bytes += n; m.bytes > m.byteLimit && m.byteLimit > 0 {
		m.limit(line, "more than %d bytes are made", m.byteLimit)
	}
}

// level guards recursion over values.
func (m *machine) level(line, depth int) {
	if depth > maxDepth {
		m.limit(line, "a value is nested more than %d deep", maxDepth)
	}
}

// flow is how a body ends.
type flow uint8

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

func (m *machine) run(body []stmt, sc *scope, out *strings.Builder) flow {
	for _, s := range body {
		m.step(s.at())
		f := m.exec(s, sc, out)
		m.stack--
		if f != flowNext {
			return f
		}
	}
	return flowNext
}

func (m *machine) exec(s stmt, sc *scope, out *strings.Builder) flow {
	switch s := s.(type) {
	case *textStmt:
		m.write(s.at(), out, s.text)
	case *printStmt:
		m.write(s.at(), out, m.str(s.at(), m.eval(s.value, sc)))
	case *ifStmt:
		if truthy(m.eval(s.cond, sc)) {
			return m.run(s.then, sc, out)
		}
		return m.run(s.els_, sc, out)
	case *forStmt:
		m.forLoop(s, sc, out)
	case *setStmt:
		m.assign(s.target, m.eval(s.value, sc), sc)
	case *captureStmt:
		in := sc.inner()
		in.vars[captured] = m.capture(s.body, sc.inner())
		v := m.eval(s.value, in)
		if s.target == nil {
			m.write(s.at(), out, m.str(s.at(), v))
		} else {
			m.assign(s.target, v, sc)
		}
	case *macroStmt:
		sc.vars[s.name] = m.macro(s, sc)
	case *scopeStmt:
		m.write(s.at(), out, m.capture(s.body, sc.inner()))
	case *breakStmt:
		return flowBreak
	case *continueStmt:
		return flowContinue
	}
	return flowNext
}

// captured is the name of the text of a capture; no template can spell it.
const captured = " captured"

func (m *machine) write(line int, out *strings.Builder, s string) {
	m.charge(line, len(s))
	out.WriteString(s)
}

func (m *machine) capture(body []stmt, sc *scope) string {
	var b strings.Builder
	m.run(body, sc, &b)
	return b.String()
}

// assign binds the names of a target.
func (m *machine) assign(target expr, v any, sc *scope) {
	switch t := target.(type) {
	case *nameExpr:
		sc.vars[t.name] = v
	case *attrExpr:
		ns, ok := m.eval(t.x, sc).(*namespace)
		if !ok {
			m.typeError(t.at(), "cannot set attribute %q: only a namespace has attributes that can be set", t.name)
		}
		m.setAttr(t.at(), ns, t.name, v)
	case *listExpr:
		items := m.items(t.at(), v)
		if len(items) != len(t.items) {
			m.typeError(t.at(), "%d values for %d names", len(items), len(t.items))
		}
		for i, name := range t.items {
			m.assign(name, items[i], sc)
		}
	}
}

// setAttr sets an attribute of a namespace. transformers refuses names with an
// underscore first.
func (m *machine) setAttr(line int, ns *namespace, name string, v any) {
	if strings.HasPrefix(name, "_") {
		m.typeError(line, "a namespace cannot have the attribute %q: it begins with an underscore", name)
	}
	ns.vars[name] = v
}

// loop is the variable of that name inside a for.
type loop struct {
	items []any
	i     int
}

func (m *machine) forLoop(s *forStmt, sc *scope, out *strings.Builder) {
	items := m.items(s.iter.at(), m.eval(s.iter, sc))
	if s.filter != nil {
		var kept []any
		for _, item := range items {
			in := sc.inner()
			m.assign(s.target, item, in)
			if truthy(m.eval(s.filter, in)) {
				kept = append(kept, item)
			}
		}
		items = kept
	}
	l := &loop{items: items}
	whole := false
	for i, item := range items {
		l.i = i
		in := sc.inner()
		in.vars["loop"] = l
		m.charge(s.at(), 64)
		m.assign(s.target, item, in)
		f := m.run(s.body, in, out)
		if f == flowBreak {
			break
		}
		whole = whole || f == flowNext
	}
	if !whole { // as Jinja2: the else also follows if no round came to its end
		m.run(s.els_, sc.inner(), out)
	}
}

// macro makes a function that sees the names around its definition.
func (m *machine) macro(s *macroStmt, sc *scope) function {
	return function{name: s.name, call: func(m *machine, line int, a args) any {
		given := a.bind(m, line, s.name, s.params...)
		in := sc.inner()
		optional := len(s.params) - len(s.defaults)
		for i, name := range s.params {
			switch {
			case given[i] != absent:
				in.vars[name] = given[i]
			case i >= optional:
				in.vars[name] = m.eval(s.defaults[i-optional], in)
			default:
				in.vars[name] = undefined{"parameter " + name + ", which was not given,"}
			}
		}
		return m.capture(s.body, in)
	}}
}

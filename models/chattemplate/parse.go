package chattemplate

import (
	"slices"
	"strings"
)

// parser follows jinja2/parser.py: precedence there is not Python's everywhere.
type parser struct {
	name   string
	tokens []token
	i      int
	depth  int
	loops  int // for-bodies around this place, up to the next macro

	soft    bool          // inside an if: a filter that nobody knows fails when it is reached
	unknown []unknownName // such filters and tests of the tag that is being read
}

func (p *parser) cur() token { return p.tokens[p.i] }
func (p *parser) line() pos  { return pos(p.cur().line) }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

func (p *parser) fail(format string, args ...any) {
	fail(p.name, p.cur().line, "template/syntax", "correct the template", format, args...)
}

func (p *parser) unsupported(format string, args ...any) {
	fail(p.name, p.cur().line, "template/unsupported", hintReport, format, args...)
}

// deeper guards recursion; the caller defers the function it returns.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxDepth {
		fail(p.name, p.cur().line, "template/limit", "write it flatter", "nested more than %d deep", maxDepth)
	}
	return func() { p.depth-- }
}

func (p *parser) isOp(op string) bool { return p.cur().kind == tokOp && p.cur().text == op }
func (p *parser) isName(names ...string) bool {
	return p.cur().kind == tokName && slices.Contains(names, p.cur().text)
}

func (p *parser) skipOp(op string) bool {
	ok := p.isOp(op)
	if ok {
		p.i++
	}
	return ok
}

func (p *parser) skipName(name string) bool {
	ok := p.isName(name)
	if ok {
		p.i++
	}
	return ok
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.fail("expected %q, found %s", op, p.cur())
	}
}

func (p *parser) expectName() string {
	if p.cur().kind != tokName {
		p.fail("expected a name, found %s", p.cur())
	}
	return p.next().text
}

func (p *parser) expect(k kind, what string) {
	if p.cur().kind != k {
		p.fail("expected %s, found %s", what, p.cur())
	}
	p.i++
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the template"
	case tokPrintEnd:
		return `"}}"`
	case tokBlockEnd:
		return `"%}"`
	case tokText, tokPrint, tokBlock:
		return "text"
	}
	return `"` + t.text + `"`
}

func (p *parser) template() []stmt {
	body := p.stmts()
	if p.cur().kind != tokEOF {
		p.i++
		p.fail("unexpected tag %q", p.cur().text)
	}
	return body
}

// stmts parses up to the end, or to a block tag with one of the names; the parser
// then stands at its {%.
func (p *parser) stmts(ends ...string) []stmt {
	defer p.deeper()()
	var out []stmt
	for {
		switch t := p.cur(); t.kind {
		case tokEOF:
			if len(ends) > 0 {
				p.fail("expected {%% %s %%}, found the end of the template", ends[len(ends)-1])
			}
			return out
		case tokText:
			p.i++
			out = append(out, &textStmt{pos(t.line), t.text})
		case tokPrint:
			p.i++
			out = append(out, &printStmt{pos(t.line), p.tuple(true)})
			p.expect(tokPrintEnd, `"}}"`)
			p.refuse()
		default: // tokBlock
			if name := p.tokens[p.i+1]; name.kind == tokName && (slices.Contains(ends, name.text) || strings.HasPrefix(name.text, "end") && len(ends) == 0) {
				return out
			}
			p.i++
			out = append(out, p.tag())
			p.refuse()
		}
	}
}

func (p *parser) tag() stmt {
	line := p.line()
	switch name := p.expectName(); name {
	case "if":
		return p.ifTag(line)
	case "for":
		return p.forTag(line)
	case "set":
		return p.setTag(line)
	case "macro":
		return p.macroTag(line)
	case "filter":
		s := &captureStmt{pos: line}
		p.hard(func() {
			s.value = p.filters(&capturedExpr{line}, true)
			s.body = p.block("endfilter")
		})
		return s
	case "generation":
		s := &scopeStmt{pos: line}
		p.hard(func() { s.body = p.block("endgeneration") })
		return s
	case "break", "continue":
		if p.loops == 0 {
			p.fail("%q outside a loop", name)
		}
		p.expect(tokBlockEnd, `"%}"`)
		if name == "break" {
			return &breakStmt{line}
		}
		return &continueStmt{line}
	default:
		p.i--
		p.unsupported("tag {%% %s %%}", name)
	}
	return nil
}

// block parses the end of a tag, a body, and the end tag.
func (p *parser) block(end string) []stmt {
	p.expect(tokBlockEnd, `"%}"`)
	body := p.stmts(end)
	p.i += 2 // {% and the name
	p.expect(tokBlockEnd, `"%}"`)
	return body
}

func (p *parser) ifTag(line pos) stmt {
	defer p.deeper()()
	p.refuse()
	defer func(soft bool) { p.soft = soft }(p.soft)
	p.soft = true
	s := &ifStmt{pos: line, cond: p.tuple(false)}
	p.refuse()
	p.expect(tokBlockEnd, `"%}"`)
	s.then = p.stmts("elif", "else", "endif")
	p.i++
	line = p.line()
	switch p.next().text {
	case "elif":
		s.els_ = []stmt{p.ifTag(line)}
		return s
	case "else":
		s.els_ = p.block("endif")
		return s
	}
	p.expect(tokBlockEnd, `"%}"`)
	return s
}

func (p *parser) forTag(line pos) stmt {
	s := &forStmt{pos: line, target: p.target(false)}
	if !p.skipName("in") {
		p.fail("expected \"in\", found %s", p.cur())
	}
	s.iter = p.tuple(false)
	p.hard(func() {
		if p.skipName("if") {
			s.filter = p.expr()
		}
		if p.isName("recursive") {
			p.unsupported("a recursive for loop")
		}
		p.expect(tokBlockEnd, `"%}"`)
		p.loops++
		s.body = p.stmts("else", "endfor")
		p.loops--
		p.i++
		if p.next().text == "else" {
			s.els_ = p.block("endfor")
			return
		}
		p.expect(tokBlockEnd, `"%}"`)
	})
	return s
}

func (p *parser) setTag(line pos) stmt {
	target := p.target(true)
	if p.skipOp("=") {
		s := &setStmt{line, target, p.tuple(true)}
		p.expect(tokBlockEnd, `"%}"`)
		return s
	}
	s := &captureStmt{pos: line, target: target}
	p.hard(func() {
		s.value = p.filters(&capturedExpr{line}, false)
		s.body = p.block("endset")
	})
	return s
}

func (p *parser) macroTag(line pos) stmt {
	s := &macroStmt{pos: line, name: p.expectName()}
	p.hard(func() { p.macro(s) })
	return s
}

func (p *parser) macro(s *macroStmt) {
	p.expectOp("(")
	for !p.isOp(")") {
		if len(s.params) > 0 {
			p.expectOp(",")
		}
		s.params = append(s.params, p.expectName())
		if p.skipOp("=") {
			s.defaults = append(s.defaults, p.expr())
		} else if len(s.defaults) > 0 {
			p.fail("a parameter without default follows one with default")
		}
	}
	p.i++
	loops := p.loops
	p.loops = 0
	s.body = p.block("endmacro")
	p.loops = loops
}

// target parses what is assigned to: a name, ns.name, or names with commas.
func (p *parser) target(namespace bool) expr {
	line := p.line()
	if namespace && p.tokens[p.i+1].kind == tokOp && p.tokens[p.i+1].text == "." {
		x := &nameExpr{line, p.expectName()}
		p.i++
		return &attrExpr{line, x, p.expectName()}
	}
	open := p.skipOp("(")
	var names []expr
	tuple := false
	for {
		at := p.line()
		name := p.expectName()
		if slices.Contains(constants, name) || slices.Contains(keywords, name) {
			p.i--
			p.fail("cannot assign to %q", name)
		}
		names = append(names, &nameExpr{at, name})
		if !p.skipOp(",") {
			break
		}
		tuple = true
		if p.cur().kind != tokName || p.isName("in") {
			break
		}
	}
	if open {
		p.expectOp(")")
	}
	if tuple {
		return &listExpr{line, names, true}
	}
	return names[0]
}

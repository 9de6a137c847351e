package chattemplate

import (
	"slices"
	"strconv"
	"strings"
)

var (
	constants = []string{"true", "True", "false", "False", "none", "None"}
	keywords  = []string{"and", "or", "not", "in", "is", "if", "else"}
)

// tuple parses one expression, or several with commas. With cond, they may be
// conditional (a if b else c).
func (p *parser) tuple(cond bool) expr {
	line := p.line()
	one := p.orExpr
	if cond {
		one = p.expr
	}
	first := one()
	if !p.isOp(",") {
		return first
	}
	t := &listExpr{line, []expr{first}, true}
	for p.skipOp(",") {
		if p.cur().kind == tokPrintEnd || p.cur().kind == tokBlockEnd || p.isOp(")") {
			break
		}
		t.items = append(t.items, one())
	}
	return t
}

// expr parses any expression.
func (p *parser) expr() expr {
	defer p.deeper()()
	line, unknown := p.line(), len(p.unknown)
	e := p.orExpr()
	for p.skipName("if") {
		c := &condExpr{pos: line, then: e, cond: p.orExpr()}
		if p.skipName("else") {
			c.els_ = p.expr()
		}
		e = c
		p.unknown = p.unknown[:unknown] // all that is inside this if
	}
	return e
}

func (p *parser) orExpr() expr { return p.logic("or", p.andExpr) }

func (p *parser) andExpr() expr { return p.logic("and", p.notExpr) }

func (p *parser) logic(op string, operand func() expr) expr {
	line := p.line()
	e := operand()
	for p.skipName(op) {
		e = &binaryExpr{line, op, e, operand()}
	}
	return e
}

func (p *parser) notExpr() expr {
	if line := p.line(); p.skipName("not") {
		defer p.deeper()()
		return &unaryExpr{line, "not", p.notExpr()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	e := &compareExpr{pos: p.line(), first: p.sum()}
	for {
		op := ""
		switch {
		case p.cur().kind == tokOp && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, p.cur().text):
			op = p.next().text
		case p.skipName("in"):
			op = "in"
		case p.isName("not") && p.tokens[p.i+1].kind == tokName && p.tokens[p.i+1].text == "in":
			p.i += 2
			op = "notin"
		}
		if op == "" {
			break
		}
		e.ops = append(e.ops, op)
		e.rest = append(e.rest, p.sum())
	}
	if len(e.ops) == 0 {
		return e.first
	}
	return e
}

// Jinja2 binds ~ tighter than + and -.
func (p *parser) sum() expr { return p.operators(p.concat, "+", "-") }

func (p *parser) concat() expr { return p.operators(p.product, "~") }

func (p *parser) product() expr { return p.operators(p.unary, "*", "/", "//", "%") }

func (p *parser) operators(operand func() expr, ops ...string) expr {
	line := p.line()
	e := operand()
	for p.cur().kind == tokOp && slices.Contains(ops, p.cur().text) {
		op := p.next().text
		e = &binaryExpr{line, op, e, operand()}
	}
	if p.isOp("**") {
		p.unsupported("operator **")
	}
	return e
}

func (p *parser) unary() expr {
	return p.filters(p.signed(), false)
}

// signed parses an operand without filters: a filter after -x is applied to -x.
func (p *parser) signed() expr {
	line := p.line()
	for _, op := range []string{"-", "+"} {
		if p.skipOp(op) {
			defer p.deeper()()
			return &unaryExpr{line, op, p.signed()}
		}
	}
	return p.postfix(p.primary())
}

func (p *parser) primary() expr {
	line, t := p.line(), p.next()
	switch t.kind {
	case tokName:
		switch {
		case slices.Contains(constants, t.text):
			switch t.text[0] | 0x20 {
			case 't':
				return &constExpr{line, true}
			case 'f':
				return &constExpr{line, false}
			}
			return &constExpr{line, nil}
		case slices.Contains(keywords, t.text):
			p.i--
			p.fail("unexpected %q", t.text)
		}
		return &nameExpr{line, t.text}
	case tokString:
		var b strings.Builder // strings side by side are one
		b.WriteString(t.text)
		for p.cur().kind == tokString {
			b.WriteString(p.next().text)
		}
		return &constExpr{line, b.String()}
	case tokInt:
		n, err := strconv.Atoi(t.text)
		if err != nil {
			p.fail("number %s is too large", t.text)
		}
		return &constExpr{line, n}
	case tokFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			p.fail("number %s is too large", t.text)
		}
		return &constExpr{line, f}
	case tokOp:
		switch t.text {
		case "(":
			if p.skipOp(")") {
				return &listExpr{pos: line, tuple: true}
			}
			defer p.deeper()()
			e := p.tuple(true)
			p.expectOp(")")
			return e
		case "[":
			l := &listExpr{pos: line}
			for !p.skipOp("]") {
				if len(l.items) > 0 {
					p.expectOp(",")
					if p.skipOp("]") {
						break
					}
				}
				l.items = append(l.items, p.expr())
			}
			return l
		case "{":
			return p.dict(line)
		}
	}
	if t.kind != tokEOF {
		p.i--
	}
	p.fail("expected a value, found %s", t)
	return nil
}

func (p *parser) dict(line pos) expr {
	d := &dictExpr{pos: line}
	for !p.skipOp("}") {
		if len(d.keys) > 0 {
			p.expectOp(",")
			if p.skipOp("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expr())
		p.expectOp(":")
		d.values = append(d.values, p.expr())
	}
	return d
}

// postfix parses what follows a value: .name, [index], (arguments).
func (p *parser) postfix(e expr) expr {
	for {
		line := p.line()
		switch {
		case p.skipOp("."):
			t := p.next()
			switch t.kind {
			case tokName:
				e = &attrExpr{line, e, t.text}
			case tokInt:
				n, err := strconv.Atoi(t.text)
				if err != nil {
					p.fail("number %s is too large", t.text)
				}
				e = &indexExpr{line, e, &constExpr{line, n}}
			default:
				p.i--
				p.fail("expected a name after \".\", found %s", t)
			}
		case p.skipOp("["):
			e = p.subscript(line, e)
		case p.isOp("("):
			e = &callExpr{line, e, p.args()}
		default:
			return e
		}
	}
}

func (p *parser) subscript(line pos, x expr) expr {
	var bounds [3]expr
	n := 0
	for ; ; n++ {
		if !p.isOp(":") && !p.isOp("]") {
			bounds[n] = p.expr()
		}
		if n == 2 || !p.skipOp(":") {
			break
		}
	}
	if p.isOp(",") {
		p.unsupported("more than one index in []")
	}
	p.expectOp("]")
	if n == 0 {
		if bounds[0] == nil {
			p.fail("expected an index in []")
		}
		return &indexExpr{line, x, bounds[0]}
	}
	return &sliceExpr{line, x, bounds[0], bounds[1], bounds[2]}
}

func (p *parser) args() argExprs {
	var a argExprs
	p.expectOp("(")
	for first := true; !p.skipOp(")"); first = false {
		if !first {
			p.expectOp(",")
			if p.skipOp(")") {
				break
			}
		}
		if p.isOp("*") || p.isOp("**") {
			p.unsupported("%s in a call", p.cur().text)
		}
		if p.cur().kind == tokName && p.tokens[p.i+1].kind == tokOp && p.tokens[p.i+1].text == "=" {
			name := p.expectName()
			p.i++
			a.kw = append(a.kw, kwExpr{name, p.expr()})
			continue
		}
		if len(a.kw) > 0 {
			p.fail("an argument without a name follows one with a name")
		}
		a.pos = append(a.pos, p.expr())
	}
	return a
}

// filters parses what may follow an operand: |filter, "is test" and calls of their
// results. With inline, a filter comes first and has no "|" before it.
func (p *parser) filters(e expr, inline bool) expr {
	for {
		line := p.line()
		switch {
		case inline || p.skipOp("|"):
			inline = false
			f := &filterExpr{pos: line, x: e, name: p.dotted()}
			if p.isOp("(") {
				f.args = p.args()
			}
			p.checkFilter(f)
			e = f
		case p.skipName("is"):
			e = p.test(line, e)
		case p.isOp("("):
			e = &callExpr{line, e, p.args()}
		default:
			return e
		}
	}
}

func (p *parser) dotted() string {
	name := p.expectName()
	for p.skipOp(".") {
		name += "." + p.expectName()
	}
	return name
}

// checkFilter refuses a filter that Jinja2 has and we do not at once, with its line.
// One that Jinja2 does not have either is left to refuse: where it stands decides.
func (p *parser) checkFilter(f *filterExpr) {
	if _, ok := filters[f.name]; ok {
		return
	}
	p.unknownName(f.pos, "filter", f.name, jinjaFilters)
}

func (p *parser) unknownName(at pos, kind, name, builtin string) {
	if slices.Contains(strings.Fields(builtin), name) {
		fail(p.name, int(at), "template/unsupported", hintReport, "%s %q", kind, name)
	}
	p.unknown = append(p.unknown, unknownName{at, kind, name})
}

type unknownName struct {
	pos
	kind, name string
}

// refuse ends the parsing at a filter or test that nobody knows, unless it is inside
// an if: Jinja2 misses those only when it gets there, and templates rely on it.
func (p *parser) refuse() {
	if len(p.unknown) > 0 && !p.soft {
		u := p.unknown[0]
		fail(p.name, u.at(), "template/unsupported", hintReport, "%s %q", u.kind, u.name)
	}
	p.unknown = p.unknown[:0]
}

// hard parses what is not inside an if any more, though the tag around it may be.
func (p *parser) hard(parse func()) {
	p.refuse()
	soft := p.soft
	p.soft = false
	parse()
	p.refuse()
	p.soft = soft
}

// The names that Jinja2 3.1 has.
const (
	jinjaFilters = "abs attr batch capitalize center count d default dictsort e escape filesizeformat first float forceescape format groupby indent int items join last length list lower map max min pprint random reject rejectattr replace reverse round safe select selectattr slice sort string striptags sum title tojson trim truncate unique upper urlencode urlize wordcount wordwrap xmlattr"
	jinjaTests   = "boolean callable defined divisibleby eq equalto escaped even false filter float ge greaterthan gt in integer iterable le lessthan lower lt mapping ne none number odd sameas sequence string test true undefined upper"
)

func (p *parser) test(line pos, x expr) expr {
	negate := p.skipName("not")
	t := &testExpr{pos: line, x: x, name: p.dotted()}
	if _, ok := tests[t.name]; !ok {
		p.unknownName(line, "test", t.name, jinjaTests)
	}
	switch cur := p.cur(); {
	case p.isOp("("):
		t.args = p.args()
	case p.isName("is"):
		p.fail("tests cannot be chained: put the first in brackets")
	case cur.kind == tokName && !slices.Contains([]string{"else", "or", "and"}, cur.text),
		cur.kind == tokString, cur.kind == tokInt, cur.kind == tokFloat, p.isOp("["), p.isOp("{"):
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	if negate {
		return &unaryExpr{line, "not", t}
	}
	return t
}

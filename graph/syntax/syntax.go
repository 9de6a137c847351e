// Package syntax is the one expression grammar of zmlx-rewrite: patterns and
// replacements of rules, reference graphs of kernels, conditions of cases, and
// the right-hand sides of the graph's text form are all written in it.
//
//	expr    = or
//	or      = and { "||" and }            and = cmp { "&&" cmp }
//	cmp     = sum [ ("=="|"!="|"<"|"<="|">"|">="|"in") sum ]
//	sum     = product { ("+"|"-") product }
//	product = unary { "*" unary }
//	unary   = ["-"|"!"|"not"] primary
//	primary = number | string | "true" | "false" | "none" | name ["?"]
//	        | "$" name | "..." | "[" list "]" | "(" expr ")" | name "(" args ")"
//	args    = [ arg { "," arg } ]         arg = [ name "=" ] expr
//	name    = letter { letter | digit | "_" } { "." part } | "`" any "`"
//
// [ParseArithmetic] reads two more operators, for formulas that people write down
// (package kernels/author): "/" beside "*", and "**", which binds tighter than a minus
// sign and to the right, as in Python.
//
// The grammar has no loops, no functions of its own and no types: what a call or
// a name means is decided by whoever asked for the text to be parsed. Parsing
// reports the byte offset of every error and every expression.
package syntax

import (
	"fmt"
	"strconv"
	"strings"
)

// Expr is a parsed expression: *Name, *Var, *Number, *String, *Bool, *None,
// *List, *Call, *Unary, *Binary or *Rest.
type Expr interface {
	// Offset is where the expression starts in the text, in bytes.
	Offset() int
	// String prints the expression so that it parses back to an equal one.
	String() string
}

type (
	// Name is a value, a parameter or a fragment's argument. Optional is set for
	// "name?", an operand that may be absent.
	Name struct {
		At       int
		Name     string
		Optional bool
	}
	// Var is "$name": an attribute or scalar that the pattern binds.
	Var struct {
		At   int
		Name string
	}
	// Number is an integer or a float, as written.
	Number struct {
		At    int
		Text  string
		IsInt bool
		Int   int64
		Float float64
	}
	// String is a quoted word.
	String struct {
		At   int
		Text string
	}
	// Bool is true or false.
	Bool struct {
		At    int
		Value bool
	}
	// None is the absent value.
	None struct{ At int }
	// Rest is "...": attributes that are not written may have any value.
	Rest struct{ At int }
	// List is "[a, b]".
	List struct {
		At    int
		Items []Expr
	}
	// Call is "fun(args)".
	Call struct {
		At   int
		Fun  string
		Args []Arg
	}
	// Unary is "-x" or "!x".
	Unary struct {
		At int
		Op string
		X  Expr
	}
	// Binary is "x op y".
	Binary struct {
		At   int // of the operator
		Op   string
		X, Y Expr
	}
)

// Arg is one argument of a call; Name is empty for a positional one.
type Arg struct {
	At    int
	Name  string
	Value Expr
}

func (e *Name) Offset() int   { return e.At }
func (e *Var) Offset() int    { return e.At }
func (e *Number) Offset() int { return e.At }
func (e *String) Offset() int { return e.At }
func (e *Bool) Offset() int   { return e.At }
func (e *None) Offset() int   { return e.At }
func (e *Rest) Offset() int   { return e.At }
func (e *List) Offset() int   { return e.At }
func (e *Call) Offset() int   { return e.At }
func (e *Unary) Offset() int  { return e.At }
func (e *Binary) Offset() int { return e.X.Offset() }

func (e *Name) String() string {
	if e.Optional {
		return QuoteName(e.Name) + "?"
	}
	return QuoteName(e.Name)
}
func (e *Var) String() string    { return "$" + e.Name }
func (e *Number) String() string { return e.Text }
func (e *String) String() string { return strconv.Quote(e.Text) }
func (e *Bool) String() string   { return strconv.FormatBool(e.Value) }
func (e *None) String() string   { return "none" }
func (e *Rest) String() string   { return "..." }
func (e *List) String() string {
	parts := make([]string, len(e.Items))
	for i, x := range e.Items {
		parts[i] = x.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
func (e *Call) String() string {
	parts := make([]string, len(e.Args))
	for i, a := range e.Args {
		parts[i] = a.Value.String()
		if a.Name != "" {
			parts[i] = a.Name + "=" + parts[i]
		}
	}
	return QuoteName(e.Fun) + "(" + strings.Join(parts, ", ") + ")"
}
func (e *Unary) String() string {
	if n, ok := e.X.(*Number); ok && e.Op == "-" && !strings.HasPrefix(n.Text, "-") {
		return "-(" + n.Text + ")" // "-1" would be a number
	}
	return e.Op + operand(e.X, unaryLevel)
}
func (e *Binary) String() string {
	p := precedence[e.Op]
	left := p
	if p == cmpLevel { // comparisons do not chain
		left = p + 1
	}
	if p == powerLevel {
		return operand(e.X, p+1) + " ** " + operand(e.Y, unaryLevel)
	}
	return operand(e.X, left) + " " + e.Op + " " + operand(e.Y, p+1)
}

func operand(e Expr, least int) string {
	p := powerLevel + 1
	switch x := e.(type) {
	case *Binary:
		p = precedence[x.Op]
	case *Unary:
		p = unaryLevel
	case *Number: // a negative number was written with a minus sign
		if strings.HasPrefix(x.Text, "-") {
			p = unaryLevel
		}
	}
	if p < least {
		return "(" + e.String() + ")"
	}
	return e.String()
}

const (
	orLevel = iota + 1
	andLevel
	cmpLevel
	sumLevel
	productLevel
	unaryLevel
	powerLevel
)

var precedence = map[string]int{
	"||": orLevel, "or": orLevel, "&&": andLevel, "and": andLevel,
	"==": cmpLevel, "!=": cmpLevel, "<": cmpLevel, "<=": cmpLevel, ">": cmpLevel, ">=": cmpLevel, "in": cmpLevel,
	"+": sumLevel, "-": sumLevel, "*": productLevel, "/": productLevel, "**": powerLevel,
}

// QuoteName prints a name, in backquotes if it would not read back otherwise. A
// name that holds a backquote cannot be written; it is printed with a quote for it.
func QuoteName(name string) string {
	l := lexer{src: name}
	if t := l.next(); t.kind == nameTok && !t.quoted && t.at == 0 && t.end == len(name) && !reserved[name] {
		return name
	}
	return "`" + strings.ReplaceAll(name, "`", "'") + "`"
}

var reserved = map[string]bool{"true": true, "false": true, "none": true, "in": true, "and": true, "or": true, "not": true}

// Error is a syntax error at a byte offset.
type Error struct {
	At      int
	Message string
}

func (e *Error) Error() string { return e.Message }

// maxDepth bounds nesting, so that a hostile text cannot exhaust the stack;
// maxParts bounds the size of a tree, which takes a hundred times its text.
const (
	maxDepth = 100
	maxParts = 1 << 16
)

// Parse reads one expression that is the whole text. The error, if any, is an *Error.
func Parse(text string) (Expr, error) {
	return NewParser(text).whole()
}

// ParseArithmetic is Parse with the operators "/" and "**".
func ParseArithmetic(text string) (Expr, error) {
	p := &Parser{lex: lexer{src: text, arith: true}}
	p.advance()
	return p.whole()
}

// whole reads one expression and the end of the text.
func (p *Parser) whole() (Expr, error) {
	e, err := p.Expr()
	if err != nil {
		return nil, err
	}
	if err := p.End(); err != nil {
		return nil, err
	}
	return e, nil
}

// Parser reads expressions and words from a text, one after the other. The text
// form of graphs uses it to read whole lines.
type Parser struct {
	lex   lexer
	tok   token
	depth int
	parts int
}

// NewParser returns a parser at the start of text.
func NewParser(text string) *Parser {
	p := &Parser{lex: lexer{src: text}}
	p.advance()
	return p
}

func (p *Parser) advance() { p.tok = p.lex.next() }

// Offset returns where the next token starts.
func (p *Parser) Offset() int { return p.tok.at }

// End reports an error unless the whole text was read.
func (p *Parser) End() error {
	if p.tok.kind != endTok {
		return p.unexpected("the end")
	}
	return nil
}

// AtEnd reports whether the whole text was read.
func (p *Parser) AtEnd() bool { return p.tok.kind == endTok }

// Accept reads the given punctuation or word if it comes next.
func (p *Parser) Accept(text string) bool {
	if (p.tok.kind == punctTok || p.tok.kind == nameTok) && !p.tok.quoted && p.tok.text == text {
		p.advance()
		return true
	}
	return false
}

// Expect reads the given punctuation or word, or fails.
func (p *Parser) Expect(text string) error {
	if !p.Accept(text) {
		return p.unexpected(strconv.Quote(text))
	}
	return nil
}

// Ident reads a name.
func (p *Parser) Ident() (string, error) {
	if p.tok.kind != nameTok {
		return "", p.unexpected("a name")
	}
	name := p.tok.text
	p.advance()
	return name, nil
}

// List reads a list in brackets. The error, if any, is an *Error.
func (p *Parser) List() (*List, error) {
	at := p.tok.at
	if err := p.Expect("["); err != nil {
		return nil, err
	}
	l := &List{At: at}
	for !p.Accept("]") {
		if len(l.Items) > 0 {
			if err := p.Expect(","); err != nil {
				return nil, err
			}
		}
		e, err := p.Expr()
		if err != nil {
			return nil, err
		}
		l.Items = append(l.Items, e)
	}
	return l, nil
}

func (p *Parser) unexpected(want string) error {
	got := strconv.Quote(p.tok.text)
	switch p.tok.kind {
	case endTok:
		got = "the end of the text"
	case badTok:
		return &Error{p.tok.at, p.tok.text}
	}
	return &Error{p.tok.at, fmt.Sprintf("expected %s, found %s", want, got)}
}

// Expr reads one expression. The error, if any, is an *Error.
func (p *Parser) Expr() (Expr, error) { return p.binary(orLevel) }

func (p *Parser) binary(level int) (Expr, error) {
	if level >= unaryLevel {
		return p.unary()
	}
	x, err := p.binary(level + 1)
	for err == nil {
		op := p.tok.text
		if (p.tok.kind != punctTok && p.tok.kind != nameTok) || p.tok.quoted || precedence[op] != level {
			return x, nil
		}
		at := p.tok.at
		p.advance()
		var y Expr
		if y, err = p.binary(level + 1); err != nil {
			return nil, err
		}
		switch op {
		case "and":
			op = "&&"
		case "or":
			op = "||"
		}
		x = &Binary{at, op, x, y}
		if level == cmpLevel {
			return x, nil // comparisons do not chain
		}
	}
	return nil, err
}

func (p *Parser) unary() (Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &Error{p.tok.at, fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	if p.parts++; p.parts > maxParts {
		return nil, &Error{p.tok.at, fmt.Sprintf("more than %d parts", maxParts)}
	}
	defer func() { p.depth-- }()
	at := p.tok.at
	switch {
	case p.Accept("-"):
		if p.tok.kind == numberTok && p.tok.at == at+1 && !p.lex.arith { // a negative number; -2 ** 2 is none
			n, err := p.number("-")
			if err != nil {
				return nil, err
			}
			n.At = at
			return n, nil
		}
		x, err := p.unary()
		if err != nil {
			return nil, err
		}
		return &Unary{at, "-", x}, nil
	case p.Accept("!"), p.Accept("not"):
		x, err := p.unary()
		if err != nil {
			return nil, err
		}
		return &Unary{at, "!", x}, nil
	}
	x, err := p.primary()
	if err != nil || !p.lex.arith {
		return x, err
	}
	if at := p.tok.at; p.Accept("**") {
		y, err := p.unary()
		if err != nil {
			return nil, err
		}
		return &Binary{at, "**", x, y}, nil
	}
	return x, nil
}

func (p *Parser) primary() (Expr, error) {
	at := p.tok.at
	switch p.tok.kind {
	case numberTok:
		n, err := p.number("")
		if err != nil {
			return nil, err
		}
		return n, nil
	case stringTok:
		s := p.tok.text
		p.advance()
		return &String{at, s}, nil
	case nameTok:
		name, quoted := p.tok.text, p.tok.quoted
		if !quoted {
			switch name {
			case "true", "false":
				p.advance()
				return &Bool{at, name == "true"}, nil
			case "none":
				p.advance()
				return &None{at}, nil
			case "in", "and", "or":
				return nil, p.unexpected("an expression")
			}
		}
		p.advance()
		if p.Accept("(") {
			args, err := p.args()
			if err != nil {
				return nil, err
			}
			return &Call{at, name, args}, nil
		}
		return &Name{at, name, p.Accept("?")}, nil
	}
	switch {
	case p.Accept("$"):
		if p.tok.kind != nameTok || strings.Contains(p.tok.text, ".") || QuoteName(p.tok.text) != p.tok.text || p.tok.at != at+1 {
			return nil, p.unexpected("a variable's name right after $")
		}
		name := p.tok.text
		p.advance()
		return &Var{at, name}, nil
	case p.Accept("..."):
		return &Rest{at}, nil
	case p.Accept("("):
		e, err := p.Expr()
		if err != nil {
			return nil, err
		}
		return e, p.Expect(")")
	}
	if p.tok.kind == punctTok && p.tok.text == "[" {
		l, err := p.List()
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	return nil, p.unexpected("an expression")
}

// Args reads the arguments of a call, parentheses included. The error, if any, is
// an *Error.
func (p *Parser) Args() ([]Arg, error) {
	if err := p.Expect("("); err != nil {
		return nil, err
	}
	return p.args()
}

func (p *Parser) args() ([]Arg, error) {
	var args []Arg
	for !p.Accept(")") {
		if len(args) > 0 {
			if err := p.Expect(","); err != nil {
				return nil, err
			}
		}
		a := Arg{At: p.tok.at}
		// "name=" is an argument's name; "name ==" a comparison.
		if p.tok.kind == nameTok && !p.tok.quoted && p.lex.peekAssign() {
			a.Name = p.tok.text
			p.advance()
			p.advance()
		}
		e, err := p.Expr()
		if err != nil {
			return nil, err
		}
		a.Value = e
		args = append(args, a)
	}
	return args, nil
}

func (p *Parser) number(sign string) (*Number, error) {
	n := &Number{At: p.tok.at, Text: sign + p.tok.text}
	if i, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
		n.IsInt, n.Int, n.Float = true, i, float64(i)
	} else if f, err := strconv.ParseFloat(n.Text, 64); err == nil {
		n.Float = f
	} else {
		return nil, &Error{n.At, fmt.Sprintf("%s is not a number that fits", n.Text)}
	}
	p.advance()
	return n, nil
}

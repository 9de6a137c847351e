package chattemplate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is the kind of a token.
type kind uint8

const (
	tokEOF      kind = iota
	tokText          // between tags, after whitespace control
	tokPrint         // {{
	tokPrintEnd      // }}
	tokBlock         // {%
	tokBlockEnd      // %}
	tokName
	tokString // its value
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind kind
	text string
	line int
}

// lexer follows jinja2/lexer.py step by step: where whitespace goes is decided
// there, and whitespace is what models are particular about.
type lexer struct {
	name   string
	src    string
	pos    int
	line   int
	tokens []token

	lineStart bool // what was taken last ended with a newline, or nothing was taken yet
}

func lex(name, src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{name: name, src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.emit(tokEOF, "")
	return l.tokens
}

func (l *lexer) emit(k kind, text string) {
	l.tokens = append(l.tokens, token{kind: k, text: text, line: l.line})
}

func (l *lexer) fail(format string, args ...any) {
	fail(l.name, l.line, "template/syntax", "correct the template", format, args...)
}

// take moves on by n bytes.
func (l *lexer) take(n int) string {
	s := l.src[l.pos : l.pos+n]
	l.pos += n
	l.line += strings.Count(s, "\n")
	if n > 0 {
		l.lineStart = s[n-1] == '\n'
	}
	return s
}

// space moves over whitespace.
func (l *lexer) space() { l.take(spaceLen(l.src[l.pos:])) }

func (l *lexer) has(prefix string) bool { return strings.HasPrefix(l.src[l.pos:], prefix) }

// root takes text up to a tag, and the tag.
func (l *lexer) root() {
	rest := l.src[l.pos:]
	at := tagAt(rest)
	if at < 0 {
		l.emit(tokText, rest)
		l.pos = len(l.src)
		return
	}
	text, tag := rest[:at], rest[at:at+2]
	sign, signLen := signOf(rest[at+2:])
	if out := l.strip(text, sign, tag != "{{"); out != "" {
		l.emit(tokText, out)
	}
	l.take(at)
	switch {
	case tag == "{#":
		l.take(2 + signLen)
		l.comment()
	case tag == "{%" && l.raw():
	case tag == "{%":
		l.emit(tokBlock, "")
		l.take(2 + signLen)
		l.inside(tokBlockEnd, "%}")
	default:
		l.emit(tokPrint, "")
		l.take(2 + signLen)
		l.inside(tokPrintEnd, "}}")
	}
}

// tagAt finds the next {{, {% or {#, or -1.
func tagAt(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

// signOf reads the whitespace control after the beginning of a tag.
func signOf(s string) (sign byte, n int) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[0], 1
	}
	return 0, 0
}

// strip does whitespace control on the text before a tag: "-" takes all
// whitespace; without a sign, blocks and comments (lstrip_blocks) take what is
// between them and the beginning of their line.
func (l *lexer) strip(text string, sign byte, block bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == '+' || !block {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStart) && start < len(text) && spaceLen(text[start:]) == len(text)-start {
		return text[:start]
	}
	return text
}

// end takes the end of a block or comment with its whitespace control, if it is
// here: "-" takes all whitespace after it, no sign one newline (trim_blocks).
func (l *lexer) end(delim string, trim bool) bool {
	switch {
	case l.has("-" + delim):
		l.take(3)
		l.space()
	case trim && l.has("+"+delim):
		l.take(3)
	case l.has(delim):
		l.take(2)
		if trim && l.has("\n") {
			l.take(1)
		}
	default:
		return false
	}
	return true
}

func (l *lexer) comment() {
	at := strings.Index(l.src[l.pos:], "#}")
	if at < 0 {
		l.fail("comment without end")
	}
	if at > 0 && strings.IndexByte("-+", l.src[l.pos+at-1]) >= 0 {
		at--
	}
	l.take(at)
	l.end("#}", true)
}

// raw takes {% raw %} … {% endraw %}, if that is what is here.
func (l *lexer) raw() bool {
	head, ok := keyword(l.src[l.pos:], "raw")
	if !ok {
		return false
	}
	rest := l.src[l.pos+head:]
	switch { // no newline is trimmed here
	case strings.HasPrefix(rest, "-%}"):
		head += 3 + spaceLen(rest[3:])
	case strings.HasPrefix(rest, "%}"):
		head += 2
	default:
		return false
	}
	l.take(head)
	for i := l.pos; i < len(l.src); i++ {
		n, ok := keyword(l.src[i:], "endraw")
		if !ok {
			continue
		}
		after := l.src[i+n:]
		if !strings.HasPrefix(after, "%}") && !strings.HasPrefix(after, "-%}") && !strings.HasPrefix(after, "+%}") {
			continue
		}
		sign, _ := signOf(l.src[i+2:])
		if text := l.strip(l.src[l.pos:i], sign, true); text != "" {
			l.emit(tokText, text)
		}
		l.take(i - l.pos + n)
		l.end("%}", true)
		return true
	}
	l.fail("{%% raw %%} without {%% endraw %%}")
	return true
}

// keyword measures "{%", a sign, spaces, the word and spaces at the beginning of s.
func keyword(s, word string) (int, bool) {
	if !strings.HasPrefix(s, "{%") {
		return 0, false
	}
	_, n := signOf(s[2:])
	n += 2
	n += spaceLen(s[n:])
	if !strings.HasPrefix(s[n:], word) {
		return 0, false
	}
	n += len(word)
	return n + spaceLen(s[n:]), true
}

// operators, longest first.
var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// inside takes the tokens of a tag up to its end.
func (l *lexer) inside(end kind, delim string) {
	var open []byte // brackets: a "}}" inside a dict does not end the tag
	for {
		l.space()
		if l.pos >= len(l.src) {
			l.fail("the template ends inside a tag")
		}
		if len(open) == 0 {
			line := l.line
			if l.end(delim, end == tokBlockEnd) {
				l.tokens = append(l.tokens, token{kind: end, line: line})
				return
			}
		}
		rest := l.src[l.pos:]
		r, _ := utf8.DecodeRuneInString(rest)
		switch {
		case '0' <= r && r <= '9':
			l.number()
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if n < 0 {
				n = len(rest)
			}
			l.emit(tokName, rest[:n])
			l.take(n)
		case r == '"' || r == '\'':
			l.str(byte(r))
		default:
			op := ""
			for _, o := range operators {
				if strings.HasPrefix(rest, o) {
					op = o
					break
				}
			}
			if op == "" {
				l.fail("unexpected character %q", r)
			}
			open = l.bracket(open, op[0])
			l.emit(tokOp, op)
			l.take(len(op))
		}
	}
}

// bracket keeps the stack of open brackets.
func (l *lexer) bracket(open []byte, c byte) []byte {
	switch i := strings.IndexByte("([{)]}", c); {
	case i < 0:
		return open
	case i < 3:
		return append(open, ")]}"[i])
	}
	if len(open) == 0 || open[len(open)-1] != c {
		l.fail("unexpected %q", c)
	}
	return open[:len(open)-1]
}

func (l *lexer) number() {
	digits := func(i int) int {
		for i < len(l.src) && '0' <= l.src[i] && l.src[i] <= '9' {
			i++
		}
		return i
	}
	k, i := tokInt, digits(l.pos)
	if i < len(l.src) && l.src[i] == '.' && digits(i+1) > i+1 {
		k, i = tokFloat, digits(i+1)
	}
	if i < len(l.src) && l.src[i]|0x20 == 'e' {
		j := i + 1
		if j < len(l.src) && (l.src[j] == '+' || l.src[j] == '-') {
			j++
		}
		if digits(j) > j {
			k, i = tokFloat, digits(j)
		}
	}
	if r, _ := utf8.DecodeRuneInString(l.src[i:]); i < len(l.src) && (r == '_' || unicode.IsLetter(r)) {
		l.fail("number %q is followed by %q: only plain decimal numbers are known", l.src[l.pos:i], r)
	}
	if n := i - l.pos; k == tokInt && n > 1 && l.src[l.pos] == '0' && strings.Trim(l.src[l.pos:i], "0") != "" {
		l.fail("number %q begins with 0", l.src[l.pos:i])
	}
	l.emit(k, l.src[l.pos:i])
	l.take(i - l.pos)
}

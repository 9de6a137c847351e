package syntax

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	endTok tokenKind = iota
	nameTok
	numberTok
	stringTok
	punctTok
	badTok // text holds the message
)

type token struct {
	kind    tokenKind
	at, end int
	text    string
	quoted  bool // a name in backquotes
}

type lexer struct {
	src   string
	pos   int
	arith bool // "/" and "**" are operators
}

// puncts are tried longest first.
var puncts = []string{"...", "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", ",", "=", "<", ">", "+", "-", "*", "?", "$", "!", ":", "@", ";"}

var arithPuncts = []string{"**", "/"}

func isLetter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

func (l *lexer) next() token {
	for l.pos < len(l.src) && strings.IndexByte(" \t\r\n", l.src[l.pos]) >= 0 {
		l.pos++
	}
	start := l.pos
	tok := func(kind tokenKind, text string) token { return token{kind: kind, at: start, end: l.pos, text: text} }
	if start >= len(l.src) {
		return tok(endTok, "")
	}
	c := l.src[start]
	switch {
	case isLetter(c):
		for l.pos < len(l.src) {
			c := l.src[l.pos]
			// A dot joins parts of a name ("model.layers.0.mlp") if a part follows.
			dot := c == '.' && l.pos+1 < len(l.src) && (isLetter(l.src[l.pos+1]) || isDigit(l.src[l.pos+1]))
			if !isLetter(c) && !isDigit(c) && !dot {
				break
			}
			l.pos++
		}
		return tok(nameTok, l.src[start:l.pos])
	case isDigit(c) || c == '.' && l.pos+1 < len(l.src) && isDigit(l.src[l.pos+1]):
		for l.pos < len(l.src) {
			c := l.src[l.pos]
			exp := (c == '+' || c == '-') && strings.IndexByte("eE", l.src[l.pos-1]) >= 0 && !strings.HasPrefix(l.src[start:], "0x")
			hexExp := (c == '+' || c == '-') && strings.IndexByte("pP", l.src[l.pos-1]) >= 0
			if !isLetter(c) && !isDigit(c) && c != '.' && !exp && !hexExp {
				break
			}
			l.pos++
		}
		return tok(numberTok, l.src[start:l.pos])
	case c == '"':
		for i := start + 1; i < len(l.src); i++ {
			switch l.src[i] {
			case '\\':
				i++
			case '"':
				l.pos = i + 1
				s, err := strconv.Unquote(l.src[start:l.pos])
				if err != nil {
					return tok(badTok, "a quoted text with an escape that is not known")
				}
				return tok(stringTok, s)
			}
		}
		l.pos = len(l.src)
		return tok(badTok, "a quote that is not closed")
	case c == '`':
		n := strings.IndexByte(l.src[start+1:], '`')
		if n < 1 {
			l.pos = len(l.src)
			return tok(badTok, "a backquote that is not closed")
		}
		l.pos = start + n + 2
		t := tok(nameTok, l.src[start+1:l.pos-1])
		t.quoted = true
		return t
	}
	if l.arith {
		for _, p := range arithPuncts {
			if strings.HasPrefix(l.src[start:], p) {
				l.pos += len(p)
				return tok(punctTok, p)
			}
		}
	}
	for _, p := range puncts {
		if strings.HasPrefix(l.src[start:], p) {
			l.pos += len(p)
			return tok(punctTok, p)
		}
	}
	r, n := utf8.DecodeRuneInString(l.src[start:])
	l.pos += n
	return tok(badTok, fmt.Sprintf("character %q is not part of the language", r))
}

// peekAssign reports whether the next token is "=".
func (l *lexer) peekAssign() bool {
	t := (&lexer{src: l.src, pos: l.pos}).next()
	return t.kind == punctTok && t.text == "="
}

package chattemplate

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1C <= r && r <= 0x1F }

// spaceLen is the number of bytes of whitespace at the beginning of s.
func spaceLen(s string) int { return len(s) - len(strings.TrimLeftFunc(s, isSpace)) }

// str takes a string literal: Python's, without a prefix.
func (l *lexer) str(quote byte) {
	i := l.pos + 1
	for i < len(l.src) && l.src[i] != quote {
		if l.src[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(l.src) {
		l.fail("string without end")
	}
	text := l.src[l.pos+1 : i]
	l.emit(tokString, l.unescape(text))
	l.take(i + 1 - l.pos)
}

var escapes = map[byte]string{
	'\n': "", '\\': `\`, '\'': `'`, '"': `"`,
	'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape replaces the escapes of a string literal. One that Python does not know
// stays as it is, backslash and all.
func (l *lexer) unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i] // there is one: the literal does not end with a lone backslash
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		switch plain, ok := escapes[c]; {
		case ok:
			b.WriteString(plain)
		case digits > 0:
			n, err := uint64(0), error(strconv.ErrSyntax)
			if i+digits < len(s) {
				n, err = strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
			}
			if err != nil || !utf8.ValidRune(rune(n)) || n > unicode.MaxRune {
				l.fail(`not a character: \%s`, s[i:min(len(s), i+1+digits)])
			}
			b.WriteRune(rune(n))
			i += digits
		case '0' <= c && c <= '7':
			j, n := i, rune(0)
			for j < len(s) && j < i+3 && '0' <= s[j] && s[j] <= '7' {
				n = 8*n + rune(s[j]-'0')
				j++
			}
			b.WriteRune(n)
			i = j - 1
		case c == 'N':
			l.fail(`escape \N{…}: write the character itself`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

// splitLines is Python's str.splitlines.
func splitLines(s string) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		next := i + n
		switch r {
		case '\r':
			if strings.HasPrefix(s[next:], "\n") {
				next++
			}
			fallthrough
		case '\n', '\v', '\f', 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029:
			out = append(out, s[start:i])
			start = next
		}
		i = next
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

// repr is Python's repr of a string.
func repr(s string) string {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	b.WriteRune(quote)
	return b.String()
}

func hex(r rune, digits int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", digits-len(s)) + s
}

// floatRepr is Python's repr of a float: the shortest digits that read back, in
// exponent form from 1e16 on and below 1e-4.
func floatRepr(f float64) string {
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exp, ok := strings.Cut(s, "e")
	if !ok { // NaN, +Inf, -Inf
		return map[byte]string{'N': "nan", '+': "inf", '-': "-inf"}[s[0]]
	}
	n, _ := strconv.Atoi(exp)
	if n >= 16 || n < -4 {
		return mantissa + "e" + exp // both write two digits at least
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

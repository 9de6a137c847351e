package tokenizer

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A step is one part of a decoder, at work on one text: it takes tokens, or after
// Fuse the parts of one, and hands text to the next step. flush ends the text.
type step interface {
	next(token string, out func(string))
	flush(out func(string))
}

// A decoder makes the steps for a new text.
type decoder []func() step

// stateless is a step that takes each token by itself.
type stateless func(token string) string

func (f stateless) next(token string, out func(string)) { out(f(token)) }
func (stateless) flush(func(string))                    {}

func replaceStep(old, new string) func() step {
	return func() step {
		return stateless(func(token string) string { return strings.ReplaceAll(token, old, new) })
	}
}

// stripStep takes up to so many characters c off the beginning of each token.
func stripStep(c string, count int) func() step {
	return func() step {
		return stateless(func(token string) string {
			for i := 0; i < count && strings.HasPrefix(token, c); i++ {
				token = token[len(c):]
			}
			return token
		})
	}
}

// stripFirst is Strip behind Fuse: it takes characters off the beginning of the text.
type stripFirst struct {
	c    string
	left int
}

func (s *stripFirst) next(token string, out func(string)) {
	for s.left > 0 && strings.HasPrefix(token, s.c) {
		token = token[len(s.c):]
		s.left--
	}
	if token != "" {
		s.left = 0
		out(token)
	}
}

func (*stripFirst) flush(func(string)) {}

// metaspaceStep writes spaces for marks. The first token loses its own, which are
// there because encoding puts one.
type metaspaceStep struct {
	mark string
	drop bool
}

func (s *metaspaceStep) next(token string, out func(string)) {
	space := " "
	if s.drop {
		space, s.drop = "", false
	}
	out(strings.ReplaceAll(token, s.mark, space))
}

func (*metaspaceStep) flush(func(string)) {}

// byteFallback joins tokens that stand for bytes, "<0xE2>". A run of them that is
// not UTF-8 becomes as many U+FFFD as it has bytes; so nothing of a run is known
// before its end.
type byteFallback struct{ run []byte }

func (s *byteFallback) next(token string, out func(string)) {
	if b, ok := byteToken(token); ok {
		s.run = append(s.run, b)
		return
	}
	s.flush(out)
	out(token)
}

func (s *byteFallback) flush(out func(string)) {
	switch {
	case len(s.run) == 0:
		return
	case utf8.Valid(s.run):
		out(string(s.run))
	default:
		for range s.run {
			out(string(utf8.RuneError))
		}
	}
	s.run = s.run[:0]
}

// byteToken reads "<0xE2>".
func byteToken(token string) (byte, bool) {
	if len(token) != len("<0xE2>") || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	high, low := hexDigit(token[3]), hexDigit(token[4])
	if token[3] == '+' { // as the original reads numbers
		high = 0
	}
	if high < 0 || low < 0 {
		return 0, false
	}
	return byte(high<<4 | low), true
}

// hexDigit is the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// byteLevel writes the bytes that the characters of a token stand for. It holds
// back bytes that may still become a whole character.
type byteLevel struct{ held []byte }

func (s *byteLevel) next(token string, out func(string)) {
	s.held = append(s.held, alphabetBytes(token)...)
	s.take(false, out)
}

func (s *byteLevel) flush(out func(string)) { s.take(true, out) }

func (s *byteLevel) take(all bool, out func(string)) {
	var text []byte
	b := s.held
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			text = append(text, b[:n]...)
			b = b[n:]
			continue
		}
		if !all && !utf8.FullRune(b) {
			break
		}
		text = utf8.AppendRune(text, utf8.RuneError)
		b = b[badPrefix(b):]
	}
	s.held = append(s.held[:0], bytes.Clone(b)...)
	if len(text) > 0 {
		out(string(text))
	}
}

// badPrefix is the length of the longest beginning of b, which does not begin
// with a character, that could begin one; at least 1. Unicode calls it a maximal
// subpart; Go itself steps over single bytes.
func badPrefix(b []byte) int {
	n := 1
	for n < len(b) && n < utf8.UTFMax && !utf8.FullRune(b[:n]) {
		if utf8.FullRune(b[:n+1]) { // and it is no character, or DecodeRune had found it
			break
		}
		n++
	}
	return n
}

// Stream decodes ids one at a time. It holds back what later ids may still change:
// bytes that may become a whole character. Its pieces can be printed as they come;
// together with Flush they are exactly what Decode returns for all ids.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	steps       []step
	text        strings.Builder
}

// Stream returns a new streaming decoder.
func (t *Tokenizer) Stream(skipSpecial bool) *Stream {
	s := &Stream{t: t, skipSpecial: skipSpecial}
	s.reset()
	return s
}

func (s *Stream) reset() {
	s.steps = s.steps[:0]
	for _, new := range s.t.decoder {
		s.steps = append(s.steps, new())
	}
}

// Next takes the next id and returns the text that is complete now.
func (s *Stream) Next(id int) string {
	token, ok := s.t.Token(id)
	if !ok || s.skipSpecial && s.t.vocab.tokens[id].special {
		return ""
	}
	s.text.Reset()
	s.push(0, token)
	return s.text.String()
}

// Flush returns what is held back, and makes the stream ready for another text.
func (s *Stream) Flush() string {
	s.text.Reset()
	for i, step := range s.steps {
		step.flush(func(token string) { s.push(i+1, token) })
	}
	s.reset()
	return s.text.String()
}

// push gives a token to a step; what comes out of the last one is text.
func (s *Stream) push(i int, token string) {
	if i == len(s.steps) {
		s.text.WriteString(token)
		return
	}
	s.steps[i].next(token, func(token string) { s.push(i+1, token) })
}

package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// A splitter cuts text into pieces, in order, that together are the text. No
// token goes over the border of a piece.
type splitter func(text string, yield func(piece string))

// The pre-tokenizers of byte-level models are regular expressions with
// look-ahead, which package regexp refuses on purpose. There are few of them, so
// each is written by hand, as a function that returns the length of the first
// match: linear time, and each alternative can be read beside its code. Every one
// matches at any character, so the matches are the whole text.
//
// patterns names them by the text that tokenizer.json holds.
var patterns = map[string]func(string) int{
	patternGPT2:   matchGPT2,
	patternLlama3: func(s string) int { return matchCased(s, 3) },
	patternQwen2:  func(s string) int { return matchCased(s, 1) },
}

const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// whole is the splitter that does not split.
func whole(text string, yield func(string)) {
	if text != "" {
		yield(text)
	}
}

// chain splits the pieces of a by b. Look-ahead in b does not see over the
// border of a piece.
func chain(a, b splitter) splitter {
	return func(text string, yield func(string)) {
		a(text, func(piece string) { b(piece, yield) })
	}
}

// byMatch splits text into the matches of a pattern.
func byMatch(match func(string) int) splitter {
	return func(text string, yield func(string)) {
		for len(text) > 0 {
			n := match(text)
			yield(text[:n])
			text = text[n:]
		}
	}
}

// byDigits puts every numeric character, or every run of them, into a piece of
// its own.
func byDigits(single bool) splitter {
	return byMatch(func(s string) int {
		r, n := utf8.DecodeRuneInString(s)
		if isDigit(r) && single {
			return n
		}
		return n + span(s[n:], func(c rune) bool { return isDigit(c) == isDigit(r) })
	})
}

// spaceFirst begins every piece with a space (GPT-2's add_prefix_space).
func spaceFirst(text string, yield func(string)) {
	if text != "" && text[0] != ' ' {
		text = " " + text
	}
	whole(text, yield)
}

// matchGPT2 is patternGPT2.
func matchGPT2(s string) int {
	if n := contraction(s, false); n > 0 { // 's|'t|'re|'ve|'m|'ll|'d
		return n
	}
	at := 0
	if s[0] == ' ' {
		at = 1
	}
	r, n := utf8.DecodeRuneInString(s[at:])
	switch {
	case n == 0 || isSpace(r):
		return matchSpace(s) // \s+(?!\S)|\s+
	case isLetter(r):
		return at + span(s[at:], isLetter) // ` ?\p{L}+`
	case isNumber(r):
		return at + span(s[at:], isNumber) // ` ?\p{N}+`
	}
	return at + span(s[at:], isOther) // ` ?[^\s\p{L}\p{N}]+`
}

// matchCased is patternLlama3 with digits = 3 and patternQwen2 with digits = 1.
func matchCased(s string, digits int) int {
	if n := contraction(s, true); n > 0 { // (?i:'s|'t|'re|'ve|'m|'ll|'d)
		return n
	}
	r, n := utf8.DecodeRuneInString(s)
	if isLetter(r) { // \p{L}+
		return span(s, isLetter)
	}
	next, _ := utf8.DecodeRuneInString(s[n:])
	if isNumber(r) { // \p{N}{1,digits}
		end := n
		for range digits - 1 {
			next, m := utf8.DecodeRuneInString(s[end:])
			if m == 0 || !isNumber(next) {
				break
			}
			end += m
		}
		return end
	}
	if r != '\r' && r != '\n' && n < len(s) && isLetter(next) { // [^\r\n\p{L}\p{N}]\p{L}+
		return n + span(s[n:], isLetter)
	}
	if isOther(r) || r == ' ' && n < len(s) && isOther(next) {
		end := n + span(s[n:], isOther) // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
		return end + span(s[end:], isNewline)
	}
	run := span(s, isSpace)
	if i := strings.LastIndexAny(s[:run], "\r\n"); i >= 0 { // \s*[\r\n]+
		return i + 1
	}
	return matchSpace(s) // \s+(?!\S)|\s+
}

// matchSpace is \s+(?!\S)|\s+ where s begins with a space: all of a run of spaces
// but the last, if a word follows that the last could belong to.
func matchSpace(s string) int {
	run := span(s, isSpace)
	if run == len(s) {
		return run
	}
	_, last := utf8.DecodeLastRuneInString(s[:run])
	if run > last {
		return run - last
	}
	return run
}

// contraction is the length of 's 't 're 've 'm 'll 'd at the beginning of s, or 0.
func contraction(s string, anyCase bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	tail := s[1:min(len(s), 3)]
	if anyCase {
		if strings.HasPrefix(tail, "ſ") { // folds to s
			return 1 + len("ſ")
		}
		tail = asciiLower(tail)
	}
	switch tail[0] {
	case 's', 't', 'm', 'd':
		return 2
	}
	switch tail {
	case "re", "ve", "ll":
		return 3
	}
	return 0
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// span is the length of the longest beginning of s made of such characters.
func span(s string, is func(rune) bool) int {
	for i, r := range s {
		if !is(r) {
			return i
		}
	}
	return len(s)
}

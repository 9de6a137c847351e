package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// A piece is a part of a text. No token goes over the border of a piece.
type piece struct {
	text  string
	first bool // the text that was given begins with it
}

// A splitter cuts a piece into smaller ones, in order. None of them is empty.
type splitter func(p piece, yield func(piece))

// The expressions of tokenizers that are known by name: GGUF files name a set-up
// instead of describing it, and ByteLevel has GPT-2's.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternO200k  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternKimi   = `[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	// DeepSeek-V3 splits by three of them, one after the other.
	patternNumbers  = `\p{N}{1,3}`
	patternCJK      = "[一-龥\u3040-ゟ゠-ヿ]+"
	patternDeepSeek = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

var gpt2 = mustCompile(patternGPT2)

// behavior is what becomes of the matches of a pattern.
type behavior uint8

const (
	isolated behavior = iota // a piece each
	removed
	mergedWithPrevious
	mergedWithNext
	contiguous // matches that touch are one piece
)

var behaviors = map[string]behavior{
	"Isolated": isolated, "Removed": removed, "MergedWithPrevious": mergedWithPrevious, "MergedWithNext": mergedWithNext, "Contiguous": contiguous,
}

// whole is the splitter that does not split.
func whole(p piece, yield func(piece)) {
	if p.text != "" {
		yield(p)
	}
}

// chain splits the pieces of each splitter by the next one. Look-ahead does not see
// over the border of a piece.
func chain(list ...splitter) splitter {
	out := list[0]
	for _, next := range list[1:] {
		before := out
		out = func(p piece, yield func(piece)) {
			before(p, func(p piece) { next(p, yield) })
		}
	}
	return out
}

// byPattern splits by the matches of a pattern; inverted, by what is between them.
func byPattern(p *pattern, does behavior, invert bool) splitter {
	return byStretches(does, func(text string, yield func(start, end int, match bool)) {
		p.cuts(text, func(start, end int, match bool) { yield(start, end, match != invert) })
	})
}

// byStretches makes pieces of stretches that match and stretches that do not.
func byStretches(does behavior, cuts func(text string, yield func(start, end int, match bool))) splitter {
	return func(p piece, yield func(piece)) {
		from, to := 0, 0 // the piece that may still grow
		last := false    // whether the stretch before was a match
		flush := func() {
			if from < to {
				yield(piece{p.text[from:to], p.first && from == 0})
			}
		}
		cuts(p.text, func(start, end int, match bool) {
			grows := false
			switch does {
			case mergedWithPrevious:
				grows = match && !last
			case mergedWithNext:
				grows = last && !match
			case contiguous:
				grows = match == last
			}
			if !grows {
				flush()
				from = start
			}
			to = end
			if does == removed && match {
				from = to
			}
			last = match
		})
		flush()
	}
}

// byText splits by the occurrences of a text.
func byText(sep string, does behavior, invert bool) splitter {
	return byStretches(does, func(text string, yield func(start, end int, match bool)) {
		at := 0
		for at < len(text) {
			n := strings.Index(text[at:], sep)
			if n < 0 {
				break
			}
			if n > 0 {
				yield(at, at+n, invert)
			}
			yield(at+n, at+n+len(sep), !invert)
			at += n + len(sep)
		}
		if at < len(text) {
			yield(at, len(text), invert)
		}
	})
}

// byDigits puts every numeric character, or every run of them, into a piece of
// its own.
func byDigits(single bool) splitter {
	return func(p piece, yield func(piece)) {
		for at := 0; at < len(p.text); {
			r, n := utf8.DecodeRuneInString(p.text[at:])
			if !isDigit(r) || !single {
				n += span(p.text[at+n:], func(c rune) bool { return isDigit(c) == isDigit(r) })
			}
			yield(piece{p.text[at : at+n], p.first && at == 0})
			at += n
		}
	}
}

// spaceFirst begins every piece with a space (GPT-2's add_prefix_space).
func spaceFirst(p piece, yield func(piece)) {
	if p.text != "" && p.text[0] != ' ' {
		p.text = " " + p.text
	}
	whole(p, yield)
}

// prependScheme is which pieces Metaspace begins with its mark.
type prependScheme uint8

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

// metaspace writes a mark for each space, as SentencePiece does, puts one before
// pieces that have none, and begins a piece at each mark if split.
func metaspace(mark string, scheme prependScheme, split bool) splitter {
	cut := splitter(whole)
	if split {
		cut = byText(mark, mergedWithNext, false)
	}
	return func(p piece, yield func(piece)) {
		if p.text == "" {
			return
		}
		p.text = strings.ReplaceAll(p.text, " ", mark)
		if (scheme == prependAlways || scheme == prependFirst && p.first) && !strings.HasPrefix(p.text, mark) {
			p.text = mark + p.text
		}
		cut(p, yield)
	}
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

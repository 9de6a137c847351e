package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// set is a set of characters: those of ASCII as bits, which most text is made of,
// and the others by a function.
type set struct {
	ascii [2]uint64
	other func(rune) bool
}

func newSet(is func(rune) bool) *set {
	s := &set{other: is}
	for r := rune(0); r < utf8.RuneSelf; r++ {
		if is(r) {
			s.ascii[r/64] |= 1 << (r % 64)
		}
	}
	return s
}

func (s *set) has(r rune) bool {
	if r < utf8.RuneSelf {
		return s.ascii[r/64]>>(r%64)&1 != 0
	}
	return s.other(r)
}

// next is the length of the character at a position, if the set has it.
func (s *set) next(text string, at int) (int, bool) {
	if at >= len(text) {
		return 0, false
	}
	if c := text[at]; c < utf8.RuneSelf {
		return 1, s.ascii[c/64]>>(c%64)&1 != 0
	}
	r, n := utf8.DecodeRuneInString(text[at:])
	return n, s.other(r)
}

func (s *set) not() *set { return newSet(func(r rune) bool { return !s.has(r) }) }

func (s *set) and(t *set) *set { return newSet(func(r rune) bool { return s.has(r) && t.has(r) }) }

func union(list []*set) *set {
	if len(list) == 1 {
		return list[0]
	}
	return newSet(func(r rune) bool {
		for _, s := range list {
			if s.has(r) {
				return true
			}
		}
		return false
	})
}

func rangeSet(from, to rune) *set {
	return newSet(func(r rune) bool { return from <= r && r <= to })
}

// foldSet adds the upper and lower case of what a set has.
func foldSet(s *set) *set {
	return newSet(func(r rune) bool {
		if s.has(r) {
			return true
		}
		for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
			if s.has(c) {
				return true
			}
		}
		return false
	})
}

var spaces = newSet(isSpace)

// categories are the names that \p{...} may hold.
var categories = map[string]*set{
	"L":   newSet(isLetter),
	"Lu":  category(unicode.Lu, newUpper),
	"Ll":  category(unicode.Ll, newLower),
	"Lt":  category(unicode.Lt, nil),
	"Lm":  category(unicode.Lm, newModifier),
	"Lo":  category(unicode.Lo, newOtherLetter),
	"M":   category(unicode.M, newMark),
	"N":   newSet(isNumber),
	"P":   category(unicode.P, newPunct),
	"S":   category(unicode.S, newSymbol),
	"Han": category(unicode.Han, newHan),
}

func category(known, added *unicode.RangeTable) *set {
	return newSet(func(r rune) bool { return unicode.Is(known, r) || added != nil && unicode.Is(added, r) })
}

package tokenizer

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// nfcData has one line for each code point that decomposes, "point first second"
// or "point only" in hexadecimal, with a final "!" where composing does not lead
// back; then lines "class first-last" of the combining classes that are not 0.
// scripts/oracle/nfc_table.py makes it from the Unicode database.
//
//go:embed nfc.txt
var nfcData string

// nfcTables are the tables of canonical composition.
type nfcTables struct {
	parts map[rune][2]rune // canonical decomposition, one step; second 0: a singleton
	pairs map[[2]rune]rune // its inverse
	class map[rune]uint8   // combining class
}

var loadNFC = sync.OnceValue(func() *nfcTables {
	t := &nfcTables{parts: map[rune][2]rune{}, pairs: map[[2]rune]rune{}, class: map[rune]uint8{}}
	hex := func(s string) rune {
		n, err := strconv.ParseUint(s, 16, 32)
		if err != nil {
			panic("nfc.txt: " + err.Error()) // embedded: a bug of ours
		}
		return rune(n)
	}
	for line := range strings.Lines(nfcData) {
		f := strings.Fields(line)
		if first, last, ok := strings.Cut(f[1], "-"); ok {
			class, _ := strconv.ParseUint(f[0], 10, 8)
			for r := hex(first); r <= hex(last); r++ {
				t.class[r] = uint8(class)
			}
			continue
		}
		parts := [2]rune{hex(f[1])}
		if len(f) > 2 && f[2] != "!" {
			parts[1] = hex(f[2])
		}
		t.parts[hex(f[0])] = parts
		if f[len(f)-1] != "!" {
			t.pairs[parts] = hex(f[0])
		}
	}
	return t
})

// Hangul syllables are composed by arithmetic (The Unicode Standard, 3.12).
const (
	hangulS, hangulL, hangulV, hangulT = 0xAC00, 0x1100, 0x1161, 0x11A7
	countL, countV, countT             = 19, 21, 28
)

// nfc returns s in Unicode normalization form C (Unicode Standard Annex 15).
// Bytes that are not UTF-8 stay where they are.
func nfc(s string) string {
	// All below U+0300, and no code point before it, is in NFC.
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x300 }) < 0 {
		return s
	}
	t := loadNFC()
	runes := make([]rune, 0, len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			r = -1 - rune(s[i]) // a byte, in disguise: it has no class and no parts
		}
		runes = t.decompose(runes, r)
		i += n
	}
	t.reorder(runes)
	runes = t.compose(runes)
	out := make([]byte, 0, len(s))
	for _, r := range runes {
		if r < 0 {
			out = append(out, byte(-1-r))
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// decompose appends the full canonical decomposition of r.
func (t *nfcTables) decompose(to []rune, r rune) []rune {
	if i := r - hangulS; 0 <= i && i < countL*countV*countT {
		to = append(to, hangulL+i/(countV*countT), hangulV+i%(countV*countT)/countT)
		if i%countT != 0 {
			to = append(to, hangulT+i%countT)
		}
		return to
	}
	parts, ok := t.parts[r]
	if !ok {
		return append(to, r)
	}
	to = t.decompose(to, parts[0]) // only the first may decompose further
	if parts[1] != 0 {
		to = append(to, parts[1])
	}
	return to
}

// reorder sorts each run of combining marks by class.
func (t *nfcTables) reorder(runes []rune) {
	for i := 0; i < len(runes); i++ {
		start := i
		for i < len(runes) && t.class[runes[i]] != 0 {
			i++
		}
		if i-start > 1 {
			slices.SortStableFunc(runes[start:i], func(a, b rune) int { return int(t.class[a]) - int(t.class[b]) })
		}
	}
}

// compose joins each starter with the marks after it that nothing blocks, in place.
func (t *nfcTables) compose(runes []rune) []rune {
	out := runes[:0]
	starter, last := -1, uint8(0) // last: class of the last of out
	for _, r := range runes {
		class := t.class[r]
		if starter >= 0 && (starter == len(out)-1 || last < class) {
			if joined, ok := t.join(out[starter], r); ok {
				out[starter] = joined
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		last = class
		out = append(out, r)
	}
	return out
}

func (t *nfcTables) join(a, b rune) (rune, bool) {
	if l, v := a-hangulL, b-hangulV; 0 <= l && l < countL && 0 <= v && v < countV {
		return hangulS + (l*countV+v)*countT, true
	}
	if i, tail := a-hangulS, b-hangulT; 0 <= i && i < countL*countV*countT && i%countT == 0 && 0 < tail && tail < countT {
		return a + tail, true
	}
	r, ok := t.pairs[[2]rune{a, b}]
	return r, ok
}

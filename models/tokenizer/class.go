package tokenizer

import "unicode"

// The classes of characters are those of the regular expression engine that
// Hugging Face tokenizers uses, which knows Unicode 16; its Digits splitter knows
// a later one still. Package unicode of Go 1.26 has Unicode 15. The tables here
// are what is missing; testdata/classes.txt checks every code point.

func isSpace(r rune) bool { return unicode.Is(unicode.White_Space, r) }

func isLetter(r rune) bool {
	if r < 0x80 {
		return 'a' <= r|0x20 && r|0x20 <= 'z'
	}
	return unicode.IsLetter(r) || unicode.Is(newLetters, r)
}

func isNumber(r rune) bool {
	if r < 0x80 {
		return '0' <= r && r <= '9'
	}
	return unicode.IsNumber(r) || unicode.Is(newNumbers, r)
}

// isDigit is what the Digits splitter takes for a digit: numbers of any kind.
func isDigit(r rune) bool { return isNumber(r) || r >= 0x80 && unicode.Is(newDigits, r) }

func isOther(r rune) bool { return !isSpace(r) && !isLetter(r) && !isNumber(r) }

func isNewline(r rune) bool { return r == '\n' || r == '\r' }

// isWord is \w: what "single word" added tokens must not touch.
func isWord(r rune) bool {
	return isLetter(r) || unicode.In(r, unicode.Nd, unicode.Nl, unicode.M, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// newLetters are the letters of Unicode 15.1 and 16.
var newLetters = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1C89, 0x1C8A, 1}, {0xA7CB, 0xA7CD, 1}, {0xA7DA, 0xA7DC, 1},
	},
	R32: []unicode.Range32{
		{0x105C0, 0x105F3, 1}, {0x10D4A, 0x10D65, 1}, {0x10D6F, 0x10D85, 1}, {0x10EC2, 0x10EC4, 1},
		{0x11380, 0x11389, 1}, {0x1138B, 0x1138B, 1}, {0x1138E, 0x1138E, 1}, {0x11390, 0x113B5, 1},
		{0x113B7, 0x113B7, 1}, {0x113D1, 0x113D1, 1}, {0x113D3, 0x113D3, 1}, {0x11BC0, 0x11BE0, 1},
		{0x13460, 0x143FA, 1}, {0x16100, 0x1611D, 1}, {0x16D40, 0x16D6C, 1}, {0x18CFF, 0x18CFF, 1},
		{0x1E5D0, 0x1E5ED, 1}, {0x1E5F0, 0x1E5F0, 1}, {0x2EBF0, 0x2EE5D, 1},
	},
}

// newNumbers are the numbers of Unicode 16.
var newNumbers = &unicode.RangeTable{
	R32: []unicode.Range32{
		{0x10D40, 0x10D49, 1}, {0x116D0, 0x116E3, 1}, {0x11BF0, 0x11BF9, 1}, {0x16130, 0x16139, 1},
		{0x16D70, 0x16D79, 1}, {0x1CCF0, 0x1CCF9, 1}, {0x1E5F1, 0x1E5FA, 1},
	},
}

// newDigits are the numbers of Unicode 17.
var newDigits = &unicode.RangeTable{
	R32: []unicode.Range32{
		{0x11DE0, 0x11DE9, 1}, {0x16FF4, 0x16FF6, 1},
	},
}

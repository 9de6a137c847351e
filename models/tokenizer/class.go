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
	return unicode.IsLetter(r) || unicode.In(r, newUpper, newLower, newModifier, newOtherLetter)
}

func isNumber(r rune) bool {
	if r < 0x80 {
		return '0' <= r && r <= '9'
	}
	return unicode.IsNumber(r) || unicode.Is(newNumbers, r)
}

// isDigit is what the Digits splitter takes for a digit: numbers of any kind.
func isDigit(r rune) bool { return isNumber(r) || r >= 0x80 && unicode.Is(newDigits, r) }

// isWord is \w: what "single word" added tokens must not touch.
func isWord(r rune) bool {
	return isLetter(r) || unicode.In(r, unicode.Nd, unicode.Nl, unicode.M, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// The characters of Unicode 15.1 and 16, by category.
var (
	newUpper = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x1C89, 0x1C89, 1}, {0xA7CB, 0xA7CC, 1}, {0xA7DA, 0xA7DA, 1}, {0xA7DC, 0xA7DC, 1},
		},
		R32: []unicode.Range32{
			{0x10D50, 0x10D65, 1},
		},
	}
	newLower = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x1C8A, 0x1C8A, 1}, {0xA7CD, 0xA7CD, 1}, {0xA7DB, 0xA7DB, 1},
		},
		R32: []unicode.Range32{
			{0x10D70, 0x10D85, 1},
		},
	}
	newModifier = &unicode.RangeTable{
		R32: []unicode.Range32{
			{0x10D4E, 0x10D4E, 1}, {0x10D6F, 0x10D6F, 1}, {0x16D40, 0x16D42, 1}, {0x16D6B, 0x16D6C, 1},
		},
	}
	newOtherLetter = &unicode.RangeTable{
		R32: []unicode.Range32{
			{0x105C0, 0x105F3, 1}, {0x10D4A, 0x10D4D, 1}, {0x10D4F, 0x10D4F, 1}, {0x10EC2, 0x10EC4, 1},
			{0x11380, 0x11389, 1}, {0x1138B, 0x1138B, 1}, {0x1138E, 0x1138E, 1}, {0x11390, 0x113B5, 1},
			{0x113B7, 0x113B7, 1}, {0x113D1, 0x113D1, 1}, {0x113D3, 0x113D3, 1}, {0x11BC0, 0x11BE0, 1},
			{0x13460, 0x143FA, 1}, {0x16100, 0x1611D, 1}, {0x16D43, 0x16D6A, 1}, {0x18CFF, 0x18CFF, 1},
			{0x1E5D0, 0x1E5ED, 1}, {0x1E5F0, 0x1E5F0, 1}, {0x2EBF0, 0x2EE5D, 1},
		},
	}
	newMark = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x897, 0x897, 1},
		},
		R32: []unicode.Range32{
			{0x10D69, 0x10D6D, 1}, {0x10EFC, 0x10EFC, 1}, {0x113B8, 0x113C0, 1}, {0x113C2, 0x113C2, 1},
			{0x113C5, 0x113C5, 1}, {0x113C7, 0x113CA, 1}, {0x113CC, 0x113D0, 1}, {0x113D2, 0x113D2, 1},
			{0x113E1, 0x113E2, 1}, {0x11F5A, 0x11F5A, 1}, {0x1611E, 0x1612F, 1}, {0x1E5EE, 0x1E5EF, 1},
		},
	}
	newPunct = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x1B4E, 0x1B4F, 1}, {0x1B7F, 0x1B7F, 1},
		},
		R32: []unicode.Range32{
			{0x10D6E, 0x10D6E, 1}, {0x113D4, 0x113D5, 1}, {0x113D7, 0x113D8, 1}, {0x11BE1, 0x11BE1, 1},
			{0x16D6D, 0x16D6F, 1}, {0x1E5FF, 0x1E5FF, 1},
		},
	}
	newSymbol = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x2427, 0x2429, 1}, {0x2FFC, 0x2FFF, 1}, {0x31E4, 0x31E5, 1}, {0x31EF, 0x31EF, 1},
		},
		R32: []unicode.Range32{
			{0x10D8E, 0x10D8F, 1}, {0x1CC00, 0x1CCEF, 1}, {0x1CD00, 0x1CEB3, 1}, {0x1F8B2, 0x1F8BB, 1},
			{0x1F8C0, 0x1F8C1, 1}, {0x1FA89, 0x1FA89, 1}, {0x1FA8F, 0x1FA8F, 1}, {0x1FABE, 0x1FABE, 1},
			{0x1FAC6, 0x1FAC6, 1}, {0x1FADC, 0x1FADC, 1}, {0x1FADF, 0x1FADF, 1}, {0x1FAE9, 0x1FAE9, 1},
			{0x1FBCB, 0x1FBEF, 1},
		},
	}
	newHan = &unicode.RangeTable{
		R32: []unicode.Range32{
			{0x2EBF0, 0x2EE5D, 1},
		},
	}
)

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

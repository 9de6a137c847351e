package tokenizer

// GPT-2 writes each of the 256 bytes as one printable character, so that a
// vocabulary can be a text file: printable Latin-1 stands for itself, and the
// other 68 bytes, in order, are U+0100 and on. "Ġ" is the space.
//
// Source: bytes_to_unicode in openai/gpt-2, src/encoder.py.
var (
	alphabet     [256]string // byte → character, in UTF-8
	alphabetBack [0x100 + 68]int16
)

func init() {
	for i := range alphabetBack {
		alphabetBack[i] = -1
	}
	next := rune(0x100)
	for b := range rune(256) {
		r := b
		if printable := b > ' ' && b <= '~' || b >= 0xA1 && b != 0xAD; !printable {
			r = next
			next++
		}
		alphabet[b] = string(r)
		alphabetBack[r] = int16(b)
	}
}

// alphabetByte returns the byte that a character of the alphabet stands for.
func alphabetByte(r rune) (byte, bool) {
	if r < 0 || int(r) >= len(alphabetBack) || alphabetBack[r] < 0 {
		return 0, false
	}
	return byte(alphabetBack[r]), true
}

// alphabetBytes are the bytes that a token stands for. One whose characters are not
// all in the alphabet stands for itself: an added token with a space, for example.
func alphabetBytes(token string) []byte {
	out := make([]byte, 0, len(token))
	for _, r := range token {
		b, ok := alphabetByte(r)
		if !ok {
			return []byte(token)
		}
		out = append(out, b)
	}
	return out
}

// alphabetText writes bytes in the alphabet.
func alphabetText(b []byte) string {
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, alphabet[c]...)
	}
	return string(out)
}

package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// Tokenizer encodes and decodes text. Use ParseJSON or FromGGUF to make one.
type Tokenizer struct {
	vocab  vocab
	bpe    *bpe
	added  added
	nfc    bool
	split  splitter
	prefix []int // ids that Encode puts before the text if asked for special tokens
	suffix []int // and those after it

	bos, eos int // -1: none
	stops    []int
}

// Encode returns the ids of text. Added tokens that are spelt out in the text,
// such as "<|im_start|>", become one id each. With addSpecial the ids that the
// model's post-processor asks for (mostly one at the beginning) are put around
// the text; a text made by a chat template holds them already.
//
// Bytes that are not UTF-8 are kept and decode to themselves.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int {
	var ids []int
	if addSpecial {
		ids = append(ids, t.prefix...)
	}
	w := t.bpe.worker(ids)
	t.added.raw.cut(text, func(piece string, id int) {
		if id >= 0 {
			w.ids = append(w.ids, id)
			return
		}
		if t.nfc {
			piece = nfc(piece)
		}
		t.added.normalized.cut(piece, func(piece string, id int) {
			if id >= 0 {
				w.ids = append(w.ids, id)
				return
			}
			t.split(piece, w.encode)
		})
	})
	if addSpecial {
		w.ids = append(w.ids, t.suffix...)
	}
	return w.ids
}

// Decode returns the text of ids, without the special tokens if skipSpecial.
// Ids that the vocabulary does not have give no text: the output of a model may
// be wider than its vocabulary. Bytes that are not UTF-8 become U+FFFD, one for
// each maximal part of a character, as everywhere in Unicode.
func (t *Tokenizer) Decode(ids []int, skipSpecial bool) string {
	s := t.Stream(skipSpecial)
	var out []byte
	for _, id := range ids {
		out = append(out, s.Next(id)...)
	}
	return string(append(out, s.Flush()...))
}

// Size is one more than the largest id.
func (t *Tokenizer) Size() int { return len(t.vocab.tokens) }

// ID returns the id of a token, written as in the vocabulary ("Ġthe", "<|im_end|>").
func (t *Tokenizer) ID(token string) (int, bool) {
	id, ok := t.vocab.ids[token]
	return int(id), ok
}

// Token returns the token of an id as it is written in the vocabulary.
func (t *Tokenizer) Token(id int) (string, bool) {
	if id < 0 || id >= len(t.vocab.tokens) || !t.vocab.tokens[id].used {
		return "", false
	}
	return t.vocab.tokens[id].text, true
}

// IsSpecial reports whether id is a special (control) token.
func (t *Tokenizer) IsSpecial(id int) bool {
	return id >= 0 && id < len(t.vocab.tokens) && t.vocab.tokens[id].special
}

// BOS returns the token that begins a text, if the model has one.
func (t *Tokenizer) BOS() (id int, ok bool) { return t.bos, t.bos >= 0 }

// EOS returns the token that ends a text, if the model has one.
func (t *Tokenizer) EOS() (id int, ok bool) { return t.eos, t.eos >= 0 }

// Stops returns the ids at which generation ends, in increasing order: EOS, and
// what a GGUF file names besides.
func (t *Tokenizer) Stops() []int { return slices.Clone(t.stops) }

// IsStop reports whether generation ends at id.
func (t *Tokenizer) IsStop(id int) bool {
	_, found := slices.BinarySearch(t.stops, id)
	return found
}

// addStop notes an id at which generation ends.
func (t *Tokenizer) addStop(id int) {
	if at, found := slices.BinarySearch(t.stops, id); !found {
		t.stops = slices.Insert(t.stops, at, id)
	}
}

// Stream decodes ids one at a time. It holds back bytes that may still become a
// whole character, so that its pieces can be printed as they come; together with
// Flush they are exactly what Decode returns for all ids.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	held        []byte // the beginning of a character: at most three bytes
}

// Stream returns a new streaming decoder.
func (t *Tokenizer) Stream(skipSpecial bool) *Stream {
	return &Stream{t: t, skipSpecial: skipSpecial}
}

// Next takes the next id and returns the text that is complete now.
func (s *Stream) Next(id int) string {
	if id < 0 || id >= len(s.t.vocab.tokens) || s.skipSpecial && s.t.vocab.tokens[id].special {
		return ""
	}
	s.held = append(s.held, s.t.vocab.bytes(id)...)
	return s.take(false)
}

// Flush returns what is held back, as U+FFFD, and makes the stream ready for
// another text.
func (s *Stream) Flush() string { return s.take(true) }

func (s *Stream) take(all bool) string {
	var out []byte
	b := s.held
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			out = append(out, b[:n]...)
			b = b[n:]
			continue
		}
		if !all && !utf8.FullRune(b) {
			break
		}
		out = utf8.AppendRune(out, utf8.RuneError)
		b = b[badPrefix(b):]
	}
	s.held = append(s.held[:0], b...)
	return string(out)
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

package tokenizer

import (
	"slices"
	"strings"
)

// Tokenizer encodes and decodes text. Use ParseJSON or FromGGUF to make one.
type Tokenizer struct {
	vocab   vocab
	bpe     *bpe
	added   added
	rewrite []rewrite // the normalizer
	split   splitter
	decoder decoder
	prefix  []int // ids that Encode puts before the text if asked for special tokens
	suffix  []int // and those after it

	bos, eos int // -1: none
	stops    []int
}

// Encode returns the ids of text. Added tokens that are spelt out in the text,
// such as "<|im_start|>", become one id each. With addSpecial the ids that the
// model's post-processor asks for (mostly one at the beginning) are put around
// the text; a text made by a chat template holds them already.
//
// Bytes that are not UTF-8 are kept: a vocabulary of bytes has tokens for them.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int {
	var ids []int
	if addSpecial {
		ids = append(ids, t.prefix...)
	}
	w := t.bpe.worker(ids)
	first := true
	t.added.raw.cut(text, func(part string, id int) {
		if id >= 0 {
			w.ids = append(w.ids, id)
			first = false
			return
		}
		t.added.normalized.cut(t.normalize(part), func(part string, id int) {
			if id >= 0 {
				w.ids = append(w.ids, id)
			} else {
				t.split(piece{part, first}, w.encode)
			}
			first = false
		})
	})
	if addSpecial {
		w.ids = append(w.ids, t.suffix...)
	}
	return w.ids
}

// Decode returns the text of ids, without the special tokens if skipSpecial.
// Ids that the vocabulary does not have give no text: the output of a model may
// be wider than its vocabulary. Bytes that are not UTF-8 become U+FFFD: under
// byte-level BPE one for each maximal part of a character, as everywhere in
// Unicode; under byte fallback one for each byte of the run.
func (t *Tokenizer) Decode(ids []int, skipSpecial bool) string {
	s := t.Stream(skipSpecial)
	var out strings.Builder
	for _, id := range ids {
		out.WriteString(s.Next(id))
	}
	out.WriteString(s.Flush())
	return out.String()
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

package tokenizer

import (
	"fmt"
	"testing"
	"unicode/utf8"
)

// FuzzParseJSON: no file makes the parser, or a tokenizer that it accepted, crash
// or give ids that the vocabulary does not have.
func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(tiny), "ab<s>a b")
	f.Add([]byte(with(`{"type":"NFC"}`, "normalizer")), "e\u0301a")
	f.Add([]byte(with(`[{"id":3,"content":" ","lstrip":true,"rstrip":true,"single_word":true,"normalized":true}]`, "added_tokens")), " a  b ")
	f.Add([]byte(with(`{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel"}]}`, "pre_tokenizer")), "a1b22")
	f.Add([]byte(with(`{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[3]}}}`, "post_processor")), "a")
	f.Add([]byte(with(`[["a","b"]]`, "model", "merges")), "ab")
	for _, p := range []string{patternQwen2, patternLlama3} {
		f.Add([]byte(with(fmt.Sprintf(`{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":%q},"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]}`, p), "pre_tokenizer")), "a'Sb 123\n\n ab")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := ParseJSON("tokenizer.json", data)
		if err != nil {
			return
		}
		ids := tok.Encode(text, true)
		for _, id := range ids {
			if _, ok := tok.Token(id); !ok {
				t.Fatalf("id %d of %d is not in the vocabulary", id, tok.Size())
			}
		}
		if s := tok.Decode(ids, false); !utf8.ValidString(s) {
			t.Fatalf("decoded %q", s)
		}
	})
}

// FuzzEncode: with all bytes in the vocabulary, no normalizer and no token that
// takes spaces, any text comes back from its ids.
func FuzzEncode(f *testing.F) {
	var toks []*Tokenizer
	for _, name := range []string{"gpt2", "smollm", "llama3"} {
		toks = append(toks, parseTestdata(f, name+".tokenizer.json"))
	}
	var texts []string
	readJSON(f, "corpus.json", &texts)
	// Not all: a short run would be over before it has gone through them, and the
	// goldens have them all.
	for i := 0; i < len(texts); i += 10 {
		f.Add(texts[i])
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		for _, tok := range toks {
			if got := tok.Decode(tok.Encode(text, false), false); got != text {
				t.Fatalf("%q comes back as %q", text, got)
			}
		}
	})
}

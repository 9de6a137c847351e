package tokenizer

import (
	"fmt"
	"strings"
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
	// SentencePiece's: with each kind of normalizer, splitter and decoder, and bytes.
	model := `{"type":"BPE","unk_token":"a","fuse_unk":true,"byte_fallback":true,"vocab":{"a":0,"b":1,"ab":2,"▁":4,"▁a":5,"<0xC3>":6,"<0xA9>":7,"<0x62>":8},"merges":["a b","▁ a"]}`
	for _, c := range []struct{ norm, pre, dec, text string }{
		{`{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}`, `null`, `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`, "ab <s> aé\xff"},
		{`null`, `{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}`, `{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}`, " a<s>b  c"},
		{`{"type":"Replace","pattern":{"String":" "},"content":"▁"}`, `{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false}`, `{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Strip","content":"▁","start":2,"stop":0}]}`, "▁▁ <0xC3>é"},
		{`{"type":"NFC"}`, `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?:a|ab)+(?!b)"},"behavior":"Contiguous","invert":true},{"type":"Metaspace","replacement":"_","prepend_scheme":"always"}]}`, `{"type":"ByteLevel"}`, "aabab b"},
	} {
		state := with(c.norm, "normalizer")
		for part, value := range map[string]string{"pre_tokenizer": c.pre, "decoder": c.dec, "model": model} {
			state = edited(state, value, part)
		}
		f.Add([]byte(state), c.text)
	}
	for _, p := range []string{patternQwen2, patternLlama3, patternO200k, patternKimi, patternDeepSeek} {
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

// FuzzPattern: whatever the pattern, its pieces are the text, in order.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{patternGPT2, patternO200k, patternKimi, patternCJK, patternDeepSeek, `(?:a|aa)+(?=b)|[^a-c&&[\P{L}x]]{2,3}`, `(?i:[sk])\S*\s`} {
		f.Add(p, "Don't aab 你好 12\r\n K's")
	}
	f.Fuzz(func(t *testing.T, src, text string) {
		p, err := compile(src)
		if err != nil {
			return
		}
		done := 0
		p.cuts(text, func(start, end int, match bool) {
			if start != done || end <= start {
				t.Fatalf("%q: a piece from %d to %d, after %d", src, start, end, done)
			}
			done = end
		})
		if done != len(text) {
			t.Fatalf("%q: %d of %d bytes", src, done, len(text))
		}
	})
}

// FuzzEncode: with all bytes in the vocabulary, no normalizer and no token that
// takes spaces, any text comes back from its ids.
func FuzzEncode(f *testing.F) {
	var toks []*Tokenizer
	for _, name := range []string{"gpt2", "smollm", "llama3", "gptoss", "kimi"} {
		toks = append(toks, parseTestdata(f, name+".tokenizer.json"))
	}
	var spm pieces
	readJSON(f, "spm.golden.json", &spm)
	sentencePiece := spm.tokenizer(f, "spm")
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
		if spm.comparable(text) { // SentencePiece has one character for spaces and ▁
			want := strings.ReplaceAll(text, "▁", " ")
			if got := sentencePiece.Decode(sentencePiece.Encode(text, false), false); got != want {
				t.Fatalf("%q comes back as %q", text, got)
			}
		}
	})
}

package tokenizer

import (
	"fmt"
	"math"
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
		known(t, tok, tok.Encode(text, true))
	})
}

// FuzzParseTiktoken: as FuzzParseJSON.
func FuzzParseTiktoken(f *testing.F) {
	config := readFile(f, "tiktoken.config.json")
	f.Add(readFile(f, "tiktoken.model"), config, "Don't [BOS]日本 1234\xff")
	f.Add([]byte("AA== 0\nQUI= 7\n"), []byte(`{"tokenizer_class":"TikTokenTokenizer","added_tokens_decoder":{"256":{"content":"a","special":false}}}`), "a")
	f.Fuzz(func(t *testing.T, data, config []byte, text string) {
		tok, err := ParseTiktoken("tiktoken.model", data, "tokenizer_config.json", config)
		if err != nil {
			return
		}
		known(t, tok, tok.Encode(text, true))
	})
}

// FuzzPieces: a SentencePiece vocabulary of any tokens, types and scores, as GGUF
// files have it, gives ids that it has. Each line of the tokens is one.
func FuzzPieces(f *testing.F) {
	f.Add("<unk>\n<s>\n</s>\n▁\na\nb\nab\n▁ab\n<0x0A>\n<0xC3>", []byte{2, 3, 3, 1, 1, 1, 1, 1, 6, 6}, []byte("\x80\x80\x80\x10\x11\x12\x13\x14\x80\x80"), true, " ab<s>a\né")
	f.Add("a\nb\nab\n  \naba", []byte{1, 1, 5, 4, 1}, []byte{3, 3, 3, 3, 3}, false, "abab  a")
	f.Fuzz(func(t *testing.T, tokens string, types, scores []byte, prefix bool, text string) {
		m := GGUF{Model: "llama", Tokens: strings.Split(tokens, "\n"), AddSpacePrefix: &prefix, BOS: 0, EOS: -1}
		for i := range m.Tokens {
			kind, score := int32(1), float32(i)
			if i < len(types) {
				kind = int32(types[i])
			}
			if i < len(scores) {
				score = float32(int8(scores[i]))
			}
			m.Types, m.Scores = append(m.Types, kind), append(m.Scores, score)
		}
		if len(scores) > len(m.Scores) {
			m.Scores[0] = float32(math.NaN())
		}
		tok, err := FromGGUF("m.gguf", m)
		if err != nil {
			return
		}
		known(t, tok, tok.Encode(text, true))
	})
}

// known fails on ids that the vocabulary does not have, and on what they decode to if
// that is not UTF-8 though all tokens are.
func known(t *testing.T, tok *Tokenizer, ids []int) {
	t.Helper()
	for _, id := range ids {
		if _, ok := tok.Token(id); !ok {
			t.Fatalf("id %d of %d is not in the vocabulary", id, tok.Size())
		}
	}
	text := tok.Decode(ids, false)
	for _, token := range tok.vocab.tokens {
		if !utf8.ValidString(token.text) {
			return
		}
	}
	if !utf8.ValidString(text) {
		t.Fatalf("decoded %q", text)
	}
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

package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/diag"
)

// tiny is the smallest tokenizer.json; edits are done on its parsed form.
const tiny = `{
	"added_tokens": [{"id": 3, "content": "<s>", "special": true}],
	"normalizer": null,
	"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
	"post_processor": null,
	"decoder": {"type": "ByteLevel"},
	"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
}`

// with returns tiny with the value at a path replaced.
func with(value string, path ...string) string { return edited(tiny, value, path...) }

func edited(file, value string, path ...string) string {
	var root map[string]any
	if err := json.Unmarshal([]byte(file), &root); err != nil {
		panic(err)
	}
	at := root
	for _, p := range path[:len(path)-1] {
		at = at[p].(map[string]any)
	}
	at[path[len(path)-1]] = json.RawMessage(value)
	out, err := json.Marshal(root)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func wantIssue(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	var issue *diag.Issue
	if !errors.As(err, &issue) || issue.Code != code || !strings.Contains(issue.Message, text) || issue.Hint == "" || issue.Pos.File == "" {
		t.Errorf("%s: %v\nwant %s, %q, a file and a hint", what, err, code, text)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct{ src, code, text string }{
		{"", "tokenizer/json", "unexpected end"},
		{"{\"a\": \xff}", "tokenizer/json", "not UTF-8"},
		{"[]", "tokenizer/json", "array"},
		{"{}", "tokenizer/json", "no model"},
		{tiny[:len(tiny)-1], "tokenizer/json", "unexpected end"},
		{with(`"WordPiece"`, "model", "type"), "tokenizer/unsupported", `model type "WordPiece"`},
		{with(`"Unigram"`, "model", "type"), "tokenizer/unsupported", `model type "Unigram"`},
		{with(`true`, "model", "byte_fallback"), "tokenizer/unsupported", "byte_fallback = true with a ByteLevel"},
		{with(`0.1`, "model", "dropout"), "tokenizer/unsupported", "dropout"},
		{with(`"##"`, "model", "continuing_subword_prefix"), "tokenizer/unsupported", "continuing_subword_prefix"},
		{with(`"</w>"`, "model", "end_of_word_suffix"), "tokenizer/unsupported", "end_of_word_suffix"},
		{with(`"<unk>"`, "model", "unk_token"), "tokenizer/vocab", "unk_token"},
		{with(`["a c"]`, "model", "merges"), "tokenizer/merges", `needs the token "c"`},
		{with(`["b a"]`, "model", "merges"), "tokenizer/merges", `needs the token "ba"`},
		{with(`["ab"]`, "model", "merges"), "tokenizer/json", "not two tokens"},
		{with(`["a b a"]`, "model", "merges"), "tokenizer/json", "not two tokens"},
		{with(`[["a"]]`, "model", "merges"), "tokenizer/json", "1 tokens"},
		{with(`[null]`, "model", "merges"), "tokenizer/json", "0 tokens"},
		{with(`{"a": 0, "b": 0}`, "model", "vocab"), "tokenizer/vocab", "both have id 0"},
		{with(`{"a": -1}`, "model", "vocab"), "tokenizer/vocab", "id -1"},
		{with(`{"a": 2000000000}`, "model", "vocab"), "tokenizer/vocab", "id 2000000000"},
		{with(`{"a": 1e10}`, "model", "vocab"), "tokenizer/json", "number"},
		{with(`[["a", 0.5]]`, "model", "vocab"), "tokenizer/json", "array"},
		{with(`{"type": "NFKC"}`, "normalizer"), "tokenizer/unsupported", `normalizer "NFKC"`},
		{with(`{"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}`, "normalizer"), "tokenizer/unsupported", `normalizer "Lowercase"`},
		{with(`{"type": "Replace", "pattern": {"Regex": " +"}, "content": "_"}`, "normalizer"), "tokenizer/unsupported", "Replace without a text"},
		{with(`{"type": "Replace", "pattern": {"String": ""}, "content": "_"}`, "normalizer"), "tokenizer/unsupported", "Replace without a text"},
		{with(`{"type": "Sequence", "normalizers": [`+strings.Repeat(`{"type": "Replace", "pattern": {"String": "a"}, "content": "aaa"},`, 4)+`{"type": "NFC"}]}`, "normalizer"), "tokenizer/unsupported", "64 times longer"},
		{with(`{"type": "Prepend", "prepend": "`+strings.Repeat("x", 65)+`"}`, "normalizer"), "tokenizer/unsupported", "65 bytes"},
		{with(`{"type": "Sequence", "normalizers": [`+strings.Repeat(`{"type": "NFC"},`, 16)+`{"type": "NFC"}]}`, "normalizer"), "tokenizer/unsupported", "more than 16 normalizers"},
		{with(`{"type": "Sequence", "pretokenizers": [`+strings.Repeat(`{"type": "Digits"},`, 16)+`{"type": "Digits"}]}`, "pre_tokenizer"), "tokenizer/unsupported", "more than 16 pre-tokenizers"},
		{with(`{"type": "Sequence", "decoders": [`+strings.Repeat(`{"type": "ByteFallback"},`, 16)+`{"type": "ByteFallback"}]}`, "decoder"), "tokenizer/unsupported", "more than 16 decoders"},
		{with(`{"type": "Whitespace"}`, "pre_tokenizer"), "tokenizer/unsupported", `"Whitespace"`},
		{with(`{"type": "Metaspace"}`, "pre_tokenizer"), "tokenizer/unsupported", `the replacement ""`},
		{with(`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "second"}`, "pre_tokenizer"), "tokenizer/unsupported", `prepend_scheme "second"`},
		{with(`{"type": "Metaspace", "replacement": "▁", "add_prefix_space": false}`, "pre_tokenizer"), "tokenizer/unsupported", "add_prefix_space false"},
		{with(`{"type": "Split", "behavior": "Isolated"}`, "pre_tokenizer"), "tokenizer/unsupported", "without a pattern"},
		{with(`{"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated"}`, "pre_tokenizer"), "tokenizer/unsupported", "without a pattern"},
		{with(`{"type": "Split", "pattern": {"String": " "}, "behavior": "Kept"}`, "pre_tokenizer"), "tokenizer/unsupported", `behavior "Kept"`},
		{with(`{"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]}`, "pre_tokenizer"), "tokenizer/unsupported", `"Digits" after ByteLevel`},
		{with(`null`, "decoder"), "tokenizer/unsupported", "no decoder"},
		{with(`{"type": "WordPiece"}`, "decoder"), "tokenizer/unsupported", `decoder "WordPiece"`},
		{with(`{"type": "Strip", "content": " ", "start": 1, "stop": 1}`, "decoder"), "tokenizer/unsupported", "decoder Strip"},
		{with(`{"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}]}`, "decoder"), "tokenizer/unsupported", "after the tokens are one text"},
		{with(`{"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "ByteFallback"}]}`, "decoder"), "tokenizer/unsupported", "after the tokens are one text"},
		{with(`{"type": "BertProcessing"}`, "post_processor"), "tokenizer/unsupported", `"BertProcessing"`},
		{with(`{"type": "TemplateProcessing", "single": []}`, "post_processor"), "tokenizer/unsupported", "0 times"},
		{with(`{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]}`, "post_processor"), "tokenizer/json", `"x"`},
		{with(`{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {"x": {"ids": [99]}}}`, "post_processor"), "tokenizer/json", "id 99"},
		{with(`[{"id": 4, "content": "<s>"}]`, "added_tokens"), "tokenizer/added", "gives it id 3"},
		{with(`[{"id": 0, "content": "b"}]`, "added_tokens"), "tokenizer/added", "gives it id 1"},
		{with(`[{"id": 3, "content": "x"}, {"id": 3, "content": "x"}]`, "added_tokens"), "tokenizer/added", "twice"},
		{with(`[{"id": 3, "content": "`+strings.Repeat("x", 513)+`"}]`, "added_tokens"), "tokenizer/added", "513 bytes"},
	} {
		_, err := ParseJSON("tokenizer.json", []byte(c.src))
		wantIssue(t, c.src, err, c.code, c.text)
	}
}

// tinyGGUF is tiny as GGUF metadata.
func tinyGGUF() GGUF {
	return GGUF{Model: "gpt2", Pre: "smollm", Tokens: []string{"a", "b", "ab", "<s>"}, Types: []int32{1, 1, 1, 3}, Merges: []string{"a b"}, BOS: 3, EOS: -1}
}

func TestGGUFRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		edit       func(*GGUF)
		code, text string
	}{
		"model":      {func(m *GGUF) { m.Model = "bert" }, "tokenizer/unsupported", `model = "bert"`},
		"scores":     {func(m *GGUF) { m.Model = "llama" }, "tokenizer/vocab", "0 scores"},
		"pre":        {func(m *GGUF) { m.Pre = "viking" }, "tokenizer/unsupported", `pre = "viking"`},
		"types":      {func(m *GGUF) { m.Types = nil }, "tokenizer/vocab", "0 token types"},
		"merge":      {func(m *GGUF) { m.Merges = []string{"ab"} }, "tokenizer/merges", "not two tokens"},
		"merge of":   {func(m *GGUF) { m.Merges = []string{"b a"} }, "tokenizer/merges", `needs the token "ba"`},
		"duplicate":  {func(m *GGUF) { m.Tokens[1] = "a" }, "tokenizer/vocab", "tokens 0 and 1"},
		"eos":        {func(m *GGUF) { m.EOS = 4 }, "tokenizer/vocab", "id 4"},
		"stop":       {func(m *GGUF) { m.Stops = []int{-2} }, "tokenizer/vocab", "id -2"},
		"long added": {func(m *GGUF) { m.Tokens[3] = strings.Repeat("x", 600) }, "tokenizer/added", "600 bytes"},
	} {
		m := tinyGGUF()
		c.edit(&m)
		_, err := FromGGUF("m.gguf", m)
		wantIssue(t, name, err, c.code, c.text)
	}
}

// TestPatternRefuses: what Oniguruma reads and this package does not is an error that
// says what and where, never another split.
func TestPatternRefuses(t *testing.T) {
	for src, text := range map[string]string{
		"":                        "empty text",
		"a*":                      "empty text",
		"a|":                      "empty text",
		"(?!a)":                   "empty text",
		"(?:a?)+b":                "loop around what matches the empty text",
		"a++":                     "second quantifier",
		"a+?":                     "second quantifier",
		"a??":                     "second quantifier",
		"a{2}{3}":                 "second quantifier",
		"^a":                      `"^a"`,
		"a$":                      `"$"`,
		".":                       `"."`,
		"*a":                      `"*a"`,
		"a{x}":                    `"{x}"`,
		"a{3,2}":                  `"{3,2}"`,
		"a{9999}":                 `"{9999}"`,
		`\w`:                      `\w`,
		`\d+`:                     `\d`,
		`a\b`:                     `\b`,
		`(a)\1`:                   `\1`,
		`\p{Greek}`:               "property",
		`\pL`:                     "property",
		`\`:                       "at the end",
		"(?<=a)b":                 `"(?<="`,
		"(?<n>a)":                 `"(?<n"`,
		"(?>a)":                   `"(?>a"`,
		"(?x:a)":                  `"(?x:"`,
		"(?!ab)c":                 "look-ahead for more",
		"(?=a|b)c":                "look-ahead for more",
		"(a":                      "without its )",
		"a)":                      "closes nothing",
		"[a":                      "without its ]",
		"[]":                      "empty class",
		"[a&&]":                   "empty class",
		"[&&a]":                   "&& after nothing",
		"[[:alpha:]]":             "[: :]",
		"[z-a]":                   "range",
		"(?i:ß)":                  "only ASCII",
		"(?i:[é])":                "only ASCII",
		"(?i:ss)":                 `"ss"`,
		"(?i:of[fg])":             `"ff"`,
		"(?:a{1000}){1000}":       "1024 steps",
		strings.Repeat("(", 200):  "nested",
		strings.Repeat("[", 200):  "nested",
		strings.Repeat("a", 3000): "3000 bytes",
	} {
		_, err := compile(src)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%.40q: %v, want %s", src, err, text)
		}
	}
}

// TestPatternLinear: no pattern takes more time than in proportion to the text, and
// noting places does not change a match.
func TestPatternLinear(t *testing.T) {
	n, without := 1<<16, 12
	if testing.Short() {
		n, without = 1<<11, 8
	}
	for _, src := range []string{`(?:a|aa)+(?=b)|c`, `(?:(?:a|b)+c)+d|x`, `a*b`, `(?:a|a|a|a)+!|b`, `a{1,100}a{1,100}b`, patternO200k, patternKimi, `(?:a+b?)+c|(?:b+a?)+d`} {
		p := mustCompile(src)
		for _, text := range []string{strings.Repeat("a", n), strings.Repeat("ab", n/2), strings.Repeat("aab", n/3) + "c", strings.Repeat("A", n) + "1", strings.Repeat("\u0301", n/2) + "1"} {
			start, got, pieces := time.Now(), 0, 0
			p.cuts(text, func(start, end int, match bool) {
				if start != got || end <= start {
					t.Fatalf("%s: a piece from %d to %d after %d", src, start, end, got)
				}
				got = end
				pieces++
			})
			if took := time.Since(start); got != len(text) || took > 10*time.Second {
				t.Errorf("%s: %d of %d bytes in %v", src, got, len(text), took)
			}
			// What a matcher without notes says, on a text short enough for it.
			short := text[:without]
			notes, plain := &matcher{pattern: p, text: short, steps: 1 << 30}, &matcher{pattern: p, text: short, steps: -1 << 40}
			for at := 0; at < len(short); at++ {
				if a, b := notes.match(at), plain.match(at); a != b {
					t.Errorf("%s on %q at %d: %d with notes, %d without", src, short, at, a, b)
				} else if a > at {
					at = a - 1
				}
			}
		}
	}
}

func TestSpecials(t *testing.T) {
	yes := true
	m := tinyGGUF()
	m.EOS, m.Stops, m.AddBOS, m.AddEOS = 2, []int{3, 2}, &yes, &yes
	tok, err := FromGGUF("m.gguf", m)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("ab<s>", true); !slices.Equal(got, []int{3, 2, 3, 2}) {
		t.Errorf("with bos and eos: %v", got)
	}
	if !slices.Equal(tok.Stops(), []int{2, 3}) || !tok.IsStop(3) || tok.IsStop(0) || !tok.IsSpecial(3) || tok.IsSpecial(99) {
		t.Errorf("stops %v", tok.Stops())
	}
	if got := tok.Decode([]int{3, 2, 99, -1}, false) + "|" + tok.Decode([]int{3, 2}, true); got != "<s>ab|ab" {
		t.Errorf("decoded %q", got)
	}
	if s, ok := tok.Token(2); !ok || s != "ab" {
		t.Errorf("token 2 is %q", s)
	}
	if _, ok := tok.Token(4); ok || tok.Size() != 4 {
		t.Errorf("size %d", tok.Size())
	}
	// Llama 3 adds bos if its file does not say.
	m = tinyGGUF()
	m.Pre = "llama-bpe"
	if tok, err = FromGGUF("m.gguf", m); err != nil || !slices.Equal(tok.Encode("a", true), []int{3, 0}) {
		t.Errorf("llama-bpe: %v", err)
	}
}

func TestApplyConfig(t *testing.T) {
	tok, err := ParseJSON("tokenizer.json", []byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tok.EOS(); ok || len(tok.Stops()) > 0 {
		t.Error("an eos token before there is one")
	}
	if err := tok.ApplyConfig("c", []byte(`{"bos_token": null, "eos_token": {"content": "<s>", "special": true}}`)); err != nil {
		t.Fatal(err)
	}
	eos, ok := tok.EOS()
	if _, hasBOS := tok.BOS(); !ok || eos != 3 || hasBOS || !tok.IsStop(3) {
		t.Errorf("eos %d, stops %v", eos, tok.Stops())
	}
	wantIssue(t, "unknown", tok.ApplyConfig("c", []byte(`{"bos_token": "<x>"}`)), "tokenizer/vocab", `bos_token "<x>"`)
	wantIssue(t, "type", tok.ApplyConfig("c", []byte(`{"bos_token": 3}`)), "tokenizer/json", "number")
}

// TestStream: whatever the ids, the pieces are valid UTF-8 and together they are
// Decode's text, which TestGoldens compares with the original's.
func TestStream(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range smallTokenizers {
		tok := parseTestdata(t, name+".tokenizer.json")
		s := tok.Stream(false) // used again after each Flush
		for range 1000 {
			var ids []int
			for range rng.IntN(12) {
				ids = append(ids, rng.IntN(min(tok.Size(), 300))) // most of them single bytes
			}
			var b strings.Builder
			for _, id := range ids {
				piece := s.Next(id)
				if strings.ToValidUTF8(piece, "") != piece {
					t.Fatalf("%s, %v: piece %q is no UTF-8", name, ids, piece)
				}
				b.WriteString(piece)
			}
			b.WriteString(s.Flush())
			if want := tok.Decode(ids, false); b.String() != want {
				t.Fatalf("%s, %v: streamed %q, decoded %q", name, ids, b.String(), want)
			}
		}
	}
	tok := parseTestdata(t, "gpt2.tokenizer.json")
	// A character comes out with its last byte, not before and not later.
	s, got := tok.Stream(false), []string{}
	for _, c := range []byte("é€😀") {
		id, _ := tok.ID(alphabet[c])
		got = append(got, s.Next(id))
	}
	if want := []string{"", "é", "", "", "€", "", "", "", "😀"}; !slices.Equal(got, want) {
		t.Errorf("streamed %q, want %q", got, want)
	}
}

// TestSplitters: pieces are not empty and together they are the text.
func TestSplitters(t *testing.T) {
	var texts []string
	readJSON(t, "corpus.json", &texts)
	texts = append(texts, "\xff a\xc3", "'\xff", " \xe2\x82", "1\xff2")
	for name, d := range dialects {
		for _, text := range texts {
			var b strings.Builder
			d.split(piece{text, true}, func(p piece) {
				if p.text == "" || p.first != (b.Len() == 0) {
					t.Errorf("%s: piece %v of %q", name, p, text)
				}
				b.WriteString(p.text)
			})
			if b.String() != text {
				t.Errorf("%s: %q is split into %q", name, text, b.String())
			}
		}
	}
}

// TestLinear: long words, long runs and texts full of added tokens take time and
// memory in proportion to their length.
func TestLinear(t *testing.T) {
	n := 1 << 16
	if testing.Short() {
		n = 1 << 12
	}
	for _, name := range []string{"gpt2", "added", "smollm", "qwen2", "llama3", "gptoss", "deepseek", "kimi", "llama2", "mistral", "metaspace", "gemma", "pieces_unk"} {
		tok := parseTestdata(t, name+".tokenizer.json")
		for _, unit := range []string{"a", "ab", " ", "\n", "\r\n ", "1", "é", "e\u0301", "\u0301", "'s", "<|im", "<left>", "<right> ", "  <right>", "<s>", "▁", "<0x0A>", "aB", "\u0e01", "word", "😀", "\xff"} {
			text := strings.Repeat(unit, n/len(unit))
			start := time.Now()
			ids := tok.Encode(text, true)
			back := tok.Decode(ids, false)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: %d bytes of %q took %v", name, n, unit, took)
			}
			if len(ids) == 0 || len(back) == 0 {
				t.Errorf("%s: %d bytes of %q: %d ids, %d bytes back", name, n, unit, len(ids), len(back))
			}
		}
	}
}

// TestAllocation: a file may not make us allocate more than 64 times its size and
// 16 MiB.
func TestAllocation(t *testing.T) {
	var vocab, merges, added strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&vocab, `,"%x":%d`, i, i+10)
		merges.WriteString(`,"a b"`)
		fmt.Fprintf(&added, `,{"id":%d,"content":"%d%s"}`, i+3, i, strings.Repeat("x", i%50))
	}
	for name, src := range map[string]string{
		"vocab":  with(`{"a":0,"b":1,"ab":2`+vocab.String()+`}`, "model", "vocab"),
		"merges": with(`["a b"`+merges.String()+`]`, "model", "merges"),
		"added":  with("["+added.String()[1:]+"]", "added_tokens"),
		"deep":   with(strings.Repeat(`{"type":"Sequence","normalizers":[`, 3000)+strings.Repeat("]}", 3000), "normalizer"),
		"gap":    with(`{"a":0,"b":1,"ab":1000}`, "model", "vocab"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseJSON(name, []byte(src))
		runtime.ReadMemStats(&after)
		got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(src)+16<<20)
		if got > limit {
			t.Errorf("%s: %d bytes allocated for %d (%v)", name, got, len(src), err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	tok := openSmolLM2(b)
	var texts []string
	readJSON(b, "corpus.json", &texts)
	text := strings.Join(texts, "\n")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tok.Encode(text, false)
	}
}

func BenchmarkLoadSmolLM2(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		openSmolLM2(b)
	}
}

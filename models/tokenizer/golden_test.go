package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// golden is what Hugging Face tokenizers answer: scripts/oracle/tokenizer_goldens.py.
type golden struct {
	Encode  [][]int           `json:"encode"`
	Special [][]int           `json:"encode_special"`
	Decode  [][3]any          `json:"decode"`
	Changed map[string]string `json:"changed"`
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func parseTestdata(t testing.TB, name string) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ParseJSON(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// smallTokenizers were trained by the script, one for each path through the package.
var smallTokenizers = []string{
	"gpt2", "added", "smollm", "qwen2", "llama3", "unk", "unk_each", "no_regex",
	"gptoss", "deepseek", "kimi",
	"llama2", "mistral", "metaspace", "gemma", "pieces_unk", "pieces_unk_each", "no_bytes", "plain",
}

// TestGoldens compares with Hugging Face tokenizers: every text of the corpus,
// under every small tokenizer. No difference is allowed.
func TestGoldens(t *testing.T) {
	for _, name := range smallTokenizers {
		t.Run(name, func(t *testing.T) {
			compare(t, parseTestdata(t, name+".tokenizer.json"), name)
		})
	}
}

func compare(t *testing.T, tok *Tokenizer, name string) {
	var texts []string
	readJSON(t, "corpus.json", &texts)
	var want golden
	readJSON(t, name+".golden.json", &want)
	if len(texts) < 600 || len(want.Encode) != len(texts) || len(want.Decode) < 300 {
		t.Fatalf("%d texts, %d answers, %d decoded: the goldens are not of this corpus", len(texts), len(want.Encode), len(want.Decode))
	}
	for i, text := range texts {
		ids := tok.Encode(text, false)
		if !slices.Equal(ids, want.Encode[i]) {
			t.Errorf("text %d %q:\n got %v\nwant %v", i, text, ids, want.Encode[i])
		}
		wantText, changed := want.Changed[strconv.Itoa(i)]
		if !changed {
			wantText = text
		}
		if got := tok.Decode(ids, false); got != wantText {
			t.Errorf("text %d decoded:\n got %q\nwant %q", i, got, wantText)
		}
	}
	for i, ids := range want.Special {
		if got := tok.Encode(texts[i], true); !slices.Equal(got, ids) {
			t.Errorf("text %d %q with special tokens:\n got %v\nwant %v", i, texts[i], got, ids)
		}
	}
	want.decode(t, tok, name)
}

// decode compares the texts of ids.
func (g *golden) decode(t *testing.T, tok *Tokenizer, name string) {
	t.Helper()
	if len(g.Decode) < 300 {
		t.Fatalf("%s: only %d texts of ids", name, len(g.Decode))
	}
	for _, d := range g.Decode {
		var ids []int
		for _, id := range d[0].([]any) {
			ids = append(ids, int(id.(float64)))
		}
		for k, skip := range []bool{false, true} {
			if got, want := tok.Decode(ids, skip), d[1+k].(string); got != want {
				t.Errorf("%s: decode %v, skip special %t:\n got %q\nwant %q", name, ids, skip, got, want)
			}
		}
	}
}

// TestPieces compares where splitters cut each text: the patterns of models, every
// behavior, and patterns that are made to step back.
func TestPieces(t *testing.T) {
	var texts []string
	readJSON(t, "corpus.json", &texts)
	var golden []struct {
		Split json.RawMessage
		Want  []string
	}
	readJSON(t, "pieces.golden.json", &golden)
	if len(golden) < 30 {
		t.Fatalf("only %d splitters", len(golden))
	}
	known := map[string]bool{patternGPT2: false, patternLlama3: false, patternQwen2: false, patternO200k: false, patternKimi: false, patternTekken: false, patternNumbers: false, patternCJK: false, patternDeepSeek: false}
	for _, g := range golden {
		var c component
		if err := json.Unmarshal(g.Split, &c); err != nil {
			t.Fatal(err)
		}
		if c.Pattern.Regex != nil {
			if _, ok := known[*c.Pattern.Regex]; ok {
				known[*c.Pattern.Regex] = true
			}
		}
		r, level := reader{file: "pieces"}, false
		list, err := r.preTokenizer([]splitter{whole}, &c, &level)
		if err != nil || len(g.Want) != len(texts) {
			t.Errorf("%s: %v; %d answers for %d texts", g.Split, err, len(g.Want), len(texts))
			continue
		}
		split := chain(list...)
		for i, text := range texts {
			var lengths []string
			split(piece{text, true}, func(p piece) {
				lengths = append(lengths, strconv.Itoa(utf8.RuneCountInString(p.text)))
			})
			if got := strings.Join(lengths, " "); got != g.Want[i] {
				t.Errorf("%s: %q is split into %s, want %s", g.Split, text, got, g.Want[i])
			}
		}
	}
	for pattern, there := range known {
		if !there {
			t.Errorf("no answers for %s", pattern)
		}
	}
}

// TestClasses compares the class of every code point.
func TestClasses(t *testing.T) {
	data, err := os.ReadFile("testdata/classes.txt")
	if err != nil {
		t.Fatal(err)
	}
	is := map[string]func(rune) bool{"space": isSpace, "digit": isDigit}
	for name, set := range categories {
		is[name] = set.has
	}
	for line := range strings.Lines(string(data)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		want := map[rune]bool{}
		for r := range strings.FieldsSeq(text) {
			var from, to rune
			if n, _ := fmt.Sscanf(r, "%x-%x", &from, &to); n == 1 {
				to = from
			}
			for c := from; c <= to; c++ {
				want[c] = true
			}
		}
		for c := rune(0); c <= 0x10FFFF; c++ {
			if (c < 0xD800 || c >= 0xE000) && is[name](c) != want[c] {
				t.Errorf("U+%04X is %s: %t, want %t", c, name, is[name](c), want[c])
			}
		}
		delete(is, name)
	}
	if len(is) > 0 {
		t.Errorf("no ranges for %v", is)
	}
}

// TestNFC compares every code point, alone and with a mark before and after.
func TestNFC(t *testing.T) {
	var changed map[string]string
	readJSON(t, "nfc.golden.json", &changed)
	if len(changed) < 1000 {
		t.Fatalf("only %d answers", len(changed))
	}
	for c := rune(0); c <= 0x10FFFF; c++ {
		if c >= 0xD800 && c < 0xE000 {
			continue
		}
		for _, text := range []string{string(c), "a" + string(c) + "\u0334", "a\u0315" + string(c)} {
			want, ok := changed[text]
			if !ok {
				want = text
			}
			if got := nfc(text); got != want {
				t.Errorf("NFC of %+q: got %+q, want %+q", text, got, want)
			}
		}
	}
}

package tokenizer

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTiktoken compares a small tiktoken.model with tiktoken.
func TestTiktoken(t *testing.T) {
	tok, err := ParseTiktoken("tiktoken.model", readFile(t, "tiktoken.model"), "c.json", readFile(t, "tiktoken.config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	readJSON(t, "corpus.json", &texts)
	var want golden
	var more struct{ Texts []string }
	readJSON(t, "tiktoken.golden.json", &want)
	readJSON(t, "tiktoken.golden.json", &more)
	texts = append(texts, more.Texts...)
	if len(want.Encode) != len(texts) || len(more.Texts) == 0 {
		t.Fatalf("%d answers for %d texts", len(want.Encode), len(texts))
	}
	for i, text := range texts {
		if got := tok.Encode(text, true); !slices.Equal(got, want.Encode[i]) {
			t.Errorf("text %d %q:\n got %v\nwant %v", i, text, got, want.Encode[i])
		}
	}
	want.decode(t, tok, "tiktoken")
	if eos, ok := tok.EOS(); !ok || !tok.IsStop(eos) || !tok.IsSpecial(eos) {
		t.Errorf("eos is %d, %t", eos, ok)
	}
}

func TestTiktokenRefuses(t *testing.T) {
	var all strings.Builder
	for b := range 256 {
		fmt.Fprintf(&all, "%s %d\n", base64.StdEncoding.EncodeToString([]byte{byte(b)}), b)
	}
	good, config := all.String(), `{"tokenizer_class": "TikTokenTokenizer"}`
	if _, err := ParseTiktoken("m", []byte(good), "c", []byte(config)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ model, config, code, text string }{
		{good, `{`, "tokenizer/json", "unexpected end"},
		{good, `{"tokenizer_class": "ChatGLM4Tokenizer"}`, "tokenizer/unsupported", "ChatGLM4Tokenizer"},
		{"", config, "tokenizer/vocab", "byte 0x00"},
		{good + "QUI= 256 1\n", config, "tokenizer/vocab", "3 fields"},
		{good + "Q!I= 256\n", config, "tokenizer/vocab", `token "Q!I="`},
		{good + "QUI= x\n", config, "tokenizer/vocab", `rank "x"`},
		{good + "QUI= -1\n", config, "tokenizer/vocab", "id -1"},
		{good + "QUI= 255\n", config, "tokenizer/vocab", "both have id 255"},
		{good + "QUI= 300\n", config, "tokenizer/vocab", "257 tokens, but ranks up to 300"},
		{good + "QUI= 2000000000\n", config, "tokenizer/vocab", "id 2000000000"},
		{good + "QQ== 256\n", config, "tokenizer/vocab", "twice"},
		{good, `{"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": {"256": {"content": "a"}}}`, "tokenizer/added", `"a" is there twice`},
		{good, `{"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": {"256": {"content": "` + strings.Repeat("x", 513) + `"}}}`, "tokenizer/added", "513 bytes"},
		{good, `{"tokenizer_class": "TikTokenTokenizer", "eos_token": "xyz"}`, "tokenizer/vocab", `eos_token "xyz"`},
	} {
		_, err := ParseTiktoken("m", []byte(c.model), "c", []byte(c.config))
		wantIssue(t, c.text, err, c.code, c.text)
	}
}

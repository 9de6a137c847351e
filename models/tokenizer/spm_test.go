package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// pieces is a SentencePiece model as a GGUF file has it.
type pieces struct {
	Tokens []string  `json:"tokens"`
	Types  []int32   `json:"types"`
	Scores []float32 `json:"scores"`
	Prefix bool      `json:"add_space_prefix"`
}

func (p *pieces) tokenizer(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := FromGGUF(name, GGUF{Model: "llama", Tokens: p.Tokens, Types: p.Types, Scores: p.Scores, AddSpacePrefix: &p.Prefix, BOS: 1, EOS: 2})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestSentencePiece compares what GGUF files hold of SentencePiece models with
// SentencePiece itself.
func TestSentencePiece(t *testing.T) {
	var texts []string
	readJSON(t, "corpus.json", &texts)
	for _, name := range []string{"spm", "spm_added", "spm_unk"} {
		var p pieces
		var want golden
		readJSON(t, name+".golden.json", &p)
		readJSON(t, name+".golden.json", &want)
		tok := p.tokenizer(t, name)
		compared := 0
		for i, text := range texts {
			if !p.comparable(text) {
				continue
			}
			compared++
			if got := tok.Encode(text, false); !slices.Equal(got, want.Encode[i]) {
				t.Errorf("%s: text %d %q:\n got %v\nwant %v", name, i, text, got, want.Encode[i])
			}
		}
		if compared < 600 {
			t.Errorf("%s: only %d texts compared", name, compared)
		}
		want.decode(t, tok, name)
		if got := tok.Encode("a", true); len(got) < 2 || got[0] != 1 {
			t.Errorf("%s: no bos in %v", name, got)
		}
	}
}

// comparable reports whether SentencePiece and GGUF mean the same by a text. To
// SentencePiece a ▁ in the text is a space like others, also where user-defined
// pieces are looked for; in a GGUF file those have spaces. And behind a user-defined
// piece llama.cpp begins a text, with a space before it if the model has that.
func (p *pieces) comparable(text string) bool {
	for id, kind := range p.Types {
		if (kind == typeControl || kind == typeUnknown) && strings.Contains(text, p.Tokens[id]) {
			return false // SentencePiece never reads those
		}
	}
	return !slices.Contains(p.Types, typeUserDefined) || !strings.Contains(text, "▁")
}

package tokenizer

import (
	"zmlx-rewrite/diag"
)

// GGUF is what the metadata of a GGUF file say about its tokenizer.
type GGUF struct {
	Model  string   // tokenizer.ggml.model
	Pre    string   // tokenizer.ggml.pre
	Tokens []string // tokenizer.ggml.tokens, in the byte alphabet
	Types  []int32  // tokenizer.ggml.token_type, one for each token
	Merges []string // tokenizer.ggml.merges, "left right", by rank

	BOS, EOS int   // tokenizer.ggml.bos_token_id and eos_token_id; -1: none
	Stops    []int // more ids that end a turn: eot_token_id, eom_token_id
	AddBOS   *bool // tokenizer.ggml.add_bos_token; nil: as usual for Pre
	AddEOS   *bool // tokenizer.ggml.add_eos_token; nil: no
}

// Token types of GGUF that are found in the text before it is split.
const (
	typeControl     = 3 // special tokens
	typeUserDefined = 4 // added tokens that are not special
)

// dialect is what tokenizer.ggml.pre stands for: GGUF names a set-up instead of
// describing it. They are those of the models' own tokenizer.json, which
// llama.cpp approximates: it leaves NFC out, for one.
type dialect struct {
	split  splitter
	nfc    bool
	whole  bool // as ignore_merges in tokenizer.json
	addBOS bool // if the file does not say
}

var dialects = map[string]dialect{
	"gpt-2":     {split: byMatch(matchGPT2)},
	"smollm":    {split: chain(byDigits(true), byMatch(matchGPT2))},
	"starcoder": {split: chain(byDigits(true), byMatch(matchGPT2))},
	"qwen2":     {split: byMatch(patterns[patternQwen2]), nfc: true},
	"llama-bpe": {split: byMatch(patterns[patternLlama3]), whole: true, addBOS: true},
}

// FromGGUF makes the tokenizer of a GGUF file; file is its name in messages.
func FromGGUF(file string, m GGUF) (*Tokenizer, error) {
	pos := diag.Pos{File: file}
	if m.Model != "gpt2" {
		return nil, diag.Errorf("tokenizer/unsupported", pos, "tokenizer.ggml.model = %q", clip(m.Model)).WithHint("only byte-level BPE (\"gpt2\") is read")
	}
	d, ok := dialects[m.Pre]
	if !ok {
		return nil, diag.Errorf("tokenizer/unsupported", pos, "tokenizer.ggml.pre = %q", clip(m.Pre)).
			WithHint("known: gpt-2, smollm, starcoder, qwen2, llama-bpe; use the model's own folder with its tokenizer.json")
	}
	if len(m.Types) != len(m.Tokens) {
		return nil, diag.Errorf("tokenizer/vocab", pos, "%d tokens, but %d token types", len(m.Tokens), len(m.Types)).WithHint("the file is damaged: fetch it again")
	}
	t := &Tokenizer{bos: -1, eos: -1, nfc: d.nfc, split: d.split}
	t.vocab = vocab{ids: make(map[string]int32, len(m.Tokens))}
	for id, text := range m.Tokens {
		if other, dup := t.vocab.ids[text]; dup {
			return nil, diag.Errorf("tokenizer/vocab", pos, "tokens %d and %d are both %q", other, id, clip(text)).WithHint("the file is damaged: fetch it again")
		}
		if err := t.vocab.set(file, text, int32(id)); err != nil {
			return nil, err
		}
		if kind := m.Types[id]; kind == typeControl || kind == typeUserDefined {
			t.vocab.tokens[id].special = kind == typeControl
			if err := t.added.add(file, addedToken{id: id, content: text}, false); err != nil {
				return nil, err
			}
		}
	}
	t.bpe = newBPE(t.vocab.ids)
	t.bpe.whole = d.whole
	for rank, text := range m.Merges {
		left, right, ok := cutMerge(text)
		if !ok {
			return nil, diag.Errorf("tokenizer/merges", pos, "merge %d, %q, is not two tokens with a space between", rank, clip(text)).WithHint("the file is damaged: fetch it again")
		}
		if err := t.bpe.addMerge(file, rank, left, right); err != nil {
			return nil, err
		}
	}
	return t, t.ggufSpecials(pos, m, d)
}

// ggufSpecials takes over the tokens that begin and end texts and turns.
func (t *Tokenizer) ggufSpecials(pos diag.Pos, m GGUF, d dialect) error {
	for _, id := range append([]int{m.BOS, m.EOS}, m.Stops...) {
		if _, ok := t.Token(id); !ok && id != -1 {
			return diag.Errorf("tokenizer/vocab", pos, "special token id %d, but there are %d tokens", id, t.Size()).WithHint("the file is damaged: fetch it again")
		}
	}
	t.bos, t.eos = m.BOS, m.EOS
	for _, id := range append([]int{m.EOS}, m.Stops...) {
		if id >= 0 {
			t.addStop(id)
		}
	}
	addBOS := d.addBOS
	if m.AddBOS != nil {
		addBOS = *m.AddBOS
	}
	if addBOS && t.bos >= 0 {
		t.prefix = []int{t.bos}
	}
	if m.AddEOS != nil && *m.AddEOS && t.eos >= 0 {
		t.suffix = []int{t.eos}
	}
	return nil
}

package tokenizer

import (
	"maps"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
)

// GGUF is what the metadata of a GGUF file say about its tokenizer.
type GGUF struct {
	Model  string   // tokenizer.ggml.model
	Pre    string   // tokenizer.ggml.pre
	Tokens []string // tokenizer.ggml.tokens: of "gpt2" in the byte alphabet
	Types  []int32  // tokenizer.ggml.token_type, one for each token
	Merges []string // tokenizer.ggml.merges, "left right", by rank: of "gpt2"

	Scores         []float32 // tokenizer.ggml.scores, one for each token: of "llama"
	AddSpacePrefix *bool     // tokenizer.ggml.add_space_prefix; nil: yes

	BOS, EOS int   // tokenizer.ggml.bos_token_id and eos_token_id; -1: none
	Stops    []int // more ids that end a turn: eot_token_id, eom_token_id
	AddBOS   *bool // tokenizer.ggml.add_bos_token; nil: as usual for Pre
	AddEOS   *bool // tokenizer.ggml.add_eos_token; nil: no
}

// Token types of GGUF. Unknown, control and user-defined tokens are found in the text
// before it is split.
const (
	typeNormal      = 1
	typeUnknown     = 2 // what stands for text without a token
	typeControl     = 3 // special tokens
	typeUserDefined = 4 // added tokens that are not special
	typeUnused      = 5
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
	"gpt-2":       {split: by(patternGPT2)},
	"smollm":      {split: chain(byDigits(true), by(patternGPT2))},
	"starcoder":   {split: chain(byDigits(true), by(patternGPT2))},
	"qwen2":       {split: by(patternQwen2), nfc: true},
	"llama-bpe":   {split: by(patternLlama3), whole: true, addBOS: true},
	"lfm2":        {split: by(patternLlama3), whole: true, addBOS: true},
	"glm4":        {split: by(patternLlama3)},
	"gpt-4o":      {split: by(patternO200k), whole: true},
	"deepseek-v3": {split: chain(by(patternNumbers), by(patternCJK), by(patternDeepSeek))},
	"kimi-k2":     {split: by(patternKimi), whole: true},
	"tekken":      {split: by(patternTekken), whole: true, addBOS: true},
}

func by(src string) splitter { return byPattern(mustCompile(src), isolated, false) }

// FromGGUF makes the tokenizer of a GGUF file; file is its name in messages.
func FromGGUF(file string, m GGUF) (*Tokenizer, error) {
	pos := diag.Pos{File: file}
	t := &Tokenizer{bos: -1, eos: -1}
	if err := t.ggufVocab(file, m); err != nil {
		return nil, err
	}
	switch m.Model {
	case "gpt2":
		return t, t.ggufBytes(file, m)
	case "llama":
		return t, t.ggufPieces(pos, m)
	}
	return nil, diag.Errorf("tokenizer/unsupported", pos, "tokenizer.ggml.model = %q", clip(m.Model)).
		WithHint("known: \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece); use the model's own folder with its tokenizer.json")
}

// ggufVocab takes over the tokens.
func (t *Tokenizer) ggufVocab(file string, m GGUF) error {
	pos := diag.Pos{File: file}
	if len(m.Types) != len(m.Tokens) {
		return diag.Errorf("tokenizer/vocab", pos, "%d tokens, but %d token types", len(m.Tokens), len(m.Types)).WithHint("the file is damaged: fetch it again")
	}
	t.vocab = vocab{ids: make(map[string]int32, len(m.Tokens))}
	for id, text := range m.Tokens {
		if other, dup := t.vocab.ids[text]; dup {
			return diag.Errorf("tokenizer/vocab", pos, "tokens %d and %d are both %q", other, id, clip(text)).WithHint("the file is damaged: fetch it again")
		}
		if err := t.vocab.set(file, text, int32(id)); err != nil {
			return err
		}
		if kind := m.Types[id]; kind == typeControl || kind == typeUserDefined || kind == typeUnknown {
			t.vocab.tokens[id].special = kind != typeUserDefined
			if err := t.added.add(file, addedToken{id: id, content: text}, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// ggufBytes makes a byte-level tokenizer.
func (t *Tokenizer) ggufBytes(file string, m GGUF) error {
	d, ok := dialects[m.Pre]
	if !ok {
		return diag.Errorf("tokenizer/unsupported", diag.Pos{File: file}, "tokenizer.ggml.pre = %q", clip(m.Pre)).
			WithHint("known: %s; use the model's own folder with its tokenizer.json", strings.Join(slices.Sorted(maps.Keys(dialects)), ", "))
	}
	if d.nfc {
		t.rewrite = []rewrite{nfc}
	}
	t.split = d.split
	t.decoder = decoder{func() step { return &byteLevel{} }}
	t.bpe = newBPE(t.vocab.ids, true, false)
	t.bpe.whole = d.whole
	for rank, text := range m.Merges {
		left, right, ok := cutMerge(text)
		if !ok {
			return diag.Errorf("tokenizer/merges", diag.Pos{File: file}, "merge %d, %q, is not two tokens with a space between", rank, clip(text)).WithHint("the file is damaged: fetch it again")
		}
		if err := t.bpe.addMerge(file, rank, left, right); err != nil {
			return err
		}
	}
	return t.ggufSpecials(diag.Pos{File: file}, m, d.addBOS)
}

// ggufPieces makes a SentencePiece tokenizer, as Llama 2's: "▁" for spaces, one of
// them before each text between special tokens, bytes for what has no token.
func (t *Tokenizer) ggufPieces(pos diag.Pos, m GGUF) error {
	if len(m.Scores) != len(m.Tokens) {
		return diag.Errorf("tokenizer/vocab", pos, "%d tokens, but %d scores", len(m.Tokens), len(m.Scores)).WithHint("the file is damaged: fetch it again")
	}
	const mark = "▁"
	t.split = whole
	t.rewrite = []rewrite{replaceAll(" ", mark)}
	t.decoder = decoder{replaceStep(mark, " "), func() step { return &byteFallback{} }}
	if m.AddSpacePrefix == nil || *m.AddSpacePrefix {
		t.rewrite = []rewrite{prepend(mark), replaceAll(" ", mark)}
		t.decoder = append(t.decoder, func() step { return &stripFirst{c: " ", left: 1} })
	}
	t.bpe = newBPE(t.vocab.ids, false, true)
	t.bpe.fuse = true
	t.bpe.setScores(m.Scores, func(id int) bool {
		kind := m.Types[id]
		return kind == typeNormal || kind == typeUserDefined || kind == typeUnused
	})
	for id, kind := range m.Types {
		if kind == typeUnknown {
			t.bpe.unk = int32(id)
			break
		}
	}
	return t.ggufSpecials(pos, m, true)
}

// ggufSpecials takes over the tokens that begin and end texts and turns.
func (t *Tokenizer) ggufSpecials(pos diag.Pos, m GGUF, addBOS bool) error {
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

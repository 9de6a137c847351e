package gguf

import "zmlx-rewrite/diag"

// Tokenizer is the tokenizer metadata of a file, as stored.
type Tokenizer struct {
	Model  string   // "gpt2": byte-level BPE; "llama": SentencePiece
	Pre    string   // the pre-tokenizer by llama.cpp's name: "smollm", "qwen2"
	Tokens []string // the text of each id; byte-level BPE has bytes as GPT-2 spells them
	Types  []int32  // per id, or nil: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
	Scores []float32
	Merges []string // "a b", best first

	BOS, EOS, Unknown, Padding int   // ids, -1 where the file has none
	EOT, EOM                   int   // ends of a turn and of a message, likewise
	AddBOS, AddEOS             *bool // nil where the file does not say
	AddSpacePrefix             *bool

	ChatTemplate string // Jinja, or ""
}

// Tokenizer returns the tokenizer metadata. A file without one is an error.
func (f *File) Tokenizer() (*Tokenizer, error) {
	const p = "tokenizer.ggml."
	g := tokenizerReader{f: f}
	t := &Tokenizer{BOS: -1, EOS: -1, Unknown: -1, Padding: -1, EOT: -1, EOM: -1}
	if _, ok := f.Get(p + "tokens"); !ok {
		return nil, diag.Errorf("gguf/tokenizer", diag.Pos{File: f.Name()}, "the file has no tokenizer").
			WithHint("give the folder of the model with its tokenizer.json")
	}
	get(&g, p+"model", &t.Model)
	get(&g, p+"pre", &t.Pre)
	get(&g, p+"tokens", &t.Tokens)
	get(&g, p+"token_type", &t.Types)
	get(&g, p+"scores", &t.Scores)
	get(&g, p+"merges", &t.Merges)
	get(&g, "tokenizer.chat_template", &t.ChatTemplate)
	for key, dst := range map[string]**bool{"add_bos_token": &t.AddBOS, "add_eos_token": &t.AddEOS, "add_space_prefix": &t.AddSpacePrefix} {
		var b bool
		if get(&g, p+key, &b) {
			*dst = &b
		}
	}
	n := len(t.Tokens)
	for key, dst := range map[string]*int{
		"bos_token_id": &t.BOS, "eos_token_id": &t.EOS, "unknown_token_id": &t.Unknown, "padding_token_id": &t.Padding,
		"eot_token_id": &t.EOT, "eom_token_id": &t.EOM,
	} {
		if v, ok := f.Get(p + key); ok {
			id, isInt := v.Int()
			if !isInt || id < 0 || id >= int64(n) {
				g.issues.Add(diag.Errorf("gguf/tokenizer", diag.At(f.Name(), int64(v.At)), "%s%s is %v; the vocabulary has %d tokens", p, key, v, n))
				continue
			}
			*dst = int(id)
		}
	}
	if t.Types != nil && len(t.Types) != n || t.Scores != nil && len(t.Scores) != n {
		v, _ := f.Get(p + "tokens")
		g.issues.Add(diag.Errorf("gguf/tokenizer", diag.At(f.Name(), int64(v.At)), "%d tokens, but %d token types and %d scores", n, len(t.Types), len(t.Scores)))
	}
	g.issues.Sort()
	if err := g.issues.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

type tokenizerReader struct {
	f      *File
	issues diag.List
}

// get stores the value of a key in dst and reports whether the file has it. A
// value of another type is an issue.
func get[T any](g *tokenizerReader, key string, dst *T) bool {
	v, ok := g.f.Get(key)
	if !ok {
		return false
	}
	x, ok := v.Data.(T)
	if !ok {
		g.issues.Add(diag.Errorf("gguf/tokenizer", diag.At(g.f.Name(), int64(v.At)), "%s is of type %v, not %T", key, v, *dst))
		return false
	}
	*dst = x
	return true
}

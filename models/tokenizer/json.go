package tokenizer

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"zmlx-rewrite/diag"
)

// ParseJSON reads a tokenizer.json of Hugging Face tokenizers; file is its name
// in messages. Truncation and padding, which that file may also hold, are
// settings of a training run and are left aside, as transformers does. Which
// tokens begin and end a text is in another file: see ApplyConfig.
func ParseJSON(file string, data []byte) (*Tokenizer, error) {
	if !utf8.Valid(data) {
		return nil, diag.Errorf("tokenizer/json", diag.Pos{File: file}, "not UTF-8 text").
			WithHint("fetch the file again")
	}
	var f jsonFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, jsonError(file, err)
	}
	r := reader{file: file}
	t, err := r.tokenizer(&f)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func jsonError(file string, err error) error {
	pos := diag.Pos{File: file}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		pos = diag.At(file, syntax.Offset)
	case errors.As(err, &typ):
		pos = diag.At(file, typ.Offset)
	}
	return diag.Errorf("tokenizer/json", pos, "%s", strings.TrimPrefix(err.Error(), "json: ")).
		WithHint("the file is damaged or no tokenizer.json: fetch it again")
}

// reader makes a Tokenizer from the parts of a file.
type reader struct {
	file   string
	growth int // how many times longer Replace steps may make a text; 0: as it is
}

func (r *reader) unsupported(hint, format string, args ...any) error {
	return diag.Errorf("tokenizer/unsupported", diag.Pos{File: r.file}, format, args...).WithHint("%s", hint)
}

func (r *reader) tokenizer(f *jsonFile) (*Tokenizer, error) {
	t := &Tokenizer{bos: -1, eos: -1}
	level := false
	split, err := r.preTokenizer([]splitter{whole}, f.PreTokenizer, &level)
	if err != nil {
		return nil, err
	}
	t.split = chain(split...)
	if err := r.model(t, f.Model, level, len(f.Added)); err != nil {
		return nil, err
	}
	if err := r.normalizer(t, f.Normalizer); err != nil {
		return nil, err
	}
	if err := r.addedTokens(t, f.Added); err != nil {
		return nil, err
	}
	fused := false
	if err := r.decoder(t, f.Decoder, &fused); err != nil {
		return nil, err
	}
	if err := r.postProcessor(t, f.PostProcessor, 0); err != nil {
		return nil, err
	}
	return t, nil
}

const hintBPE = "only BPE is read, byte-level and SentencePiece's; WordPiece and Unigram models are not"

func (r *reader) model(t *Tokenizer, m *jsonModel, level bool, added int) error {
	if m == nil {
		return diag.Errorf("tokenizer/json", diag.Pos{File: r.file}, "there is no model in the file").
			WithHint("give the tokenizer.json of the model, not tokenizer_config.json")
	}
	set := func(s *string) bool { return s != nil && *s != "" }
	switch {
	case m.Type != "BPE" && m.Type != "":
		return r.unsupported(hintBPE, "model type %q", clip(m.Type))
	case m.Dropout != nil && *m.Dropout != 0:
		return r.unsupported("set model.dropout to null: dropout is for training", "model.dropout = %g", *m.Dropout)
	case set(m.Prefix):
		return r.unsupported(hintBPE, "model.continuing_subword_prefix = %q", clip(*m.Prefix))
	case set(m.Suffix):
		return r.unsupported(hintBPE, "model.end_of_word_suffix = %q", clip(*m.Suffix))
	case m.ByteFallback && level:
		return r.unsupported("a byte-level vocabulary has all bytes: set it to false", "model.byte_fallback = true with a ByteLevel pre-tokenizer")
	}
	ids := map[string]int32{}
	if err := json.Unmarshal(m.Vocab, &ids); err != nil {
		return jsonError(r.file, err)
	}
	var err error
	if t.vocab, err = newVocab(r.file, ids, len(ids)+added); err != nil {
		return err
	}
	t.bpe = newBPE(ids, level, m.ByteFallback)
	t.bpe.fuse, t.bpe.whole = m.FuseUnk, m.IgnoreMerges
	if set(m.UnkToken) {
		id, ok := ids[*m.UnkToken]
		if !ok {
			return diag.Errorf("tokenizer/vocab", diag.Pos{File: r.file}, "model.unk_token %q is not in the vocabulary", clip(*m.UnkToken)).
				WithHint("set it to null, or add the token")
		}
		t.bpe.unk = id
	}
	for rank, pair := range m.Merges {
		if err := t.bpe.addMerge(r.file, rank, pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// addedTokens adds the tokens in the order of the file. Their ids must be those
// that Hugging Face tokenizers would give them in that order, else its answers
// and ours would differ.
func (r *reader) addedTokens(t *Tokenizer, list []jsonAdded) error {
	next := int64(len(t.vocab.ids))
	seen := map[string]bool{}
	for _, a := range list {
		if seen[a.Content] {
			return diag.Errorf("tokenizer/added", diag.Pos{File: r.file}, "added token %q is there twice", clip(a.Content)).
				WithHint("keep one of them in added_tokens")
		}
		seen[a.Content] = true
		want := next
		if id, ok := t.vocab.ids[a.Content]; ok {
			want = int64(id)
		}
		if a.Content != "" && a.ID != want {
			return diag.Errorf("tokenizer/added", diag.Pos{File: r.file}, "added token %q has id %d, but its place in the file gives it id %d", clip(a.Content), a.ID, want).
				WithHint("sort added_tokens by id, leave no gaps, and keep the ids of tokens that the vocabulary has")
		}
		if a.Content == "" {
			continue
		}
		if err := t.vocab.set(r.file, a.Content, int32(a.ID)); err != nil {
			return err
		}
		next = max(next, a.ID+1)
		token := &t.vocab.tokens[a.ID]
		token.special = token.special || a.Special
		content := a.Content
		if a.Normalized {
			content = t.normalize(content)
			token.text = content // it decodes to the form that was found
		}
		found := addedToken{id: int(a.ID), content: content, singleWord: a.SingleWord, lstrip: a.Lstrip, rstrip: a.Rstrip}
		if err := t.added.add(r.file, found, a.Normalized); err != nil {
			return err
		}
	}
	return nil
}

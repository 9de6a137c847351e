package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// jsonFile is tokenizer.json. Parts that come in several types are read by hand.
type jsonFile struct {
	Added         []jsonAdded `json:"added_tokens"`
	Normalizer    *component  `json:"normalizer"`
	PreTokenizer  *component  `json:"pre_tokenizer"`
	PostProcessor *component  `json:"post_processor"`
	Decoder       *component  `json:"decoder"`
	Model         *jsonModel  `json:"model"`
}

type jsonAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type jsonModel struct {
	Type         string          `json:"type"`
	Vocab        json.RawMessage `json:"vocab"` // of Unigram: a list
	Merges       []jsonMerge     `json:"merges"`
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	FuseUnk      bool            `json:"fuse_unk"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
}

// component is any normalizer, pre-tokenizer, post-processor or decoder.
type component struct {
	Type string `json:"type"`

	Normalizers    []component `json:"normalizers"`   // of Sequence
	PreTokenizers  []component `json:"pretokenizers"` // of Sequence
	Processors     []component `json:"processors"`    // of Sequence
	Decoders       []component `json:"decoders"`      // of Sequence
	AddPrefixSpace *bool       `json:"add_prefix_space"`
	UseRegex       *bool       `json:"use_regex"`         // of ByteLevel
	Individual     bool        `json:"individual_digits"` // of Digits
	Behavior       string      `json:"behavior"`          // of Split
	Invert         bool        `json:"invert"`            // of Split
	Pattern        struct {
		Regex  *string
		String *string
	} `json:"pattern"` // of Split
	Single []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct {
			ID string `json:"id"`
		}
	} `json:"single"` // of TemplateProcessing
	SpecialTokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"` // of TemplateProcessing
}

// jsonMerge is "left right" or, since 2024, ["left", "right"].
type jsonMerge [2]string

func (m *jsonMerge) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		s := string(data[1 : len(data)-1])
		if strings.Contains(s, `\`) { // few merges have an escape, and there are 280,000 of them
			if err := json.Unmarshal(data, &s); err != nil {
				return err
			}
		}
		left, right, ok := cutMerge(s)
		if !ok {
			return fmt.Errorf("merge %q is not two tokens with a space between", clip(s))
		}
		*m = jsonMerge{left, right}
		return nil
	}
	var two []string
	if err := json.Unmarshal(data, &two); err != nil {
		return err
	}
	if len(two) != 2 {
		return fmt.Errorf("a merge has %d tokens, not two", len(two))
	}
	*m = jsonMerge{two[0], two[1]}
	return nil
}

// reader makes a Tokenizer from the parts of a file.
type reader struct{ file string }

func (r *reader) unsupported(hint, format string, args ...any) error {
	return diag.Errorf("tokenizer/unsupported", diag.Pos{File: r.file}, format, args...).WithHint("%s", hint)
}

func (r *reader) tokenizer(f *jsonFile) (*Tokenizer, error) {
	t := &Tokenizer{bos: -1, eos: -1, split: whole}
	if err := r.model(t, f.Model, len(f.Added)); err != nil {
		return nil, err
	}
	if err := r.normalizer(t, f.Normalizer); err != nil {
		return nil, err
	}
	if err := r.addedTokens(t, f.Added); err != nil {
		return nil, err
	}
	bytes := false
	if err := r.preTokenizer(t, f.PreTokenizer, &bytes); err != nil {
		return nil, err
	}
	if !bytes {
		return nil, r.unsupported(hintBPE, "there is no ByteLevel pre-tokenizer: this is not a byte-level tokenizer")
	}
	if err := r.decoder(f.Decoder); err != nil {
		return nil, err
	}
	if err := r.postProcessor(t, f.PostProcessor, 0); err != nil {
		return nil, err
	}
	return t, nil
}

const hintBPE = "only byte-level BPE is read (GPT-2, SmolLM2, Llama 3, Qwen2 and later); SentencePiece and WordPiece models are not"

func (r *reader) model(t *Tokenizer, m *jsonModel, added int) error {
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
	case m.ByteFallback:
		return r.unsupported(hintBPE, "model.byte_fallback = true")
	}
	ids := map[string]int32{}
	if err := json.Unmarshal(m.Vocab, &ids); err != nil {
		return jsonError(r.file, err)
	}
	var err error
	if t.vocab, err = newVocab(r.file, ids, len(ids)+added); err != nil {
		return err
	}
	t.bpe = newBPE(ids)
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

func (r *reader) normalizer(t *Tokenizer, c *component) error {
	switch {
	case c == nil:
	case c.Type == "NFC":
		t.nfc = true
	case c.Type == "Sequence":
		for i := range c.Normalizers {
			if err := r.normalizer(t, &c.Normalizers[i]); err != nil {
				return err
			}
		}
	default:
		return r.unsupported("known normalizers: NFC, Sequence, null", "normalizer %q", clip(c.Type))
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
		if a.Normalized && t.nfc {
			content = nfc(content)
			token.text = content // it decodes to the form that was found
		}
		found := addedToken{id: int(a.ID), content: content, singleWord: a.SingleWord, lstrip: a.Lstrip, rstrip: a.Rstrip}
		if err := t.added.add(r.file, found, a.Normalized); err != nil {
			return err
		}
	}
	return nil
}

// preTokenizer puts the splitters of c after those that t has. bytes is set by
// ByteLevel; what comes after that would see the byte alphabet instead of text.
func (r *reader) preTokenizer(t *Tokenizer, c *component, bytes *bool) error {
	if c == nil {
		return nil
	}
	if *bytes {
		return r.unsupported("put ByteLevel last in pre_tokenizer", "pre-tokenizer %q after ByteLevel", clip(c.Type))
	}
	switch c.Type {
	case "Sequence":
		for i := range c.PreTokenizers {
			if err := r.preTokenizer(t, &c.PreTokenizers[i], bytes); err != nil {
				return err
			}
		}
	case "ByteLevel":
		*bytes = true
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			t.split = chain(t.split, spaceFirst)
		}
		if c.UseRegex == nil || *c.UseRegex {
			t.split = chain(t.split, byMatch(matchGPT2))
		}
	case "Digits":
		t.split = chain(t.split, byDigits(c.Individual))
	case "Split":
		if c.Pattern.Regex == nil {
			return r.unsupported("only Split with a Regex pattern is read", "pre-tokenizer Split without a regular expression")
		}
		match, ok := patterns[*c.Pattern.Regex]
		if !ok {
			return r.unsupported("known patterns: those of GPT-2, Llama 3 and Qwen2; a new one is a function in models/tokenizer/split.go", "pre-tokenizer Split with the pattern %q", clipLong(*c.Pattern.Regex))
		}
		if c.Behavior != "Isolated" || c.Invert {
			return r.unsupported(`only behavior "Isolated" with invert false is read`, "pre-tokenizer Split with behavior %q, invert %t", clip(c.Behavior), c.Invert)
		}
		t.split = chain(t.split, byMatch(match))
	default:
		return r.unsupported("known pre-tokenizers: ByteLevel, Digits, Split, Sequence", "pre-tokenizer %q", clip(c.Type))
	}
	return nil
}

// clipLong shortens a pattern for a message: a person must see all of a real one.
func clipLong(s string) string {
	if len(s) > 500 {
		return s[:500] + "…"
	}
	return s
}

func (r *reader) decoder(c *component) error {
	switch {
	case c == nil:
		return r.unsupported(`set decoder to {"type": "ByteLevel"}`, "there is no decoder")
	case c.Type == "Sequence" && len(c.Decoders) == 1:
		return r.decoder(&c.Decoders[0])
	case c.Type != "ByteLevel":
		return r.unsupported("the known decoder is ByteLevel", "decoder %q", clip(c.Type))
	}
	return nil
}

// postProcessor reads what is put around the text. ByteLevel is there for the
// offsets of tokens in the text, which we do not give.
func (r *reader) postProcessor(t *Tokenizer, c *component, seen int) error {
	switch {
	case c == nil || c.Type == "ByteLevel":
	case c.Type == "Sequence":
		for i := range c.Processors {
			if c.Processors[i].Type == "TemplateProcessing" {
				seen++
			}
			if seen > 1 {
				return r.unsupported("keep one of them", "two TemplateProcessing post-processors")
			}
			if err := r.postProcessor(t, &c.Processors[i], seen); err != nil {
				return err
			}
		}
	case c.Type == "TemplateProcessing":
		return r.template(t, c)
	default:
		return r.unsupported("known post-processors: TemplateProcessing, ByteLevel, Sequence", "post-processor %q", clip(c.Type))
	}
	return nil
}

func (r *reader) template(t *Tokenizer, c *component) error {
	texts := 0
	for _, part := range c.Single {
		switch {
		case part.Sequence != nil:
			texts++
		case part.SpecialToken != nil:
			token, ok := c.SpecialTokens[part.SpecialToken.ID]
			if !ok {
				return diag.Errorf("tokenizer/json", diag.Pos{File: r.file}, "the TemplateProcessing post-processor uses %q, which its special_tokens do not have", clip(part.SpecialToken.ID)).
					WithHint("add it to post_processor.special_tokens")
			}
			for _, id := range token.IDs {
				if _, ok := t.Token(id); !ok {
					return diag.Errorf("tokenizer/json", diag.Pos{File: r.file}, "the TemplateProcessing post-processor uses id %d, which the vocabulary does not have", id).
						WithHint("correct post_processor.special_tokens")
				}
			}
			if texts == 0 {
				t.prefix = append(t.prefix, token.IDs...)
			} else {
				t.suffix = append(t.suffix, token.IDs...)
			}
		}
	}
	if texts != 1 {
		return r.unsupported(`post_processor.single must hold {"Sequence": …} once`, "a TemplateProcessing post-processor with the text %d times", texts)
	}
	t.prefix, t.suffix = slices.Clip(t.prefix), slices.Clip(t.suffix)
	return nil
}

package tokenizer

import (
	"slices"

	"zmlx-rewrite/diag"
)

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

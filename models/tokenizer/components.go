package tokenizer

import (
	"slices"

	"zmlx-rewrite/diag"
)

func (r *reader) normalizer(t *Tokenizer, c *component) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "Sequence":
		for i := range c.Normalizers {
			if err := r.normalizer(t, &c.Normalizers[i]); err != nil {
				return err
			}
		}
	case "NFC":
		t.rewrite = append(t.rewrite, nfc)
	case "Prepend":
		if len(c.Prepend) > maxPrepend {
			return r.unsupported("correct it", "Prepend with %d bytes, more than %d", len(c.Prepend), maxPrepend)
		}
		t.rewrite = append(t.rewrite, prepend(c.Prepend))
	case "Replace":
		old, err := r.literal(c)
		if err != nil {
			return err
		}
		t.rewrite = append(t.rewrite, replaceAll(old, c.Content))
	default:
		return r.unsupported("known normalizers: NFC, Prepend, Replace, Sequence, null", "normalizer %q", clip(c.Type))
	}
	if len(t.rewrite) > maxSteps {
		return r.unsupported("remove some of them", "more than %d normalizers", maxSteps)
	}
	return nil
}

// Limits of what a file can make of a text.
const (
	maxSteps   = 16 // how often it is gone over
	maxGrowth  = 64 // how many times longer Replace steps make it
	maxPrepend = 64 // bytes
)

// literal is the text that a Replace looks for.
func (r *reader) literal(c *component) (string, error) {
	if c.Pattern.String == nil || *c.Pattern.String == "" {
		return "", r.unsupported("only Replace with a String pattern that is not empty is read", "%s without a text to look for", clip(c.Type))
	}
	old := *c.Pattern.String
	r.growth = max(r.growth, 1) * max(1, (len(c.Content)+len(old)-1)/len(old))
	if r.growth > maxGrowth {
		return "", r.unsupported("correct content", "Replace steps that make a text more than %d times longer", maxGrowth)
	}
	return old, nil
}

// preTokenizer puts the splitters of c behind those in list. ByteLevel must be the
// last: what comes after it would see the byte alphabet instead of text.
func (r *reader) preTokenizer(list []splitter, c *component, level *bool) ([]splitter, error) {
	if c == nil {
		return list, nil
	}
	if *level {
		return nil, r.unsupported("put ByteLevel last in pre_tokenizer", "pre-tokenizer %q after ByteLevel", clip(c.Type))
	}
	switch c.Type {
	case "Sequence":
		var err error
		for i := range c.PreTokenizers {
			if list, err = r.preTokenizer(list, &c.PreTokenizers[i], level); err != nil {
				return nil, err
			}
		}
	case "ByteLevel":
		*level = true
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			list = append(list, spaceFirst)
		}
		if c.UseRegex == nil || *c.UseRegex {
			list = append(list, byPattern(gpt2, isolated, false))
		}
	case "Digits":
		list = append(list, byDigits(c.Individual))
	case "Metaspace":
		scheme, err := r.prependScheme(c)
		if err != nil {
			return nil, err
		}
		list = append(list, metaspace(c.Replacement, scheme, c.Split == nil || *c.Split))
	case "Split":
		split, err := r.split(c)
		if err != nil {
			return nil, err
		}
		list = append(list, split)
	default:
		return nil, r.unsupported("known pre-tokenizers: ByteLevel, Digits, Metaspace, Split, Sequence", "pre-tokenizer %q", clip(c.Type))
	}
	if len(list) > maxSteps {
		return nil, r.unsupported("remove some of them", "more than %d pre-tokenizers", maxSteps)
	}
	return list, nil
}

func (r *reader) split(c *component) (splitter, error) {
	does, ok := behaviors[c.Behavior]
	if !ok {
		return nil, r.unsupported("known behaviors: Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous", "pre-tokenizer Split with behavior %q", clip(c.Behavior))
	}
	switch {
	case c.Pattern.Regex != nil:
		p, err := compile(*c.Pattern.Regex)
		if err != nil {
			return nil, r.unsupported("models/tokenizer/pattern.go says what is read", "pre-tokenizer Split with the pattern %q: %v", clipLong(*c.Pattern.Regex), err)
		}
		return byPattern(p, does, c.Invert), nil
	case c.Pattern.String != nil && *c.Pattern.String != "":
		return byText(*c.Pattern.String, does, c.Invert), nil
	}
	return nil, r.unsupported("give it one", "pre-tokenizer Split without a pattern")
}

// prependScheme reads when a Metaspace begins a piece with its mark. Files from
// before 2024 say add_prefix_space; the original refuses the two if they disagree.
func (r *reader) prependScheme(c *component) (prependScheme, error) {
	if len([]rune(c.Replacement)) != 1 {
		return 0, r.unsupported("it is one character, mostly \"▁\"", "Metaspace with the replacement %q", clip(c.Replacement))
	}
	scheme := map[string]prependScheme{"always": prependAlways, "first": prependFirst, "never": prependNever, "": prependAlways}
	s, ok := scheme[c.PrependScheme]
	if !ok {
		return 0, r.unsupported("known schemes: always, first, never", "Metaspace with the prepend_scheme %q", clip(c.PrependScheme))
	}
	if c.AddPrefixSpace != nil && !*c.AddPrefixSpace && s != prependNever {
		return 0, r.unsupported("set prepend_scheme to never", "Metaspace with add_prefix_space false and another prepend_scheme than never")
	}
	return s, nil
}

// clipLong shortens a pattern for a message: a person must see all of a real one.
func clipLong(s string) string {
	if len(s) > 500 {
		return s[:500] + "…"
	}
	return s
}

// decoder puts the steps of c behind those of t. fused is set where tokens have
// become one text, which Stream hands on in parts.
func (r *reader) decoder(t *Tokenizer, c *component, fused *bool) error {
	if c == nil {
		return r.unsupported("give it one: {\"type\": \"ByteLevel\"} for byte-level BPE", "there is no decoder")
	}
	if c.Type == "Sequence" {
		for i := range c.Decoders {
			if err := r.decoder(t, &c.Decoders[i], fused); err != nil {
				return err
			}
		}
		return nil
	}
	if *fused && c.Type != "Fuse" && c.Type != "Strip" {
		return r.unsupported("only Strip may come after Fuse or ByteLevel", "decoder %q after the tokens are one text", clip(c.Type))
	}
	switch c.Type {
	case "ByteLevel":
		*fused = true
		t.decoder = append(t.decoder, func() step { return &byteLevel{} })
	case "ByteFallback":
		t.decoder = append(t.decoder, func() step { return &byteFallback{} })
	case "Fuse":
		*fused = true
	case "Metaspace":
		scheme, err := r.prependScheme(c)
		if err != nil {
			return err
		}
		t.decoder = append(t.decoder, func() step { return &metaspaceStep{mark: c.Replacement, drop: scheme != prependNever} })
	case "Replace":
		old, err := r.literal(c)
		if err != nil {
			return err
		}
		t.decoder = append(t.decoder, replaceStep(old, c.Content))
	case "Strip":
		if len([]rune(c.Content)) != 1 || c.Start < 0 || c.Stop != 0 {
			return r.unsupported("only one character at the beginning of tokens is stripped (content, start)", "decoder Strip of %q, %d and %d times", clip(c.Content), c.Start, c.Stop)
		}
		if *fused {
			t.decoder = append(t.decoder, func() step { return &stripFirst{c: c.Content, left: c.Start} })
		} else {
			t.decoder = append(t.decoder, stripStep(c.Content, c.Start))
		}
	default:
		return r.unsupported("known decoders: ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, Sequence", "decoder %q", clip(c.Type))
	}
	if len(t.decoder) > maxSteps {
		return r.unsupported("remove some of them", "more than %d decoders", maxSteps)
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

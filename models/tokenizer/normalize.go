package tokenizer

import "strings"

// A rewrite is one step of a normalizer: it changes a part of the text before it is
// split.
type rewrite func(string) string

func (t *Tokenizer) normalize(text string) string {
	for _, f := range t.rewrite {
		text = f(text)
	}
	return text
}

func prepend(mark string) rewrite {
	return func(text string) string {
		if text == "" {
			return ""
		}
		return mark + text
	}
}

func replaceAll(old, new string) rewrite {
	return func(text string) string { return strings.ReplaceAll(text, old, new) }
}

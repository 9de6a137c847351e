package tokenizer

import (
	"strings"
	"unicode/utf8"

	"zmlx-rewrite/diag"
)

// addedToken is a token that is found in the text before anything else is done
// to it: "<|im_start|>".
type addedToken struct {
	id      int
	content string

	singleWord bool // only if no word character touches it
	lstrip     bool // takes the spaces on its left with it
	rstrip     bool // and those on its right
}

// maxAdded limits the bytes of an added token, so that looking for them takes
// time linear in the text.
const maxAdded = 512

// added holds the added tokens: those that are looked for in the text as it is,
// and those that are looked for after the normalizer has run.
type added struct{ raw, normalized finder }

func (a *added) add(file string, t addedToken, normalized bool) error {
	if t.content == "" {
		return nil // as the original: it could be found everywhere
	}
	if len(t.content) > maxAdded {
		return diag.Errorf("tokenizer/added", diag.Pos{File: file}, "added token %q has %d bytes, more than %d", clip(t.content), len(t.content), maxAdded).
			WithHint("remove it from added_tokens")
	}
	f := &a.raw
	if normalized {
		f = &a.normalized
	}
	f.add(t)
	return nil
}

// finder finds added tokens: a trie over bytes, whose nodes list their children.
type finder struct {
	tokens []addedToken
	nodes  []trieNode
	first  [256]int32 // the node of a first byte; 0: none
}

type trieNode struct {
	b              byte
	child, sibling int32 // 0: none
	token          int32 // index into tokens, plus one; 0: no token ends here
}

func (f *finder) add(t addedToken) {
	if f.nodes == nil {
		f.nodes = make([]trieNode, 1) // node 0 means none
	}
	f.tokens = append(f.tokens, t)
	at := f.first[t.content[0]]
	if at == 0 {
		at = f.grow(trieNode{b: t.content[0]})
		f.first[t.content[0]] = at
	}
	for i := 1; i < len(t.content); i++ {
		next := f.child(at, t.content[i])
		if next == 0 {
			next = f.grow(trieNode{b: t.content[i], sibling: f.nodes[at].child})
			f.nodes[at].child = next
		}
		at = next
	}
	if f.nodes[at].token == 0 {
		f.nodes[at].token = int32(len(f.tokens))
	}
}

func (f *finder) grow(n trieNode) int32 {
	f.nodes = append(f.nodes, n)
	return int32(len(f.nodes) - 1)
}

func (f *finder) child(at int32, b byte) int32 {
	for n := f.nodes[at].child; n != 0; n = f.nodes[n].sibling {
		if f.nodes[n].b == b {
			return n
		}
	}
	return 0
}

// longest returns the longest token that s begins with.
func (f *finder) longest(s string) (t *addedToken) {
	at := f.first[s[0]]
	for i := 1; at != 0; i++ {
		if k := f.nodes[at].token; k != 0 {
			t = &f.tokens[k-1]
		}
		if i == len(s) {
			break
		}
		at = f.child(at, s[i])
	}
	return t
}

// cut yields the pieces of text between added tokens, with id -1, and the tokens,
// with their ids.
func (f *finder) cut(text string, yield func(piece string, id int)) {
	done := 0   // text up to here has been yielded
	spaces := 0 // a run of spaces that was measured goes up to here
	for i := 0; i < len(text) && len(f.tokens) > 0; {
		t := f.longest(text[i:])
		if t == nil {
			i++
			continue
		}
		start, stop := i, i+len(t.content)
		i = stop
		if t.singleWord && (wordBefore(text[:start]) || wordAfter(text[stop:])) {
			continue
		}
		if t.lstrip {
			start = done + len(strings.TrimRightFunc(text[done:max(done, start)], isSpace))
		}
		if t.rstrip {
			// Matches may lie inside the spaces that the one before took: they are
			// tokens all the same. Measuring each run once keeps this linear.
			if stop >= spaces {
				spaces = stop + span(text[stop:], isSpace)
			}
			stop = spaces
		}
		if done < start {
			yield(text[done:start], -1)
		}
		yield("", t.id)
		done = stop
	}
	if done < len(text) {
		yield(text[done:], -1)
	}
}

func wordBefore(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func wordAfter(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"zmlx-rewrite/diag"
)

// bpe joins the characters of a word into tokens: of all neighbours that can be
// merged, the pair with the lowest rank first, the leftmost of equals. Byte-level BPE
// takes bytes for characters, in its alphabet; SentencePiece's takes those of Unicode,
// and bytes only where a character has no token.
type bpe struct {
	ids    map[string]int32
	level  bool             // byte-level: ids are in the byte alphabet
	single [256]int32       // the token of one byte, or of an ASCII character; -1: none
	bytes  [256]int32       // byte fallback: the tokens "<0x00>" to "<0xFF>"; -1: none
	merges map[pair]merge   // what tokenizer.json lists
	ranks  []int32          // SentencePiece lists no merges: a pair whose text is a token has that token's rank. -1: is no result
	raw    map[string]int32 // with ranks, byte-level: the vocabulary as bytes
	unk    int32            // stands for what has no token; -1: it is left out
	fuse   bool             // one unk for several such characters in a row
	whole  bool             // a word that is a token needs no merges (Llama 3: "ignore_merges")
}

type pair struct{ left, right int32 }

type merge struct{ rank, id int32 }

// newBPE makes a bpe without merges.
func newBPE(ids map[string]int32, level, fallback bool) *bpe {
	b := &bpe{ids: ids, level: level, merges: map[pair]merge{}, unk: -1}
	token := func(text string) int32 {
		if id, ok := ids[text]; ok {
			return id
		}
		return -1
	}
	for i := range 256 {
		b.single[i], b.bytes[i] = -1, -1
		switch {
		case level:
			b.single[i] = token(alphabet[i])
		case i < utf8.RuneSelf:
			b.single[i] = token(string(rune(i)))
		}
		if fallback {
			b.bytes[i] = token(fmt.Sprintf("<0x%02X>", i))
		}
	}
	return b
}

// setScores makes SentencePiece's merges: the higher the score of a token, the
// sooner it is made. can tells the tokens that text can become.
func (b *bpe) setScores(scores []float32, can func(id int) bool) {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int { return cmp.Compare(scores[y], scores[x]) })
	b.ranks = make([]int32, len(scores))
	rank := int32(0)
	for k, id := range order {
		if k > 0 && scores[id] != scores[order[k-1]] {
			rank++
		}
		b.ranks[id] = rank
		if !can(int(id)) {
			b.ranks[id] = -1
		}
	}
}

// addMerge adds the merge of a rank. If a pair is there twice the later one
// counts, as in the original.
func (b *bpe) addMerge(file string, rank int, left, right string) error {
	l, ok1 := b.ids[left]
	r, ok2 := b.ids[right]
	id, ok3 := b.ids[left+right]
	if !ok1 || !ok2 || !ok3 {
		missing := left + right
		if !ok1 {
			missing = left
		} else if !ok2 {
			missing = right
		}
		return diag.Errorf("tokenizer/merges", diag.Pos{File: file}, "merge %d, %q + %q, needs the token %q, which the vocabulary does not have", rank, clip(left), clip(right), clip(missing)).
			WithHint("the file is damaged: fetch it again")
	}
	b.merges[pair{l, r}] = merge{rank: int32(rank), id: id}
	return nil
}

// worker encodes words one after the other into ids, with memory that is used
// again for each word.
type worker struct {
	*bpe
	ids     []int
	word    string
	symbols []symbol
	queue   queue
	text    []byte
}

// symbol is a node of a doubly linked list inside a slice.
type symbol struct {
	id         int32
	prev, next int32 // -1: none
	start, end int32 // where it is in the word
}

// Symbols that are no token.
const (
	merged  = -1 // into its left neighbour
	unknown = -2
)

func (b *bpe) worker(ids []int) *worker { return &worker{bpe: b, ids: ids} }

// encode appends the tokens of one word. It takes O(n log n) for n bytes: each
// merge takes one symbol away and puts at most two candidates into the queue.
func (w *worker) encode(p piece) {
	w.word = p.text
	if w.whole {
		if id, ok := w.wholeWord(); ok {
			w.ids = append(w.ids, int(id))
			return
		}
	}
	w.start()
	for i := 1; i < len(w.symbols); i++ {
		w.propose(int32(i - 1))
	}
	for len(w.queue) > 0 {
		w.apply(w.queue.pop())
	}
	lost := false // the symbol before was unk
	for _, s := range w.symbols {
		switch {
		case s.id >= 0:
			w.ids = append(w.ids, int(s.id))
			lost = false
		case s.id == unknown:
			lost = w.spell(w.word[s.start:s.end], lost)
		}
	}
}

// wholeWord returns the token that is the word.
func (w *worker) wholeWord() (int32, bool) {
	if !w.level {
		id, ok := w.bpe.ids[w.word]
		return id, ok
	}
	if w.raw != nil {
		id, ok := w.raw[w.word]
		return id, ok
	}
	w.text = w.text[:0]
	for i := range len(w.word) {
		w.text = append(w.text, alphabet[w.word[i]]...)
	}
	id, ok := w.bpe.ids[string(w.text)]
	return id, ok
}

// spell appends the bytes of a character without a token, or unk.
func (w *worker) spell(char string, lost bool) bool {
	if w.hasBytes(char) {
		for i := range len(char) {
			w.ids = append(w.ids, int(w.bytes[char[i]]))
		}
		return false
	}
	if w.unk >= 0 && !(lost && w.fuse) {
		w.ids = append(w.ids, int(w.unk))
	}
	return true
}

// hasBytes reports whether every byte of a character has a token.
func (w *worker) hasBytes(char string) bool {
	for i := range len(char) {
		if w.bytes[char[i]] < 0 {
			return false
		}
	}
	return true
}

// start makes the list of the tokens of single characters. What has no token stays
// unknown under scores, which may merge it; else it becomes its bytes, or unk.
//
// An unk waits until the next token of a character, since it may stand for several;
// bytes overtake it. Hugging Face tokenizers does so, intended or not.
func (w *worker) start() {
	w.symbols, w.queue = w.symbols[:0], w.queue[:0]
	waits := false
	from := 0
	for at := 0; at < len(w.word); {
		n := 1
		if c := w.word[at]; !w.level && c >= utf8.RuneSelf {
			_, n = utf8.DecodeRuneInString(w.word[at:])
		}
		char := w.word[at : at+n]
		id := w.char(char)
		switch {
		case id >= 0:
			if waits {
				w.add(w.unk, from, at)
				waits = false
			}
			w.add(id, at, at+n)
		case w.ranks != nil:
			w.add(unknown, at, at+n)
		case w.hasBytes(char):
			for i := range n {
				w.add(w.bytes[char[i]], at+i, at+i+1)
			}
		case w.unk >= 0:
			if waits && !w.fuse {
				w.add(w.unk, from, at)
			}
			if !waits || !w.fuse {
				from = at
			}
			waits = true
		}
		at += n
	}
	if waits {
		w.add(w.unk, from, len(w.word))
	}
	if n := len(w.symbols); n > 0 {
		w.symbols[n-1].next = -1
	}
}

// char returns the token of a character, or -1.
func (w *worker) char(char string) int32 {
	id := int32(-1)
	if len(char) == 1 {
		id = w.single[char[0]]
	} else if known, ok := w.bpe.ids[char]; ok {
		id = known
	}
	if id >= 0 && w.ranks != nil && w.ranks[id] < 0 {
		return -1
	}
	return id
}

func (w *worker) add(id int32, start, end int) {
	n := int32(len(w.symbols))
	w.symbols = append(w.symbols, symbol{id: id, prev: n - 1, next: n + 1, start: int32(start), end: int32(end)})
}

// mergeOf returns what two neighbours become, if anything.
func (w *worker) mergeOf(left, right *symbol) (merge, bool) {
	if w.ranks == nil {
		m, ok := w.merges[pair{left.id, right.id}]
		return m, ok
	}
	known := w.bpe.ids
	if w.level {
		known = w.raw
	}
	id, ok := known[w.word[left.start:right.end]]
	if !ok || w.ranks[id] < 0 {
		return merge{}, false
	}
	return merge{rank: w.ranks[id], id: id}, true
}

// propose queues the merge of the symbol at i with the next one, if there is one.
func (w *worker) propose(i int32) {
	next := w.symbols[i].next
	if next < 0 {
		return
	}
	if m, ok := w.mergeOf(&w.symbols[i], &w.symbols[next]); ok {
		w.queue.push(candidate{merge: m, at: i})
	}
}

// apply merges a candidate, unless one of its symbols has changed since.
func (w *worker) apply(c candidate) {
	s := &w.symbols[c.at]
	if s.id == merged || s.next < 0 {
		return
	}
	next := &w.symbols[s.next]
	if m, ok := w.mergeOf(s, next); !ok || m != c.merge {
		return
	}
	s.id, s.next, s.end = c.id, next.next, next.end
	next.id = merged
	if s.next >= 0 {
		w.symbols[s.next].prev = c.at
	}
	if s.prev >= 0 {
		w.propose(s.prev)
	}
	w.propose(c.at)
}

// cutMerge splits the text form of a merge, "left right".
func cutMerge(text string) (left, right string, ok bool) {
	left, right, ok = strings.Cut(text, " ")
	return left, right, ok && !strings.Contains(right, " ")
}

package tokenizer

import (
	"strings"

	"zmlx-rewrite/diag"
)

// bpe joins the bytes of a word into tokens: of all neighbours that have a merge,
// the pair with the lowest rank first, the leftmost of equals.
type bpe struct {
	ids    map[string]int32 // the vocabulary, in the byte alphabet
	single [256]int32       // the token of one byte; -1: none
	merges map[pair]merge
	unk    int32 // stands for bytes that have no token; -1: they are left out
	fuse   bool  // one unk for several such bytes in a row
	whole  bool  // a word that is a token needs no merges (Llama 3: "ignore_merges")
}

type pair struct{ left, right int32 }

type merge struct{ rank, id int32 }

// newBPE makes a bpe without merges.
func newBPE(ids map[string]int32) *bpe {
	b := &bpe{ids: ids, merges: map[pair]merge{}, unk: -1}
	for i, text := range alphabet {
		b.single[i] = -1
		if id, ok := ids[text]; ok {
			b.single[i] = id
		}
	}
	return b
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
	symbols []symbol
	queue   queue
	text    []byte
}

// symbol is a node of a doubly linked list inside a slice.
type symbol struct {
	id         int32 // -1: merged into its left neighbour
	prev, next int32 // -1: none
}

func (b *bpe) worker(ids []int) *worker { return &worker{bpe: b, ids: ids} }

// encode appends the tokens of one word. It takes O(n log n) for n bytes: each
// merge takes one symbol away and puts at most two candidates into the queue.
func (w *worker) encode(word string) {
	if w.whole {
		w.text = w.text[:0]
		for i := range len(word) {
			w.text = append(w.text, alphabet[word[i]]...)
		}
		if id, ok := w.bpe.ids[string(w.text)]; ok {
			w.ids = append(w.ids, int(id))
			return
		}
	}
	w.start(word)
	for i := 1; i < len(w.symbols); i++ {
		w.propose(int32(i - 1))
	}
	for len(w.queue) > 0 {
		w.apply(w.queue.pop())
	}
	for i := 0; i < len(w.symbols); i++ {
		if w.symbols[i].id >= 0 {
			w.ids = append(w.ids, int(w.symbols[i].id))
		}
	}
}

// start makes the list of the tokens of single bytes. A byte without one is unk;
// a character of several such bytes is as many: the alphabet has no longer ones.
func (w *worker) start(word string) {
	w.symbols, w.queue = w.symbols[:0], w.queue[:0]
	unknown := false
	for i := range len(word) {
		id := w.single[word[i]]
		if id < 0 {
			if w.unk < 0 || unknown && w.fuse {
				continue
			}
			id = w.unk
			unknown = true
		} else {
			unknown = false
		}
		n := int32(len(w.symbols))
		w.symbols = append(w.symbols, symbol{id: id, prev: n - 1, next: n + 1})
	}
	if n := len(w.symbols); n > 0 {
		w.symbols[n-1].next = -1
	}
}

// propose queues the merge of the symbol at i with the next one, if there is one.
func (w *worker) propose(i int32) {
	next := w.symbols[i].next
	if next < 0 {
		return
	}
	if m, ok := w.merges[pair{w.symbols[i].id, w.symbols[next].id}]; ok {
		w.queue.push(candidate{merge: m, at: i})
	}
}

// apply merges a candidate, unless one of its symbols has changed since.
func (w *worker) apply(c candidate) {
	s := &w.symbols[c.at]
	if s.id < 0 || s.next < 0 {
		return
	}
	next := s.next
	if m, ok := w.merges[pair{s.id, w.symbols[next].id}]; !ok || m != c.merge {
		return
	}
	s.id, s.next = c.id, w.symbols[next].next
	w.symbols[next].id = -1
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

package tokenizer

import "unicode/utf8"

// matcher runs a pattern over one text. It tries ways to match in the order of
// preference and steps back when one fails. A pattern could make that take
// quadratic time or worse; so once a text has taken more steps than it should, the
// matcher notes the places (instruction and position) that it has been at. Whether
// a place leads to a match does not depend on how it was reached, so none is tried
// twice: the time is linear in the text, and the result is the same. That holds from
// one match to the next: a place that both ends one and begins the next would be one
// of a pattern that matches the empty text, and compile refuses those.
type matcher struct {
	*pattern
	text  string
	stack []place
	steps int
	been  []uint64 // a bit for each split and position; nil: not noted yet
}

type place struct{ pc, at int32 }

// patience is how many steps a character may take before places are noted.
const patience = 64

// cuts yields the matches of the pattern and the stretches between them, in order.
// Texts of 2 GiB and more are one stretch.
func (p *pattern) cuts(text string, yield func(start, end int, match bool)) {
	m := matcher{pattern: p, text: text}
	done := 0
	for at := 0; at < len(text) && len(text) < 1<<31-1; {
		end := m.match(at)
		if end < 0 {
			_, n := utf8.DecodeRuneInString(text[at:])
			at += n
			continue
		}
		if done < at {
			yield(done, at, false)
		}
		yield(at, end, true)
		at, done = end, end
	}
	if done < len(text) {
		yield(done, len(text), false)
	}
}

// match returns where the match ends that begins at a position, or -1.
func (m *matcher) match(start int) int {
	m.stack = m.stack[:0]
	pc, at := int32(0), start
	fail := func() bool {
		if len(m.stack) == 0 {
			return false
		}
		top := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		pc, at = top.pc, int(top.at)
		return true
	}
	for {
		m.steps++
		in := &m.code[pc]
		ok := true
		switch in.op {
		case opAccepted:
			return at
		case opJump:
			pc = in.x
		case opSet:
			var n int
			if n, ok = in.set.next(m.text, at); ok {
				at += n
				pc++
			}
		case opSpan:
			for {
				n, more := in.set.next(m.text, at)
				if !more {
					break
				}
				at += n
			}
			pc = in.x
		case opAhead:
			_, there := in.set.next(m.text, at)
			if ok = there == (in.y == 0); ok {
				pc++
			}
		case opSplit:
			if ok = m.enter(in.z, at); ok {
				m.stack = append(m.stack, place{in.y, int32(at)})
				pc = in.x
			}
		}
		if !ok && !fail() {
			return -1
		}
	}
}

// enter reports whether a split is worth trying at a position.
func (m *matcher) enter(split int32, at int) bool {
	if m.been == nil {
		if m.steps <= patience*(len(m.text)+16) {
			return true
		}
		m.been = make([]uint64, (m.splits*(len(m.text)+1)+63)/64)
	}
	bit := at*m.splits + int(split)
	if m.been[bit/64]>>(bit%64)&1 != 0 {
		return false
	}
	m.been[bit/64] |= 1 << (bit % 64)
	return true
}

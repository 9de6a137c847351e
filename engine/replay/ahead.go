package replay

import "slices"

// What a kernel makes ahead of its own text at most: each of its groups makes all of it, and
// a group of 128 threads that move 16 bytes each has then waited for memory four times.
const mostAhead = 8 << 10

// ahead hands small moves on to the kernel that reads what they write, a row to the cache in
// front of attention first of all: a launch costs microseconds, and all of the step waits for it.
func (m *maker) ahead() {
	with := map[*Source]*Source{}
	for i := len(m.steps) - 1; i >= 0; i-- { // the last first: moves in front of them see what was taken
		s := m.steps[i]
		if s.source != nil || len(s.moves) != 1 {
			continue
		}
		k := m.taker(i)
		if k < 0 {
			continue
		}
		t := &m.steps[k]
		if !t.source.Ahead {
			if with[t.source] == nil {
				a := *t.source
				a.Ahead = true
				with[t.source] = &a
			}
			t.source = with[t.source]
		}
		t.moves = append(t.moves, s.moves...)
		t.in, t.out = slices.Concat(t.in, s.in), slices.Concat(t.out, s.out)
		m.steps = slices.Delete(m.steps, i, i+1)
	}
}

// taker returns the kernel that can make the only move of step i by itself, or -1.
func (m *maker) taker(i int) int {
	x := &m.steps[i].moves[0]
	if x.rows != nil {
		return -1
	}
	k := i + 1
	for k < len(m.steps) && !m.steps[i].bound(&m.steps[k]) {
		k++
	}
	if k == len(m.steps) {
		return -1
	}
	t := &m.steps[k]
	reads := func(list []ref) bool {
		return slices.ContainsFunc(list, func(r ref) bool { return r.buffer == x.to.buffer })
	}
	if t.source == nil || len(t.moves) == MostMoves || !reads(t.operands) || reads(t.made) {
		return -1
	}
	size := x.bytes()
	for j := range t.moves {
		y := &t.moves[j]
		if x.to.buffer == y.from.buffer || x.from.buffer == y.to.buffer || x.to.buffer == y.to.buffer && (x.node == nil || x.node != y.node) {
			return -1
		}
		size += y.bytes()
	}
	if size > mostAhead || slices.ContainsFunc(t.made, func(r ref) bool { return r.buffer == x.from.buffer }) {
		return -1
	}
	// Another reader would wait for this one.
	if slices.ContainsFunc(m.steps[k+1:], func(u step) bool { return reads(u.in) }) {
		return -1
	}
	return k
}

func (m *Move) bytes() int64 { return m.Unit * m.Shape[0] * m.Shape[1] * m.Shape[2] * m.Shape[3] }

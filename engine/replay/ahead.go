package replay

import (
	"fmt"
	"slices"
)

// mostAhead is how many units a kernel moves ahead of its own text at most: each of its groups moves
// them all, and waits for memory twice if it has 128 threads.
const mostAhead = 256

// ahead hands small moves on to the kernel that reads what they write, a row to the cache in
// front of attention first of all: a launch costs microseconds, and all of the step waits for it.
func (m *maker) ahead() {
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
		t.moves = append(t.moves, s.moves...)
		t.in, t.out = slices.Concat(t.in, s.in), slices.Concat(t.out, s.out)
		m.steps = slices.Delete(m.steps, i, i+1)
	}
	with := map[string]*Source{} // layers share them
	for i := range m.steps {
		t := &m.steps[i]
		if t.source == nil || len(t.moves) == 0 {
			continue
		}
		a := *t.source
		a.Early = false // moves write
		for _, x := range t.moves {
			a.Ahead = append(a.Ahead, x.MoveShape)
		}
		key := fmt.Sprintf("%p%v", t.source, a.Ahead)
		if with[key] == nil {
			with[key] = &a
		}
		t.source = with[key]
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
	units := x.Units()
	for j := range t.moves {
		y := &t.moves[j]
		if x.to.buffer == y.from.buffer || x.from.buffer == y.to.buffer || x.to.buffer == y.to.buffer && (x.node == nil || x.node != y.node) {
			return -1
		}
		units += y.Units()
	}
	if units > mostAhead || slices.ContainsFunc(t.made, func(r ref) bool { return r.buffer == x.from.buffer }) {
		return -1
	}
	// Another reader would wait for this one.
	if slices.ContainsFunc(m.steps[k+1:], func(u step) bool { return reads(u.in) }) {
		return -1
	}
	return k
}

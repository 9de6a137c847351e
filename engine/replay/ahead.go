package replay

import (
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// What a kernel does in front of its own text is done by each of its groups, all of it: that must
// cost less than the launch which it saves, some two or three microseconds.
const (
	mostFronts = 4
	mostUnits  = 4        // of moves a thread: it waits for memory as often
	mostRounds = 5        // groups of a small kernel that a simdgroup computes, one after the other
	mostGroups = 96       // of a small kernel
	mostRead   = 16 << 20 // bytes that all groups together read and write for it
)

// ahead hands small moves and small kernels on to the kernel that reads what they make: a row to the
// cache and the rotation in front of attention, the choice of experts in front of their products.
// A launch costs microseconds, and all of the step waits for it. Kernels are handed on if fuse is set.
func (m *maker) ahead(fuse bool) {
	made := map[string]*Source{}
	for i := len(m.steps) - 1; i >= 0; i-- { // the last first: what is in front of them sees what was taken
		s := m.steps[i]
		f := front{call: s.call, moves: s.moves}
		if s.source == nil && len(s.moves) != 1 || s.source != nil && (!fuse || len(s.fronts) > 0) {
			continue
		}
		k := m.taker(i, &f)
		if k < 0 {
			continue
		}
		t := &m.steps[k]
		if n := t.beside(&f); n >= 0 {
			t.fronts[n].moves = append(slices.Clone(t.fronts[n].moves), s.moves...)
		} else {
			t.fronts = append([]front{f}, t.fronts...)
		}
		t.in, t.out = slices.Concat(t.in, s.in), slices.Concat(t.out, s.out)
		m.steps = slices.Delete(m.steps, i, i+1)
	}
	for i := range m.steps {
		t := &m.steps[i]
		if len(t.fronts) == 0 {
			continue
		}
		a := *t.source
		key := fmt.Sprintf("%p", t.source)
		for _, f := range t.fronts {
			a.Fronts = append(a.Fronts, FrontSource{f.source, f.groups})
			key += fmt.Sprintf(" %p%v", f.source, f.groups)
		}
		if made[key] == nil {
			made[key] = &a
		}
		t.source = made[key]
	}
}

// beside returns the first front if it is moves which a move may be made together with, or -1.
func (t *step) beside(f *front) int {
	if f.source != nil || len(t.fronts) == 0 || t.fronts[0].source != nil || len(t.fronts[0].moves) == MostMoves {
		return -1
	}
	x := &f.moves[0]
	for _, y := range t.fronts[0].moves {
		if x.to.buffer == y.from.buffer || x.from.buffer == y.to.buffer || x.to.buffer == y.to.buffer && !x.apart(&y) {
			return -1
		}
	}
	return 0
}

// apart reports whether two moves to one buffer are to different places of it.
func (x *movement) apart(y *movement) bool { return x.node != nil && x.node == y.node }

// taker returns the kernel that can do step i in front of its own text, or -1.
func (m *maker) taker(i int, f *front) int {
	s := &m.steps[i]
	k := i + 1
	for k < len(m.steps) && !s.bound(&m.steps[k]) {
		k++
	}
	if k == len(m.steps) {
		return -1
	}
	t := &m.steps[k]
	if t.source == nil || len(t.fronts) == mostFronts && t.beside(f) < 0 || !shared(s.out, t.in) {
		return -1
	}
	// Groups do not wait for each other: what one still reads or writes, none may write later.
	if shared(s.in, t.out) || shared(s.out, t.made) {
		return -1
	}
	for _, g := range t.fronts {
		for _, y := range g.moves {
			if slices.ContainsFunc(s.out, func(r ref) bool { return r.buffer == y.to.buffer }) && (f.source != nil || !f.moves[0].apart(&y)) {
				return -1
			}
		}
		if shared(s.out, g.made) {
			return -1
		}
	}
	first, full, ok := m.sizes(t)
	if !ok || f.source != nil && (threadsOf(first)%32 != 0 || threadsOf(full)%32 != 0 || !m.small(f, full)) || f.source == nil && !light(f, t, full) {
		return -1
	}
	if !m.alone(s, k) {
		return -1
	}
	return k
}

// alone reports whether all readers of what a step makes come behind launch k anyway: others would
// have to wait for it.
func (m *maker) alone(s *step, k int) bool {
	behind := map[*buffer]bool{}
	for _, r := range m.steps[k].made {
		behind[r.buffer] = true
	}
	for j := k + 1; j < len(m.steps); j++ {
		u := &m.steps[j]
		if slices.ContainsFunc(u.in, func(r ref) bool { return behind[r.buffer] }) {
			for _, r := range u.out {
				behind[r.buffer] = true
			}
		} else if shared(s.out, u.in) {
			return false
		}
	}
	return true
}

// sizes are how a kernel is launched behind one token, and behind as many as the caches hold.
func (m *maker) sizes(t *step) (first, full kernels.Geometry, ok bool) {
	one, all := maps.Clone(m.env), maps.Clone(m.env)
	for name, room := range map[string]string{graph.SymKVLen: graph.SymKVCap, graph.SymWindowLen: graph.SymWindowCap} {
		if n, ok := m.env[room]; ok {
			one[name], all[name] = 1, n
		}
	}
	first, err := m.geometry(t.numbers, one)
	if err != nil { // a kernel for many tokens
		first, err = m.geometry(t.numbers, all)
	}
	if err != nil {
		return first, full, false
	}
	full, err = m.geometry(t.numbers, all)
	return first, full, err == nil
}

// light reports whether a move is small, with those that are in front of the kernel already.
func light(f *front, t *step, g kernels.Geometry) bool {
	x := &f.moves[0]
	units := x.units()
	for _, g := range t.fronts {
		for _, y := range g.moves {
			units += y.units()
		}
	}
	return x.rows == nil && units <= mostUnits*threadsOf(g)
}

func (m *Move) units() int64 { return m.Shape[0] * m.Shape[1] * m.Shape[2] * m.Shape[3] }

// small reports whether a kernel is small enough to be in front of one that is launched as t, and
// sets its groups.
func (m *maker) small(f *front, t kernels.Geometry) bool {
	if slices.ContainsFunc(f.numbers.dims, changes) {
		return false
	}
	g, err := m.geometry(f.numbers, m.env)
	if err != nil {
		return false
	}
	var ok bool
	if f.groups, ok = f.source.Spec.Frontable(g); !ok {
		return false
	}
	groups, bytes := f.groups[0]*f.groups[1]*f.groups[2], int64(0)
	for _, r := range slices.Concat(f.operands, f.made) {
		bytes += r.size - r.offset
	}
	return groups <= mostGroups && groups <= mostRounds*threadsOf(t)/32 && bytes*groupsOf(t) <= mostRead
}

func (m *maker) geometry(n *numbers, env map[string]int64) (kernels.Geometry, error) {
	ints := make([]int64, len(n.dims))
	for i, d := range n.dims {
		var err error
		if ints[i], err = d.Eval(env); err != nil {
			return kernels.Geometry{}, err
		}
	}
	return n.spec.Geometry(ints)
}

// threadsOf is how many threads a group has, groupsOf how many groups there are.
func threadsOf(g kernels.Geometry) int64 {
	n := int64(1)
	for i := range g.Group {
		n *= min(g.Group[i], g.Grid[i])
	}
	return n
}

func groupsOf(g kernels.Geometry) int64 {
	n := int64(1)
	for i := range g.Group {
		n *= (g.Grid[i] + g.Group[i] - 1) / g.Group[i]
	}
	return n
}

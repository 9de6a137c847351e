package replay

import "slices"

// together joins moves that can be made at the same time, though launches may stand between them:
// a launch costs some microseconds, a move hardly any.
func (m *maker) together() {
	m.steps = gathered(m.steps)
	slices.Reverse(m.steps) // what could not be made earlier may wait for later ones
	m.steps = gathered(m.steps)
	slices.Reverse(m.steps)
	for i := range m.steps {
		if n := m.steps[i].numbers; n != nil {
			n.users = append(n.users, i)
		}
	}
}

// gathered hands each move on to one in front of it, if nothing stands between them that it has
// to be on the same side of.
func gathered(list []step) []step {
	out := make([]step, 0, len(list))
next:
	for _, s := range list {
		if len(s.moves) > 0 && s.source == nil {
			for k := len(out) - 1; k >= 0 && !out[k].bound(&s); k-- {
				if n := len(out[k].moves); n > 0 && out[k].source == nil && n+len(s.moves) <= MostMoves {
					out[k].moves, out[k].in, out[k].out = append(out[k].moves, s.moves...), append(out[k].in, s.in...), append(out[k].out, s.out...)
					continue next
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// bound reports whether two steps must be made in their order, whichever it is: one writes
// what the other reads or writes.
func (s *step) bound(t *step) bool {
	return common(s.out, t.in) || common(s.out, t.out) || common(s.in, t.out)
}

// common reports whether two lists have a buffer in common.
func common(a, b []ref) bool {
	return slices.ContainsFunc(a, func(r ref) bool {
		return slices.ContainsFunc(b, func(q ref) bool { return r.buffer == q.buffer })
	})
}

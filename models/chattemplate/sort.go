package chattemplate

import "slices"

// Jinja2 sorts without regard to case unless told otherwise.

// sortKey is what an item is sorted by.
func (m *machine) sortKey(line int, v, attribute any, caseSensitive bool) any {
	if attribute != absent && attribute != nil {
		v = m.path(line, v, attribute, absent)
	}
	if s, ok := v.(string); ok && !caseSensitive {
		return m.lower(line, s)
	}
	return v
}

// sorted sorts items by key, stably.
func (m *machine) sorted(line int, list []any, reverse bool, key func(any) any) []any {
	type keyed struct{ item, key any }
	all := make([]keyed, len(list))
	for i, item := range list {
		all[i] = keyed{item, key(item)}
	}
	m.charge(line, 64*len(all))
	slices.SortStableFunc(all, func(a, b keyed) int {
		m.steps++
		if reverse { // equal items stay in order all the same
			a, b = b, a
		}
		return m.compare(line, a.key, b.key, 0)
	})
	out := make([]any, len(all))
	for i, k := range all {
		out[i] = k.item
	}
	return out
}

func sortItems(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "sort", "reverse", "case_sensitive", "attribute")
	return m.sorted(line, m.items(line, x), boolArg(v[0]), func(item any) any {
		return m.sortKey(line, item, v[2], boolArg(v[1]))
	})
}

func dictsort(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "dictsort", "case_sensitive", "by", "reverse")
	d, ok := x.(*Dict)
	if !ok {
		m.typeError(line, "dictsort needs a mapping, not %s", m.describe(x))
	}
	pos := 0
	switch v[1] {
	case absent, "key":
	case "value":
		pos = 1
	default:
		m.typeError(line, `dictsort sorts by "key" or "value"`)
	}
	return m.sorted(line, m.pairs(line, d), boolArg(v[2]), func(pair any) any {
		return m.sortKey(line, pair.(tuple)[pos], absent, boolArg(v[0]))
	})
}

// extreme is min (sign -1) or max (sign 1): the first of the best.
func extreme(name string, sign int) filter {
	return func(m *machine, line int, x any, a args) any {
		v := a.bind(m, line, name, "case_sensitive", "attribute")
		list := m.items(line, x)
		if len(list) == 0 {
			return undefined{"the " + name + " of no items"}
		}
		best := list[0]
		key := m.sortKey(line, best, v[1], boolArg(v[0]))
		for _, item := range list[1:] {
			m.steps++
			if k := m.sortKey(line, item, v[1], boolArg(v[0])); m.compare(line, k, key, 0)*sign > 0 {
				best, key = item, k
			}
		}
		return best
	}
}

// unique keeps the first of equal strings or numbers.
func unique(m *machine, line int, x any, a args) any {
	v := a.bind(m, line, "unique", "case_sensitive", "attribute")
	seen := map[any]bool{}
	var out []any
	for _, item := range m.items(line, x) {
		key := m.sortKey(line, item, v[1], boolArg(v[0]))
		switch k := key.(type) {
		case string, nil, float64:
		case bool, int:
			_, f, _, _ := number(k)
			if key = f; f != float64(int(f)) {
				m.overflow(line)
			}
		default:
			m.unsupported(line, "unique of %s", m.describe(key))
		}
		m.charge(line, 64)
		if !seen[key] {
			seen[key] = true
			out = append(out, item)
		}
	}
	return &sequence{items: out}
}

package replay

import (
	"cmp"
	"slices"
)

// align rounds up to what all vectors are aligned to.
func align(n int64) int64 { return (n + 255) / 256 * 256 }

// layOut gives buffers their places in the block and in the arena.
func (m *maker) layOut() {
	for _, b := range m.buffers {
		if b.kind == staged {
			b.offset = m.block
			m.block += (b.size + 15) / 16 * 16
		}
		b.first, b.last = len(m.steps), -1
	}
	for _, n := range m.script.numbers {
		count := int64(0)
		for _, d := range n.dims {
			if !inText(d) {
				count++
			}
		}
		if count > 0 {
			n.at = m.block
			m.block += (4*count + 15) / 16 * 16
		}
	}
	touch := func(list []ref, i int) {
		for _, r := range list {
			r.first, r.last = min(r.first, i), max(r.last, i)
		}
	}
	for i := range m.steps {
		touch(m.steps[i].in, i)
		touch(m.steps[i].out, i)
	}
	for _, r := range m.results { // copied out behind the last launch
		r.place.buf.last = len(m.steps)
	}
	m.arena = pack(m.buffers)
	m.order()
}

// slack is for how many launches memory is kept after its last use, so that launches which could
// run at the same time do not wait for each other's memory.
const slack = 16

// pack places temporary buffers so that those which live at the same time do not overlap,
// each at the lowest place that is free, and returns the size of the whole.
func pack(list []*buffer) int64 {
	var temps, placed, owners []*buffer // owners had a place last
	for _, b := range list {
		if b.kind == temporary {
			temps = append(temps, b)
		}
	}
	slices.SortStableFunc(temps, func(a, b *buffer) int { return cmp.Compare(a.first, b.first) })
	total := int64(0)
	for _, b := range temps {
		placed = slices.DeleteFunc(placed, func(p *buffer) bool { return p.last+slack < b.first })
		at := int64(0)
		for _, p := range placed { // in order of their places
			if at+align(b.size) <= p.offset {
				break
			}
			at = max(at, p.offset+align(p.size))
		}
		b.offset = at
		total = max(total, at+align(b.size))
		owners = slices.DeleteFunc(owners, func(p *buffer) bool {
			if p.offset >= at+align(b.size) || at >= p.offset+align(p.size) {
				return false
			}
			b.over = append(b.over, p)
			return at <= p.offset && p.offset+p.size <= at+b.size
		})
		owners = append(owners, b)
		k, _ := slices.BinarySearchFunc(placed, at, func(p *buffer, at int64) int { return cmp.Compare(p.offset, at) })
		placed = slices.Insert(placed, k, b)
	}
	return total
}

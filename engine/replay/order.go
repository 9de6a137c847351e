package replay

// order finds out which launches have to wait for which: one that reads what another wrote, or
// writes what another reads or wrote, in a buffer or in memory that was another buffer's before.
func (m *maker) order() {
	writer, readers := map[*buffer]int{}, map[*buffer][]int{}
	words := (len(m.steps) + 63) / 64
	before := make([]uint64, words*len(m.steps)) // of each launch, those that are done by then
	wait := make([]bool, len(m.steps))
	for i := range m.steps {
		s := &m.steps[i]
		mine := before[i*words : (i+1)*words]
		clear(wait[:i])
		behind := func(b *buffer) { // all that was done with a buffer
			if w, ok := writer[b]; ok {
				wait[w] = true
			}
			for _, r := range readers[b] {
				wait[r] = true
			}
		}
		for _, r := range s.in {
			if w, ok := writer[r.buffer]; ok {
				wait[w] = true
			}
		}
		for _, r := range s.out {
			behind(r.buffer)
			for _, b := range r.over {
				behind(b)
			}
		}
		s.after = nil
		for k := i - 1; k >= 0; k-- { // later ones first: they may have waited for earlier ones
			if !wait[k] || mine[k/64]>>(k%64)&1 == 1 {
				continue
			}
			s.after = append(s.after, k)
			mine[k/64] |= 1 << (k % 64)
			for w, bits := range before[k*words : (k+1)*words] {
				mine[w] |= bits
			}
		}
		for _, r := range s.in {
			readers[r.buffer] = append(readers[r.buffer], i)
		}
		for _, r := range s.out {
			writer[r.buffer], readers[r.buffer] = i, nil
		}
	}
}

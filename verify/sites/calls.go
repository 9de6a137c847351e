package sites

import (
	"slices"

	"zmlx-rewrite/graph"
)

// rowsOf are the batches and lengths that are tried, the most telling first: one row, all
// eight that matrix-vector kernels may be given, those between, and a few beyond.
var rowsOf = [][2]int64{{1, 1}, {8, 1}, {1, 2}, {1, 8}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {1, 3}, {2, 2}, {1, 5}, {2, 3}, {1, 7}, {2, 4}}

// beyond are more rows; two that a replacement takes are enough.
var beyond = [][2]int64{{9, 1}, {1, 33}, {2, 33}, {32, 1}, {1, 64}, {2, 300}}

// before are rows that the caches hold before the call. The last are for cases that begin
// behind thousands.
var before = []int64{0, 5, 39, 298, 1500, 2100, 5000}

// calls returns calls that select a case with the replacement: the values of all symbols.
func calls(p *graph.Program, r *Replacement) []map[string]int64 {
	cases := r.Cases()
	find := func(i int, batch, n int64) map[string]int64 {
		for k := range before {
			if k < 4 {
				k = (i + k) % 4 // take turns
			}
			env := symbols(p, batch, n, before[k])
			if c, err := p.Select(env); err == nil && slices.Contains(cases, c.Name) {
				return env
			}
		}
		return nil
	}
	var list []map[string]int64
	for i, r := range rowsOf {
		if env := find(i, r[0], r[1]); env != nil {
			list = append(list, env)
		}
	}
	more := 0
	for i, r := range beyond {
		if env := find(i, r[0], r[1]); env != nil && more < 2 {
			list = append(list, env)
			more++
		}
	}
	return list
}

// symbols are those of a call of n tokens of each sequence behind held rows, as package
// engine/cache gives them where no more tokens are expected; a cache may have more room.
func symbols(p *graph.Program, batch, n, held int64) map[string]int64 {
	up := func(n int64) int64 { return (n + 255) / 256 * 256 }
	env := map[string]int64{graph.SymBatch: batch, graph.SymSeqLen: n, graph.SymKVLen: held + n, graph.SymKVCap: up(held + n)}
	if w := int64(p.Window); w > 0 {
		if n == 1 {
			env[graph.SymWindowLen], env[graph.SymWindowCap] = min(held+1, w), min(up(held+1), w)
		} else {
			env[graph.SymWindowLen] = min(held, w-1) + n
			env[graph.SymWindowCap] = env[graph.SymWindowLen]
		}
	}
	return env
}

// rows is how many rows a call has.
func rows(env map[string]int64) int64 { return env[graph.SymBatch] * env[graph.SymSeqLen] }

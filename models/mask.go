package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// causalMask is create_attention_mask with return_array: which of the kv_len rows each
// of several tokens sees, bool[seq_len, kv_len]. One token sees them all: it has none.
func (m module) causalMask() value {
	L, rows := m.b.seqLen, graph.Sym(graph.SymKVLen)
	if L.Is(1) {
		return graph.None
	}
	linds := m.add(opArange, nil, rows.Sub(L), rows)
	rinds := m.add(opArange, nil, nil, rows)
	return m.add(opGreaterEqual, []value{m.expandDims(linds, -1), m.expandDims(rinds, -2)})
}

// masked puts the lowest number of their type in the place of scores that mask hides.
func (m module) masked(mask, scores value) value {
	if mask == graph.None {
		return scores
	}
	t := m.typeOf(scores).DType
	return m.add(opWhere, []value{mask, scores, m.b.g.Scalar(t, lowest[t])})
}

// lowest is mx.finfo(dtype).min.
var lowest = map[graph.DType]float64{graph.Float16: -65504, graph.BFloat16: -0x1.fep127, graph.Float32: -math.MaxFloat32}

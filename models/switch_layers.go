package models

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// This file is mlx_lm/models/switch_layers.py: experts as one three-dimensional
// weight, of which each token takes the matrices that its router chose.

// glu is what SwitchGLU.__init__ is given.
type glu struct {
	experts, hidden int
	bias            bool // of all three projections, a row an expert
	// activation is SwitchGLU.activation; nil is SwiGLU.
	activation func(m module, gate, up value) value
	// expert names a projection of one expert in checkpoints that have one matrix an
	// expert; nil if there are none.
	expert expertPath
}

// switchGLU is class SwitchGLU without biases, and with its usual activation.
func switchGLU(m module, x, indices value, experts, hidden int, expert expertPath) value {
	return glu{experts: experts, hidden: hidden, expert: expert}.call(m, x, indices)
}

// call is SwitchGLU.__call__: x [batch, seq_len, width] through the chosen experts,
// indices [batch, seq_len, k], gives [batch, seq_len, k, width]. m is the module
// switch_mlp.
func (g glu) call(m module, x, indices value) value {
	width := m.width(x)
	x = m.expandDims(x, -2, -3)

	// Many tokens are sorted by expert, so that each expert is read once.
	idx, invOrder := indices, graph.None
	if m.b.sorted {
		x, idx, invOrder = m.gatherSort(x, indices)
	}
	up := g.linear(m, "up_proj", x, idx, g.hidden)
	gate := g.linear(m, "gate_proj", x, idx, g.hidden)
	activation := module.swiglu
	if g.activation != nil {
		activation = g.activation
	}
	x = g.linear(m, "down_proj", activation(m, gate, up), idx, width)
	if m.b.sorted {
		x = m.take(x, invOrder, 0) // _scatter_unsort
		x = m.add(opUnflatten, []value{x}, graph.N(0), graph.Dims(m.typeOf(indices).Shape))
	}
	return m.add(opSqueeze, []value{x}, graph.Dims{graph.N(-2)})
}

// linear is class SwitchLinear or QuantizedSwitchLinear, the module of that name in m.
func (g glu) linear(m module, name string, x, indices value, outputs int) value {
	inputs := m.width(x)
	y := m.switchLinear(name, x, indices, g.experts, outputs, g.expert)
	if g.bias {
		bias := m.take(m.sub(name).param("bias", g.experts, outputs), indices, 0)
		y = m.plus(y, m.expandDims(bias, -2))
	}
	l := m.sub(name).lora(kindSwitch, func(rank int) (a, b []int) { return []int{g.experts, rank, inputs}, []int{g.experts, outputs, rank} })
	if l != nil {
		return l.switchLinear(m, x, indices, y)
	}
	return y
}

// gatherSort is _gather_sort.
func (m module) gatherSort(x, indices value) (sorted, idx, invOrder value) {
	k := m.width(indices)
	indices = m.add(opFlatten, []value{indices}, graph.N(0), graph.N(-1))
	order := m.add(opArgsort, []value{indices})
	invOrder = m.add(opArgsort, []value{order})
	x = m.add(opFlatten, []value{x}, graph.N(0), graph.N(-3))
	// A Python integer takes the type of the array beside it.
	rows := m.add(opFloorDivide, []value{order, m.b.g.Scalar(graph.Uint32, float64(k))})
	return m.take(x, rows, 0), m.take(indices, order, 0), invOrder
}

// expertPath names the module of projection name ("gate_proj") of expert i in a block.
type expertPath func(block, name string, i int) string

// qwenExpert is model.layers.N.mlp.experts.I.gate_proj.
func qwenExpert(block, name string, i int) string {
	return fmt.Sprintf("%s.experts.%d.%s", block, i, name)
}

// switchLinear is class SwitchLinear or QuantizedSwitchLinear without bias.
func (m module) switchLinear(name string, x, indices value, experts, outputs int, expert expertPath) value {
	at := m.sub(name)
	inputs := m.width(x)
	if expert != nil {
		// m is model.layers.N.mlp.switch_mlp, the experts' modules are beside it.
		at.stack([]int{experts, outputs, inputs}, func(i int) string { return expert(parent(m.path), name, i) })
	}
	w := at.matrix(experts, outputs, inputs)
	sorted := graph.Flag(m.b.sorted)
	if w.quant == nil {
		return m.add(opGatherMM, []value{x, m.transpose(w.weight, 0, 2, 1), graph.None, indices}, sorted)
	}
	return m.add(opGatherQMM, []value{x, w.weight, w.scales, w.biases, graph.None, indices},
		graph.Flag(true), sorted, w.groupSize(), w.bits(), w.mode())
}

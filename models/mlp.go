package models

// mlp is class MLP of llama.py and qwen3.py; m is the module mlp.
func mlp(m module, x value, hidden int, bias bool) value {
	gate := m.linear("gate_proj", x, hidden, bias)
	up := m.linear("up_proj", x, hidden, bias)
	return m.linear("down_proj", m.swiglu(gate, up), m.width(x), bias)
}

// swiglu is activations.swiglu: silu(gate) * x, with mlx.nn's silu.
func (m module) swiglu(gate, x value) value {
	silu := m.multiply(gate, m.add(opSigmoid, []value{gate}))
	return m.multiply(silu, x)
}

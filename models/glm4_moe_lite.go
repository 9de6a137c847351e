package models

// glm4MoeLite is mlx_lm/models/glm4_moe_lite.py, GLM-4.7-Flash: the operations of
// deepseek_v3.py, with an epsilon under the router's weights.
type glm4MoeLite struct{ *deepseekV3 }

func newGlm4MoeLite(f *fields) network {
	m := readDeepseek(f, deepseekDefaults{
		vocab: 154880, hidden: 2048, intermediate: 10240, moeIntermediate: 1536, layers: 47, firstDense: 1, shared: 1, eps: 1e-5,
		gate: moeGateDefaults{experts: 64, perTok: 4, scale: 1.8, eps: 1e-20},
		mla:  mlaDefaults{heads: 20, qLoraRank: 768, nopeDim: 192, valDim: 256, theta: 1e6},
	})
	m.attention.eps = m.rmsNormEps
	return &glm4MoeLite{m}
}

func (n *glm4MoeLite) drops(name string) bool { return beyond(name, n.numHiddenLayers) }

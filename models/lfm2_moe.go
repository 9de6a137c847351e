package models

import (
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// lfm2MoE is mlx_lm/models/lfm2_moe.py: the layers of lfm2, most of them with experts.
type lfm2MoE struct {
	lfm2Layers
	intermediateSize, moeIntermediateSize        int
	numExperts, numExpertsPerTok, numDenseLayers int
	normTopkProb, useExpertBias                  bool
	routedScalingFactor                          float64
}

func newLFM2MoE(f *fields) network {
	m := &lfm2MoE{
		lfm2Layers:          newLFM2Layers(f),
		intermediateSize:    f.int("intermediate_size", 1, maxSize),
		moeIntermediateSize: f.int("moe_intermediate_size", 1, maxSize),
		numExperts:          f.int("num_experts", 1, maxExperts),
		numDenseLayers:      f.int("num_dense_layers", 0, maxLayers),
		normTopkProb:        f.bool("norm_topk_prob"),
		useExpertBias:       f.bool("use_expert_bias"),
		routedScalingFactor: f.positiveOr("routed_scaling_factor", 1),
	}
	m.numExpertsPerTok = f.int("num_experts_per_tok", 1, m.numExperts)
	return m
}

func (n *lfm2MoE) forward(m module, tokens value) value {
	return n.around(m, tokens, func(m module, layer int, x value) value {
		if layer < n.numDenseLayers {
			return n.layer(m, layer, x, func(m module, x value) value { return mlp(m, x, n.intermediateSize, false) })
		}
		return n.layer(m, layer, x, n.experts)
	})
}

// experts is Lfm2MoeSparseMoeBlock.__call__: the bias helps to choose experts, and has
// no part in their weights.
func (n *lfm2MoE) experts(m module, x value) value {
	routing := m.add(opSigmoid, []value{m.linear("gate", x, n.numExperts, false)})
	t := m.typeOf(routing).DType

	best := routing
	if n.useExpertBias {
		bias := m.paramOf(graph.Float32, "expert_bias", n.numExperts)
		if t != graph.Float32 && m.typeOf(bias).DType != graph.Float32 { // else add converts it
			best = m.add(opAstype, []value{best}, graph.Float32)
		}
		best = m.plus(best, bias)
	}
	k := graph.N(int64(-n.numExpertsPerTok))
	inds := m.add(opArgpartition, []value{best}, k, graph.N(-1))
	inds = m.add(opSlice, []value{inds}, dims(-1), graph.Dims{k})

	scores := m.add(opTakeAlong, []value{routing, inds}, graph.N(-1))
	if n.normTopkProb {
		sum := m.add(opSum, []value{scores}, dims(-1), graph.Flag(true))
		scores = m.add(opDivide, []value{scores, m.plus(sum, m.b.g.Scalar(t, 1e-6))})
	}
	if n.routedScalingFactor != 1 {
		scores = m.multiply(scores, m.b.g.Scalar(t, n.routedScalingFactor))
	}
	if want := m.typeOf(x).DType; t != want {
		scores = m.add(opAstype, []value{scores}, want)
	}

	y := switchGLU(m.sub("switch_mlp"), x, inds, n.numExperts, n.moeIntermediateSize, qwenExpert)
	return m.add(opSum, []value{m.multiply(y, m.expandDims(scores, -1))}, dims(-2))
}

func (n *lfm2MoE) expertsPerToken() int {
	if n.numDenseLayers >= n.numHiddenLayers {
		return 0
	}
	return n.numExpertsPerTok
}

// sanitize gives the projections mlx-lm's names too, experts' and dense ones.
func (n *lfm2MoE) sanitize(t *weights.Tensor) ([]*weights.Tensor, error) {
	if name := lfm2Names.Replace(t.Name); name != t.Name {
		t = t.Renamed(name)
	}
	return n.lfm2Layers.sanitize(t)
}

var lfm2Names = strings.NewReplacer("w1.weight", "gate_proj.weight", "w2.weight", "down_proj.weight", "w3.weight", "up_proj.weight")

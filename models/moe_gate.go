package models

import "zmlx-rewrite/graph"

// moeGate is class MoEGate of deepseek_v3.py and glm4_moe_lite.py: sigmoid scores, a
// bias that only takes part in the choice, and groups of experts of which the best are
// kept.
type moeGate struct {
	experts, perTok   int
	groups, topkGroup int
	norm              bool    // norm_topk_prob
	eps               float64 // added to what is divided by; 0 for nothing
	scale             float64 // routed_scaling_factor
}

// moeGateDefaults are those of a family's ModelArgs.
type moeGateDefaults struct {
	experts, perTok int // experts 0 for None
	scale, eps      float64
}

func newMoEGate(f *fields, d moeGateDefaults) moeGate {
	g := moeGate{experts: f.intOrNone("n_routed_experts", d.experts, maxExperts), eps: d.eps}
	if g.experts == 0 {
		return g
	}
	g.perTok = f.intOr("num_experts_per_tok", min(d.perTok, g.experts), 1, g.experts)
	g.groups = f.intOr("n_group", 1, 1, g.experts)
	g.topkGroup = f.intOr("topk_group", 1, 1, g.groups)
	g.norm = f.boolOr("norm_topk_prob", true)
	g.scale = f.positiveOr("routed_scaling_factor", d.scale)
	switch {
	case g.groups == 1:
	case g.experts%g.groups != 0:
		f.fail("n_group", "invalid", "%d does not divide n_routed_experts, %d", g.groups, g.experts)
		g.groups, g.topkGroup = 1, 1
	case g.experts/g.groups < 2:
		f.fail("n_group", "invalid", "groups are scored by their two best experts, and have %d", g.experts/g.groups)
	}
	if method := f.textOr("topk_method", "noaux_tc"); method != "noaux_tc" {
		f.fail("topk_method", "unsupported", "%q is not supported; mlx-lm knows noaux_tc", method)
	}
	if score := f.textOr("scoring_func", "sigmoid"); score != "sigmoid" {
		f.fail("scoring_func", "unsupported", "mlx-lm always takes sigmoid in this model, not %q", score)
	}
	return g
}

// call is MoEGate.__call__, group_expert_select inlined; m is the module gate.
func (g moeGate) call(m module, x value) (inds, weights value) {
	w := m.param("weight", g.experts, m.width(x)) // never quantized
	gates := m.add(opMatmul, []value{x, m.transpose(w, 1, 0)})
	orig := m.add(opSigmoid, []value{m.astype(gates, graph.Float32)})
	scores := m.plus(orig, m.paramOf(graph.Float32, "e_score_correction_bias", g.experts))
	if g.groups > 1 {
		scores = g.limited(m, scores)
	}

	k := graph.N(int64(g.perTok))
	inds = m.add(opArgpartition, []value{m.add(opNegative, []value{scores})}, k.Sub(graph.N(1)), graph.N(-1))
	inds = m.add(opSlice, []value{inds}, dims(-1), nil, graph.Dims{k})
	weights = m.add(opTakeAlong, []value{orig, inds}, graph.N(-1))
	if g.perTok > 1 && g.norm {
		sum := m.add(opSum, []value{weights}, dims(-1), graph.Flag(true))
		if g.eps != 0 {
			sum = m.plus(sum, m.number(graph.Float32, g.eps))
		}
		weights = m.add(opDivide, []value{weights, sum})
	}
	if g.scale != 1 {
		weights = m.multiply(weights, m.number(graph.Float32, g.scale))
	}
	return inds, weights
}

// limited makes the scores of all but the topk_group best groups 0. A group is as good
// as its two best experts together.
func (g moeGate) limited(m module, scores value) value {
	drop := g.groups - g.topkGroup
	if drop == 0 {
		return scores
	}
	per := g.experts / g.groups
	scores = m.add(opUnflatten, []value{scores}, graph.N(-1), dims(g.groups, per))
	best := scores
	if per > 2 { // mx.topk of all there are is the array itself
		best = m.add(opPartition, []value{scores}, graph.N(-2), graph.N(-1))
		best = m.add(opSlice, []value{best}, dims(-1), dims(-2))
	}
	group := m.add(opSum, []value{best}, dims(-1), graph.Flag(true))
	idx := m.add(opArgpartition, []value{group}, graph.N(int64(drop-1)), graph.N(-2))
	idx = m.add(opSlice, []value{idx}, dims(-2), nil, dims(drop))
	scores = m.add(opPutAlong, []value{scores, idx, m.number(graph.Float32, 0)}, graph.N(-2))
	return m.add(opFlatten, []value{scores}, graph.N(-2), graph.N(-1))
}

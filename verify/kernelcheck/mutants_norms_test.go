package kernelcheck

import "testing"

var mutantsOfNorms = []mutant{
	// Top-k.
	{"router_softmax_topk", "if (uint(j) * 32u + lane == chosen) keys[j] = 0u;", "if (lane == chosen % 32u) keys[j] = 0u;", "lane i+32 lost with lane i"},
	{"router_softmax_topk", "keys[j] = j * 32 + int(lane) < n ?", "keys[j] = j * 32 + int(lane) < n - 1 ?", "last expert lost"},
	{"router_softmax_topk_first", "float(T(simd_sum(p)))", "1.0f", "not normalised"},
	{"router_topk_softmax", "if (last ? keys[j] >= best : keys[j] > best) {", "if (keys[j] > best) {", "wrong tie within a lane"},
	{"router_topk_softmax", "chosen = simd_max(best == top ? at : 0u);", "chosen = simd_min(best == top ? at : 0xffffffffu);", "wrong tie between lanes"},
	{"router_topk_softmax", "(last ? k - 1 - r : r)", "r", "experts in the wrong order"},
	{"router_topk_softmax_first", "return last ? 0xffffffffu : 1u;", "return 0xffffffffu;", "NaN on the wrong side"},
	{"router_topk_softmax", "return (u >> 31) != 0u ? ~u :", "return (u >> 31) != 0u ? u :", "negative numbers in the wrong order"},
	{"router_topk_softmax", "  if ((u << 1) == 0u) return 0x80000000u; // -0 equals 0\n", "", "-0 below 0"},
	{"router_sigmoid_topk", "chosen ? float(mlx_sigmoid(T(logits[row * e + at])))", "chosen ? float(mlx_sigmoid(T(logits[row * e + at]))) + float(bias[at])", "bias in the weights"},
	{"router_sigmoid_topk", "float(T(total + float(T(eps))))", "total", "epsilon dropped"},
	{"router_sigmoid_topk_first", "p / divisor * scale", "p / divisor", "scale dropped"},
	{"router_sigmoid_group_topk", "((kept >> uint(i / per)) & 1u) != 0u ? float(scores[i]) : 0.0f", "float(scores[i])", "group mask ignored"},
	{"router_sigmoid_group_topk", "? float(scores[i]) : 0.0f", "? float(scores[i]) : -INFINITY", "masked to another value"},
	{"router_sigmoid_group_topk", "  simdgroup_barrier(mem_flags::mem_threadgroup);\n", "", "missing barrier"},
	{"router_sigmoid_group_topk", "rank >= n_drop", "rank > n_drop", "one group too few"},
	{"router_sigmoid_group_topk", "b = metal::max(metal::min(a, c), metal::max(b, f));", "b = metal::max(b, f);", "second best lost between lanes"},
	{"router_sigmoid_group_topk", "(other == score && g < group)", "(other == score && g > group)", "wrong tie of groups"},

	// Norms and softmax.
	{"rms_norm", "sum / float(d) + eps", "sum / float(d)", "epsilon dropped"},
	{"rms_norm", "(d > 8 * step ? float(x[row + i]) : v[j])", "v[j]", "registers of the last round used for all"},
	{"layer_norm", "rsqrt(sum / float(d) + eps)", "rsqrt(sum / float(d)) + eps", "epsilon outside of the root"},
	{"add_rms_norm", "if (i < d) h[row + i]", "if (i <= d) h[row + i]", "one past the edge"},
	{"add_rms_norm", "if (lane == 0) part[simdgroup] = v;\n  threadgroup_barrier(mem_flags::mem_threadgroup);\n  v = simd_sum", "if (lane == 0) part[simdgroup] = v;\n  v = simd_sum", "missing barrier"},
	{"softmax", "v = simd_max(lane < simdgroups ? float(part[lane]) : -INFINITY);\n  threadgroup_barrier(mem_flags::mem_threadgroup);", "v = simd_max(lane < simdgroups ? float(part[lane]) : -INFINITY);", "memory reused without a barrier"},
	{"softmax", "kept<T>(x - hi, precise)", "kept<T>(x, precise)", "largest not subtracted"},

	// Positions.
	{"qk_rope", "((batch * heads + h) * l + position) * d", "((batch * l + position) * heads + h) * d", "transposed index"},
	{"rope", "traditional ? 2 * c : c", "c", "pairs of the other form"},
	{"rope", "row % l + offset[0]", "row % l", "offset dropped"},
	{"qk_norm_rope", "y[i] = E(normed<T>(float(x[i]), norm, float(w[i])));", "y[i] = E(float(x[i]));", "rest of the head not normed"},
	{"qk_norm_rope", "return T(float(T(a * float(T(turn.x)))) - float(T(b * float(T(turn.y)))));", "return T(float(T(a * float(T(turn.x)))) + float(T(b * float(T(turn.y)))));", "wrong sign"},

	// argmax.
	{"argmax", "if (i < n && key > best) {", "if (i < n && key >= best) {", "wrong tie"},
	{"argmax", "  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "", "missing barrier"},
	{"logits_parts", "top == -INFINITY ? 0.0f : top", "top", "the sum of nothing is NaN"},
	{"logits_parts", "n - first));\n  const size_t", "n - first - 1));\n  const size_t", "the last logit lost"},
	{"argmax_logprobs", "(key == best && uint(first + at) < place)", "key == best", "the last of equals"},
	{"argmax_logprobs", "key0 == high ? lane : key1 == high ? lane + 32", "key1 == high ? lane + 32 : key0 == high ? lane", "the last of equal parts"},
}

// TestMutantsOfNorms plants bugs in routers, norms, ropes and the like.
func TestMutantsOfNorms(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles each")
	}
	catchAll(t, mutantsOfNorms)
}

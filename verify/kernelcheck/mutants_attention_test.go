package kernelcheck

import "testing"

var mutantsOfAttention = []mutant{
	// One query row over a cache.
	{"sdpa_decode", "head / (hq / hk)", "head % hk", "wrong head of keys"},
	{"sdpa_decode", "* uint(cap); // the first", "* uint(kv_len); // the first", "rows in use taken for the capacity"},
	{"sdpa_decode", "first, kv_len, step, lane);\n  } else {", "first, kv_len + 1, step, lane);\n  } else {", "one row too many"},
	{"sdpa_decode", "if (x < per) v += simd_shuffle_xor(v, uint(x));", "v += simd_shuffle_xor(v, uint(x));", "sum over too many lanes"},
	{"sdpa_decode", "for (int i = 0; i < N; i++) a.acc[i] *= less;", "", "values not rescaled when the maximum grows"},
	{"sdpa_decode", "a.sum *= less;", "", "sum not rescaled when the maximum grows"},
	{"sdpa_decode", "a.acc[i] = a.acc[i] * mine + acc * theirs;", "a.acc[i] = a.acc[i] + acc;", "parts of a simdgroup added as they are"},
	{"sdpa_decode", "sums[simdgroup] = a.sum;\n    }\n  }\n  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "sums[simdgroup] = a.sum;\n    }\n  }\n", "missing barrier"},
	{"sdpa_decode", "score[u] = there[u] ? metal::exp2(score[u] - top) : 0.0f;", "score[u] = metal::exp2(score[u] - top);", "rows behind the end count"},
	{"sdpa_decode", "int(thread_index_in_threadgroup) < per)", "int(lane) < per)", "a sink for each simdgroup"},
	{"sdpa_decode", "sinks[head % hq]", "sinks[head / (hq / hk)]", "wrong sink"},
	{"sdpa_decode", "float(sinks[head % hq]) * 1.44269504f", "float(sinks[head % hq])", "sink in other units"},
	{"sdpa_decode", "place % per * N + place / per", "place", "elements in the wrong order"},
	{"norm_rope_sdpa_decode", "r < end && r != skip", "r < end", "the row that the token's own takes the place of counts, too"},
	{"norm_rope_sdpa_decode", "simdgroup == 0 && position < kv_len", "simdgroup == 0", "the token's own row where it is not seen"},
	{"norm_rope_sdpa_decode", "row += step;\n    if (row < end) now = ", "row += step;\n    if (row < end - step) now = ", "the last rows are those before them"},
	{"norm_rope_sdpa_decode", "from += N * step) {", "from += 2) {", "no key where there is one simdgroup"},
	{"norm_rope_sdpa_decode", "    }\n    threadgroup_barrier(mem_flags::mem_threadgroup);\n  }\n  float operator[]", "    }\n  }\n  float operator[]", "missing barrier"},
	{"sdpa_decode_window", "metal::max(0, kv_len - window)", "metal::max(0, kv_len - window - 1)", "window one too wide"},
	{"sdpa_decode_window", "metal::max(0, kv_len - window)", "metal::max(0, cap - window)", "window of the capacity"},

	// Packed caches.
	{"sdpa_decode_quantized", "biases *= metal::exp2(before - a.top);", "", "biases not rescaled"},
	{"sdpa_decode_quantized", "float(keys[u].bias) * total", "float(keys[u].bias)", "bias not times the sum of q"},
	{"sdpa_decode_quantized", "uint(at / group_size)", "uint(at / 16 / (group_size / 16) * 0)", "scale of the first group for all"},
	{"sdpa_decode_quantized", "half_at == 0 ? w : w >> 16", "w", "upper half of a word lost"},
	{"sdpa_decode_quantized", "i % 4 == 2 ? 1.0f / 256.0f : 1.0f / 4096.0f", "1.0f / 256.0f", "wrong place value"},

	// Latent caches.
	{"mla_decode", "turned < p;", "turned < p - 2;", "last pair of the rotated part lost"},
	{"mla_decode", "  threadgroup_barrier(mem_flags::mem_threadgroup);\n  if (me + 8 < all) {", "  if (me + 8 < all) {", "missing barrier"},
	{"mla_decode", "if (me + 8 < all) {", "if (me + 9 < all) {", "a simdgroup's part lost"},
	{"mla_decode", "+ place / 32 % 8", "+ place / 64 % 8", "elements in the wrong order"},
	{"mla_decode", "head / h))", "head % b))", "wrong batch"},

	// In parts.
	{"sdpa_decode_split", "metal::min(8, repeats - before)", "metal::min(7, repeats - before)", "a head lost"},
	{"sdpa_decode_split", "four < heads; four += 4", "four < heads; four += 8", "four heads lost where there are no tensor cores"},
	{"sdpa_decode_split", "(kv_len - split + splits - 1) / splits", "(kv_len + splits - 1) / splits", "a row behind the end in some parts"},
	{"norm_rope_sdpa_decode_split", "position % splits == split", "position % splits == 0", "the token's own row in another part"},
	{"norm_rope_sdpa_decode_split", "position / splits : -1", "-1 : -1", "the row of the cache in place of the token's own"},
	{"norm_rope_sdpa_decode_split", "if (mine && before == 0) {", "if (split == 0 && before == 0) {", "the key is written by who has not made it"},
	{"mla_decode_split", "uint(p * every)", "uint(p)", "rows of another part"},
	{"mla_decode_split", "metal::log2(x.sum)) * 0.693147181f", "metal::log2(x.sum))", "logarithm in other units"},
	{"mla_decode_split", "some += latent_once", "some += 2 * latent_once", "four heads lost where there are no tensor cores"},
	{"mla_decode_split", "metal::min(8, h - before)", "metal::min(7, h - before)", "a head lost"},
	{"mla_decode_split", "size_t(uint(batch)) * uint(cap)", "size_t(uint(before)) * uint(cap)", "wrong batch"},
	{"mla_decode_split", "simd_shuffle(weight, uint(2 * h + 1))", "simd_shuffle(weight, uint(2 * h))", "two rows with one weight"},
	{"mla_decode_split", "top = metal::max(top, simd_shuffle_xor(top, 1));\n    const float less = metal::exp2(a.top - top);\n    const", "const float less = metal::exp2(a.top - top);\n    const", "two rows with different largest scores"},
	{"sdpa_merge", "simd_shuffle(i < 8 ? e_low : e_high, ", "simd_shuffle(e_low, ", "weights of the first parts for all"},
	{"sdpa_merge", "(4 * uint(i) + simdgroup) % 32", "(4 * uint(i)) % 32", "a weight of another part"},
	{"sdpa_merge", " + float(shared[96 + lane])", "", "lost simdgroup"},
	{"sdpa_merge", "simd_max(metal::max(metal::max(low, high), sink))", "0.0f", "exponentials without the largest"},
	{"sdpa_merge_sinks", "sinks[head % h]", "sinks[head % b]", "the sink of another head"},
	{"sdpa_merge_sinks", "+ metal::exp(sink - top)", "+ metal::exp(-top)", "a sink of 0"},

	// Convolution.
	{"short_conv", "next[from + (j - 1) * c] = v;", "next[from + j * c] = v;", "state not shifted"},
	{"short_conv", "float(weight[channel * taps + j])", "float(weight[channel * taps + keep - j])", "taps in the wrong order"},
	{"short_conv", "const T bx = T(float(bcx[row]) * float(bcx[row + 2 * c]));", "const T bx = T(float(bcx[row + c]) * float(bcx[row + 2 * c]));", "wrong third"},
	{"rms_norm_qmv_short_conv", "y_t(float(thirds[lane]) * float(thirds[32 + lane]))", "y_t(float(thirds[16 + lane]) * float(thirds[32 + lane]))", "wrong third"},
	{"rms_norm_qmv_short_conv", "third * uint(c), first, c);", "0u, first, c);", "rows of the first third for all"},
	{"rms_norm_qmv_short_conv", "next[to + (j - 1) * c] =", "next[to + j * c] =", "state not shifted"},
	{"rms_norm_qmv_short_conv", "batch * keep * c + channel;", "batch * c + channel;", "state of another row"},
	{"rms_norm_qmv_short_conv", "float(y_t(sum));\n  }\n  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "float(y_t(sum));\n  }\n", "missing barrier"},
}

// mutantsOfHeads are looked for with bfloat16, which goes the way of tensor cores.
var mutantsOfHeads = []mutant{
	{"sdpa_decode_split", "        }\n        threadgroup_barrier(mem_flags::mem_threadgroup);\n      }\n    }\n  } else", "        }\n      }\n    }\n  } else", "memory reused without a barrier"},
	{"sdpa_decode_split", "32 * (i / 2) < d", "16 * i < d", "a part of the last 32 elements lost"},
	{"sdpa_decode_split", "i % 2 == 0 ? less0 : less1", "less0", "two heads with one correction"},
	{"sdpa_decode_split", "top = metal::max(top, simd_shuffle_xor(top, 2));", "", "rows with different largest scores"},
	{"sdpa_decode_split", "terms = 3", "terms = 2", "weights of 16 bits"},
	{"norm_rope_sdpa_decode_split", "there[i] = r < end && r != skip;", "there[i] = r < end;", "a score of a row that was not read"},
	{"norm_rope_sdpa_decode_split", "a.acc[i] * less1 + mine1 * x", "a.acc[i] * less1 + mine0 * x", "the weight of another head"},
	{"norm_rope_sdpa_decode_split", "score *= scale;", "", "the score of the token's own row in other units"},
	{"sdpa_decode_split", "j < heads && 32 * c", "32 * c", "heads that belong to other keys, and q read behind its end"},
	{"sdpa_decode_split", "r < end && r != skip && 64 * c", "64 * c", "rows of nobody"},
	{"sdpa_decode_split", "8 * j + i / 4 * 2 + i % 4 / 2", "8 * j + i / 4 + i % 4 / 2 * 4", "columns in another order"},
	{"sdpa_decode_split", "simd_shuffle(less, uint(8 * t + 4));\n    ATTN_UNROLL", "simd_shuffle(less, uint(8 * t));\n    ATTN_UNROLL", "the correction of another head"},
	{"sdpa_decode_split", "heads_keys<wide, T>(keys, k, d, every, row + step, end, skip, lane);", "heads_keys<wide, T>(keys, k, d, every, row, end, skip, lane);", "the same keys again"},
	{"sdpa_decode_split", "heads_values<wide, T>(values, v, dv, every, row + step, end, skip, lane);", "", "values of the first rows for all"},
	{"mla_decode_split", "sums[i / 2 * 8 + 6 + i % 2]", "sums[i / 2 * 8 + 4 + i % 2]", "the other half of a score from another head"},
	{"mla_decode_split", "metal::min(row + 8 * h + j, end - 1)) * uint(every)", "metal::min(row + 8 * h + j, end - 1))", "scores of another part's rows"},
	{"mla_decode_split", "row + 2 * t + h / 2 * 8 + h % 2, end - 1", "row + 2 * t + h / 2 * 8, end - 1", "each second row not multiplied"},
	{"mla_decode_split", "heads_word(x, 0), heads_word(x, 2)", "heads_word(x, 0), heads_word(x, 1)", "words of queries in another order"},
	{"mla_decode_split", "      threadgroup_barrier(mem_flags::mem_threadgroup);\n      const latent_tile a", "      const latent_tile a", "queries read before they are there"},
	{"mla_decode_split", "  a.sum += simd_shuffle_xor(a.sum, 2);\n", "", "half of the rows not in the sum"},
	{"mla_decode_split", "metal::log2(sum)) * 0.693147181f", "metal::log2(sum))", "logarithm in other units"},
	{"mla_decode_split", "j < heads && at < p", "at < p", "q_pe read behind its end"},
	{"mla_decode_split", "c < 16 ? 32 * c : 32 * c - 512, n", "c < 16 ? 32 * c : 0, n", "half of the rotated part twice"},
}

// TestMutantsOfAttention plants bugs in attention and the short convolution.
func TestMutantsOfAttention(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles each")
	}
	catchAll(t, mutantsOfAttention)
	catchNarrow(t, mutantsOfHeads, "  T: [float16, bfloat16, float32]", "  T: [bfloat16]")
}

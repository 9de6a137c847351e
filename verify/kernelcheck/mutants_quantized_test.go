package kernelcheck

import (
	"os"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
)

var mutantsOfQuantized = []mutant{
	// The shared pieces, each planted in a kernel that includes them.
	{"qmv", "float(q[r].bias) * sum;\n      } else {", "0.0f;\n      } else {", "dropped term"},
	{"qmv_add", "v[i + 3] *= bits == 4 ? 1.0f / 4096.0f : 1.0f / 256.0f;", "v[i + 3] *= bits == 4 ? 1.0f / 256.0f : 1.0f / 256.0f;", "wrong place value"},
	{"gather_qmm_swiglu", "uint(at / l.group_size) + size_t(more * l.g)", "uint(at / 64) + size_t(more * l.g)", "wrong scale group"},
	{"gather_qmm_combine", "uint(at / l.group_size) + size_t(more * l.g)", "uint(at / l.group_size)", "scales of another row"},
	{"qmv", "if (l.bits == 8) q.b = quant_words(w + i + 4);", "if (l.bits == 8) q.b = q.a;", "half of the codes twice"},
	{"gather_qmm_combine_fp32", "sum += simd_shuffle_xor(sum, 16);", "sum += 0.0f;", "half of the lanes"},
	{"qmv", "for (int at = 32 * first; at < l.k; at += 32 * step)", "for (int at = 32 * first; at < l.k - 32; at += 32 * step)", "last slice lost"},
	{"gather_qmm_combine", "metal::min(at, n - 1)", "metal::min(at, n - 2)", "ragged edge"},
	{"qmv_add", "  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "", "missing barrier"},
	{"qmv", "tile_slow(x + size_t(top + m) * uint(k),", "tile_slow(x + size_t(top) * uint(k),", "infinities of another row"},
	{"gather_qmm_swiglu", "metal::isnan(sum) || metal::isinf(sum) ? 1u", "false ? 1.0f", "infinities"},

	// What stands in the kernels.
	{"gather_qmm_swiglu", "uint(idx[chosen]) * uint(n)", "uint(idx[chosen / topk]) * uint(n)", "expert of another place"},
	{"gather_qmm_swiglu", "size_t(chosen / topk) * uint(k)", "size_t(chosen % topk) * uint(k)", "transposed index"},
	{"gather_qmm_swiglu_oai", "metal::clamp(float(up), float(T(low)), float(T(limit)))", "metal::min(float(up), float(T(limit)))", "clamped on one side"},
	{"gather_qmm_swiglu_oai", "const uint at = expert + uint(first) + lane;", "const uint at = uint(first) + lane;", "bias of expert 0"},
	{"gather_qmm_combine", "* float(factor)));\n  }\n  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "* float(factor)));\n  }\n", "race"},
	{"gather_qmm_combine", "j < topk; j++) sum", "j < topk - 1; j++) sum", "last expert lost"},
	{"gather_qmm_combine", "if (t < 16 && first + t < n)", "if (t < 16)", "one past the edge"},
	{"qmv_swiglu", "metal::min(rows - top, 4)", "4", "rows that are not there"},
	{"moe_combine", "size_t(i / d) * uint(topk)", "size_t(i / d)", "wrong stride"},
	{"moe_combine_exact", "sum = float(T(sum + float(T(ZMLX_ROUND(v * float(scores[row + uint(j)]))))));", "sum += ZMLX_ROUND(v * float(scores[row + uint(topk - 1 - j)]));", "scores in the wrong order"},
}

// mutantsOfMXFP4 are looked for with mxfp4 weights.
var mutantsOfMXFP4 = []mutant{
	{"gather_qmm_swiglu_oai", "s == 0 ? 0x00400000u : uint(s) << 23", "uint(s - 1) << 23", "wrong exponent bias"},
	{"qmv", "(w & 0x00080008u) << 12", "0u", "sign dropped"},
	{"qmv", "quant_two_fp4(w >> 4, v[1], v[5])", "quant_two_fp4(w >> 4, v[1], v[4])", "wrong column"},
}

// mutantsOfTiles are looked for with bfloat16, which goes the way of tensor cores.
var mutantsOfTiles = []mutant{
	{"qmv", "const uint ra = r.row(j), rb = r.row(j + 8);\n  const auto", "const uint ra = r.row(j), rb = r.row(j);\n  const auto", "the same rows twice"},
	{"qmv_add", "w >> (4 * i - 3), 0x00780078u", "w >> (4 * i - 2), 0x00780078u", "bits of the code beside"},
	{"rms_norm_qmv", "if (l.bits != 8) {\n      simd_mma(T(), all", "if (l.bits != 8 && i < 8) {\n      simd_mma(T(), all", "half of a column's sum"},
	{"rms_norm_qmv", "} else if (i < 8) {\n      simd_mma(half(), all", "} else if (i < 4) {\n      simd_mma(half(), all", "half of a column's sum, in 8 bits"},
	{"rms_norm_qmv", "8 ? 1024.0f", "8 ? 1023.0f", "codes of 8 bits 1 too large"},
	{"qmv_add", "units[1] = simd_shuffle(unit, uint(8 * t + 4))", "units[1] = units[0]", "the power of two of another column"},
	{"qmv_add", "  e = metal::max(e, simd_shuffle_xor(e, 2));\n", "", "a power of two that not all lanes of a column agree on"},
	{"qmv_add", "b = w >> (16 * i)", "b = w", "the lower codes of a word twice"},
	{"qmv_add", "n > 4096", "n > 8192", "other simdgroups than are launched"},
	{"qmv_add", "beside[m] = from[m * step];", "beside[m] = from[0];", "the first row's residual for all"},
	{"rms_norm_qmv_sigmoid_topk", "const int first = 16 * int(simdgroup / each);", "const int first = 0;", "the first experts' logits for all"},
	{"rms_norm_qmv_sigmoid_topk", "logits[first + int(lane)] = quant_round<T, S>(sum);\n  }\n  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "logits[first + int(lane)] = quant_round<T, S>(sum);\n  }\n", "missing barrier"},
	{"qmv", "sums[i] += simd_shuffle_xor(sums[i], 2);", "sums[i] += 0.0f;", "half of the lanes"},
	{"qmv_swiglu", "== i ? sum[h] : c[h];", "== i ? sum[h] : sum[h];", "columns of the last chunk for all"},
	{"rms_norm_softmax_topk_gather_qmm_swiglu", "if (int(lane) == place) picked", "if (lane == 0) picked", "the best expert for all places"},
	{"rms_norm_softmax_topk_gather_qmm_swiglu", "simdgroups > 1 ? simdgroup - 1 : 0;", "simdgroup;", "the squares of the first columns lost"},
	{"gather_qmm_batch", "if (m > 1024) return r;\n", "", "places that have no bit"},
	{"gather_qmm_batch", "== r.count) r.place = last;", "== r.count + 1) r.place = last;", "row of another place"},
	{"gather_qmm_batch", "while (r.count < 8)", "while (r.count < 7)", "the last place lost"},
	{"gather_qmm_swiglu_batch", "uint(at.place / topk)", "uint(at.place % topk)", "transposed index"},
	{"gather_qmm_swiglu_oai_batch", "eg[expert + uint(column)]", "eg[uint(column)]", "bias of expert 0"},
	{"qmm_batch", "      s1 = simd_shuffle(all, 8 * uint(t) + 4);", "      s1 = s0;", "sum of another row"},
	{"qmm_batch", "threadgroup_barrier(mem_flags::mem_threadgroup);\n    if (simdgroup != 0) return;", "if (simdgroup != 0) return;", "race"},
	{"qmm_batch", "if (first >= l.k) return;\n", "", "columns that are not there"},
	{"qmm_batch_add", "float(r[to]) + float(out_t(sums[i]))", "float(out_t(sums[i]))", "residual lost"},
	{"rms_norm_qmv_short_conv", "const auto own = part + int(16 * simdgroups * third);", "const auto own = part + int(16 * third);", "parts of other thirds"},
	{"rms_norm_qmv_short_conv", "metal::min(4, (kp + 16 * bits - 1) / (16 * bits))); // of", "metal::min(4, (kp + 63) / 64)); // of", "other simdgroups than are launched"},
	{"qmv_swiglu", "if (whole) at = metal::min(at, l.k - d.step);", "", "columns that are not there"},
	{"rms_norm_gather_qmm_swiglu", "  if (lane == 0) squares[simdgroup] = own;\n    threadgroup_barrier(mem_flags::mem_threadgroup);\n", "  if (lane == 0) squares[simdgroup] = own;\n", "missing barrier"},
}

// TestMutantsOfQuantized plants bugs in products with packed weights and in what is fused
// with them.
func TestMutantsOfQuantized(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles each")
	}
	catchAll(t, mutantsOfQuantized)
	catchNarrow(t, mutantsOfMXFP4, "  S: [float16, bfloat16, float32, uint8]", "  S: [uint8]")
	catchNarrow(t, mutantsOfTiles, "  T: [float16, bfloat16, float32]\n  S: [float16, bfloat16, float32, uint8]", "  T: [bfloat16]\n  S: [bfloat16]")
}

// catchNarrow plants bugs in kernels whose element types are fewer.
func catchNarrow(t *testing.T, mutants []mutant, types, fewer string) {
	for _, m := range mutants {
		t.Run(m.kernel+"/"+strings.ReplaceAll(m.class, " ", "_"), func(t *testing.T) {
			t.Parallel()
			planted := m.plant(t)
			if !m.turn(planted) {
				return
			}
			text, err := os.ReadFile("../../kernels/" + m.kernel + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			narrow := strings.Replace(string(text), types, fewer, 1)
			if narrow == string(text) {
				t.Fatalf("%s has other types than %q", m.kernel, types)
			}
			s, issues := kernels.Parse(m.kernel+".yaml", []byte(narrow))
			if err := issues.Err(); err != nil {
				t.Fatal(err)
			}
			s.Code = planted.Code
			wantCaught(t, m, s)
		})
	}
}

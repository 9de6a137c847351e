package kernelcheck

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/compat"
)

func compatText(t *testing.T, name string) string {
	t.Helper()
	data, err := fs.ReadFile(compat.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// everything uses the whole subset once.
const everything = `
template <typename T> inline T silu(T x) { return T(1.0f / (1.0f + metal::precise::exp(-float(x)))); }
template <typename P> inline float total(P p, int n) {
  float s = 0.0f;
  for (int i = 0; i < n; i++) s += float(p[i]);
  return s;
}
constant float table[4] = {1.0f, 2.0f, 3.0f, 4.0f};
struct best_of {
  float value;
  uint index;
};
inline best_of better(best_of a, best_of b) { return a.value > b.value ? a : b; }
`

const everythingBody = `
  threadgroup float part[32];
  threadgroup half narrow[32];
  const uint lane = thread_index_in_simdgroup;
  narrow[lane] = half(float(x[lane]));
  const uint2 v = *(const device uint2 *)(w + 2 * lane);
  const uint4 v4 = ((const device uint4 *)w)[lane];
  float2 f2 = float2(1.0f, 2.0f);
  float4 f4 = float4(f2.x);
  const T q = x[lane];
  float s = float(q) + total(x, 3) + total(c, 3) + total(part, 2) + total(narrow, 2) + table[lane & 3] + float(v.x + v4.w);
  part[lane] = simd_sum(s) + float(simd_max(lane)) + float(simd_min(int(lane)));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_barrier(mem_flags::mem_none);
  if (metal::isinf(s) || metal::isnan(s)) s = -INFINITY;
  best_of p{s, lane};
  p = better(p, best_of{simd_shuffle(s, 3), simd_broadcast(lane, 0)});
  s += simd_shuffle_xor(s, 1) + simd_shuffle_down(s, 2) + simd_shuffle_up(s, 3);
  s += metal::abs(s) + metal::ceil(s) + metal::cos(s) + metal::exp(s) + metal::floor(s) + metal::log(s) + metal::pow(s, s);
  s += metal::rsqrt(s) + metal::sin(s) + metal::sqrt(s) + metal::tanh(s) + metal::min(s, 1.0f) + metal::clamp(s, 0.0f, 1.0f);
  s += metal::precise::cos(s) + metal::precise::exp(s) + metal::precise::log(s) + metal::precise::pow(s, s) + metal::precise::rsqrt(s);
  s += metal::precise::sin(s) + metal::precise::sqrt(s) + metal::precise::tanh(s) + metal::fma(s, s, s) + metal::select(s, 1.0f, lane > 3u);
  out[lane] = T(float(silu(q)) + as_type<float>(v.y) + metal::max(s, f4.w) + float(as_type<half>(ushort(v.x))) + p.value + float(p.index));
  out[lane + 32] = lane < 3 ? q : T(0.0f);
  out[thread_position_in_grid.x + thread_position_in_threadgroup.y + threadgroup_position_in_grid.z + threads_per_threadgroup.x] = x[lane];
  out[threadgroups_per_grid.x + threads_per_grid.x + thread_index_in_threadgroup + simdgroup_index_in_threadgroup + simdgroups_per_threadgroup] = x[0];
  out[2] = T(ZMLX_ROUND(s * f2.y) + f2.x);
`

func openCL(t *testing.T, header, body string) string {
	return compatText(t, "opencl.h") + "\n#line 1 \"k.metal\"\n" + header +
		"\nkernel void k(const device bfloat16_t *x, const device uint *w, const constant bfloat16_t *c, device bfloat16_t *out, ZMLX_BUILTINS) {\n" +
		"using T = bfloat16_t;\n#line 100 \"k.metal\"\n" + body + "\n}\n"
}

func cudaSource(t *testing.T, header, body string) string {
	return "#include \"mlx/backend/cuda/device/utils.cuh\"\n\n#include <cooperative_groups.h>\n\n" + compatText(t, "cuda.h") +
		"\n#line 1 \"k.metal\"\n" + header + "\nnamespace mlx::core::cu {\n\nnamespace cg = cooperative_groups;\n\n" +
		"__global__ void custom_kernel_k(const __nv_bfloat16* x, const uint32_t* w, const __nv_bfloat16* c, __nv_bfloat16* out) {\n" +
		"using T = bfloat16_t;\n#line 100 \"k.metal\"\n" + body + "\n}\n}\n"
}

func TestTypeCheck(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{everythingBody, ""},
		{"device float *p = (device float *)c;", "k.metal:100:19: C-style cast from"},
		{"const thread bfloat16_t *p = x;", "k.metal:100:26: cannot initialize"},
		{"const bfloat16_t *p = x;", "k.metal:100:19: p is a pointer or reference without an address space"},
		{"out[0] = T(exp(1.0f));", "use of undeclared identifier 'exp'"},
		{"out[0] = T(float(x[0]) * 2.0);", "k.metal:100:26: a number without f is a double"},
		{"double d = 1;", "k.metal:100:1: use of type 'double'"},
		{"float4 v = float4(1.0f); v = v + v;", "invalid operands to binary expression"},
		{"out[0] = T(metal::erf(float(x[0])));", "no member named 'erf'"},
		{"x[0] = T(1.0f);", "k.metal:100:6: read-only variable is not assignable"},
		{"float s = metal::max(float(x[0]), 0);", "call to 'max' is ambiguous"},
		{"float s = ZMLX_ROUND(float(x[0])) + 1.0f;", "no matching function for call to 'zmlx_value'"},
	} {
		header := ""
		if test.body == everythingBody {
			header = everything
		}
		err := TypeCheck(openCL(t, header, test.body))
		switch {
		case errors.Is(err, ErrNoClang):
			t.Skip(err)
		case test.want == "" && err != nil:
			t.Errorf("%s\n%v", test.body, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s\n got %v\nwant %s", test.body, err, test.want)
		}
	}
	err := TypeCheck(openCL(t, "float read(float &v) { return v; }\n", ""))
	if err == nil || !strings.Contains(err.Error(), "k.metal:1:19: v is a pointer or reference") {
		t.Errorf("a reference in a helper: %v", err)
	}
	err = TypeCheck(openCL(t, "inline uint me() { return thread_index_in_simdgroup; }\n", ""))
	if err == nil || !strings.Contains(err.Error(), "k.metal:1:27: use of undeclared identifier") {
		t.Errorf("a built-in in a helper: %v", err)
	}
}

func TestNVRTC(t *testing.T) {
	ptx, err := NVRTC(cudaSource(t, everything, everythingBody), "sm_90a")
	if errors.Is(err, ErrNoNVRTC) || errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ld.global.v2", "ld.global.v4|ld.global.u32", "mul.rn.f32", "shfl.sync.bfly", "bar.sync"} {
		if !regexp.MustCompile(want).Match(ptx) {
			t.Errorf("no %s in the PTX", want)
		}
	}
	p, err := NVRTC(cudaSource(t, "", "const float a = float(x[0]), b = float(x[1]), d = float(x[2]);\nout[0] = T(a * b + d);\nout[1] = T(ZMLX_ROUND(a * b) + d);"), "sm_80")
	if err != nil {
		t.Fatal(err)
	}
	if fused, kept := strings.Count(string(p), "fma.rn.f32"), strings.Count(string(p), "mul.rn.f32"); fused != 1 || kept != 1 {
		t.Errorf("a * b + d and ZMLX_ROUND(a * b) + d have %d fused and %d separate products, want one of each", fused, kept)
	}
	_, err = NVRTC(cudaSource(t, "", "out[0] = T(nothing);"), "sm_90a")
	if err == nil || !strings.Contains(err.Error(), "k.metal:100") {
		t.Errorf("a mistake: %v", err)
	}
}

// TestTypesAsLaunched: what minifying breaks is found, though the whole text is right.
func TestTypesAsLaunched(t *testing.T) {
	s := catalog(t).Spec("swiglu")
	code, issue := kernels.ParseSource("swiglu.metal", "swiglu", []byte("#if __LINE__ < 9\ninline float one() { return 1.0f; }\n#endif\n"+
		"kernel void swiglu() {\n  out[0] = T(one());\n}\n"))
	if issue != nil {
		t.Fatal(issue)
	}
	s.Code = code
	units, err := Types(t.Context(), s)
	if errors.Is(err, ErrNoClang) {
		t.Skip(err)
	}
	if units != 2 || err == nil || !strings.Contains(err.Error(), "as it is launched") {
		t.Errorf("%d units, then %v", units, err)
	}
}

package bridge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What MLX compiles a module for is what has eight rows and more; a tile has at least 16 of them, of one product's
// own. Which module it is depends on the widths.
func TestTiles(t *testing.T) {
	dense := func(rows, dtype string, n int) []string {
		return Tiles(parse(t, fmt.Sprintf(`zmlx 1
program tiles
param w : uint32[%[3]d, 8]
param scales : %[2]s[%[3]d, 2]
param biases : %[2]s[%[3]d, 2]
case decode when batch == 1
  input x : %[2]s[%[1]s, 64]
  v0 = quantized_matmul(x, w, scales, biases, group_size=32) : %[2]s[%[1]s, %[3]d]
  v1 = add(x, x) : %[2]s[%[1]s, 64]
  v2 = quantized_matmul(v1, w, scales, biases, group_size=32) : %[2]s[%[1]s, %[3]d]
  output y = v0
  output z = v2
`, rows, dtype, n)))
	}
	for _, test := range []struct {
		rows, dtype string
		n           int
		want        string
	}{
		{"1, 7", "bfloat16", 128, ""},
		{"8, 1", "bfloat16", 128, "qmm_sm80_tn_bfloat16_m16_b4_g32_affine"},
		{"1, 8", "bfloat16", 128, "qmm_sm80_tn_bfloat16_m16_b4_g32_affine"},
		{"32, 1", "bfloat16", 128, "qmm_sm80_tn_bfloat16_m16_b4_g32_affine"},
		{"1, 17", "float16", 128, "qmm_sm80_tn_float16_m32_b4_g32_affine"},
		{"1, 99", "bfloat16", 128, "qmm_sm80_tn_bfloat16_m64_b4_g32_affine"},
		{"1, 8", "bfloat16", 96, "qmm_naive_tn_aligned_bfloat16_m16_b4_g32_affine"},
		{"1, 8", "float32", 128, "qmm_naive_tn_aligned_float32_m16_b4_g32_affine"},
	} {
		if got := strings.Join(dense(test.rows, test.dtype, test.n), " "); got != test.want {
			t.Errorf("%s[%s, 64] by %d rows of weights: %q, want %q", test.dtype, test.rows, test.n, got, test.want)
		}
	}
	g := parse(t, `zmlx 1
program experts
param w : uint32[4, 128, 16]
param scales : uint8[4, 128, 2]
case decode when batch == 1
  input x : bfloat16[2, 1, 1, 64]
  input which : uint32[2, 4]
  v0 = gather_qmm(x, w, scales, none, none, which, group_size=32, bits=8, mode="mxfp8") : bfloat16[2, 4, 1, 128]
  output y = v0
`)
	if got, want := Tiles(g), []string{"qmm_sm80_tn_bfloat16_m16_b8_g32_mxfp8"}; !slices.Equal(got, want) {
		t.Errorf("experts: %q, want %q", got, want)
	}
}

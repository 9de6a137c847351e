package bridge

import (
	"slices"
	"testing"
)

// What MLX multiplies by tiles is what has eight rows and more; a tile has at least 16 of them,
// and of a product with chosen matrices a matrix's own rows count.
func TestTiles(t *testing.T) {
	for rows, want := range map[string][]string{
		"1, 7":  nil,
		"8, 1":  {"bfloat16_m16_b4_g32_affine"},
		"1, 8":  {"bfloat16_m16_b4_g32_affine"},
		"2, 4":  {"bfloat16_m16_b4_g32_affine"},
		"1, 17": {"bfloat16_m32_b4_g32_affine"},
		"1, 99": {"bfloat16_m64_b4_g32_affine"},
	} {
		g := parse(t, `zmlx 1
program tiles
param w : uint32[64, 8]
param scales : bfloat16[64, 2]
param biases : bfloat16[64, 2]
case decode when batch == 1
  input x : bfloat16[`+rows+`, 64]
  v0 = quantized_matmul(x, w, scales, biases, group_size=32) : bfloat16[`+rows+`, 64]
  v1 = quantized_matmul(v0, w, scales, biases, group_size=32) : bfloat16[`+rows+`, 64]
  output y = v1
`)
		if got := Tiles(g); !slices.Equal(got, want) {
			t.Errorf("[%s, 64]: %q, want %q", rows, got, want)
		}
	}
	g := parse(t, `zmlx 1
program experts
param w : uint32[4, 64, 8]
param scales : uint8[4, 64, 1]
case decode when batch == 1
  input x : bfloat16[2, 1, 1, 32]
  input which : uint32[2, 4]
  v0 = gather_qmm(x, w, scales, none, none, which, group_size=32, bits=8, mode="mxfp8") : bfloat16[2, 4, 1, 64]
  output y = v0
`)
	if got, want := Tiles(g), []string{"bfloat16_m16_b8_g32_mxfp8"}; !slices.Equal(got, want) {
		t.Errorf("experts: %q, want %q", got, want)
	}
}

//go:build mlx

package mlx

import (
	"math"
	"math/rand/v2"
	"testing"

	"zmlx-rewrite/graph"
)

// TestSwigluBits: kernel.swiglu has the bits of MLX's own ops, as its spec promises: for
// every 16-bit gate, for a million float32 ones, and for rows of any length, so that what
// MLX does many at a time and what it does one at a time are both met.
func TestSwigluBits(t *testing.T) {
	k := libraryKernel(t, "swiglu")
	r := rand.New(rand.NewPCG(3, 4))
	inputs := map[graph.DType][]float64{}
	for _, d := range []graph.DType{graph.Float16, graph.BFloat16} {
		for i := range 1 << 16 {
			inputs[d] = append(inputs[d], graph.DecodeElem(d, []byte{byte(i), byte(i >> 8)}))
		}
	}
	wide := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 1e-45, 0x1p-126, math.MaxFloat32}
	for _, edge := range []float32{87, 87.33655, 88, 88.02969, 88.37626, 88.72283, 103, 104} { // of exp and its subnormal results
		for i := range 201 {
			v := float64(math.Float32frombits(math.Float32bits(edge) + uint32(i) - 100))
			wide = append(wide, v, -v)
		}
	}
	for len(wide) < 1_000_000 {
		switch len(wide) % 3 {
		case 0:
			wide = append(wide, r.NormFloat64())
		case 1:
			wide = append(wide, 200*r.Float64()-100)
		default: // of any size
			wide = append(wide, float64(math.Float32frombits(r.Uint32())))
		}
	}
	inputs[graph.Float32] = wide
	onCPU(t, func(s *scope) error {
		compare := func(d graph.DType, gate, up []byte) (differ int) {
			n := len(gate) / d.Size()
			g, u := s.fromBytes(gate, []int{1, n}, d), s.fromBytes(up, []int{1, n}, d)
			got := s.callHost(k, []array{g, u}, &hostCall{ints: []int64{1, int64(n)}, grid: [3]int64{int64(n), 1, 1}, group: [3]int64{256, 1, 1}, workers: 2, types: []graph.DType{d}, shapes: [][]int{{1, n}}})[0]
			want := s.multiply(s.multiply(g, s.sigmoid(g)), u)
			a, b := s.bytes(got), s.bytes(want)
			if s.err != nil {
				return 0
			}
			for i := 0; i < len(b); i += d.Size() {
				x, y := graph.DecodeElem(d, a[i:i+d.Size()]), graph.DecodeElem(d, b[i:i+d.Size()])
				if (x != y || math.Signbit(x) != math.Signbit(y)) && !(math.IsNaN(x) && math.IsNaN(y)) {
					if differ++; differ == 1 {
						t.Errorf("%s, %d elements, element %d: swiglu of %v and %v is %v, MLX has %v", d, n, i/d.Size(),
							graph.DecodeElem(d, gate[i:i+d.Size()]), graph.DecodeElem(d, up[i:i+d.Size()]), x, y)
					}
				}
			}
			return differ
		}
		for d, values := range inputs {
			var gate, up []byte
			for i, v := range values {
				gate = graph.AppendElem(gate, d, v)
				f := 1.0
				if i%2 == 1 {
					f = r.NormFloat64()
				}
				up = graph.AppendElem(up, d, f)
			}
			if n := compare(d, gate, up); n > 0 {
				t.Errorf("%s: %d of %d elements differ", d, n, len(values))
			}
			for n := 1; n <= 40; n++ {
				at := r.IntN(len(values)-n) * d.Size()
				compare(d, gate[at:at+n*d.Size()], up[at:at+n*d.Size()])
			}
			if s.err != nil {
				return s.err
			}
		}
		return nil
	})
}

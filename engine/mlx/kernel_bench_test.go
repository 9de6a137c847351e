//go:build mlx

package mlx

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"zmlx-rewrite/graph"
)

// BenchmarkQMV multiplies one row with the matrices of SmolLM2-135M (Q4_1: 4 bits,
// groups of 32, scales of float16), by MLX's own quantized_matmul and by kernel qmv.
// MB/s is of weights, scales and biases, each read once. There are so many copies of
// a matrix that none is still in the cache when its turn comes again.
func BenchmarkQMV(b *testing.B) {
	k := libraryKernel(b, "qmv")
	const cached, atOnce = 96 << 20, 16
	for _, shape := range [][2]int{{576, 576}, {960, 576}, {3072, 576}, {576, 1536}, {49152, 576}} {
		n, dims := shape[0], shape[1]
		bytes := n*dims/2 + 2*n*dims/32*2
		for _, t := range []graph.DType{graph.Float32, graph.Float16} {
			for _, how := range []string{"mlx", "native-1", "native-2"} {
				b.Run(fmt.Sprintf("%dx%d/%s/%s", n, dims, t, how), func(b *testing.B) {
					onCPU(b, func(s *scope) error {
						r := rand.New(rand.NewPCG(1, 2))
						q := quantization{mode: "affine", groupSize: 32, bits: 4}
						half := func(a array) array { return s.astype(a, graph.Float16) }
						x := s.astype(s.random(r, 1, dims), t)
						w, scales, biases := s.quantize(s.random(r, n, dims), q)
						scales, biases = half(scales), half(biases)
						type matrix struct{ w, scales, biases array }
						var all []matrix
						for range min(600, cached/bytes+1) {
							m := matrix{s.contiguous(s.add(w, s.zeros([]int{1}, graph.Uint32))), s.add(scales, half(s.floats([]float32{0}))), s.add(biases, half(s.floats([]float32{0})))}
							all = append(all, m)
							if err := eval(m.w, m.scales, m.biases, x); err != nil {
								return err
							}
						}
						call := &hostCall{ints: []int64{1, int64(dims), int64(n), int64(dims / 8), int64(dims / 32), 4, 32, 0}, workers: 2,
							types: []graph.DType{t}, shapes: [][]int{{1, n}}}
						if how == "native-1" {
							call.workers = 1
						}
						b.SetBytes(int64(bytes))
						b.ResetTimer()
						for i := 0; i < b.N; {
							some := newScope(s.stream)
							var out []array
							for ; len(out) < atOnce && i < b.N; i++ {
								m := all[i%len(all)]
								if how == "mlx" {
									out = append(out, some.quantizedMatmul(x, m.w, m.scales, m.biases, true, q))
								} else {
									out = append(out, some.callHost(k, []array{x, m.w, m.scales, m.biases}, call)[0])
								}
							}
							if some.err != nil {
								return some.err
							}
							if err := eval(out...); err != nil {
								return err
							}
							some.free()
						}
						return s.err
					})
				})
			}
		}
	}
}

// BenchmarkQMVRows multiplies a prompt's rows with matrices of SmolLM2-135M, as
// BenchmarkQMV has them, and of others; GFLOP/s counts a product and a sum as two.
func BenchmarkQMVRows(b *testing.B) {
	k := libraryKernel(b, "qmv")
	const cached = 96 << 20
	for _, m := range []struct {
		name    string
		n, dims int
		q       quantization
	}{
		{"576x576/4-bit", 576, 576, quantization{mode: "affine", groupSize: 32, bits: 4}},
		{"1536x576/4-bit", 1536, 576, quantization{mode: "affine", groupSize: 32, bits: 4}},
		{"576x1536/4-bit", 576, 1536, quantization{mode: "affine", groupSize: 32, bits: 4}},
		{"2048x2048/4-bit", 2048, 2048, quantization{mode: "affine", groupSize: 64, bits: 4}},
		{"2048x2048/8-bit", 2048, 2048, quantization{mode: "affine", groupSize: 64, bits: 8}},
		{"2048x2048/mxfp4", 2048, 2048, quantization{mode: "mxfp4", groupSize: 32, bits: 4}},
	} {
		for _, rows := range []int{16, 32, 128, 512} {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/rows-%d/native-%d", m.name, rows, workers), func(b *testing.B) {
					onCPU(b, func(s *scope) error {
						r := rand.New(rand.NewPCG(1, 2))
						x := s.random(r, rows, m.dims)
						w, scales, biases := s.quantize(s.random(r, m.n, m.dims), m.q)
						mode := int64(0)
						if m.q.mode == "mxfp4" {
							biases, mode = array{}, 1
						}
						var all []array
						for range min(200, cached/(m.n*m.dims*m.q.bits/8)+1) {
							c := s.contiguous(s.add(w, s.zeros([]int{1}, graph.Uint32)))
							all = append(all, c)
							if err := eval(c, x, scales); err != nil {
								return err
							}
						}
						call := &hostCall{ints: []int64{int64(rows), int64(m.dims), int64(m.n), int64(m.dims * m.q.bits / 32), int64(m.dims / m.q.groupSize), int64(m.q.bits), int64(m.q.groupSize), mode},
							workers: workers, types: []graph.DType{graph.Float32}, shapes: [][]int{{rows, m.n}}}
						b.ResetTimer()
						for i := range b.N {
							some := newScope(s.stream)
							out := some.callHost(k, []array{x, all[i%len(all)], scales, biases}, call)
							if some.err != nil {
								return some.err
							}
							if err := eval(out...); err != nil {
								return err
							}
							some.free()
						}
						b.ReportMetric(2e-9*float64(rows*m.n*m.dims*b.N)/b.Elapsed().Seconds(), "GFLOP/s")
						return s.err
					})
				})
			}
		}
	}
}

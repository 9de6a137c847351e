package ref

import "zmlx-rewrite/graph"

// gatedDelta is gated_delta_ops of mlx-lm: one token after the other, with each result
// rounded to float32 and sums in float64.
func gatedDelta(c *call, in []*array) (*array, error) {
	var f [6][]float64
	for i, a := range in {
		f[i] = convert(a, graph.Float32).floats()
	}
	q, k, v, g, beta, states := f[0], f[1], f[2], f[3], f[4], f[5]
	length, hk, dk := in[0].shape[1], in[0].shape[2], in[0].shape[3]
	hv, dv := in[2].shape[2], in[2].shape[3]
	out := newArray(graph.Float32, c.shape)
	width := length + dk
	parallel(in[2].shape[0]*hv, length*dv*dk*4, func(from, to int) {
		for bh := from; bh < to; bh++ {
			b, h := bh/hv, bh%hv
			for d := range dv {
				state := states[(bh*dv+d)*dk:][:dk]
				for t := range length {
					at := b*length + t
					keys, queries := k[(at*hk+h/(hv/hk))*dk:][:dk], q[(at*hk+h/(hv/hk))*dk:][:dk]
					var memory, y float64
					for i := range state {
						state[i] = f32(state[i] * g[at*hv+h])
						memory += f32(state[i] * keys[i])
					}
					delta := f32(f32(v[(at*hv+h)*dv+d]-f32(memory)) * beta[at*hv+h])
					for i := range state {
						state[i] = f32(state[i] + f32(keys[i]*delta))
						y += f32(state[i] * queries[i])
					}
					put(graph.Float32, out.data, (bh*dv+d)*width+t, y)
				}
				for i, s := range state {
					put(graph.Float32, out.data, (bh*dv+d)*width+length+i, s)
				}
			}
		}
	})
	return out, nil
}

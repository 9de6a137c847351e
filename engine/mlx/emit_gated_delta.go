//go:build mlx

package mlx

// gatedDeltaOf is gated_delta_ops of mlx-lm: the ops of one step for each token.
func gatedDeltaOf(n *node) emit {
	qs, vs := n.shape(0), n.shape(2)
	return func(f *frame, in []array) array {
		// What shape returns may be used again by the next call.
		q, v := f.some(qs.in(f)...), f.some(vs.in(f)...)
		batch, length, hk, dk, hv, dv := q[0], q[1], q[2], q[3], v[2], v[3]
		queries, keys, state := in[0], in[1], in[5]
		if hv > hk { // mx.repeat
			repeat := func(a array) array {
				a = f.broadcastTo(f.expandDims(a, f.some(3)), f.some(batch, length, hk, hv/hk, dk))
				return f.reshape(a, f.some(batch, length, hv, dk))
			}
			queries, keys = repeat(queries), repeat(keys)
		}
		// token is a[:, t], with more axes behind it.
		token := func(a array, t int, rest []int, more ...int) array {
			start := f.some(make([]int, len(rest)+2)...)
			start[1] = t
			stop := append(f.some(batch, t+1), rest...)
			a = f.squeeze(f.slice(a, start, stop, nil), f.some(1))
			for _, axis := range more {
				a = f.expandDims(a, f.some(axis))
			}
			return a
		}
		head, key, value := f.some(hv), f.some(hv, dk), f.some(hv, dv)
		last := f.some(-1)
		results := make([]array, 0, length+1)
		for t := range length {
			k := token(keys, t, key, -2)
			state = f.multiply(state, token(in[3], t, head, -1, -1))
			memory := f.sum(f.multiply(state, k), last, false)
			delta := f.multiply(f.subtract(token(in[2], t, value), memory), token(in[4], t, head, -1))
			state = f.add(state, f.multiply(k, f.expandDims(delta, last)))
			y := f.sum(f.multiply(state, token(queries, t, key, -2)), last, false)
			results = append(results, f.expandDims(y, last))
		}
		return f.concatenate(append(results, state), -1)
	}
}

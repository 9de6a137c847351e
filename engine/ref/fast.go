package ref

import (
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// The ops of mlx.core.fast, as MLX's fallbacks compute them (mlx/fast.cpp). f32
// marks each result that they store in float32.
func f32(v float64) float64 { return float64(float32(v)) }

// mean is MLX's: the sum times the reciprocal of the count.
func mean(sum float64, n int) float64 { return f32(f32(sum) * f32(1/float64(n))) }

func rmsNorm(c *call, in []*array) (*array, error) {
	v, n := convert(in[0], graph.Float32).floats(), c.shape[len(c.shape)-1]
	eps := f32(c.float("eps"))
	for i := 0; i < len(v); i += n {
		row := v[i : i+n]
		var sum float64
		for _, x := range row {
			sum += f32(x * x)
		}
		r := f32(1 / f32(math.Sqrt(f32(mean(sum, n)+eps))))
		for k, x := range row {
			row[k] = round(c.t, f32(x*r))
		}
	}
	return affine(c, v, optional(in, 1), nil), nil
}

func layerNorm(c *call, in []*array) (*array, error) {
	v, n := convert(in[0], graph.Float32).floats(), c.shape[len(c.shape)-1]
	eps := f32(c.float("eps"))
	for i := 0; i < len(v); i += n {
		row := v[i : i+n]
		var sum, squares float64
		for _, x := range row {
			sum += x
		}
		mu := mean(sum, n)
		for k, x := range row {
			row[k] = f32(x - mu)
			squares += f32(row[k] * row[k])
		}
		r := f32(1 / f32(math.Sqrt(f32(mean(squares, n)+eps))))
		for k, x := range row {
			row[k] = round(c.t, f32(x*r))
		}
	}
	return affine(c, v, optional(in, 1), optional(in, 2)), nil
}

// affine multiplies normalized rows by a weight and adds a bias, if there.
func affine(c *call, v []float64, weight, bias *array) *array {
	n := c.shape[len(c.shape)-1]
	if weight != nil {
		w := convert(weight, c.t).floats()
		for i := range v {
			v[i] = round(c.t, v[i]*w[i%n])
		}
	}
	if bias != nil {
		b := convert(bias, c.t).floats()
		for i := range v {
			v[i] += b[i%n]
		}
	}
	return fromFloats(c.t, c.shape, v)
}

func rope(c *call, in []*array) (*array, error) {
	x := in[0]
	half := c.Dim("dims").Int() / 2
	width, length := x.shape[len(x.shape)-1], x.shape[len(x.shape)-2]
	offsets := convert(in[1], graph.Int32).ints()
	freqs := make([]float64, half) // angle of one position
	if f := optional(in, 2); f != nil {
		for i, v := range convert(f, graph.Float32).floats() {
			freqs[i] = f32(1 / v)
		}
	} else {
		step := f32(f32(math.Log(f32(c.float("base")))) / float64(half))
		for i := range freqs {
			freqs[i] = f32(math.Exp(f32(-float64(i) * step)))
		}
	}
	scale := f32(c.float("scale"))
	v := x.floats()
	rows := len(v) / max(1, width)
	for r := range rows {
		batch := r / max(1, rows/x.shape[0])
		offset := offsets[min(batch, len(offsets)-1)]
		position := f32(f32(float64(r%length)+f32(float64(offset))) * scale)
		row := v[r*width : (r+1)*width]
		for i, f := range freqs {
			theta := f32(position * f)
			cos, sin := round(c.t, f32(math.Cos(theta))), round(c.t, f32(math.Sin(theta)))
			a, b := i, i+half
			if c.Flag("traditional") {
				a, b = 2*i, 2*i+1
			}
			xa, xb := row[a], row[b]
			row[a] = round(c.t, xa*cos) - round(c.t, xb*sin)
			row[b] = round(c.t, xa*sin) + round(c.t, xb*cos)
		}
	}
	return fromFloats(c.t, c.shape, v), nil
}

// lowest is the most negative finite number of a type, which MLX masks with.
var lowest = map[graph.DType]float64{
	graph.Float16: -65504, graph.BFloat16: -0x1.fep127, graph.Float32: -math.MaxFloat32, graph.Float64: -math.MaxFloat64,
}

func sdpa(c *call, in []*array) (*array, error) {
	q, k, v := convert(in[0], c.t), convert(in[1], c.t), convert(in[2], c.t)
	heads, length, width := q.shape[1], q.shape[2], q.shape[3]
	rows := k.shape[2]
	if c.Attr("kv_len") != nil {
		if rows = c.Dim("kv_len").Int(); rows > k.shape[2] {
			return nil, fmt.Errorf("kv_len is %d, but k has %d rows", rows, k.shape[2])
		}
	}
	kind, seen := c.Str("mask"), rows // of the last rows, with its own, a query sees so many
	ordered := kind == "causal" || kind == "window"
	if kind == "window" {
		seen = c.Dim("window").Int()
	}
	var mask *array
	if m := optional(in, 3); m != nil {
		full := []int{q.shape[0], heads, length, rows}
		if !broadcasts(m.shape, full) {
			return nil, fmt.Errorf("mask %v does not broadcast to %v", m.shape, full)
		}
		if m.t != graph.Bool {
			m = convert(m, c.t)
		}
		mask = m.broadcast(full)
	}
	var sinks []float64
	if s := optional(in, 4); s != nil {
		if len(s.shape) != 1 || s.shape[0] != heads {
			return nil, fmt.Errorf("sinks %v must be a vector of %d", s.shape, heads)
		}
		sinks = convert(s, c.t).floats()
	}
	scale := round(c.t, f32(c.float("scale")))
	out := newArray(c.t, c.shape)
	repeats, vWidth := heads/k.shape[1], v.shape[3]
	parallel(q.shape[0]*heads, length*rows*(width+vWidth), func(from, to int) {
		for bh := from; bh < to; bh++ {
			b, h := bh/heads, bh%heads
			x := q.sub(b).sub(h).floats()
			for i := range x {
				x[i] = round(c.t, scale*x[i])
			}
			keys, values := k.sub(b).sub(h/repeats).floats(), v.sub(b).sub(h/repeats).floats()
			for i := range length {
				scores := make([]float64, rows, rows+1)
				for j := range scores {
					scores[j] = round(c.t, dot(x[i*width:(i+1)*width], keys[j*width:(j+1)*width]))
				}
				if mask != nil {
					m := mask.sub(b).sub(h).sub(i).floats()
					for j := range scores {
						switch {
						case mask.t != graph.Bool:
							scores[j] = round(c.t, scores[j]+m[j])
						case m[j] == 0:
							scores[j] = lowest[c.t]
						}
					}
				}
				at := rows - length + i // the last row that query i may see
				for j := range scores {
					if ordered && (j > at || j <= at-seen) {
						scores[j] = lowest[c.t]
					}
				}
				if sinks != nil {
					scores = append(scores, sinks[h])
				}
				softmaxRow(scores, accOf(c.t, true))
				sums := make([]float64, vWidth)
				for j := range rows {
					w := round(c.t, scores[j])
					for d, v := range values[j*vWidth : (j+1)*vWidth] {
						sums[d] += w * v
					}
				}
				for d, sum := range sums {
					put(c.t, out.data, (bh*length+i)*vWidth+d, sum)
				}
			}
		}
	})
	return out, nil
}

func kvAppend(c *call, in []*array) (*array, error) {
	return kvAppendInPlace(c, []*array{fromBytes(c.t, c.shape, slices.Clone(in[0].bytes())), in[1], in[2]})
}

// kvAppendInPlace is kv_append into a cache that nobody else reads.
func kvAppendInPlace(c *call, in []*array) (*array, error) {
	cache, rows := in[0], convert(in[1], c.t)
	offset := in[2].ints()
	if len(offset) != 1 {
		return nil, fmt.Errorf("offset has %d elements, not 1", len(offset))
	}
	if n := offset[0]; n < 0 || n+int64(rows.shape[2]) > int64(cache.shape[2]) {
		return nil, fmt.Errorf("rows %d to %d do not fit a cache of %d rows", n, n+int64(rows.shape[2]), cache.shape[2])
	}
	dst := &array{c.t, rows.shape, cache.strides, cache.off + int(offset[0])*cache.strides[2], cache.data}
	copyInto(dst, rows)
	return cache, nil
}

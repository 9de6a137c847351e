package exact

import (
	"fmt"
	"math"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

// The ops of mlx.core.fast, by their formulas.

func mean(group []Number) Number { return total(group).div(Int(int64(len(group)))) }

// normRows replaces each row of the last axis and applies weight and bias.
func (c *call) normRows(weight, bias *Array, f func(row []Number) []Number) error {
	n := c.out.Shape[len(c.out.Shape)-1]
	for at := 0; at < len(c.out.V); at += n {
		for i, y := range f(c.in[0].V[at : at+n]) {
			if weight != nil {
				y = y.mul(weight.V[i%len(weight.V)])
			}
			if bias != nil {
				y = y.add(bias.V[i%len(bias.V)])
			}
			c.out.V[at+i] = y
		}
	}
	return nil
}

func scaled(row []Number, by Number) []Number {
	out := make([]Number, len(row))
	for i, x := range row {
		out[i] = x.mul(by)
	}
	return out
}

// whiten divides a row by the root of its mean square and an epsilon.
func (c *call) whiten(row []Number) []Number {
	square := dot(row, row).div(Int(int64(len(row))))
	return scaled(row, c.t.rsqrt(square.add(Exactly(c.float("eps")))))
}

func rmsNorm(c *call) error { return c.normRows(c.in[1], nil, c.whiten) }

func layerNorm(c *call) error {
	return c.normRows(c.in[1], c.in[2], func(row []Number) []Number {
		mu := mean(row)
		centred := make([]Number, len(row))
		for i, x := range row {
			centred[i] = x.sub(mu)
		}
		return c.whiten(centred)
	})
}

// rope turns pairs of elements. Of sine and cosine only that equal angles have equal ones
// is known.
func rope(c *call) error {
	x, dims := c.in[0], c.int("dims")
	half, width, length := dims/2, x.Shape[len(x.Shape)-1], x.Shape[len(x.Shape)-2]
	freqs := make([]Number, half) // angle of one position
	for i := range freqs {
		if f := c.in[2]; f != nil {
			freqs[i] = f.V[i].inv()
			continue
		}
		base, share := Exactly(c.float("base")), Int(int64(-2*i)).div(Int(int64(2*half)))
		freqs[i] = c.t.unknown("power", math.Pow(base.r, share.r), base, share)
	}
	scale := Exactly(c.float("scale"))
	copy(c.out.V, x.V)
	rows := len(x.V) / max(1, width)
	for r := range rows {
		batch := r / max(1, rows/x.Shape[0])
		position := c.in[1].V[min(batch, len(c.in[1].V)-1)].add(Int(int64(r % length))).mul(scale)
		row := c.out.V[r*width : (r+1)*width]
		for i, f := range freqs {
			theta := position.mul(f)
			cos, sin := c.t.unknown("cos", math.Cos(theta.r), theta), c.t.unknown("sin", math.Sin(theta.r), theta)
			a, b := i, i+half
			if c.flag("traditional") {
				a, b = 2*i, 2*i+1
			}
			xa, xb := row[a], row[b]
			row[a] = xa.mul(cos).sub(xb.mul(sin))
			row[b] = xa.mul(sin).add(xb.mul(cos))
		}
	}
	return nil
}

func sdpa(c *call) error {
	q, k, v, mask, sinks := c.in[0], c.in[1], c.in[2], c.in[3], c.in[4]
	heads, length, width := q.Shape[1], q.Shape[2], q.Shape[3]
	all, vWidth := k.Shape[2], v.Shape[3]
	rows := all
	if c.n.Attr("kv_len") != nil {
		if rows = c.int("kv_len"); rows > all {
			return fmt.Errorf("kv_len is %d, but k has %d rows", rows, all)
		}
	}
	var maskAt []int
	if mask != nil {
		maskAt = moves.Broadcast(mask.Shape, []int{q.Shape[0], heads, length, rows})
	}
	groups, kind := k.Shape[1], c.word("mask")
	window := math.MaxInt
	if kind == "window" {
		window = c.int("window")
	}
	scale := Exactly(graph.Round(c.out.DType, c.float("scale"))) // a constant of that type, in MLX's graph
	never := Exactly(graph.Lowest(graph.Float32))
	for i := range q.Shape[0] * heads * length {
		b, h, l := i/length/heads, i/length%heads, i%length
		kv := (b*groups + h/(heads/groups)) * all
		scores := make([]Number, rows, rows+1)
		for j := range scores {
			last := rows - length + l // that query l may see
			if kind != "none" && kind != "array" && (j > last || j <= last-window) {
				scores[j] = never
				continue
			}
			s := dot(q.V[i*width:(i+1)*width], k.V[(kv+j)*width:(kv+j+1)*width]).mul(scale)
			if mask != nil {
				m := mask.V[maskAt[i*rows+j]]
				switch {
				case mask.DType != graph.Bool:
					s = s.add(m)
				case m.r == 0:
					s = never
				}
			}
			scores[j] = s
		}
		if sinks != nil {
			scores = append(scores, sinks.V[h])
		}
		shares := c.t.shares(scores)[:rows]
		for d := range vWidth {
			s := Int(0)
			for j, x := range shares {
				s = s.add(x.mul(v.V[(kv+j)*vWidth+d]))
			}
			c.out.V[i*vWidth+d] = s
		}
	}
	return nil
}

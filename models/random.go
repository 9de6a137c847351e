package models

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// RandomWeights returns weights for all parameters of a program: made-up ones for those
// that a model's files would hold, the same for the same seed, and what is derived from
// them. None is in memory: bytes are made when they are read. Matrices have the deviation
// of a usual initialization, so that activations keep their size from layer to layer, and
// norms are near 1. With heavy set deviations have a tail as that of Student's t with three
// degrees of freedom: of a quantized matrix by groups, else by elements.
func RandomWeights(p *graph.Program, seed uint64, heavy bool) (*weights.Store, error) {
	w := weights.NewStore()
	for _, q := range p.Params {
		if q.From != nil {
			continue
		}
		src, err := randomOf(q, seed, heavy)
		if err != nil {
			return nil, err
		}
		shape := make([]int, q.Type.Rank())
		for i, d := range q.Type.Shape {
			shape[i] = d.Int()
		}
		t, err := weights.New(q.Name, q.Type.DType, shape, src)
		if err != nil {
			return nil, err
		}
		if err := w.Add(t); err != nil {
			return nil, err
		}
	}
	return w, Derive(p, w)
}

// random is the source of a made-up tensor: element i is a function of the seed and i.
type random struct {
	seed uint64
	size int // bytes of an element
	put  func(dst []byte, bits uint64)
}

func (r *random) Bytes() []byte { return nil }

func (r *random) ReadAt(dst []byte, off int) {
	var one [8]byte
	for i, skip := off/r.size, off%r.size; len(dst) > 0; i, skip = i+1, 0 {
		bits := mix(r.seed + uint64(i))
		if skip == 0 && len(dst) >= r.size {
			r.put(dst[:r.size], bits)
			dst = dst[r.size:]
			continue
		}
		r.put(one[:r.size], bits)
		dst = dst[copy(dst, one[skip:r.size]):]
	}
}

// mix is the finalizer of splitmix64: neighbours have nothing in common behind it.
func mix(x uint64) uint64 {
	x *= 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// bell is about normal: four uniform numbers added up, of deviation 1.
func bell(bits uint64) float64 {
	sum := bits&0xFFFF + bits>>16&0xFFFF + bits>>32&0xFFFF + bits>>48
	return (float64(sum)/65536 - 2) * math.Sqrt(3)
}

// tail is a factor of mean square 1 that is seldom large: u^(-1/3) of a uniform u.
func tail(bits uint64) float64 {
	u := (float64(mix(bits+1)>>11) + 1) * 0x1p-53
	return math.Pow(u, -1.0/3) / math.Sqrt(3)
}

func randomOf(q *graph.Param, seed uint64, heavy bool) (*random, error) {
	name, t := q.Name, q.Type
	if q.Quant != nil {
		name = q.Quant.Module // scales and biases belong together
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	if q.Part == "weight" {
		h.Write([]byte(" codes"))
	}
	r := &random{seed: mix(seed ^ h.Sum64()), size: t.DType.Size()}
	last := 1
	if t.Rank() > 0 {
		last = t.Shape[t.Rank()-1].Int()
	}
	float := func(f func(bits uint64) float64) (*random, error) {
		r.put = func(dst []byte, bits uint64) { graph.AppendElem(dst[:0], t.DType, f(bits)) }
		return r, nil
	}
	spread := func(bits uint64) float64 { return 1 }
	if heavy {
		spread = tail
	}
	switch {
	case q.Part == "weight" && t.DType == graph.Uint32:
		r.put = func(dst []byte, bits uint64) { binary.LittleEndian.PutUint32(dst, uint32(bits>>16)) }
		return r, nil
	case q.Part != "" && q.Quant.Mode == "affine":
		// Codes are uniform: their deviation is 2^bits / sqrt(12).
		n := math.Exp2(float64(q.Quant.Bits))
		unit := math.Sqrt(12) / n / math.Sqrt(float64(last*q.Quant.GroupSize))
		if q.Part == "biases" {
			unit *= -(n - 1) / 2 // the codes' mean is 0 then
		}
		return float(func(bits uint64) float64 {
			f := unit * (0.5 + float64(bits>>40)*0x1p-24) * spread(bits)
			if bits&1 == 1 {
				f = -f
			}
			return f
		})
	case q.Part == "scales" && q.Quant.Mode == "mxfp4" && t.DType == graph.Uint8:
		// Exponents; the codes' deviation is 2.9.
		middle := 127 - math.Round(0.5*math.Log2(8.4*float64(last*q.Quant.GroupSize)))
		r.put = func(dst []byte, bits uint64) {
			dst[0] = byte(middle + float64(bits%3) - 1 + math.Round(math.Log2(spread(bits))))
		}
		return r, nil
	case q.Part != "" || !t.DType.IsFloat():
		what := t.DType.String()
		if q.Quant != nil {
			what = q.Quant.Mode
		}
		return nil, diag.Errorf("weights/random", diag.Pos{}, "%s: no random weights are made for parameters of kind %s", q.Name, what)
	case t.Rank() <= 1 && strings.HasSuffix(q.Name, "weight"): // of a norm
		return float(func(bits uint64) float64 { return 1 + 0.1*bell(bits)*spread(bits) })
	case t.Rank() <= 1:
		return float(func(bits uint64) float64 { return 0.1 * bell(bits) * spread(bits) })
	}
	if last == 1 { // filters [channels, length, 1]
		last = t.Shape[t.Rank()-2].Int()
	}
	unit := 1 / math.Sqrt(float64(last))
	return float(func(bits uint64) float64 { return unit * bell(bits) * spread(bits) })
}

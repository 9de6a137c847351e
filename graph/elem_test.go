package graph

import (
	"encoding/binary"
	"math"
	"sort"
	"testing"
)

// halfValues lists all values of a 16-bit float type with a sign bit, expBits
// exponent bits and the rest fraction, by the definition of IEEE 754: the finite
// and infinite ones of positive sign in order, so that index i is bit pattern i.
func halfValues(expBits int) []float64 {
	fracBits := 15 - expBits
	bias := 1<<(expBits-1) - 1
	var vals []float64
	for exp := range 1 << expBits {
		for frac := range 1 << fracBits {
			f := float64(frac) / float64(int(1)<<fracBits)
			switch {
			case exp == 1<<expBits-1 && frac == 0:
				return append(vals, math.Inf(1))
			case exp == 0:
				vals = append(vals, f*math.Pow(2, float64(1-bias)))
			default:
				vals = append(vals, (1+f)*math.Pow(2, float64(exp-bias)))
			}
		}
	}
	panic("no infinity")
}

// nearestBits rounds by searching the list of values: the nearest one, the even
// pattern on a tie. Infinity counts as the value behind the largest finite one.
func nearestBits(vals []float64, v float64) uint16 {
	sign := uint16(0)
	if math.Signbit(v) {
		sign, v = 0x8000, -v
	}
	last := len(vals) - 1
	at := func(i int) float64 {
		if i == last {
			return 2*vals[last-1] - vals[last-2]
		}
		return vals[i]
	}
	i := sort.Search(len(vals), func(i int) bool { return at(i) >= v })
	switch {
	case i > last:
		return sign | uint16(last)
	case i == 0:
		return sign
	}
	below, above := v-at(i-1), at(i)-v
	if below < above || below == above && (i-1)%2 == 0 {
		i--
	}
	return sign | uint16(i)
}

func TestHalfFloats(t *testing.T) {
	for _, c := range []struct {
		dtype   DType
		expBits int
	}{{Float16, 5}, {BFloat16, 8}} {
		vals := halfValues(c.expBits)
		encode := func(v float64) uint16 { return binary.LittleEndian.Uint16(AppendElem(nil, c.dtype, v)) }
		decode := func(h uint16) float64 {
			return DecodeElem(c.dtype, binary.LittleEndian.AppendUint16(nil, h))
		}
		for h := range 1 << 16 {
			mag := h & 0x7fff
			got := decode(uint16(h))
			if mag >= len(vals) {
				if !math.IsNaN(got) {
					t.Fatalf("%s %04x is %g, not NaN", c.dtype, h, got)
				}
				continue
			}
			want := vals[mag]
			if h >= 0x8000 {
				want = -want
			}
			if math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("%s %04x is %g, not %g", c.dtype, h, got, want)
			}
			if back := encode(got); back != uint16(h) {
				t.Fatalf("%s %04x (%g) encodes as %04x", c.dtype, h, got, back)
			}
			if mag+1 >= len(vals) {
				continue
			}
			// The middle of two neighbours, and float32 numbers on either side of it.
			mid := want + (decode(uint16(h+1))-want)/2
			if math.IsInf(decode(uint16(h+1)), 0) {
				mid = math.Copysign((vals[mag]+(2*vals[mag]-vals[mag-1]))/2, want)
			}
			m := float32(mid)
			for _, v := range []float32{m, math.Nextafter32(m, 0), math.Nextafter32(m, float32(math.Inf(1)))} {
				if got, want := encode(float64(v)), nearestBits(vals, float64(v)); got != want {
					t.Fatalf("%s: %g encodes as %04x, not %04x", c.dtype, v, got, want)
				}
			}
		}
		if v := decode(encode(math.NaN())); !math.IsNaN(v) {
			t.Errorf("%s: NaN becomes %g", c.dtype, v)
		}
	}
}

func TestElemRoundTrip(t *testing.T) {
	for _, d := range DTypes() {
		for _, v := range []float64{0, 1, 2, 100} {
			want := v
			if d == Bool && v != 0 {
				want = 1
			}
			b := AppendElem(nil, d, v)
			if len(b) != d.Size() || DecodeElem(d, b) != want || Round(d, v) != want {
				t.Errorf("%s: %g becomes % x, %g", d, v, b, DecodeElem(d, b))
			}
		}
		if back, ok := ParseDType(d.String()); !ok || back != d {
			t.Errorf("%s reads as %s", d, back)
		}
	}
	for _, c := range []struct {
		dtype   DType
		v, want float64
	}{
		{Int8, -128, -128}, {Int8, 3.9, 3}, {Int8, -3.9, -3}, {Uint8, 256, 0}, {Int16, -2, -2}, {Uint32, 1 << 31, 1 << 31},
		{Uint64, 1 << 63, 1 << 63}, {Int64, -1 << 62, -1 << 62}, {BFloat16, 1e-6, 9.98377799987793e-07}, {Float16, 65520, math.Inf(1)}, {Float16, 65519, 65504},
	} {
		if got := Round(c.dtype, c.v); got != c.want {
			t.Errorf("%s: %g rounds to %v, not %v", c.dtype, c.v, got, c.want)
		}
	}
}

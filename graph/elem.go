package graph

import (
	"encoding/binary"
	"math"
)

// AppendElem appends v, rounded to nearest even in element type t, to b.
// Integers are truncated, out-of-range ones wrap as a C cast on x86-64 does.
// Complex64 gets v as its real part.
func AppendElem(b []byte, t DType, v float64) []byte {
	le := binary.LittleEndian
	switch t {
	case Bool:
		if v != 0 {
			return append(b, 1)
		}
		return append(b, 0)
	case Uint8, Int8:
		return append(b, byte(int64(v)))
	case Uint16, Int16:
		return le.AppendUint16(b, uint16(int64(v)))
	case Uint32, Int32:
		return le.AppendUint32(b, uint32(int64(v)))
	case Uint64:
		if v >= 1<<63 {
			return le.AppendUint64(b, uint64(v))
		}
		return le.AppendUint64(b, uint64(int64(v)))
	case Int64:
		return le.AppendUint64(b, uint64(int64(v)))
	case Float16:
		return le.AppendUint16(b, Float16Bits(v))
	case BFloat16:
		return le.AppendUint16(b, BFloat16Bits(v))
	case Float32:
		return le.AppendUint32(b, math.Float32bits(float32(v)))
	case Float64:
		return le.AppendUint64(b, math.Float64bits(v))
	case Complex64:
		return le.AppendUint32(le.AppendUint32(b, math.Float32bits(float32(v))), 0)
	}
	panic("graph: AppendElem of " + t.String())
}

// DecodeElem reads the element of type t at the start of b.
func DecodeElem(t DType, b []byte) float64 {
	le := binary.LittleEndian
	switch t {
	case Bool:
		if b[0] != 0 {
			return 1
		}
		return 0
	case Uint8:
		return float64(b[0])
	case Int8:
		return float64(int8(b[0]))
	case Uint16:
		return float64(le.Uint16(b))
	case Int16:
		return float64(int16(le.Uint16(b)))
	case Uint32:
		return float64(le.Uint32(b))
	case Int32:
		return float64(int32(le.Uint32(b)))
	case Uint64:
		return float64(le.Uint64(b))
	case Int64:
		return float64(int64(le.Uint64(b)))
	case Float16:
		return Float16Value(le.Uint16(b))
	case BFloat16:
		return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16))
	case Float32, Complex64:
		return float64(math.Float32frombits(le.Uint32(b)))
	case Float64:
		return math.Float64frombits(le.Uint64(b))
	}
	panic("graph: DecodeElem of " + t.String())
}

// Round returns v rounded to element type t, as MLX stores it.
func Round(t DType, v float64) float64 {
	switch t {
	case Float64:
		return v
	case Float32:
		return float64(float32(v))
	}
	var buf [8]byte
	return DecodeElem(t, AppendElem(buf[:0], t, v))
}

// Lowest is the smallest finite number of a floating-point type, which MLX masks scores
// with.
func Lowest(t DType) float64 {
	switch t {
	case Float16:
		return -65504
	case BFloat16:
		return DecodeElem(t, []byte{0x7f, 0xff})
	case Float64:
		return -math.MaxFloat64
	}
	return -math.MaxFloat32
}

// BFloat16Bits rounds to nearest even, by way of float32, as MLX does.
func BFloat16Bits(v float64) uint16 {
	u := math.Float32bits(float32(v))
	if u&0x7fffffff > 0x7f800000 { // NaN stays NaN
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + (u>>16)&1) >> 16)
}

// Float16Bits rounds to nearest even, by way of float32, as MLX does.
func Float16Bits(v float64) uint16 {
	u := math.Float32bits(float32(v))
	sign := uint16(u>>16) & 0x8000
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000:
		return sign | 0x7e00
	case u >= 0x47800000: // 65536 and up
		return sign | 0x7c00
	case u >= 0x38800000: // normal; rounding may carry into infinity, rightly
		r := u + 0xfff + (u>>13)&1
		return sign | uint16((r-0x38000000)>>13)
	}
	// Subnormal: adding 0.5 aligns the bits so that the hardware rounds for us.
	f := math.Float32frombits(u) + 0.5
	return sign | uint16(math.Float32bits(f)-0x3f000000)
}

// Float16Value returns the value of IEEE binary16 bits.
func Float16Value(h uint16) float64 {
	exp, frac := int(h>>10)&31, float64(h&1023)
	var v float64
	switch exp {
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		v = math.Inf(1)
	case 0:
		v = math.Ldexp(frac, -24)
	default:
		v = math.Ldexp(1024+frac, exp-25)
	}
	if h&0x8000 != 0 {
		return -v
	}
	return v
}

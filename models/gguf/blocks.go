package gguf

import (
	"encoding/binary"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

const (
	weightSuffix = ".weight"
	groupSize    = 32 // of all supported quantized types
)

// Store returns the tensors under the names of the file. A quantized tensor
// P.weight of shape [..., n] becomes, as with mlx.core.load,
//
//	P.weight  uint32   [..., n·bits/32]  codes, the first one in the lowest bits
//	P.scales  float16  [..., n/32]
//	P.biases  float16  [..., n/32]
//
// where an element is scale·code + bias. MXFP4 is MLX's mode of that name: scales are
// uint8, there are no biases. Its blocks are converted when they are read. Closing the
// store closes the file.
func (f *File) Store() (*weights.Store, error) {
	s := weights.NewStore(f.file)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		parts, err := f.arrays(t)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			if s.Get(p.Name) != nil {
				return nil, diag.Errorf("gguf/duplicate-tensor", diag.At(f.Name(), int64(t.at)),
					"tensor %q: the file has another %q", t.Name, p.Name)
			}
			if err := s.Add(p); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// arrays returns the arrays of a tensor: one, or those of a quantized matrix.
func (f *File) arrays(t *Tensor) ([]*weights.Tensor, error) {
	data := f.file.Data()[t.Offset : t.Offset+t.Size]
	l := layouts[t.Type]
	if l.bits == 0 {
		w, err := weights.New(t.Name, l.dtype, t.Shape, weights.Raw(data), f.file)
		if err != nil {
			return nil, err
		}
		return []*weights.Tensor{w}, nil
	}
	path := strings.TrimSuffix(t.Name, weightSuffix)
	last := len(t.Shape) - 1
	sized := func(n int) []int { return append(append([]int{}, t.Shape[:last]...), n) }
	n := t.Shape[last]
	d := decoders[t.Type]
	type part struct {
		name   string
		dtype  graph.DType
		shape  []int
		width  int
		decode decoder
	}
	parts := []part{{t.Name, graph.Uint32, sized(n * l.bits / 32), groupSize * l.bits / 8, d.codes}}
	if t.Type == MXFP4 {
		parts = append(parts, part{path + ".scales", graph.Uint8, sized(n / groupSize), 1, d.scales})
	} else {
		parts = append(parts, part{path + ".scales", graph.Float16, sized(n / groupSize), 2, d.scales}, part{path + ".biases", graph.Float16, sized(n / groupSize), 2, d.biases})
	}
	var out []*weights.Tensor
	for _, p := range parts {
		src := &blockSource{data: data, block: l.bytes, width: p.width, decode: p.decode}
		w, err := weights.New(p.name, p.dtype, p.shape, src, f.file)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// decoder writes what n blocks at the start of src give to dst.
type decoder func(dst, src []byte, n int)

// blockSource produces an array of which each block of the file gives width
// bytes.
type blockSource struct {
	data   []byte // whole blocks
	block  int    // bytes of a block in the file
	width  int    // bytes that decode makes of it, at most 32
	decode decoder
}

func (s *blockSource) Bytes() []byte { return nil }

// ReadAt decodes whole blocks straight into dst.
func (s *blockSource) ReadAt(dst []byte, off int) {
	i, within := off/s.width, off%s.width
	if within > 0 {
		dst = dst[s.part(dst, i, within):]
		i++
	}
	n := len(dst) / s.width
	if n > 0 {
		s.decode(dst[:n*s.width], s.data[i*s.block:], n)
		dst, i = dst[n*s.width:], i+n
	}
	if len(dst) > 0 {
		s.part(dst, i, 0)
	}
}

// part copies what block i gives, from byte from on, and returns how much it was.
func (s *blockSource) part(dst []byte, i, from int) int {
	var one [groupSize]byte
	s.decode(one[:s.width], s.data[i*s.block:], 1)
	return copy(dst, one[from:s.width])
}

// decoders does what gguf_quants.cpp of MLX 0.32.1 and later does; before, MLX
// read the codes of Q4_1 from the wrong place.
var decoders = map[Type]struct{ codes, scales, biases decoder }{
	Q4_0: {nibbles(2), halves(0, 18), timesScale(3, 18)},
	Q4_1: {nibbles(4), halves(0, 20), halves(2, 20)},
	Q8_0: {signed, halves(0, 34), timesScale(7, 34)},
	// The same numbers: ggml has them doubled, under half the scale. (But for the exponent
	// 255, which the format defines as NaN and no converter writes.)
	MXFP4: {codes: nibbles(1), scales: exponents},
}

// exponents copies the first byte of each block of MXFP4.
func exponents(dst, src []byte, n int) {
	for i := range n {
		dst[i] = src[i*17]
	}
}

// nibbles repacks blocks of head bytes and 32 4-bit codes. ggml has code j in the
// low half of byte j and code j+16 in its high half; MLX has them in order, the
// even one in the low half.
func nibbles(head int) decoder {
	return func(dst, src []byte, n int) {
		const low = 0x0f0f0f0f0f0f0f0f
		le := binary.LittleEndian
		for i := range n {
			q, d := src[i*(head+16)+head:][:16], dst[i*16:][:16]
			a, b := le.Uint64(q), le.Uint64(q[8:])
			le.PutUint32(d, pair(a&low))
			le.PutUint32(d[4:], pair(b&low))
			le.PutUint32(d[8:], pair(a>>4&low))
			le.PutUint32(d[12:], pair(b>>4&low))
		}
	}
}

// pair joins eight bytes of four bits each to four bytes.
func pair(x uint64) uint32 {
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

// signed copies 32 signed codes of a block. MLX's are unsigned: code + 128, which
// is code with its sign bit flipped.
func signed(dst, src []byte, n int) {
	const flip = 0x8080808080808080
	le := binary.LittleEndian
	for i := range n {
		q, d := src[i*34+2:][:32], dst[i*32:][:32]
		for k := 0; k < 32; k += 8 {
			le.PutUint64(d[k:], le.Uint64(q[k:])^flip)
		}
	}
}

// halves copies the float16 at offset at of each block of the given size.
func halves(at, block int) decoder {
	return func(dst, src []byte, n int) {
		for i := range n {
			copy(dst[2*i:2*i+2], src[i*block+at:])
		}
	}
}

// timesScale gives −2^k times the float16 at the start of each block: a code c
// that is stored as c + 2^k stands for scale·c = scale·(c + 2^k) − 2^k·scale.
func timesScale(k, block int) decoder {
	return func(dst, src []byte, n int) {
		le := binary.LittleEndian
		for i := range n {
			le.PutUint16(dst[2*i:], negShift(le.Uint16(src[i*block:]), k))
		}
	}
}

// negShift returns −2^k·h for a float16 h. That is exact, but for what overflows
// to infinity.
func negShift(h uint16, k int) uint16 {
	const infinity = 0x7c00
	sign, exp, frac := ^h&0x8000, int(h>>10&31), h&0x3ff
	switch {
	case exp == 31: // infinity or NaN
		return sign | h&0x7fff
	case exp == 0: // zero or subnormal: shift until it is neither
		for k > 0 && frac < 0x400 {
			frac <<= 1
			k--
		}
		if frac < 0x400 {
			return sign | frac
		}
		exp, frac = 1, frac&0x3ff
	}
	if exp += k; exp >= 31 {
		return sign | infinity
	}
	return sign | uint16(exp)<<10 | frac
}

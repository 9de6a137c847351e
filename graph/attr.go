package graph

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

// Attr is the value of an attribute of a node: a Dim, Dims, Float, Flag, Str,
// DType or *Literal. A nil Attr is an attribute that is not there.
type Attr interface {
	// Equal reports whether both attributes mean the same to MLX.
	Equal(Attr) bool
	// String prints the attribute as the text form writes it.
	String() string
}

type (
	// Dims is a list of integers, symbolic or not: axes, shapes, starts.
	Dims []Dim
	// Float is a floating-point attribute. MLX keeps most of them as float32;
	// they are compared as such, since that is what the kernel gets.
	Float float64
	// Flag is true or false.
	Flag bool
	// Str is a word from a fixed list (mode="affine"), or a name.
	Str string
)

// DimsOf returns whole numbers, such as a shape or axes, as dimensions.
func DimsOf(list []int) Dims {
	d := make(Dims, len(list))
	for i, n := range list {
		d[i] = N(int64(n))
	}
	return d
}

// Literal is the payload of a constant: row-major, little-endian, MLX's own
// element layout. Its bytes must not be changed.
type Literal struct {
	DType DType
	Shape []int
	Data  []byte
}

func (d Dim) Equal(a Attr) bool  { b, ok := a.(Dim); return ok && d == b }
func (d Dims) Equal(a Attr) bool { b, ok := a.(Dims); return ok && slices.Equal(d, b) }
func (f Float) Equal(a Attr) bool {
	b, ok := a.(Float)
	return ok && math.Float32bits(float32(f)) == math.Float32bits(float32(b))
}
func (f Flag) Equal(a Attr) bool  { b, ok := a.(Flag); return ok && f == b }
func (s Str) Equal(a Attr) bool   { b, ok := a.(Str); return ok && s == b }
func (t DType) Equal(a Attr) bool { b, ok := a.(DType); return ok && t == b }
func (l *Literal) Equal(a Attr) bool {
	m, ok := a.(*Literal)
	return ok && (l == m || l.DType == m.DType && slices.Equal(l.Shape, m.Shape) && bytes.Equal(l.Data, m.Data))
}

func (d Dims) String() string  { return dimsText(d) }
func (f Float) String() string { return floatText(float64(f), 32) }
func (f Flag) String() string  { return strconv.FormatBool(bool(f)) }
func (s Str) String() string   { return strconv.Quote(string(s)) }

// String prints a scalar as a number, anything larger as base64 text of its bytes.
func (l *Literal) String() string { return string(l.appendText(nil)) }

// Type returns the type of the constant.
func (l *Literal) Type() Type {
	shape := make([]Dim, len(l.Shape))
	for i, n := range l.Shape {
		shape[i] = N(int64(n))
	}
	return Type{l.DType, shape}
}

// Scalar returns the value of a 0-dimensional literal, and whether it is one.
// NaN payloads and 64-bit integers beyond 2^53 are not kept.
func (l *Literal) Scalar() (float64, bool) {
	if len(l.Shape) != 0 || l.DType == Complex64 || len(l.Data) != l.DType.Size() {
		return 0, false
	}
	return DecodeElem(l.DType, l.Data), true
}

// ScalarLiteral returns v rounded to the element type t, as a 0-dimensional literal.
func ScalarLiteral(t DType, v float64) *Literal {
	return &Literal{DType: t, Shape: []int{}, Data: AppendElem(nil, t, v)}
}

// AppendAttrKey appends bytes that are the same for equal attributes and differ for
// others, nil included; of numbers, all bits count. They mean nothing outside of this
// process.
func AppendAttrKey(b []byte, a Attr) []byte {
	switch a := a.(type) {
	case nil:
		return append(b, 0)
	case Dim:
		return a.appendKey(append(b, 'i'))
	case Dims:
		b = binary.AppendUvarint(append(b, 'l'), uint64(len(a)))
		for _, d := range a {
			b = d.appendKey(b)
		}
		return b
	case Float:
		return binary.LittleEndian.AppendUint64(append(b, 'f'), math.Float64bits(float64(a)))
	case Flag:
		if a {
			return append(b, 'b', 1)
		}
		return append(b, 'b', 0)
	case Str:
		return append(binary.AppendUvarint(append(b, 's'), uint64(len(a))), a...)
	case DType:
		return append(b, 't', byte(a))
	case *Literal:
		b = binary.AppendUvarint(append(b, 'c', byte(a.DType)), uint64(len(a.Shape)))
		for _, n := range a.Shape {
			b = binary.AppendUvarint(b, uint64(n))
		}
		return append(binary.AppendUvarint(b, uint64(len(a.Data))), a.Data...)
	}
	panic("graph: attribute of unknown kind")
}

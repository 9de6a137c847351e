package graph

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Type is the type of a value: its element type and its shape. Shapes are never
// changed in place; they may be shared between types.
type Type struct {
	DType DType
	Shape []Dim
}

// T makes a type from an element type and dimensions.
func T(t DType, shape ...Dim) Type { return Type{t, shape} }

// Rank returns the number of dimensions.
func (t Type) Rank() int { return len(t.Shape) }

// Size returns the number of elements.
func (t Type) Size() Dim { return Product(t.Shape) }

// Rows returns the product of all dimensions but the last, the number of rows
// that a matrix-vector kernel sees. It is 1 for a vector or a scalar.
func (t Type) Rows() Dim {
	if len(t.Shape) < 2 {
		return N(1)
	}
	return Product(t.Shape[:len(t.Shape)-1])
}

// maxRank bounds the dimensions of a value and the lists among attributes.
const maxRank = 64

// check reports what no value can have: a negative dimension, or a size in bytes
// that does not fit in a Dim. It bounds that size by the coefficients, since
// inference calls it for every result and the product itself is dear.
func (t Type) check() error {
	if len(t.Shape) > maxRank {
		return fmt.Errorf("%d dimensions, more than %d", len(t.Shape), maxRank)
	}
	size, terms, deg := int64(t.DType.Size()), 1, 0
	for _, d := range t.Shape {
		sum := d.n
		if d.p == nil && sum < 0 {
			return fmt.Errorf("dimension %d of %s is negative", sum, t)
		}
		if d.p != nil {
			all := d.all()
			sum = 0
			for _, x := range all {
				sum = satAdd(sum, int64(min(abs64(x.coef), math.MaxInt64)))
			}
			terms = min(terms*len(all), maxTerms+1)
			deg += degree(all[0].syms)
		}
		if d.n != 0 || d.p != nil { // 0 elements of a huge shape are still a huge shape
			size = satMul(size, sum)
		}
	}
	if size == math.MaxInt64 || terms > maxTerms || deg > maxDegree {
		return fmt.Errorf("%s is too large", t)
	}
	return nil
}

// Equal reports whether both types are the same.
func (t Type) Equal(u Type) bool { return t.DType == u.DType && slices.Equal(t.Shape, u.Shape) }

// String prints the type as the text form writes it: "float16[batch, 1, 576]".
func (t Type) String() string {
	var b strings.Builder
	b.WriteString(t.DType.String())
	b.WriteString(dimsText(t.Shape))
	return b.String()
}

func dimsText(dims []Dim) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// Dim returns dimension i, counted from the end if negative, and whether it is there.
func (t Type) Dim(i int) (Dim, bool) {
	if i < 0 {
		i += len(t.Shape)
	}
	if i < 0 || i >= len(t.Shape) {
		return Dim{}, false
	}
	return t.Shape[i], true
}

// Subst replaces symbols in the shape.
func (t Type) Subst(env map[string]Dim) Type {
	shape := make([]Dim, len(t.Shape))
	for i, d := range t.Shape {
		shape[i] = d.Subst(env)
	}
	return Type{t.DType, shape}
}

// AppendKey appends bytes that are the same for equal types and differ for others.
// They mean nothing outside of this process.
func (t Type) AppendKey(b []byte) []byte {
	b = append(b, byte(t.DType), byte(len(t.Shape)))
	for _, d := range t.Shape {
		b = d.appendKey(b)
	}
	return b
}

func (d Dim) appendKey(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(d.n))
	if d.p == nil {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, d.p.id)
}

package graph

import "fmt"

// DType is an MLX element type. The order is MLX's own (mlx/dtype.h, Dtype::Val),
// so that it can be written to a .mlxfn file as it is.
type DType uint8

const (
	Bool DType = iota
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	Float16
	Float32
	Float64
	BFloat16
	Complex64
	numDTypes
)

// NoDType marks a type that is not known (yet).
const NoDType DType = 255

var dtypeInfo = [numDTypes]struct {
	name string
	size int
}{
	Bool: {"bool", 1}, Uint8: {"uint8", 1}, Uint16: {"uint16", 2}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8},
	Int8: {"int8", 1}, Int16: {"int16", 2}, Int32: {"int32", 4}, Int64: {"int64", 8},
	Float16: {"float16", 2}, Float32: {"float32", 4}, Float64: {"float64", 8}, BFloat16: {"bfloat16", 2},
	Complex64: {"complex64", 8},
}

// DTypes returns all element types in MLX's order.
func DTypes() []DType {
	all := make([]DType, numDTypes)
	for i := range all {
		all[i] = DType(i)
	}
	return all
}

// Valid reports whether t is one of MLX's element types.
func (t DType) Valid() bool { return t < numDTypes }

// Size returns the size of one element in bytes.
func (t DType) Size() int { return dtypeInfo[t].size }

// String returns the name that mlx.core uses: "bfloat16".
func (t DType) String() string {
	if !t.Valid() {
		return fmt.Sprintf("dtype(%d)", uint8(t))
	}
	return dtypeInfo[t].name
}

// IsFloat reports whether t is float16, bfloat16, float32 or float64.
func (t DType) IsFloat() bool { return t == Float16 || t == BFloat16 || t == Float32 || t == Float64 }

// IsInteger reports whether t is a signed or unsigned integer (bool is neither).
func (t DType) IsInteger() bool { return t >= Uint8 && t <= Int64 }

// IsUnsigned reports whether t is an unsigned integer.
func (t DType) IsUnsigned() bool { return t >= Uint8 && t <= Uint64 }

// ParseDType reads the name that mlx.core uses.
func ParseDType(name string) (DType, bool) {
	for i, d := range dtypeInfo {
		if d.name == name {
			return DType(i), true
		}
	}
	return NoDType, false
}

package mlxfn

import (
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// Field is one named member of a primitive's state.
type Field struct {
	Name  string
	Value any // of the Go type that its Kind says
}

// Kind is the form of a state field in a file.
type Kind uint8

const (
	Int        Kind = iota // int: i32
	Enum                   // string, one of the spec's names: i32
	Size                   // int: u64
	Bool                   // bool: one byte, 0 or 1
	Float                  // float32
	Double                 // float64
	String                 // string: u64 length, bytes
	DType                  // graph.DType: i32 number, u8 size in bytes
	Ints                   // []int: u64 count, i32 each
	Longs                  // []int: u64 count, i64 each
	Sizes                  // []int: u64 count, u64 each
	Dim3                   // [3]int: three i32
	ShapeUses              // []ShapeUse: u64 count, three bytes each
	OptFloat               // OptionalFloat: one byte, then a float32 if it is 1
	ScalarArgs             // []any of int, float32 or bool: u64 count, i32 tag and value each
)

// ShapeUse says which of an input's shape, strides and rank a custom kernel's
// source mentions, and so gets as arguments.
type ShapeUse struct{ Shape, Strides, NDim bool }

// OptionalFloat is a float32 that may be absent.
type OptionalFloat struct {
	Set   bool
	Value float32
}

// FieldSpec is the table's description of a state field.
type FieldSpec struct {
	Name    string
	Kind    Kind
	Names   []string // of an Enum, by number
	Since   string   // first release that stores it; "" means all in the table
	Default any      // what its absence stands for in older releases
}

// Check reports whether value has the Go type and range that the field's form needs.
func (s *FieldSpec) Check(value any) bool {
	switch v := value.(type) {
	case int:
		return s.Kind == Int && v >= math.MinInt32 && v <= math.MaxInt32 || s.Kind == Size && v >= 0
	case string:
		return s.Kind == String || s.Kind == Enum && slices.Contains(s.Names, v)
	case bool:
		return s.Kind == Bool
	case float32:
		return s.Kind == Float
	case float64:
		return s.Kind == Double
	case graph.DType:
		return s.Kind == DType && v.Valid()
	case []int:
		switch s.Kind {
		case Ints:
			return !slices.ContainsFunc(v, func(i int) bool { return i < math.MinInt32 || i > math.MaxInt32 })
		case Sizes:
			return !slices.ContainsFunc(v, func(i int) bool { return i < 0 })
		}
		return s.Kind == Longs
	case [3]int:
		return s.Kind == Dim3 && !slices.ContainsFunc(v[:], func(i int) bool { return i < math.MinInt32 || i > math.MaxInt32 })
	case []ShapeUse:
		return s.Kind == ShapeUses
	case OptionalFloat:
		return s.Kind == OptFloat
	case []any:
		return s.Kind == ScalarArgs && !slices.ContainsFunc(v, func(a any) bool {
			switch a := a.(type) {
			case int:
				return a < math.MinInt32 || a > math.MaxInt32
			case float32, bool:
				return false
			}
			return true
		})
	}
	return false
}

// sameValue compares two field values, floats by their bits.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case float32:
		b, ok := b.(float32)
		return ok && math.Float32bits(a) == math.Float32bits(b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case OptionalFloat:
		b, ok := b.(OptionalFloat)
		return ok && a.Set == b.Set && math.Float32bits(a.Value) == math.Float32bits(b.Value)
	case []int:
		b, ok := b.([]int)
		return ok && slices.Equal(a, b)
	case []ShapeUse:
		b, ok := b.([]ShapeUse)
		return ok && slices.Equal(a, b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	}
	return a == b
}

package gguf

import (
	"fmt"
	"strconv"

	"zmlx-rewrite/graph"
)

// Type is a tensor type of ggml.
type Type uint32

const (
	F32   Type = 0
	F16   Type = 1
	Q4_0  Type = 2
	Q4_1  Type = 3
	Q8_0  Type = 8
	BF16  Type = 30
	MXFP4 Type = 39
)

// typeNames has the names that ggml gives its tensor types, so that one that is
// not supported can be named.
var typeNames = map[Type]string{
	F32: "F32", F16: "F16", Q4_0: "Q4_0", Q4_1: "Q4_1", 4: "Q4_2", 5: "Q4_3", 6: "Q5_0", 7: "Q5_1", Q8_0: "Q8_0", 9: "Q8_1",
	10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
	16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
	24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", BF16: "BF16",
	31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 34: "TQ1_0", 35: "TQ2_0", 36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8", MXFP4: "MXFP4",
}

func (t Type) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// layout is how a supported type lies in the file.
type layout struct {
	block int // elements of a block
	bytes int // bytes of a block
	bits  int // of a quantized element, else 0
	dtype graph.DType
}

// Blocks of quantized types, from ggml-common.h: a float16 scale d, for Q4_1 a
// float16 minimum m, then 32 codes. MXFP4 has an exponent of 8 bits, and 4-bit floats.
var layouts = map[Type]layout{
	F32:   {1, 4, 0, graph.Float32},
	F16:   {1, 2, 0, graph.Float16},
	BF16:  {1, 2, 0, graph.BFloat16},
	Q4_0:  {32, 2 + 16, 4, graph.NoDType},
	Q4_1:  {32, 2 + 2 + 16, 4, graph.NoDType},
	Q8_0:  {32, 2 + 32, 8, graph.NoDType},
	MXFP4: {32, 1 + 16, 4, graph.NoDType},
}

// ValueType is the type of a metadata value.
type ValueType uint32

const (
	Uint8 ValueType = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
	numValueTypes
)

var valueTypes = [numValueTypes]struct {
	name string
	size int // in bytes; 0 where it varies
}{
	{"uint8", 1}, {"int8", 1}, {"uint16", 2}, {"int16", 2}, {"uint32", 4}, {"int32", 4}, {"float32", 4}, {"bool", 1},
	{"string", 0}, {"array", 0}, {"uint64", 8}, {"int64", 8}, {"float64", 8},
}

func (t ValueType) String() string {
	if t < numValueTypes {
		return valueTypes[t].name
	}
	return fmt.Sprintf("value type %d", uint32(t))
}

// KV is one metadata entry.
type KV struct {
	Key   string
	Value Value
}

// Value is a metadata value. Data holds, by Type: uint8 … float64, bool, string;
// for an Array of type Elem, a slice of those.
type Value struct {
	Type ValueType
	Elem ValueType // of an Array
	Data any
	At   int // where the value starts in the file
}

// Int returns an integer of any width, and false for anything else and for a
// value over the largest int64.
func (v Value) Int() (int64, bool) {
	switch n := v.Data.(type) {
	case uint8:
		return int64(n), true
	case int8:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int32:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), int64(n) >= 0
	}
	return 0, false
}

// Float returns a float, and false for anything else. A float32 becomes the
// float64 that is written with the same shortest decimal: 1e-05 and not
// 9.999999747378752e-06, since that is what the config.json it came from said.
func (v Value) Float() (float64, bool) {
	switch x := v.Data.(type) {
	case float32:
		d, err := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
		return d, err == nil
	case float64:
		return x, true
	}
	return 0, false
}

// String formats the value, arrays by their length.
func (v Value) String() string {
	if v.Type == Array {
		return fmt.Sprintf("array of %v", v.Elem)
	}
	return fmt.Sprint(v.Data)
}

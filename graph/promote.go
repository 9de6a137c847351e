package graph

// promotion is MLX's table of result types (mlx/dtype.cpp, after JAX). Rows and
// columns are in the order of DType. infer_mlx_test.go tests it against the library.
var promotion = func() (m [numDTypes][numDTypes]DType) {
	const (
		b, u1, u2, u4, u8 = Bool, Uint8, Uint16, Uint32, Uint64
		i1, i2, i4, i8    = Int8, Int16, Int32, Int64
		h, f, d, g, c     = Float16, Float32, Float64, BFloat16, Complex64
	)
	return [numDTypes][numDTypes]DType{
		{b, u1, u2, u4, u8, i1, i2, i4, i8, h, f, d, g, c},  // bool
		{u1, u1, u2, u4, u8, i2, i2, i4, i8, h, f, d, g, c}, // uint8
		{u2, u2, u2, u4, u8, i4, i4, i4, i8, h, f, d, g, c}, // uint16
		{u4, u4, u4, u4, u8, i8, i8, i8, i8, h, f, d, g, c}, // uint32
		{u8, u8, u8, u8, u8, f, f, f, f, h, f, d, g, c},     // uint64
		{i1, i2, i4, i8, f, i1, i2, i4, i8, h, f, d, g, c},  // int8
		{i2, i2, i4, i8, f, i2, i2, i4, i8, h, f, d, g, c},  // int16
		{i4, i4, i4, i8, f, i4, i4, i4, i8, h, f, d, g, c},  // int32
		{i8, i8, i8, i8, f, i8, i8, i8, i8, h, f, d, g, c},  // int64
		{h, h, h, h, h, h, h, h, h, h, f, d, f, c},          // float16
		{f, f, f, f, f, f, f, f, f, f, f, d, f, c},          // float32
		{d, d, d, d, d, d, d, d, d, d, d, d, d, c},          // float64
		{g, g, g, g, g, g, g, g, g, f, f, d, g, c},          // bfloat16
		{c, c, c, c, c, c, c, c, c, c, c, c, c, c},          // complex64
	}
}()

// Promote returns the element type of an operation on a and b: float16 with
// bfloat16 gives float32, as in MLX.
func Promote(a, b DType) DType { return promotion[a][b] }

// atLeastFloat is the type in which a function such as exp works.
func atLeastFloat(t DType) DType {
	if t.IsFloat() || t == Complex64 {
		return t
	}
	return Promote(t, Float32)
}

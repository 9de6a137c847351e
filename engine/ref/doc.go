// Package ref is the reference engine: pure Go, slow and obvious, one function an
// op. It is the oracle that other engines and kernels are compared with, and what
// runs where MLX is not installed.
//
// # Numerics
//
// An op rounds where MLX's CPU backend rounds: elementwise ops on float16 and
// bfloat16 are computed in float32 and rounded to the type; rms_norm, layer_norm,
// rope and sdpa are MLX's own fallbacks (mlx/fast.cpp), step by step, with every
// intermediate result rounded to the type that MLX stores it in.
//
// Two things are deliberately better than MLX, so that what is measured against
// this engine is the other one's error alone. Functions like exp and sin are those
// of package math, rounded once; MLX has polynomials that are off by some ulps. And
// sums are kept in float64 and rounded once, where MLX keeps float32 or, in places
// on some backends, the half type itself. Elements of packed weights are made in
// float32 (scale*q, then + bias), as MLX does on every GPU.
//
// What MLX leaves to the backend is chosen here and stated: argpartition and
// partition sort stably, with NaN last, so that ties are in index order. Integer
// division by zero gives 0. An index outside its axis is an error, not undefined.
//
// The package refuses to be fast at the price of being read easily, to guess, and
// to call C.
package ref

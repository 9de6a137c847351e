// Package weights holds the named tensors of a model and says where their bytes
// are, without owning an opinion on file formats: readers (models/gguf,
// models/safetensors) make tensors, engines take them.
//
// A Tensor is a promise of bytes. Some are in a memory-mapped file already and
// cost nothing (Bytes); the others are produced straight into memory that the
// caller owns (ReadInto): quantized blocks of GGUF files, and tensors derived
// from others by moving bytes (Concat, Slice, Stack, Permute, Reshape). Nothing
// is cached, so that a model is in memory once.
//
// A Store is the set of tensors of one model. It knows which tensors have been
// merged into an owner and can be read as views of it (Own, ViewOf).
//
// The package does no arithmetic: it never dequantizes, casts or transposes
// values other than by copying elements. Bytes are little-endian and row-major,
// as MLX has them on every machine it runs on.
package weights

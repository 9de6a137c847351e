// Package models turns a model's files into a [graph.Program]: it reads
// config.json as Hugging Face and MLX write it, and builds the very operations, in
// the very order, that mlx-lm 0.32.0 runs for that model_type, so that a program
// gives the bits that mlx-lm gives.
//
// One file an architecture (llama.go, qwen3.go, qwen3_moe.go), to be read beside
// mlx_lm/models/NAME.py; blocks that they share (attention.go, mlp.go,
// switch_layers.go) exist once. Types of parameters come from the weights, or,
// for a bare config.json, from what mlx_lm.convert would have made of it.
//
// The package refuses to guess. A key of the configuration that would change what
// the model computes, and that is not supported, is an error that names the key;
// so is a weight that is missing, left over or of another shape. It downloads
// nothing, runs nothing, and knows no rules.
package models

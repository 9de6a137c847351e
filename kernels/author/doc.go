// Package author turns a formula into a kernel: the spec with its reference graph, the
// source, a gradient where there is one, and a test.
//
//	k, err := author.Elementwise("mish", "x * tanh(log(1 + exp(x)))", author.Options{})
//	k, err := author.MapReduce("softmax", "e = exp(x - max(x)); e / sum(e)", author.Options{})
//	k, err := author.JIT("act.go", []byte("func act(x, y float) float { ... }"), author.Options{})
//
// A formula becomes one graph of MLX ops, and the graph becomes both the reference and the
// source, line by line. So the two cannot drift apart by a slip of the pen. That the
// source computes what the reference says is nevertheless checked like that of a kernel
// written by hand (package kernelcheck): nothing here is trusted.
//
// A formula is not simplified. What is written is what is computed, in that order, but for
// equal parts, which are computed once; numbers, which are evaluated (in float64); and
// powers with a whole exponent up to 4, which are products. Gradients are simplified.
//
// The package refuses what it cannot do right, by name and at a column: arithmetic between
// parameters alone, functions that not all targets have, loops without a constant bound.
// It does not look for faster kernels.
package author

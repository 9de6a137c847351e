package engine

import "context"

// Differentiator is a Session that computes gradients. That of engine/mlx is one: MLX
// differentiates its own ops, and a kernel that is launched by the gradient of its spec.
type Differentiator interface {
	// VJP runs a step, as Step does, with a cotangent for some of its results, each of the
	// result's type and shape. It returns these results and the gradients of the sum of all
	// their elements times the cotangents, by each input or parameter that `of` names. A
	// kernel without a gradient on the way is an error that names it.
	VJP(ctx context.Context, in map[string]Tensor, dims map[string]int64, cotangents map[string]Tensor, of []string) (results, gradients map[string]Tensor, err error)
}

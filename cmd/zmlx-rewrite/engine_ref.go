//go:build !mlx

package main

// engineName is the engine that this binary was built with.
const engineName = "ref (pure Go; build with -tags mlx, or `make build`, for MLX)"

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return "cpu" }

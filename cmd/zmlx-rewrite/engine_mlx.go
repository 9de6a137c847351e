//go:build mlx

package main

import (
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/kernels"
)

// engineName is the engine that this binary was built with.
const engineName = "mlx"

func newEngine(catalog *kernels.Catalog) (engine.Engine, error) { return mlx.New("", catalog) }

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return mlx.Target() }

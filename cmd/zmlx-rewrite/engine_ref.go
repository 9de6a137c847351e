//go:build !mlx

package main

import (
	"log/slog"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/kernels"
)

// engineName is the engine that this binary was built with.
const engineName = "ref (pure Go; build with -tags mlx, or `make build`, for MLX)"

func newEngine(*kernels.Catalog, *slog.Logger) (engine.Engine, error) { return ref.New(), nil }

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return "cpu" }

func replays() string { return "" }

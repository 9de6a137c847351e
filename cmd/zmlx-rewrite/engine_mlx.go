//go:build mlx

package main

import (
	"fmt"
	"log/slog"
	"os"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cuda"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/kernels"
)

// engineName is the engine that this binary was built with.
const engineName = "mlx"

// newEngine returns MLX, with steps that are nothing but kernels replayed if the environment
// asks for it.
func newEngine(catalog *kernels.Catalog, log *slog.Logger) (engine.Engine, error) {
	e, err := mlx.New("", catalog)
	if err != nil {
		return nil, err
	}
	inner, ok := e.(replay.Inner)
	if !ok {
		return e, nil
	}
	if os.Getenv(replayEnv) != "on" {
		return e, nil
	}
	switch e.Device() {
	case "cuda":
		dev, err := cuda.Open()
		if err != nil {
			return nil, err
		}
		return replay.Wrap(inner, dev, catalog, log), nil
	case "cpu":
		return replay.Wrap(inner, mlx.HostDevice(), catalog, log), nil
	}
	return e, nil
}

// replayEnv is "on" for replays. They are off otherwise until they have been seen to be right
// and faster on a GPU from end to end: docs/BENCHMARKS.md, Replayed steps.
const replayEnv = "ZMLX_REPLAY"

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return mlx.Target() }

// replays says whether steps are replayed here; nothing where MLX has no NVIDIA GPU.
func replays() string {
	if engineTarget() != "cuda" {
		return ""
	}
	if _, err := cuda.Open(); err != nil {
		return fmt.Sprintf("not possible: %v", err)
	}
	if os.Getenv(replayEnv) != "on" {
		return "off; " + replayEnv + "=on starts steps that are nothing but kernels as one CUDA graph"
	}
	return "on"
}

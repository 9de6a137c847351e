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

// newEngine returns MLX, with steps that are nothing but kernels replayed where that is
// faster. Without a driver that replays can use, MLX launches everything.
func newEngine(catalog *kernels.Catalog, log *slog.Logger) (engine.Engine, error) {
	e, err := mlx.New("", catalog)
	if err != nil {
		return nil, err
	}
	inner, ok := e.(replay.Inner)
	if !ok {
		return e, nil
	}
	switch mode := os.Getenv(replayEnv); {
	case mode == "off":
		return e, nil
	case e.Device() == "cuda":
		if dev, err := cuda.Open(); err == nil {
			return replay.Wrap(inner, dev, catalog, log), nil
		}
	case e.Device() == "cpu" && mode == "cpu":
		return replay.Wrap(inner, mlx.HostDevice(), catalog, log), nil
	}
	return e, nil
}

// replayEnv is "off" for no replays, and "cpu" for replays on the CPU, too.
const replayEnv = "ZMLX_REPLAY"

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return mlx.Target() }

// replays says whether steps are replayed here; nothing where MLX has no NVIDIA GPU.
func replays() string {
	if engineTarget() != "cuda" {
		return ""
	}
	if os.Getenv(replayEnv) == "off" {
		return "off: " + replayEnv + " says so"
	}
	if _, err := cuda.Open(); err != nil {
		return fmt.Sprintf("no: %v", err)
	}
	return "steps that are nothing but kernels are started as one CUDA graph"
}

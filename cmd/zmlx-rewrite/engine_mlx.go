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

// newEngine returns MLX, with steps that are nothing but kernels replayed.
func newEngine(catalog *kernels.Catalog, log *slog.Logger) (engine.Engine, error) {
	e, err := mlx.New("", catalog)
	if err != nil {
		return nil, err
	}
	inner, ok := e.(replay.Inner)
	if !ok || !replaysOn(e.Device()) {
		return e, nil
	}
	switch e.Device() {
	case "cuda":
		dev, err := cuda.Open()
		if err != nil && os.Getenv(replayEnv) == "on" {
			return nil, err
		}
		if err != nil { // MLX may run there all the same, slower; doctor says why, too
			log.Debug("steps are not replayed", "why", err)
			return e, nil
		}
		return replay.Wrap(inner, dev, catalog, log), nil
	case "cpu":
		return replay.Wrap(inner, mlx.HostDevice(), catalog, log), nil
	}
	return e, nil
}

// replayEnv is "on" or "off" for replays. Without it they are on where they were seen to be
// right and faster: on the CPU and on NVIDIA (docs/BENCHMARKS.md, Replayed steps).
const replayEnv = "ZMLX_REPLAY"

func replaysOn(device string) bool {
	switch os.Getenv(replayEnv) {
	case "on":
		return true
	case "off":
		return false
	}
	return device == "cpu" || device == "cuda"
}

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return mlx.Target() }

// replays says whether steps are replayed here; nothing where they cannot be.
func replays() string {
	target := engineTarget()
	switch target {
	case "cuda":
		if _, err := cuda.Open(); err != nil {
			return fmt.Sprintf("not possible: %v", err)
		}
	case "cpu":
	default:
		return ""
	}
	if !replaysOn(target) {
		return "off; " + replayEnv + "=on starts steps that are nothing but kernels as one list"
	}
	return "on"
}

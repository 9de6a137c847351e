package main

import (
	"fmt"
	"os"
	"path/filepath"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/verify/sites"
)

// recordsFile is where the outcomes of device checks are kept: the user's cache.
func recordsFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "zmlx-rewrite", "device-checks.json")
}

// deviceOf says what an engine runs on.
func deviceOf(e engine.Engine) sites.Device {
	d := sites.Device{Engine: e.Name(), Device: e.Device(), Version: e.Version()}
	if info, err := mlx.Probe(""); err == nil && d.Engine == "mlx" {
		d.Name = info.Details["device_name"]
	}
	return d
}

// lookUpFailing finds the rules that failed on this device. The engine is asked what it
// is only if something failed on a device of the kind that the plan is for.
func (w *workspace) lookUpFailing(o *options) error {
	if o.unproven || w.failing != nil {
		return nil
	}
	w.failing = map[string]string{}
	list, err := sites.ReadRecords(recordsFile())
	if err != nil {
		return err
	}
	if o.target != engineTarget() || !list.AnyFailed(o.target) {
		return nil
	}
	e, err := newEngine(w.set.Kernels)
	if err != nil {
		return nil // then nothing runs here
	}
	defer e.Close()
	d := deviceOf(e)
	for _, r := range w.set.Rules() {
		if why := list.Failed(d, r, w.set.Kernels); why != "" {
			w.failing[r.Name] = fmt.Sprintf("it failed on this device, %s: %s (zmlx-rewrite verify --device)", d, why)
		}
	}
	return nil
}

// weights returns the weights that a subject is checked with, and what to say of them.
func (v *verifyOptions) weights(s *subject) (*weights.Store, string, error) {
	switch {
	case v.heavy && !v.random:
		return nil, "", diag.Errorf("usage/verify", diag.Pos{}, "--heavy-tailed says how --random-weights are drawn")
	case v.random:
		store, err := models.RandomWeights(s.program, v.seed, v.heavy)
		about := fmt.Sprintf(" · random weights, seed %d", v.seed)
		if v.heavy {
			about = fmt.Sprintf(" · random weights with heavy tails, seed %d", v.seed)
		}
		return store, about, err
	case s.model == nil || s.model.Weights == nil:
		return nil, "", diag.Errorf("model/no-weights", diag.Pos{File: s.name}, "has no weights").
			WithHint("give a model's folder or a .gguf file, or make some up: --random-weights")
	}
	return s.model.Weights, "", nil
}

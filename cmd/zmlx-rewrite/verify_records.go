package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/rewrite"
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

// failures are the records of a device on which something failed.
type failures struct {
	on   sites.Device
	list sites.Records
}

// findFailures reads the records. The engine is asked what it is only if something failed
// on a device of the kind that the plan is for.
func (w *workspace) findFailures(o *options) (*failures, error) {
	if w.failures != nil {
		return w.failures, nil
	}
	w.failures = &failures{}
	list, err := sites.ReadRecords(recordsFile())
	if err != nil {
		return nil, err
	}
	if o.target != engineTarget() || !list.AnyFailed(o.target) {
		return w.failures, nil
	}
	if e, err := newEngine(w.set.Kernels, slog.New(slog.DiscardHandler)); err == nil { // else nothing runs here
		defer e.Close()
		w.failures = &failures{deviceOf(e), list}
	}
	return w.failures, nil
}

// withoutFailed plans again without the rules of which a replacement in the plan failed on
// this device, until none is left. --force keeps a rule, and a journal is replayed as it is.
func (w *workspace) withoutFailed(p *graph.Program, cfg *rewrite.Config, o *options, res *rewrite.Result) (*rewrite.Result, error) {
	if o.unproven || o.replay != "" {
		return res, nil
	}
	f, err := w.findFailures(o)
	if err != nil || len(f.list) == 0 {
		return res, err
	}
	for {
		list, err := sites.Distinct(res)
		if err != nil {
			return nil, err
		}
		n := len(cfg.Off)
		for _, x := range list {
			rec := f.list.Get(f.on, x, w.set.Kernels)
			if rec == nil || rec.Verdict != sites.Failed || cfg.Off[x.Rule.Name] != "" || named(o.force, x.Rule) {
				continue
			}
			if cfg.Off = maps.Clone(cfg.Off); cfg.Off == nil {
				cfg.Off = map[string]string{}
			}
			cfg.Off[x.Rule.Name] = fmt.Sprintf("it failed on this device, %s: %s (zmlx-rewrite verify --device)", f.on, rec.Reason)
		}
		if len(cfg.Off) == n {
			return res, nil
		}
		if res, err = runOrReplay(p, cfg, ""); err != nil {
			return nil, err
		}
	}
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

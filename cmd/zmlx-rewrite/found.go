package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/sites"
)

// What was found on this machine's devices is kept in the user's cache.
func recordsFile() string { return kept("device-checks.json") } // by verify --device: what is right
func ledgerFile() string  { return kept("ledger.json") }        // by smart and first uses: what pays

func kept(name string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "zmlx-rewrite", name)
}

// deviceOf says what an engine runs on.
func deviceOf(e engine.Engine) ledger.Device {
	d := ledger.Device{Engine: e.Name(), Device: e.Device(), Version: e.Version()}
	if info, err := mlx.Probe(""); err == nil && d.Engine == "mlx" {
		d.Name = info.Details["device_name"]
	}
	d.Library = libraryOf(e)
	return d
}

// libraryOf is the hash of the library that an engine takes its kernels from, "" if it takes
// them from none.
func libraryOf(e engine.Engine) string {
	if e.Name() == "mlx" && e.Device() == "cpu" {
		return mlx.HostLibrary()
	}
	return ""
}

// found is what is known of rules on this machine.
type found struct {
	checks sites.Records
	ledger ledger.Ledger
	device *ledger.Device // nil until somebody asks, and where no engine runs
	asked  bool
}

// found reads what is known, once.
func (w *workspace) found() (*found, error) {
	if w.known != nil {
		return w.known, nil
	}
	checks, err := sites.ReadRecords(recordsFile())
	if err != nil {
		return nil, err
	}
	gains, err := ledger.Read(ledgerFile())
	if err != nil {
		return nil, err
	}
	w.known = &found{checks: checks, ledger: gains}
	return w.known, nil
}

// on returns this device. The engine is asked what it is only if something is known that a
// plan may need it for.
func (f *found) on(c *kernels.Catalog) *ledger.Device {
	if !f.asked {
		f.asked = true
		if e, err := newEngine(c, slog.New(slog.DiscardHandler)); err == nil { // else nothing runs here
			defer e.Close()
			d := deviceOf(e)
			f.device = &d
		}
	}
	return f.device
}

// knowledge is what is known of the rules of one plan on this device.
type knowledge struct {
	gains  map[string]*ledger.Entry // by rule
	failed map[string]bool
	looked bool // somebody looked at the rules of the place
}

// asFound plans again with what was found on this device: without the rules that were
// measured to be slower there, with those that the profile has off and that were measured to
// be faster, and without those of which a replacement in the plan failed, until none is left.
// --force keeps a rule, and a journal is replayed as it is.
func (w *workspace) asFound(p *graph.Program, prof *profiles.Profile, cfg *rewrite.Config, o *options, res *rewrite.Result) (*rewrite.Result, *knowledge, error) {
	k := &knowledge{gains: map[string]*ledger.Entry{}, failed: map[string]bool{}}
	if o.unproven || o.replay != "" || o.target != engineTarget() {
		return res, k, nil
	}
	f, err := w.found()
	if err != nil {
		return nil, nil, err
	}
	place := ledger.Place{Model: p.Name, Program: p.Hash().String(), Profile: prof.Name}
	measured := !o.unmeasured && o.preset == "inference" && f.ledger.Any(o.target, place.Program, place.Profile)
	if !measured && !f.checks.AnyFailed(o.target) {
		return res, k, nil
	}
	device := f.on(w.set.Kernels)
	if device == nil {
		return res, k, nil
	}
	off := maps.Clone(cfg.Off)
	if off == nil {
		off = map[string]string{}
	}
	if place.Device = *device; measured {
		k.looked = f.ledger.Used(place)
		for _, r := range cfg.Rules {
			e := f.ledger.Get(place, r, w.set.Kernels)
			if e == nil {
				continue
			}
			k.gains[r.Name] = e
			switch {
			case e.Verdict == choose.Slower && off[r.Name] == "" && !named(o.force, r):
				by := "zmlx-rewrite smart"
				switch {
				case e.Capsule != "":
					by = "in capsule " + e.Capsule + ", on such a device; zmlx-rewrite smart measures on this one"
				case e.FirstUse:
					by = "at first use; zmlx-rewrite smart measures longer"
				}
				off[r.Name] = fmt.Sprintf("it does not pay on this device, %s: %s times as fast with it (%s)", device, e.Gain, by)
			case e.Verdict == choose.Faster && r.Numerics != kernels.Lossy:
				delete(off, r.Name)
			}
		}
	}
	for again := !maps.Equal(off, cfg.Off); ; again = true {
		if cfg.Off = off; again {
			if res, err = runOrReplay(p, cfg, ""); err != nil {
				return nil, nil, err
			}
		}
		list, err := sites.Distinct(res)
		if err != nil {
			return nil, nil, err
		}
		off = maps.Clone(off)
		for _, x := range list {
			if rec := f.checks.Get(*device, x, w.set.Kernels); rec != nil && rec.Verdict == sites.Failed && off[x.Rule.Name] == "" && !named(o.force, x.Rule) {
				off[x.Rule.Name] = fmt.Sprintf("it failed on this device, %s: %s (zmlx-rewrite verify --device)", device, rec.Reason)
				k.failed[x.Rule.Name] = true
			}
		}
		if maps.Equal(off, cfg.Off) {
			return res, k, nil
		}
	}
}

// states says of each rule of a plan what is known of it, and whether it is on.
func (k *knowledge) states(p *report.Plan, list []*rules.Rule) {
	p.Looked = k.looked
	for i := range p.Rules {
		out := &p.Rules[i]
		at := slices.IndexFunc(list, func(r *rules.Rule) bool { return r.Name == out.Name })
		var gain *choose.Gain
		verdict := choose.Verdict("")
		if e := k.gains[out.Name]; e != nil {
			gain, verdict, out.Capsule = &e.Gain, e.Verdict, e.Capsule
		}
		out.State, out.Gain = state(list[at], out.Off == "", k.failed[out.Name], verdict), gain
	}
}

// state says what is known of a rule on a device: "exact/on", "checked+faster/on",
// "checked+slower/off", "checked+even/on" (nothing is shown), "failed/off", "unmeasured/off".
func state(r *rules.Rule, on, failed bool, v choose.Verdict) string {
	text := "unmeasured"
	switch {
	case failed:
		text = "failed"
	case v != "":
		text = "checked+" + string(v)
	case on && r.Numerics == kernels.Exact:
		text = "exact"
	}
	if on {
		return text + "/on"
	}
	return text + "/off"
}

package main

import (
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/measure/ledger/choose"
)

// TestAsFound: what a ledger says of rules as they are is used in planning, and of nothing
// else; flags overrule it.
func TestAsFound(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Setenv("HOME", t.TempDir())
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	const model = "Qwen3-0.6B-4bit"
	p, err := reference(model)
	if err != nil {
		t.Fatal(err)
	}
	first := &options{preset: "inference", target: engineTarget()}
	w, err := a.workspace(first)
	if err != nil {
		t.Fatal(err)
	}
	prof, err := w.profile("", p)
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(w.set.Kernels, a.log)
	if err != nil {
		t.Skip("no engine runs here: ", err)
	}
	here := ledger.Place{Device: deviceOf(e), Model: p.Name, Program: p.Hash().String(), Profile: prof.Name}
	e.Close()
	// Two that the profile has on and two that it has off, on any target.
	slow, even, fast, stale := "llama.add_rms_norm", "qwen3.qk_norm_rope", "", ""
	cfg, err := w.config(prof, first)
	if err != nil {
		t.Fatal(err)
	}
	before, err := rewriteOne(w, prof, first, &subject{name: model, program: p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range cfg.Rules {
		switch {
		case cfg.Off[r.Name] == "":
		case fast == "":
			fast = r.Name
		case stale == "":
			stale = r.Name
		}
	}
	if cfg.Off[slow] != "" || cfg.Off[even] != "" || engineTarget() != "cuda" && (fast == "" || stale == "") {
		t.Fatalf("%s, %s, %q, %q, off: %v", slow, even, fast, stale, cfg.Off)
	}
	err = ledger.Update(ledgerFile(), func(l ledger.Ledger) {
		for name, v := range map[string]choose.Verdict{slow: choose.Slower, even: choose.Even, fast: choose.Faster, stale: choose.Faster} {
			r := w.set.Rule(name)
			if r == nil {
				continue
			}
			e := &ledger.Entry{Place: here, Rule: name, RuleHash: r.Hash, Kernels: ledger.Kernels(r, w.set.Kernels), Verdict: v, Gain: choose.Gain{Ratio: 0.5, Low: 0.25, High: 0.75, Rounds: 5}, With: []string{}, Command: []string{}}
			if name == stale {
				e.RuleHash = "of yesterday"
			}
			l.Put(e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name             string
		o                options
		slow, even, fast string // states; "" is not looked at
		reason           string // why the slow one is off
		sameAsBefore     bool
	}{
		{name: "used", slow: "checked+slower/off", even: "checked+even/on", fast: "checked+faster/on", reason: "it does not pay on this device"},
		{name: "forced", o: options{force: []string{slow}}, slow: "checked+slower/on", fast: "checked+faster/on"},
		{name: "--no-ledger", o: options{unmeasured: true}, slow: "unmeasured/on", even: "unmeasured/on", fast: "unmeasured/off", sameAsBefore: true},
		{name: "of smart and verify", o: options{unproven: true}, slow: "unmeasured/on", sameAsBefore: true},
		{name: "minimal", o: options{preset: "minimal"}, fast: "unmeasured/off"},
		{name: "another profile", o: options{profile: "all"}, slow: "unmeasured/on"},
	} {
		o := c.o
		o.target = engineTarget()
		if o.preset == "" {
			o.preset = "inference"
		}
		w, err := a.workspace(&o)
		if err != nil {
			t.Fatal(err)
		}
		prof := prof
		if o.profile != "" {
			if prof, err = w.profile(o.profile, p); err != nil {
				t.Fatal(err)
			}
		}
		res, err := rewriteOne(w, prof, &o, &subject{name: model, program: p}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if same := res.res.Program.Hash() == before.res.Program.Hash(); c.sameAsBefore && !same {
			t.Errorf("%s: another program than without a ledger", c.name)
		} else if c.name == "used" && same {
			t.Errorf("%s: the same program as without a ledger", c.name)
		}
		state := map[string]string{}
		for _, r := range res.plans[0].Rules {
			state[r.Name] = r.State
			if r.Name == slow && c.reason != "" && (!strings.HasPrefix(r.Off, c.reason) || !strings.Contains(r.Off, "0.500 [0.250, 0.750] times as fast")) {
				t.Errorf("%s: %s is off: %q", c.name, slow, r.Off)
			}
			if r.Name == stale && stale != "" && o.profile == "" && r.State != "unmeasured/off" {
				t.Errorf("%s: what was found of another text of %s is used: %s", c.name, stale, r.State)
			}
		}
		for name, want := range map[string]string{slow: c.slow, even: c.even, fast: c.fast} {
			if name != "" && want != "" && state[name] != want {
				t.Errorf("%s: %s is %s, want %s", c.name, name, state[name], want)
			}
		}
	}
}

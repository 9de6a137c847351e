package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/sites"
)

// firstUseEnv is "off" where rules are not looked at when a model is first run.
const firstUseEnv = "ZMLX_FIRST_USE"

// firstUse looks at the rules of a model that was never run on this device, before it is
// loaded. That is done by another process (smart --first-use): a kernel that crashes, an
// engine that hangs, and memory that is not given back are no matter of the run then, and
// nothing of it is in the run's figures. Nothing that goes wrong there is an error here; only
// ctrl-C ends both.
func (a *app) firstUse(ctx context.Context, w *workspace, prof *profiles.Profile, s *subject, o *options) error {
	switch {
	case !o.first, os.Getenv(firstUseEnv) == "off", o.unmeasured, o.unproven, o.preset != "inference", o.target != engineTarget(), o.kv.size > 0,
		len(o.only)+len(o.exclude)+len(o.force) > 0, s.model == nil, s.model.Weights == nil:
		return nil
	}
	f, err := w.found()
	if err != nil {
		return nil // planning says so
	}
	device := f.on(w.set.Kernels)
	if device == nil {
		return nil
	}
	place := ledger.Place{Device: *device, Model: s.program.Name, Program: s.program.Hash().String(), Profile: prof.Name}
	if f.ledger.Used(place) || !a.launchesAny(w, prof, o) {
		return nil
	}
	self, err := os.Executable()
	if err == nil {
		err = ledger.Update(ledgerFile(), func(ledger.Ledger) {}) // what cannot be kept would be looked for each time
	}
	if err != nil {
		a.log.Debug("no first use", "error", err)
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, firstUseTime)
	defer cancel()
	c := exec.CommandContext(limit, self, a.smartArgs(prof, o)...)
	c.Env = append(os.Environ(), "GOTRACEBACK=none") // where a kernel crashes, a line says so
	if !a.quiet {
		c.Stderr = a.progress
	}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = sparing // what it has begun it ends, or is ended
	start := time.Now()
	ran := c.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What it found is read in any case: it writes each as it finds it.
	if f.checks, err = sites.ReadRecords(recordsFile()); err != nil {
		return nil
	}
	if f.ledger, err = ledger.Read(ledgerFile()); err != nil || f.ledger.Used(place) {
		return nil
	}
	// It did not come to its end, and would not the next time.
	use := &ledger.FirstUse{Place: place, Seconds: time.Since(start).Seconds(), Problem: "did not note its end", When: now(), Command: a.args}
	if ran != nil {
		use.Problem = ran.Error()
	}
	fmt.Fprintf(a.progress, "first use of this model here: its rules could not be checked and timed (%s), and are used as the profile has them; zmlx-rewrite smart tries again\n", use.Problem)
	if err := ledger.Update(ledgerFile(), func(l ledger.Ledger) { l.Use(use) }); err != nil {
		a.log.Debug("first use", "error", err)
	}
	return nil
}

// sparing is what a first use has left for ending what it has begun.
const sparing = 2 * time.Second

// smartArgs is the command line of a first use of the model of o.
func (a *app) smartArgs(prof *profiles.Profile, o *options) []string {
	args := []string{"smart", "--first-use", "--model", o.model, "--profile", prof.Name}
	for _, x := range []struct {
		flag string
		list []string
	}{{"--rules", o.rules}, {"--kernels", o.kernels}, {"--home", []string{o.home}}, {"--dtype", []string{o.dtype}}, {"--adapter-path", []string{o.adapter}}} {
		for _, value := range x.list {
			if value != "" {
				args = append(args, x.flag, value)
			}
		}
	}
	for flag, on := range map[string]bool{"--verbose": a.verbose, "--quiet": a.quiet} {
		if on {
			args = append(args, flag)
		}
	}
	return args
}

// launchesAny reports whether the engine launches a kernel of the rules that a profile has
// on: if it launches none, they are slow, which the next run may be rid of.
func (a *app) launchesAny(w *workspace, prof *profiles.Profile, o *options) bool {
	cfg, err := w.config(prof, o)
	if err != nil {
		return false // planning says so
	}
	e, err := newEngine(w.set.Kernels, a.log)
	if err != nil {
		return false
	}
	defer e.Close()
	runs, ok := e.(engine.KernelRunner)
	return ok && slices.ContainsFunc(cfg.Rules, func(r *rules.Rule) bool {
		return cfg.Off[r.Name] == "" && slices.ContainsFunc(r.Kernels, func(name string) bool {
			s := w.set.Kernels.Spec(name)
			return s != nil && runs.RunsKernel(s) == nil
		})
	})
}

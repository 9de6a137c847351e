package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/verify/sites"
)

// siteChecked is the JSON form of one replacement's check; fields may be added, these stay.
type siteChecked struct {
	Model      string    `json:"model" jsonschema:"as it was named"`
	Rule       string    `json:"rule" jsonschema:"full name"`
	Key        string    `json:"replacement" jsonschema:"key of what is put in place"`
	Numerics   string    `json:"numerics" jsonschema:"how results may differ"`
	Scope      string    `json:"scope" jsonschema:"of the first site"`
	Device     string    `json:"device" jsonschema:"with the version of its engine"`
	Verdict    string    `json:"verdict" jsonschema:"what was found"`
	Reason     string    `json:"reason,omitempty" jsonschema:"of the verdict"`
	Cached     bool      `json:"cached,omitempty" jsonschema:"it was checked before"`
	Cases      []string  `json:"cases" jsonschema:"of the program that have it"`
	Sites      int       `json:"sites" jsonschema:"that have it"`
	Calls      int       `json:"calls" jsonschema:"that were made"`
	Rows       []int64   `json:"rows" jsonschema:"that the calls had"`
	Runs       int       `json:"runs" jsonschema:"of the replacement in all"`
	Reruns     int       `json:"reruns" jsonschema:"of one call, which must give the same bits each time"`
	Error      float64   `json:"error,omitempty" jsonschema:"of reordered rules: root of the mean square, in units of the largest element of each row"`
	StockError float64   `json:"stock_error,omitempty" jsonschema:"the same of the ops of MLX"`
	LeftOut    []string  `json:"left_out,omitempty" jsonschema:"what was not checked"`
	Places     []placeAt `json:"places,omitempty" jsonschema:"with --layers: layer by layer"`
	Seconds    float64   `json:"seconds" jsonschema:"that it took; 0 if it was checked before"`
}

type placeAt struct {
	Scope      string  `json:"scope" jsonschema:"part of the model"`
	Error      float64 `json:"error,omitempty" jsonschema:"as above"`
	StockError float64 `json:"stock_error,omitempty" jsonschema:"as above"`
}

// verifyDevice checks each distinct replacement of a plan on this device.
func (a *app) verifyDevice(ctx context.Context, v *verifyOptions) error {
	if v.layers < 1 {
		return diag.Errorf("usage/verify", diag.Pos{}, "--layers %d: at least one layer is checked", v.layers).WithHint("--layers 1 checks each distinct replacement once, a larger number in so many layers")
	}
	v.dims, v.unproven = nil, true // what failed before is checked again, not left out
	w, prof, all, err := a.rewriteAll(&v.options)
	if err != nil {
		return err
	}
	s := all[0]
	defer s.close()
	store, about, err := v.weights(s.subject)
	if err != nil {
		return err
	}
	if err := models.Derive(s.res.Program, store); err != nil {
		return err
	}
	measureInFloat32(s.program)
	e, err := newEngine(w.set.Kernels, a.log)
	if err != nil {
		return lacks("%v", err)
	}
	defer e.Close()
	r := &runner{engine: e, catalog: w.set.Kernels, warn: a.progress, ran: map[*kernels.Spec]string{}}
	list, err := sites.Distinct(s.res)
	if err != nil {
		return err
	}
	known, err := sites.ReadRecords(recordsFile())
	if err != nil {
		return err
	}
	on := deviceOf(e)
	uses := 0
	for _, x := range list {
		uses += len(x.Uses)
	}
	if v.format == "text" {
		fmt.Fprintf(a.stdout, "%s%s · profile %s · %s · %d distinct replacements at %d sites\n", s.name, about, prof.Name, on, len(list), uses)
	}
	var todo []*sites.Replacement
	failed, skipped := 0, 0
	report := func(out *siteChecked) error {
		switch out.Verdict {
		case string(sites.Failed):
			failed++
		case string(sites.Skipped):
			skipped++
		}
		return a.printSite(out, v.format)
	}
	for _, x := range list {
		rec := known.Get(on, x, w.set.Kernels)
		if v.fresh || v.layers > 1 || rec == nil || len(rec.LeftOut) > 0 {
			todo = append(todo, x)
			continue
		}
		if err := report(v.record(s.name, x, rec)); err != nil {
			return err
		}
	}
	c := &sites.Checker{Engine: e, Catalog: w.set.Kernels, Keeps: r.launches, Program: s.res.Program, Weights: store, Places: v.layers, Activations: v.layers > 1}
	var printing error
	var found []*sites.Record
	done := 0
	last := time.Now()
	line, begun := a.statusLine(), last
	defer line.clear()
	c.OnCall = func(p sites.Progress) {
		line.progress(begun, int64(1000*p.Done), 1000, "%s, %d of %d replacements, call %d", p.Rule.Name, p.Index+1, p.Of, p.Call+1)
	}
	_, err = c.Check(ctx, todo, v.budget, func(rep *sites.Report) {
		done++
		rec := sites.NewRecord(on, rep, w.set.Kernels)
		out := v.record(s.name, rep.Replacement, rec)
		out.Cached = false
		for i := range rep.Places {
			p := &rep.Places[i]
			out.Places = append(out.Places, placeAt{p.Scope, p.Error.RMS(), p.Stock.RMS()})
		}
		out.Seconds, last = time.Since(last).Seconds(), time.Now()
		line.clear()
		if rep.Verdict != sites.Skipped {
			found = append(found, rec)
		}
		if err := report(out); err != nil && printing == nil {
			printing = err
		}
	})
	if err == nil {
		err = printing
	}
	if len(todo) > 0 {
		err = cmp.Or(err, sites.Keep(recordsFile(), found))
	}
	if err != nil && ctx.Err() != nil {
		return &exitError{130, fmt.Sprintf("interrupted; %d of %d replacements that were to be checked are, and what was found is kept: the same command without --fresh goes on from there", done, len(todo))}
	}
	if err != nil {
		return err
	}
	if v.format == "text" && r.kernels() != "none" {
		fmt.Fprintf(a.stdout, "kernels: %s\n", r.kernels())
	}
	switch {
	case failed > 0:
		return isFalse("%d of %d replacements failed; apply and generate leave their rules out on this device", failed, len(list))
	case skipped > 0:
		return isFalse("%d of %d replacements were not checked; --budget 0 takes as long as they need", skipped, len(list))
	}
	return nil
}

func (v *verifyOptions) record(model string, x *sites.Replacement, rec *sites.Record) *siteChecked {
	return &siteChecked{Model: model, Rule: x.Rule.Name, Key: x.Key, Numerics: string(x.Rule.Numerics), Scope: x.Scope(), Device: rec.Device.String(),
		Verdict: string(rec.Verdict), Reason: rec.Reason, Cached: true, Cases: x.Cases(), Sites: len(x.Uses), Calls: rec.Calls, Rows: append([]int64{}, rec.Rows...),
		Runs: rec.Runs, Reruns: rec.Reruns, Error: rec.Error, StockError: rec.StockError, LeftOut: rec.LeftOut}
}

func (a *app) printSite(out *siteChecked, format string) error {
	if format == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(out)
	}
	fmt.Fprintf(a.stdout, "%-8s %-32s %-9s %s, %d sites", out.Verdict, out.Rule, out.Numerics, out.Scope, out.Sites)
	if out.Calls > 0 {
		fmt.Fprintf(a.stdout, "; %d calls, rows %s; one call %d times", out.Calls, ranges(out.Rows), out.Reruns)
	}
	if out.StockError > 0 || out.Error > 0 {
		fmt.Fprintf(a.stdout, "; error %.2e, MLX's ops %.2e", out.Error, out.StockError)
	}
	if out.Cached {
		fmt.Fprint(a.stdout, "; checked before")
	}
	fmt.Fprintln(a.stdout)
	if len(out.Places) > 1 {
		for _, p := range out.Places {
			fmt.Fprintf(a.stdout, "           %-40s error %.2e, MLX's ops %.2e\n", p.Scope, p.Error, p.StockError)
		}
	}
	if len(out.LeftOut) > 0 {
		some, more := out.LeftOut, ""
		if len(some) > 3 {
			more = fmt.Sprintf("; and %d more (-o json lists them)", len(some)-2)
			some = some[:2]
		}
		fmt.Fprintf(a.stdout, "           left out: %s%s\n", strings.Join(some, "; "), more)
	}
	if out.Reason != "" {
		fmt.Fprintf(a.stdout, "           %s\n", out.Reason)
	}
	return nil
}

// ranges prints numbers in order as "1-8, 33".
func ranges(list []int64) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		text := strconv.FormatInt(list[i], 10)
		if j > i {
			text += "-" + strconv.FormatInt(list[j], 10)
		}
		parts = append(parts, text)
		i = j + 1
	}
	return strings.Join(slices.Compact(parts), ", ")
}

// weights returns the weights that a subject is checked with, and what to say of them.
func (v *verifyOptions) weights(s *subject) (*weights.Store, string, error) {
	switch {
	case v.heavy && !v.random:
		return nil, "", diag.Errorf("usage/verify", diag.Pos{}, "--heavy-tailed says how --random-weights are drawn").WithHint("give --random-weights as well, or leave --heavy-tailed out")
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

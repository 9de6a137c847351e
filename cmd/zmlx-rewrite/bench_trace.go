package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/measure/trace"
	"zmlx-rewrite/report/figures"
	"zmlx-rewrite/verify/kernelcheck"
)

// watched stands before a session: it times what the host does for a step, and traces the
// steps it is asked to.
type watched struct {
	engine.Session
	tracer engine.Tracer // nil if the session cannot
	on     bool
	steps  trace.Steps
	host   []time.Duration
}

func (s *watched) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	if s.on {
		var list []engine.Traced
		out, err := s.tracer.Trace(ctx, in, dims, func(t engine.Traced) { list = append(list, t) })
		s.steps = append(s.steps, list)
		return out, err
	}
	start := time.Now()
	out, err := s.Session.Step(ctx, in, dims)
	s.host = append(s.host, time.Since(start))
	return out, err
}

// traced is the JSON form of a trace: one program at one depth. Fields may be added, these stay.
type traced struct {
	Model     string         `json:"model" jsonschema:"type and precision"`
	Backend   string         `json:"backend" jsonschema:"engine, its version and its device"`
	Program   string         `json:"program" jsonschema:"what was traced"`
	Profile   string         `json:"profile" jsonschema:"of rules"`
	Flags     string         `json:"flags,omitempty" jsonschema:"of --against"`
	Depth     int            `json:"n_depth" jsonschema:"tokens in the caches"`
	Steps     int            `json:"steps" jsonschema:"that were traced"`
	Whole     float64        `json:"step_seconds" jsonschema:"of a whole step as decoding takes, median"`
	Host      float64        `json:"host_seconds" jsonschema:"of it, for building the step"`
	Alone     float64        `json:"traced_seconds" jsonschema:"sum of the ops, each computed alone"`
	Bandwidth float64        `json:"bandwidth" jsonschema:"bytes a second that the device moves"`
	Launched  map[string]int `json:"kernels" jsonschema:"how often each kernel ran in a step"`
	Ops       []trace.Line   `json:"ops" jsonschema:"the slowest first"`
}

// trace says where a decode step's time goes, before and after the rewrite.
func (a *app) trace(ctx context.Context, o *options, b *benchOptions, profiles []string) error {
	var all []traced
	for _, name := range profiles {
		one := *o
		one.profile = name
		list, err := a.traceOne(ctx, &one, b)
		all = append(all, list...)
		if err != nil && ctx.Err() != nil {
			if len(all) == 0 {
				return &exitError{130, "interrupted; no program was traced to the end, so there is nothing to print"}
			}
			if err := a.printTraces(b.format, all); err != nil {
				return err
			}
			return &exitError{130, fmt.Sprintf("interrupted; %d of %d traces are printed, the others were not made", len(all), len(sides)*len(b.depths)*len(profiles))}
		}
		if err != nil {
			return err
		}
	}
	return a.printTraces(b.format, all)
}

func (a *app) printTraces(format string, all []traced) error {
	switch format {
	case "json":
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		for i := range all {
			if err := enc.Encode(&all[i]); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		c := csv.NewWriter(a.stdout)
		f := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
		n := func(x int64) string { return strconv.FormatInt(x, 10) }
		c.Write([]string{"model", "backend", "program", "profile", "n_depth", "op", "nodes", "launches", "seconds", "bytes_read", "bytes_written"})
		for _, t := range all {
			for _, l := range t.Ops {
				c.Write([]string{t.Model, t.Backend, t.Program, t.Profile, strconv.Itoa(t.Depth), l.Op, n(int64(l.Nodes)), n(int64(l.Launches)), f(l.Seconds), n(l.Read), n(l.Written)})
			}
		}
		c.Flush()
		return c.Error()
	}
	for i := range all {
		a.printTrace(&all[i])
	}
	return nil
}

// traceOne traces both sides at each depth. What it returns beside an error was traced to its end.
func (a *app) traceOne(ctx context.Context, o *options, b *benchOptions) ([]traced, error) {
	var watch [2]*watched
	p, err := a.benched(ctx, o, b, func(side int, s engine.Session) engine.Session {
		tracer, _ := s.(engine.Tracer)
		watch[side] = &watched{Session: s, tracer: tracer}
		return watch[side]
	})
	if err != nil {
		return nil, err
	}
	defer p.close()
	if watch[0].tracer == nil {
		return nil, lacks("the %s engine traces nothing: build with MLX (make build)", p.engine.Name())
	}
	model := modelOf(p)
	bytes := 64 << 20
	if p.engine.Device() != "cpu" {
		bytes = 1 << 30
	}
	width, err := kernelcheck.Bandwidth(ctx, p.engine, bytes)
	if err != nil {
		return nil, err
	}
	var out []traced
	for _, depth := range b.depths {
		for side, w := range watch {
			t := traced{Model: figures.Describe(&model), Backend: fmt.Sprintf("%s %s, %s", p.engine.Name(), p.engine.Version(), p.engine.Device()),
				Program: p.side(side), Profile: p.profile.Name, Depth: depth, Steps: b.traceSteps, Bandwidth: width}
			if side == 0 && p.other != nil {
				t.Profile, t.Flags = p.other.profile.Name, p.other.o.flagsGiven
			}
			if err := p.traceSide(ctx, side, w, depth, b, &t); err != nil {
				return out, err
			}
			out = append(out, t)
		}
	}
	return out, nil
}

// traceSide decodes some steps as always, then as many that are traced.
func (p *pair) traceSide(ctx context.Context, side int, w *watched, depth int, b *benchOptions, t *traced) error {
	tokens := randomTokens(b.seed, depth+1, p.vocab)
	if _, err := p.run(ctx, side, tokens, depth, 2); err != nil { // warm-up; it leaves the caches filled
		return err
	}
	g, n := p.gens[side], b.traceSteps
	w.host = nil
	next := tokens[depth:]
	res, counts, err := p.count(p.runs[side], func() (*decode.Result, error) { return g.Generate(ctx, next, decode.Options{MaxTokens: n + 1}) })
	if err != nil {
		return err
	}
	var steps []float64
	for i := 1; i < len(res.Times); i++ {
		steps = append(steps, (res.Times[i] - res.Times[i-1]).Seconds())
	}
	t.Whole, t.Host = bench.Median(steps), bench.Median(seconds(w.host))
	t.Launched = map[string]int{}
	for name, k := range counts {
		t.Launched[name] = k / (n + 1)
	}
	w.on, w.steps = true, nil
	_, err = g.Generate(ctx, next, decode.Options{MaxTokens: n})
	w.on = false
	if err != nil {
		return err
	}
	t.Ops = w.steps.Lines(p.catalog)
	t.Alone = trace.Total(t.Ops).Seconds
	return nil
}

func seconds(list []time.Duration) []float64 {
	out := make([]float64, len(list))
	for i, d := range list {
		out[i] = d.Seconds()
	}
	return out
}

func (a *app) printTrace(t *traced) {
	fmt.Fprintf(a.stdout, "%s · %s · %s · one token at depth %d: a step takes %s, of which the host builds for %s\n", t.Model, t.Backend, figures.Program(t.Program, t.Profile, t.Flags), t.Depth, micro(t.Whole), micro(t.Host))
	rows := [][]string{{"op", "nodes", "launches", "time alone", "share", "read", "written", "GB/s", "of bandwidth"}}
	line := func(l trace.Line) {
		moved := float64(l.Read + l.Written)
		speed, part := "", ""
		if moved > 0 && l.Seconds > 0 {
			speed, part = fmt.Sprintf("%.2f", moved/l.Seconds/1e9), fmt.Sprintf("%.0f %%", 100*moved/l.Seconds/t.Bandwidth)
		}
		rows = append(rows, []string{l.Op, strconv.Itoa(l.Nodes), strconv.Itoa(l.Launches), micro(l.Seconds), fmt.Sprintf("%.1f %%", 100*l.Seconds/t.Alone), kib(l.Read), kib(l.Written), speed, part})
	}
	for _, l := range t.Ops {
		line(l)
	}
	line(trace.Total(t.Ops))
	figures.Table(a.stdout, rows, 2, 3, 4, 5, 6, 7, 8, 9)
	fmt.Fprintf(a.stdout, "time alone: each op computed and waited for by itself, median of %d steps; the device moves %.1f GB/s", t.Steps, t.Bandwidth/1e9)
	if len(t.Launched) > 0 {
		fmt.Fprintf(a.stdout, "; kernels that ran in a step: %s", printCounts(t.Launched))
	}
	fmt.Fprint(a.stdout, "\n\n")
}

func micro(seconds float64) string { return fmt.Sprintf("%.0f µs", 1e6*seconds) }

func kib(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

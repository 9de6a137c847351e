package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/bridge"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rules"
)

// bridgeFormat is the form of what the command writes; zmlx_rewrite asks for it.
const bridgeFormat = 2

// Ways of running a kernel from Python.
const (
	kernelsNone      = "none"      // rules with kernels are off, but where these are written out at no loss
	kernelsReference = "reference" // as their reference graphs, in MLX's ops
	kernelsSource    = "source"    // by mlx.core.fast.metal_kernel or cuda_kernel
	kernelsHost      = "host"      // those of the library for CPUs, which the package calls
)

// bridged is what a capture became.
type bridged struct {
	Format  int                      `json:"zmlx_bridge" jsonschema:"of this form; the Python package reads one"`
	Version string                   `json:"version" jsonschema:"of zmlx-rewrite"`
	Profile string                   `json:"profile" jsonschema:"of rules"`
	Preset  string                   `json:"preset" jsonschema:"inference, training, minimal or all"`
	Target  string                   `json:"target" jsonschema:"that it is for"`
	Kernels string                   `json:"kernels_as" jsonschema:"how Python runs a kernel"`
	Notes   []string                 `json:"notes" jsonschema:"what is to be known about the rules that were used"`
	Weights map[string]bridgedWeight `json:"weights" jsonschema:"parameters that are made of others"`
	Module  bridge.Module            `json:"module" jsonschema:"functions of all steps"`
	Steps   []bridgedStep            `json:"steps" jsonschema:"one for each of --calls"`
	Plans   []report.Plan            `json:"plans" jsonschema:"one for each case, as apply prints them"`
}

// bridgedStep is one shape of call, before and after the rewrite.
type bridgedStep struct {
	Batch     int             `json:"batch" jsonschema:"sequences"`
	SeqLen    int             `json:"seq_len" jsonschema:"tokens of each"`
	Refused   string          `json:"refused" jsonschema:"why there is nothing for it; empty if there is"`
	Plan      int             `json:"plan" jsonschema:"its case: a place in plans, from 0"`
	Launches  report.Launches `json:"launches" jsonschema:"of the call"`
	Tiles     []string        `json:"tiles" jsonschema:"modules of the unrewritten call that MLX for CUDA compiles at their first launch: products of packed weights with 8 rows and more"`
	Before    *bridge.Step    `json:"before" jsonschema:"unrewritten; null if it was refused"`
	Rewritten *bridge.Step    `json:"rewritten" jsonschema:"null if no rule applies"`
}

type bridgedWeight struct {
	Op    string   `json:"op" jsonschema:"concat, stack, split, transpose, permute, reshape or increment"`
	Args  []string `json:"args" jsonschema:"parameters that it is made of"`
	Axis  int      `json:"axis" jsonschema:"of concat, stack, split and permute, from the last one: -1"`
	Start int      `json:"start" jsonschema:"of split"`
	Stop  int      `json:"stop" jsonschema:"of split"`
	Perm  []int    `json:"perm" jsonschema:"of transpose and permute"`
	Shape []int    `json:"shape" jsonschema:"of reshape"`
}

// bridgedFile is a file that this was written to, as JSON.
type bridgedFile struct {
	writtenFile
	Profile string        `json:"profile" jsonschema:"of rules"`
	Target  string        `json:"target" jsonschema:"that it is for"`
	Kernels string        `json:"kernels_as" jsonschema:"how Python runs a kernel"`
	Notes   []string      `json:"notes" jsonschema:"what is to be known about the rules that were used"`
	Calls   []bridgedCall `json:"calls" jsonschema:"one for each of --calls"`
}

type bridgedCall struct {
	Batch     int              `json:"batch" jsonschema:"sequences"`
	SeqLen    int              `json:"seq_len" jsonschema:"tokens of each"`
	Refused   string           `json:"refused,omitempty" jsonschema:"why there is nothing for it; absent if there is"`
	Launches  *report.Launches `json:"launches,omitempty" jsonschema:"of the call; absent if it was refused"`
	Rewritten bool             `json:"rewritten" jsonschema:"whether a rule applies"`
}

func (a *app) bridgeCmd() *cobra.Command {
	var o options
	var out, as, format string
	var calls []string
	c := &cobra.Command{
		Use:   "bridge FILE.mlxfn --calls 1x1,2x1",
		Short: "Rewrite a model that Python recorded, and write it as Python functions",
		Long: "Bridge is what the Python package zmlx_rewrite calls. It reads a step that was recorded there, cut\n" +
			"where the model touches its caches, applies rules, and prints for each shape of call (batch x tokens)\n" +
			"the functions of mlx.core that the step is made of, unrewritten and rewritten, as JSON. With --out this\n" +
			"is in the file, and -o json prints what was written there and which calls were refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o.model = args[0]
			return a.writeBridge(&o, as, calls, out, format)
		},
	}
	o.flags(c)
	c.Flags().StringSliceVar(&calls, "calls", nil, "`shapes` of calls: batch x tokens, such as 1x1,2x1")
	c.Flags().StringVar(&as, "kernels-as", kernelsNone, "none, reference, source or host: how Python runs a kernel")
	c.Flags().StringVar(&out, "out", "", "`file` to write in place of stdout")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json: with --out, what was written; without it the functions are printed, which are JSON")
	return c
}

func (a *app) writeBridge(o *options, as string, calls []string, out, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	b, err := a.bridge(o, as, calls)
	if err != nil {
		return err
	}
	if out == "" {
		return a.json(b)
	}
	var text bytes.Buffer
	if err := writeJSON(&text, b); err != nil {
		return err
	}
	file, err := written(out, text.Bytes())
	if err != nil {
		return err
	}
	made := bridgedFile{writtenFile: file, Profile: b.Profile, Target: b.Target, Kernels: b.Kernels, Notes: b.Notes, Calls: []bridgedCall{}}
	for _, s := range b.Steps {
		call := bridgedCall{Batch: s.Batch, SeqLen: s.SeqLen, Refused: s.Refused, Rewritten: s.Rewritten != nil}
		said := s.Refused
		if s.Refused == "" {
			call.Launches = &s.Launches
			said = fmt.Sprintf("launches %d → %d", s.Launches.Before, s.Launches.After)
		}
		made.Calls = append(made.Calls, call)
		if format == "text" {
			fmt.Fprintf(a.progress, "%s: %dx%d: %s\n", out, s.Batch, s.SeqLen, said)
		}
	}
	if format == "json" {
		return a.json(made)
	}
	return nil
}

func (a *app) bridge(o *options, as string, calls []string) (*bridged, error) {
	launcher, err := launcherFor(as, o.target)
	if err != nil {
		return nil, err
	}
	file, err := mlxfn.ReadFile(o.model)
	if err != nil {
		return nil, err
	}
	events, err := bridge.ReadEvents(o.model, file.Metadata)
	if err != nil {
		return nil, err
	}
	w, err := a.workspace(o)
	if err != nil {
		return nil, err
	}
	s, err := a.load(o.model, w)
	if err != nil {
		return nil, err
	}
	name := o.profile
	if name == "" { // a model that no profile knows: every rule, by dataflow
		if _, err := w.profile("", s.program); err != nil {
			name = "all"
		}
	}
	prof, err := w.profile(name, s.program)
	if err != nil {
		return nil, err
	}
	cfg, err := w.config(prof, o)
	if err != nil {
		return nil, err
	}
	for _, r := range cfg.Rules {
		if why := notHere(r, w, as, o.target); why != "" && cfg.Off[r.Name] == "" {
			if cfg.Off == nil {
				cfg.Off = map[string]string{}
			}
			cfg.Off[r.Name] = why
		}
	}
	res, err := runOrReplay(s.program, cfg, "")
	if err != nil {
		return nil, err
	}
	if err := res.Program.Verify(); err != nil {
		return nil, fmt.Errorf("%s: the rewritten program is broken, a bug in this program: %w", s.name, err)
	}
	after := res.Program
	if launcher == nil {
		if after, err = w.set.Kernels.Expand(after, nil); err != nil {
			return nil, err
		}
	}
	switch l := launcher.(type) {
	case bridge.Sources:
		l.Catalog = w.set.Kernels
		launcher = l
	case bridge.Host:
		l.Catalog = w.set.Kernels
		launcher = l
	}
	b := &bridged{Format: bridgeFormat, Version: version, Profile: prof.Name, Preset: o.preset, Target: o.target, Kernels: as, Notes: append([]string{}, w.notes...),
		Weights: map[string]bridgedWeight{}, Steps: []bridgedStep{}, Plans: []report.Plan{}}
	module := bridge.NewModule()
	for i := range res.Cases {
		b.Plans = append(b.Plans, *report.NewPlan(res, &res.Cases[i], cfg, s.program.Name, prof.Name, o.preset, nil))
	}
	for _, text := range calls {
		batch, length, err := callShape(text)
		if err != nil {
			return nil, err
		}
		env := map[string]int64{graph.SymBatch: int64(batch), graph.SymSeqLen: int64(length)}
		step := bridgedStep{Batch: batch, SeqLen: length, Tiles: []string{}}
		at, err := caseOf(after, env)
		if err == nil {
			_, err = caseOf(s.program, env)
		}
		if err != nil { // between no two shapes that were recorded
			step.Refused = "nothing of this shape was recorded"
			b.Steps = append(b.Steps, step)
			continue
		}
		var g *graph.Graph
		if step.Before, g, err = a.bridgeStep(module, s.program, env, events, nil, false); err != nil {
			return nil, err
		}
		step.Tiles = append(step.Tiles, bridge.Tiles(g)...)
		step.Plan, step.Launches = at, b.Plans[at].Launches
		if len(res.Cases[at].Sites) > 0 {
			if step.Rewritten, g, err = a.bridgeStep(module, after, env, events, launcher, true); err != nil {
				return nil, err
			}
			for _, name := range slices.Sorted(maps.Keys(g.Params())) {
				b.derive(after, name)
			}
		}
		b.Steps = append(b.Steps, step)
	}
	b.Module = *module
	return b, nil
}

// bridgeStep writes the case of a call, and returns its graph. What is not rewritten stays as it
// was recorded, views and all.
func (a *app) bridgeStep(m *bridge.Module, p *graph.Program, env map[string]int64, events *bridge.Events, launcher bridge.Launcher, rewritten bool) (*bridge.Step, *graph.Graph, error) {
	i, err := caseOf(p, env)
	if err != nil {
		return nil, nil, err
	}
	g, err := normal.Specialize(p.Cases[i].Graph, env)
	if err != nil {
		return nil, nil, err
	}
	if rewritten {
		if g, err = bridge.Views(g); err != nil {
			return nil, nil, err
		}
	}
	cut, err := bridge.Cut(g, events)
	if err != nil {
		return nil, nil, err
	}
	step, err := m.Write(cut, launcher)
	if err != nil {
		return nil, nil, err
	}
	return step, g, nil
}

// derive adds how a parameter is made, and those that it is made of, if any is.
func (b *bridged) derive(p *graph.Program, name string) {
	q := p.Param(name)
	if q == nil || q.From == nil {
		return
	}
	f := q.From
	b.Weights[name] = bridgedWeight{Op: f.Op, Args: f.Args, Axis: f.Axis, Start: f.Start, Stop: f.Stop, Perm: append([]int{}, f.Perm...), Shape: append([]int{}, f.Shape...)}
	for _, arg := range f.Args {
		b.derive(p, arg)
	}
}

// launcherFor is what kernels are launched by.
func launcherFor(as, target string) (bridge.Launcher, error) {
	switch {
	case as == kernelsNone || as == kernelsReference:
		return nil, nil
	case as == kernelsHost && target == "cpu":
		return bridge.Host{}, nil
	case as == kernelsHost:
		return nil, diag.Errorf("usage/kernels-as", diag.Pos{}, "the library of CPU kernels is for --target cpu").WithHint("give --target cpu, or --kernels-as source")
	case as != kernelsSource:
		return nil, oneOf("kernels-as", as, kernelsNone, kernelsReference, kernelsSource, kernelsHost)
	case target == "cpu":
		return nil, diag.Errorf("usage/kernels-as", diag.Pos{}, "Python's MLX launches no kernels on a CPU").WithHint("--kernels-as none leaves rules with kernels out")
	}
	return bridge.Sources{Target: kernels.Target(target), Packed: true}, nil
}

// notHere says why Python cannot run a rule's kernels, or "".
func notHere(r *rules.Rule, w *workspace, as, target string) string {
	if len(r.Kernels) == 0 || as == kernelsReference {
		return ""
	}
	if as == kernelsNone {
		if len(r.Weights) > 0 && elementwise(r, w) {
			return "" // what it gains is in the weights; its kernel is as well written out
		}
		return "it needs " + strings.Join(r.Kernels, ", ") + ", and Python's MLX launches no kernels on a " + strings.ToUpper(target)
	}
	for _, name := range r.Kernels {
		if s := w.set.Kernels.Spec(name); s == nil || s.Code == nil && (as != kernelsHost || !s.RunsOn("cpu")) {
			return "kernel " + name + " has no source"
		}
	}
	return ""
}

// elementwise reports whether a rule's kernels are only chains of operations that MLX
// makes element by element, such as SwiGLU.
func elementwise(r *rules.Rule, w *workspace) bool {
	var only func(e syntax.Expr) bool
	only = func(e syntax.Expr) bool {
		call, ok := e.(*syntax.Call)
		if !ok {
			return true
		}
		op := graph.LookupOp(call.Fun)
		return op != nil && op.Elementwise && !slices.ContainsFunc(call.Args, func(a syntax.Arg) bool { return !only(a.Value) })
	}
	for _, name := range r.Kernels {
		s := w.set.Kernels.Spec(name)
		if s == nil || slices.ContainsFunc(s.Reference(), func(d graph.Define) bool { return !only(d.Expr) }) {
			return false
		}
	}
	return true
}

func callShape(text string) (batch, length int, err error) {
	l, r, ok := strings.Cut(text, "x")
	batch, err1 := strconv.Atoi(l)
	length, err2 := strconv.Atoi(r)
	if !ok || err1 != nil || err2 != nil || batch < 1 || length < 1 {
		return 0, 0, diag.Errorf("usage/calls", diag.Pos{}, "%q is not batch x tokens", text).WithHint("for one token of one sequence: --calls 1x1")
	}
	return batch, length, nil
}

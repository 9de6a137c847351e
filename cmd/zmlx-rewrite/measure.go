package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/report/figures"
	"zmlx-rewrite/rewrite"
)

// planned is a rewrite, with what it was made by, and what runs the model before and after.
type planned struct {
	s             *rewritten
	w             *workspace
	profile       *profiles.Profile
	o             *options
	before, after *programs
}

// plan rewrites the model of o.
func (a *app) plan(ctx context.Context, o *options) (*planned, error) {
	o.dims = nil
	w, prof, all, err := a.rewriteToRun(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &planned{s: all[0], w: w, profile: prof, o: o}
	if p.before, p.after, err = o.kv.programs(w, prof, o, p.s); err != nil {
		p.s.close()
		return nil, err
	}
	return p, nil
}

// pair is a model before (0) and after (1) its rewrite, both loaded, on one copy of the
// weights: what bench, stress and routing measure.
type pair struct {
	*runner
	planned
	other    *planned          // another rewrite that is side 0 in place of the unrewritten program, or nil
	programs [2]*graph.Program // with plain caches
	runs     [2]*programs      // what is run: these, and those with quantized caches, if any
	gens     [2]*decode.Generator
	vocab    int
	memory   *peaks
	done     []func()
}

// sides are what people call the two.
var sides = [2]string{"unrewritten", "rewritten"}

// side is what a side of this pair is called.
func (p *pair) side(i int) string {
	if i == 0 && p.other != nil {
		return figures.Against
	}
	return sides[i]
}

// pair loads the model of o. wrap, if given, stands between the generator and the session of
// a side. Close it when done.
func (a *app) pair(ctx context.Context, o *options, wrap func(side int, s engine.Session) engine.Session) (*pair, error) {
	return a.pairAgainst(ctx, o, nil, wrap)
}

// pairAgainst is pair with the rewrite of other, if there is one, in place of the unrewritten
// program. It runs on the weights of o's model, too.
func (a *app) pairAgainst(ctx context.Context, o, other *options, wrap func(int, engine.Session) engine.Session) (_ *pair, err error) {
	p := &pair{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	all := []*options{o}
	if other != nil {
		all = append(all, other)
	}
	for _, one := range all {
		if wrap != nil && one.kv.Bits > 0 {
			return nil, diag.Errorf("usage/kv", diag.Pos{}, "a quantized cache is timed, not traced").WithHint("leave --kv-bits out")
		}
	}
	plan, err := a.plan(ctx, o)
	if err != nil {
		return nil, err
	}
	p.planned, p.done = *plan, append(p.done, plan.s.close)
	catalog := p.w.set.Kernels
	p.runs = [2]*programs{p.before, p.after}
	if other != nil {
		if p.other, err = a.plan(ctx, other); err != nil {
			return nil, err
		}
		p.other.s.close() // its program is all that is needed
		p.runs[0], catalog = p.other.after, catalog.With(p.other.w.set.Kernels)
	}
	if p.runner, err = a.untold(p.s.subject, catalog); err != nil {
		return nil, err
	}
	p.done = append(p.done, p.runner.close)
	p.batch = o.batch
	if other != nil {
		if err := p.sameWeights(); err != nil {
			return nil, err
		}
	}
	if err := p.derive(p.runs[1], p.runs[0]); err != nil {
		return nil, err
	}
	for i := range p.runs {
		p.programs[i] = p.runs[i].plain
		if err := p.load(ctx, i, wrap); err != nil {
			return nil, err
		}
	}
	if p.vocab, err = vocabulary(p.s.program); err != nil {
		return nil, err
	}
	p.memory = newPeaks(p.engine, p.model.Weights, p.runs, func() {
		p.gens[0].Reset()
		p.gens[1].Reset()
	})
	return p, nil
}

// choice is what o says of the rules of a profile.
func (o *options) choice(w *workspace, prof *profiles.Profile) *capsule.Choice {
	all := prof.Choose(w.set, o.preset, o.target, o.force).Rules
	full := func(names []string) (out []string) {
		for _, r := range all {
			if named(names, r) {
				out = append(out, r.Name)
			}
		}
		slices.Sort(out)
		return out
	}
	return &capsule.Choice{Only: full(o.only), Exclude: full(o.exclude), Force: full(o.force), NoLedger: o.unmeasured}
}

// vocabulary is how many tokens a program tells apart.
func vocabulary(p *graph.Program) (int, error) {
	g := p.Cases[0].Graph
	for _, out := range g.Outputs() {
		d, _ := g.Type(out.Value).Dim(-1)
		if n, ok := d.Const(); ok && out.Name == "logits" {
			return int(n), nil
		}
	}
	return 0, diag.Errorf("model/no-logits", diag.Pos{}, "the program has no logits")
}

// untold is a runner without the model's text side: random tokens need no tokenizer.
func (a *app) untold(s *subject, catalog *kernels.Catalog) (*runner, error) {
	if s.model == nil || s.model.Weights == nil {
		return nil, diag.Errorf("model/no-weights", diag.Pos{File: s.name}, "has no weights").WithHint("give a model's folder or a .gguf file")
	}
	e, err := newEngine(catalog, a.log)
	if err != nil {
		return nil, lacks("%v", err)
	}
	return &runner{engine: e, model: s.model, catalog: catalog, warn: a.progress, ran: map[*kernels.Spec]string{}}, nil
}

func (p *pair) load(ctx context.Context, side int, wrap func(int, engine.Session) engine.Session) error {
	if wrap == nil {
		g, done, err := p.generator(ctx, p.runs[side])
		if err != nil {
			return err
		}
		p.gens[side], p.done = g, append(p.done, done)
		return nil
	}
	plain, s, err := p.runner.load(ctx, p.programs[side])
	if err != nil {
		return err
	}
	p.done = append(p.done, func() { s.Close() })
	g, err := decode.NewBatch(ctx, p.engine, wrap(side, s), plain, max(p.batch, 1))
	if err != nil {
		return err
	}
	g.KeepFirst(p.runs[side].keep)
	p.gens[side], p.done = g, append(p.done, func() { g.Close() })
	return nil
}

func (p *pair) close() {
	for _, f := range slices.Backward(p.done) {
		f()
	}
	p.done = nil
}

// randomTokens are n tokens that any model of that vocabulary takes.
func randomTokens(seed uint64, n, vocab int) []int {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]int, n)
	for i := range out {
		out[i] = r.IntN(vocab)
	}
	return out
}

// randomTokensOf are those that a cell feeds, one sequence after the other. One sequence has
// those that earlier versions fed.
func randomTokensOf(cell *capsule.Cell, vocab int) []int {
	n := (cell.Depth + cell.Fed) * max(cell.Batch, 1)
	return randomTokens(cell.Seed, n+1, vocab)[:n]
}

// timed is one run of one side.
type timed struct {
	seconds float64 // of what counts
	prompt  float64 // to the first token
	tokens  []int
	// of the first and the last quarter of the tokens behind the first, if these are many
	early, late float64
}

// drifting is how many tokens it takes to say whether a generation gets slower.
const drifting = 64

// run fills the caches with depth tokens of the list, feeds the others, and makes tokens.
// What counts is the time to the first token, or, if more are made, from the first to the last.
func (p *pair) run(ctx context.Context, side int, tokens []int, depth, made int) (*timed, error) {
	g := p.gens[side]
	g.Reset()
	if depth > 0 {
		if _, err := p.make(ctx, side, tokens, 0, depth+1, 0); err != nil {
			return nil, err
		}
	}
	return p.behind(ctx, side, tokens, depth, made)
}

// filled is run with random rows in the caches in place of what the model makes of the tokens.
func (p *pair) filled(ctx context.Context, side int, tokens []int, depth, made int, seed uint64) (*timed, error) {
	if err := p.gens[side].Fill(ctx, depth, seed); err != nil {
		return nil, err
	}
	return p.behind(ctx, side, tokens, depth, made)
}

// make feeds a part of the list to each sequence, whose tokens stand one sequence after the other.
func (p *pair) make(ctx context.Context, side int, tokens []int, from, to, made int) (*decode.Result, error) {
	n, o := max(p.batch, 1), decode.Options{MaxTokens: made}
	if n == 1 {
		return p.gens[side].Generate(ctx, tokens[from:to], o)
	}
	var prompts [][]int
	for each := range slices.Chunk(tokens, len(tokens)/n) {
		prompts = append(prompts, each[from:to])
	}
	return p.gens[side].Together(ctx, prompts, o)
}

// behind is the rest of a run, once the caches are filled.
func (p *pair) behind(ctx context.Context, side int, tokens []int, depth, made int) (*timed, error) {
	r, err := p.make(ctx, side, tokens, depth, len(tokens)/max(p.batch, 1), made)
	if err != nil {
		return nil, err
	}
	t := &timed{seconds: r.PromptTime.Seconds(), prompt: r.PromptTime.Seconds(), tokens: r.Tokens}
	if made > 1 {
		t.seconds = r.Times[len(r.Times)-1].Seconds()
	}
	if n := len(r.Times); n >= drifting {
		quarter := (n - 1) / 4
		t.early, t.late = (r.Times[quarter] - r.Times[0]).Seconds(), (r.Times[n-1] - r.Times[n-1-quarter]).Seconds()
	}
	return t, nil
}

// runCell is run for a cell.
func (p *pair) runCell(ctx context.Context, cell *capsule.Cell, side int, tokens []int) (*timed, error) {
	if cell.Rows {
		return p.filled(ctx, side, tokens, cell.Depth, cell.Made, cell.Seed)
	}
	return p.run(ctx, side, tokens, cell.Depth, cell.Made)
}

// runFor is runCell; the first run of each side also says what memory that side takes.
func (p *pair) runFor(ctx context.Context, cell *capsule.Cell, side int, tokens []int) (t *timed, err error) {
	most := [2]*int64{&cell.PeakA, &cell.PeakB}[side]
	if *most > 0 || p.memory.meter == nil {
		return p.runCell(ctx, cell, side, tokens)
	}
	n, err := p.memory.of(side, func() (err error) {
		t, err = p.runCell(ctx, cell, side, tokens)
		return err
	})
	*most = int64(n)
	return t, err
}

// newCapsule says all that can be said before anything is measured, but what identify says.
func (a *app) newCapsule(kind string, p *pair) (*capsule.Capsule, error) {
	c := &capsule.Capsule{Version: capsule.Version, Kind: kind, Made: now(), Command: a.args, Environment: capsule.Environment(), Program: capsule.ThisProgram(version),
		Machine: capsule.ThisMachine(), Cells: []capsule.Cell{}, Notes: []string{}}
	c.Device = capsule.Device{Engine: p.engine.Name(), Version: p.engine.Version(), Device: p.engine.Device(), Driver: capsule.Driver(), Library: libraryOf(p.engine)}
	if info, err := mlx.Probe(""); err == nil && c.Device.Engine == "mlx" {
		c.Device.MLXC, c.Device.Details, c.Device.Name = mlx.CInterface, info.Details, info.Details["device_name"]
	}
	c.Model = modelOf(p)
	var err error
	if c.Rewrite, err = rewriteOf(p.runner, &p.planned); err != nil || p.other == nil {
		return c, err
	}
	c.Against = &capsule.Against{Flags: p.other.o.flagsGiven}
	if c.Against.Rewrite, err = rewriteOf(p.runner, p.other); err != nil {
		return nil, err
	}
	if p.sameSides() {
		c.Notes = append(c.Notes, "both sides run the same: what the ratio says is noise")
	}
	return c, nil
}

// identify adds the sum of the model's files to a capsule that is going to be written.
func (a *app) identify(ctx context.Context, p *pair, c *capsule.Capsule) (err error) {
	c.Model.Of = capsule.WholeFiles
	c.Model.SHA256, err = a.modelSum(ctx, p.model.Path, c.Model.Of)
	return err
}

// modelSum hashes a model's files: once, if they are large. What is done in no time shows no
// line.
func (a *app) modelSum(ctx context.Context, path, of string) (string, error) {
	line := a.statusLine()
	defer line.clear()
	begun := time.Now()
	line.last = begun.Add(time.Second / 2)
	id := &capsule.Identity{Cache: kept("model-sums.json"), Tick: func(done, all int64) {
		line.progress(begun, done, all, "sha256 of the model's files · %s of %s", figures.Size(done), figures.Size(all))
	}}
	return id.Of(ctx, path, of)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func modelOf(p *pair) capsule.Model {
	m := capsule.Model{Name: p.s.name, Type: p.s.program.Name, DType: p.o.dtype}
	bytes := map[string]int64{}
	for _, q := range p.s.program.Params {
		n, ok := q.Type.Size().Const()
		if !ok {
			continue
		}
		size := n * int64(q.Type.DType.Size())
		m.Bytes += size
		switch {
		case q.Quant == nil:
			m.Params += n
			bytes[q.Type.DType.String()] += size
		case q.Part == "weight":
			m.Params += 8 * size / int64(q.Quant.Bits)
			fallthrough
		default:
			mode := fmt.Sprintf("%d-bit", q.Quant.Bits)
			if q.Quant.Mode != "affine" {
				mode = q.Quant.Mode
			}
			bytes[mode] += size
		}
	}
	for name, n := range bytes {
		if n > bytes[m.Quant] || n == bytes[m.Quant] && name < m.Quant {
			m.Quant = name
		}
	}
	return m
}

func rewriteOf(run *runner, p *planned) (capsule.Rewrite, error) {
	cfg := p.s.cfg
	both := [2]*graph.Program{p.before.plain, p.after.plain}
	r := capsule.Rewrite{Profile: p.profile.Name, Preset: p.o.preset, Choice: p.o.choice(p.w, p.profile), Target: cfg.Setting.Target, Before: both[0].Hash().String(), After: both[1].Hash().String(),
		Rules: map[string]string{}, Kernels: kernelHashes(run.catalog, p.after.loaded()...), RunsAs: run.kernels(), Launches: layers(both, run.batch)}
	var err error
	if r.Replacements, err = replacements(&r.Launches, p.s.res, run.batch); err != nil {
		return r, err
	}
	if r.Quantized, err = quantizedOf(p.before, p.after, run.batch); err != nil {
		return r, err
	}
	if k := &p.o.kv; k.Bits > 0 || k.size > 0 {
		r.KV = &capsule.KV{Bits: k.Bits, GroupSize: k.GroupSize, Start: k.start, Size: k.size}
	}
	for _, rule := range cfg.Rules {
		if cfg.Off[rule.Name] == "" {
			r.Rules[rule.Name] = rule.Hash
		}
	}
	journal, err := p.s.res.Journal(cfg).Bytes()
	r.Pack(journal)
	return r, err
}

// kernelHashes are those of the kernels in programs, by name.
func kernelHashes(catalog *kernels.Catalog, list ...*graph.Program) map[string]string {
	out := map[string]string{}
	for _, p := range list {
		for _, c := range p.Cases {
			for i := range graph.NodeID(c.Graph.NumNodes()) {
				if s := catalog.SpecOf(c.Graph.Node(i).Op); s != nil {
					out[s.Name] = s.ContentHash
				}
			}
		}
	}
	return out
}

// quantizedOf says of the programs with a quantized cache, if there are any, what a capsule
// says of the others.
func quantizedOf(before, after *programs, batch int) (*capsule.Quantized, error) {
	by := after.by
	if by == nil {
		return nil, nil
	}
	both := [2]*graph.Program{before.quantized, after.quantized}
	q := &capsule.Quantized{Before: both[0].Hash().String(), After: both[1].Hash().String(), Launches: layers(both, batch)}
	var err error
	if q.Replacements, err = replacements(&q.Launches, by.res, batch); err != nil {
		return nil, err
	}
	journal, err := by.res.Journal(by.cfg).Bytes()
	q.Pack(journal)
	return q, err
}

// numbered is the part of a scope up to the layer's number.
var numbered = regexp.MustCompile(`^([^0-9]*\.[0-9]+)(\..*)?$`)

// layers counts the launches of a decode step by layer.
func layers(programs [2]*graph.Program, batch int) []capsule.Layer {
	out := []capsule.Layer{}
	for side, p := range programs {
		c, err := p.Select(oneStep(batch))
		if err != nil {
			continue
		}
		for i := range graph.NodeID(c.Graph.NumNodes()) {
			n := c.Graph.Node(i)
			if n.Op.Launches == 0 {
				continue
			}
			scope := n.Scope
			l := layerOf(&out, scope)
			if side == 0 {
				l.Before += n.Op.Launches
			} else {
				l.After += n.Op.Launches
			}
		}
	}
	return out
}

// layerOf returns the entry of the layer that a scope lies in, a new one if there is none.
func layerOf(list *[]capsule.Layer, scope string) *capsule.Layer {
	if m := numbered.FindStringSubmatch(scope); m != nil {
		scope = m[1]
	}
	at := slices.IndexFunc(*list, func(l capsule.Layer) bool { return l.Scope == scope })
	if at < 0 {
		at, *list = len(*list), append(*list, capsule.Layer{Scope: scope})
	}
	return &(*list)[at]
}

// replacements draws what the rules did in the case that a decode step runs, each kind once,
// and notes in the list of layers where that was.
func replacements(list *[]capsule.Layer, res *rewrite.Result, batch int) ([]capsule.Replacement, error) {
	decode, err := res.Program.Select(oneStep(batch))
	if err != nil {
		return nil, nil // the program has no such step
	}
	at := slices.IndexFunc(res.Cases, func(c rewrite.CaseResult) bool { return c.Name == decode.Name })
	if at < 0 {
		return nil, nil
	}
	var out []capsule.Replacement
	kinds := map[string]int{}
	for _, s := range res.Cases[at].Sites {
		pair, err := s.Pair(false)
		if err != nil {
			return nil, err
		}
		one := capsule.Replacement{Rule: s.Rule.Name, Round: s.Round, Saved: s.Saved, Before: capsule.PictureOf(pair.Before), After: capsule.PictureOf(pair.After)}
		key := fmt.Sprint(one)
		k, known := kinds[key]
		if !known {
			k = len(out)
			kinds[key], out = k, append(out, one)
		}
		l := layerOf(list, s.Scope)
		l.Replaced = append(l.Replaced, k)
	}
	return out, nil
}

// oneStep is a decode step of so many sequences.
func oneStep(batch int) map[string]int64 {
	return map[string]int64{graph.SymBatch: int64(max(batch, 1)), graph.SymSeqLen: 1, graph.SymKVLen: 1}
}

// finishCapsule notes the state of the machine at the end.
func finishCapsule(c *capsule.Capsule) {
	c.Finished = now()
	c.Machine.Finish()
	if c.Machine.Busy() {
		c.Notes = append(c.Notes, "the machine was busy with other things: more was ready to run than it has cores")
	}
	if limit := c.Machine.Slowed(); limit != "" {
		c.Notes = append(c.Notes, "heat slowed the CPU down: at the end its limit was "+limit)
	}
}

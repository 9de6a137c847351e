package sites

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/verify/kernelcheck"
)

// Reruns is how often a replacement is run on the same inputs: each run must have the
// bits of the first.
const Reruns = 200

// farther is how many times the error of MLX's own ops, over all that was tried, that of a
// reordered replacement may be. Other sums of the same terms are as far off as each other:
// between two of them are a few hundredths. One more rounding of every result to its type
// makes it about 1.4 times. (Single elements have room for chance: kernelcheck.Call.)
const farther = 1.25

// resolution is an error, in units of the largest element of a row, that is float32's own:
// where MLX's ops have none, a replacement may have that.
const resolution = 0x1p-21

// Checker holds what a check runs with.
type Checker struct {
	Engine  engine.Engine
	Catalog *kernels.Catalog
	Keeps   func(*kernels.Spec) bool // the kernels that the engine launches; others run as their references
	Program *graph.Program           // the rewritten one
	Weights *weights.Store           // with what rules derived
	Places  int                      // layers in which each replacement is checked, if it has so many; 0 is 1
	// Activations makes one more call a place, on what a slice of the model up to it makes
	// of random tokens.
	Activations bool
	// OnCall is told of each call before it is made; nil for nobody.
	OnCall func(Progress)
}

// Progress is how far a check is. Shares are of a whole of 1, by what is to be computed.
type Progress struct {
	*Replacement
	Index, Of int // of the replacement, among those that are checked, counted from 0
	Call      int // of the replacement, counted from 0
	Done      float64
}

// Verdict is the outcome for one replacement.
type Verdict string

const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // nothing could be tried, or there was no time
)

// Report is what a check of one replacement found.
type Report struct {
	*Replacement
	Verdict Verdict
	Reason  string // unless it passed
	Places  []Place
	Calls   int      // with inputs of their own
	Runs    int      // of the replacement
	Reruns  int      // of one call, at one place
	Rows    []int64  // row counts that were tried, in order
	LeftOut []string // for lack of time, or of memory
}

// Place is a layer where a replacement was checked.
type Place struct {
	Scope string
	// Of a reordered replacement: its error against float32, and that of MLX's own ops.
	Error, Stock kernelcheck.Error
	Tied         int // rows where another one of equals was chosen
}

// Errors returns the errors over all places.
func (r *Report) Errors() (got, stock kernelcheck.Error) {
	for i := range r.Places {
		got.Add(&r.Places[i].Error)
		stock.Add(&r.Places[i].Stock)
	}
	return got, stock
}

// Check tries replacements until the budget is used up, the cheapest first, which shares
// it evenly: what one does not need is the next one's. No budget means as long as it takes.
// The error is for what kept the check from running. done, which may be nil, is told of
// each report.
func (c *Checker) Check(ctx context.Context, list []*Replacement, budget time.Duration, done func(*Report)) ([]*Report, error) {
	start := time.Now()
	var all []*Report
	list = slices.Clone(list)
	cost := map[*Replacement]int64{}
	for _, r := range list {
		cost[r] = r.Elements()
		if first := calls(c.Program, r); len(first) > 0 {
			cost[r] *= rows(first[0])
		}
	}
	slices.SortStableFunc(list, func(a, b *Replacement) int { return cmp.Compare(cost[a], cost[b]) })
	var whole, before float64
	for _, r := range list {
		whole += float64(max(1, cost[r]))
	}
	for i, r := range list {
		mine := float64(max(1, cost[r]))
		tell := func(call, calls int) {
			if c.OnCall != nil {
				c.OnCall(Progress{r, i, len(list), call, (before + mine*float64(call)/float64(max(calls, 1))) / whole})
			}
		}
		share := time.Duration(0)
		if budget > 0 {
			share = max(0, budget-time.Since(start)) / time.Duration(len(list)-i)
		}
		rep := &Report{Replacement: r, Verdict: Passed}
		if budget > 0 && share == 0 {
			rep.Verdict, rep.Reason = Skipped, "the time was used up"
		} else if err := c.check(ctx, rep, share, tell); err != nil {
			return all, err
		}
		before += mine
		all = append(all, rep)
		if done != nil {
			done(rep)
		}
	}
	return all, nil
}

// trial is one call to make.
type trial struct {
	env    map[string]int64
	style  kernelcheck.Style
	inside bool // on the model's own activations
}

// trials are the calls for a place, the most telling first. The first place has every
// row count; the others show other weights.
func (c *Checker) trials(r *Replacement, place int) []trial {
	list := calls(c.Program, r)
	if len(list) == 0 {
		return nil
	}
	many := list[min(1, len(list)-1)]
	out := []trial{{env: list[0], style: kernelcheck.Normal}, {env: list[0], style: kernelcheck.Heavy},
		{env: many, style: kernelcheck.Lattice}, {env: many, style: kernelcheck.Small}}
	if c.Activations {
		out = append(out, trial{env: list[0], inside: true})
	}
	if place > 0 {
		return out
	}
	styles := []kernelcheck.Style{kernelcheck.Normal, kernelcheck.Heavy, kernelcheck.Lattice}
	for i, env := range list[min(1, len(list)):] {
		out = append(out, trial{env: env, style: styles[i%len(styles)]})
	}
	return out
}

func (c *Checker) check(ctx context.Context, rep *Report, share time.Duration, tell func(call, calls int)) error {
	start := time.Now()
	over := func() bool { return share > 0 && time.Since(start) > share }
	places := rep.Replacement.Places()
	places = places[:min(len(places), max(1, c.Places))]
	left := map[string]bool{}
	made, all := 0, 0
	for i := range places {
		all += len(c.trials(rep.Replacement, i))
	}
	next := func() { tell(made, all); made++ }
	for i := range places {
		if i > 0 && over() {
			left[fmt.Sprintf("%d of %d layers", len(places)-i, len(places))] = true
			break
		}
		p, err := c.load(ctx, &places[i])
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rep.Verdict, rep.Reason = Skipped, err.Error()
			if its := (*ownError)(nil); errors.As(err, &its) {
				rep.Verdict = Failed
			}
			return nil
		}
		err = c.at(ctx, rep, p, i, over, left, next)
		p.close()
		if err != nil || rep.Verdict != Passed {
			return err
		}
	}
	rep.LeftOut = append(rep.LeftOut, sortedKeys(left)...)
	if got, stock := rep.Errors(); got.RMS() > farther*stock.RMS()+resolution {
		rep.Verdict, rep.Reason = Failed, fmt.Sprintf("over all calls its error against float32 is %.3g, that of MLX's own ops %.3g: more than %v times", got.RMS(), stock.RMS(), farther)
	}
	return nil
}

// at makes the calls at one place. next is told of each before.
func (c *Checker) at(ctx context.Context, rep *Report, p *place, index int, over func() bool, left map[string]bool, next func()) error {
	rep.Places = append(rep.Places, Place{Scope: p.use.Scope})
	at := &rep.Places[len(rep.Places)-1]
	list := c.trials(rep.Replacement, index)
	if len(list) == 0 {
		rep.Verdict, rep.Reason = Skipped, "no call of up to 600 rows selects its case"
		return nil
	}
	again := func() error {
		if index > 0 {
			return nil
		}
		return c.rerun(ctx, rep, p, list[0], over, left)
	}
	for i, t := range list {
		next()
		if i == essential {
			if err := again(); err != nil || rep.Verdict != Passed {
				return err
			}
		}
		if i > 0 && over() {
			left[t.String()] = true
			continue
		}
		if t.inside && c.Engine.Device() == "cpu" && rows(t.env) > slowRows {
			left[fmt.Sprintf("activations: %d rows, on a CPU", rows(t.env))] = true
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		wrong, err := c.call(ctx, p, t, at)
		var large *errTooLarge
		switch {
		case errors.As(err, &large):
			left[fmt.Sprintf("activations: %v", large)] = true
			continue
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			rep.Verdict, rep.Reason = Skipped, fmt.Sprintf("%s: %v", t, err)
			return nil
		case wrong != nil:
			rep.Verdict, rep.Reason = Failed, fmt.Sprintf("%s, %s: %v", p.use.Scope, t, wrong)
			return nil
		}
		rep.Calls++
		rep.Runs++
		if n := rows(t.env); !slices.Contains(rep.Rows, n) {
			rep.Rows = append(rep.Rows, n)
			slices.Sort(rep.Rows)
		}
	}
	if len(list) <= essential {
		return again()
	}
	return nil
}

// slowRows is how many rows whole layers of MLX's own ops are run with on a CPU, where each
// takes seconds.
const slowRows = 4

// essential is how many calls come before the reruns.
const essential = 4

func (t trial) String() string {
	what := t.style.String() + " inputs"
	if t.inside {
		what = "activations"
	}
	return fmt.Sprintf("%s, batch %d, seq_len %d, kv_len %d", what, t.env[graph.SymBatch], t.env[graph.SymSeqLen], t.env[graph.SymKVLen])
}

// place is a use of a replacement whose graphs are loaded.
type place struct {
	use            *Use
	names          map[string]string // inputs of the pair -> of the program
	before, after  engine.Session
	exact          engine.Session // nil for an exact rule
	exactOn        engine.Engine
	stock, changed *graph.Graph // of before and after, as they run
	weighted       bool         // it reads weights
	results        []string
	closers        []func() error
}

func (p *place) close() {
	for _, f := range slices.Backward(p.closers) {
		f()
	}
}

// load loads the graphs of a use. They share the device's copy of the weights.
func (c *Checker) load(ctx context.Context, u *Use) (p *place, err error) {
	pair, err := u.Pair(true)
	if err != nil {
		return nil, err
	}
	p = &place{use: u, names: map[string]string{}}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	g := u.Graph()
	for _, l := range pair.Leaves {
		if l.Param != "" {
			p.weighted = true
		} else if g.Def(l.Value).Op.Name == "input" {
			p.names[l.Name] = g.InputName(l.Value)
		}
	}
	start := func(e engine.Engine, g *graph.Graph, keep func(*kernels.Spec) bool) (engine.Session, *graph.Graph, error) {
		prog, err := engine.Program(g)
		if err != nil {
			return nil, nil, err
		}
		if prog, err = c.Catalog.Expand(prog, keep); err != nil {
			return nil, nil, err
		}
		s, err := e.Load(ctx, prog, c.Weights)
		if err != nil {
			return nil, nil, err
		}
		p.closers = append(p.closers, s.Close)
		return s, prog.Cases[0].Graph, nil
	}
	if p.before, p.stock, err = start(c.Engine, pair.Before, nil); err != nil {
		return nil, fmt.Errorf("MLX's own ops: %w", err)
	}
	if p.after, p.changed, err = start(c.Engine, pair.After, c.Keeps); err != nil {
		return nil, &ownError{err}
	}
	for _, o := range p.stock.Outputs() {
		p.results = append(p.results, o.Name)
	}
	if u.Rule.Numerics == kernels.Exact {
		return p, nil
	}
	w, err := widen(p.stock)
	if err != nil {
		return nil, err
	}
	// A model in float32 needs another measure than MLX in float32, and MLX has not every
	// op in it: engine/ref keeps sums in float64.
	p.exactOn = c.Engine
	if inFloat32(p.stock) {
		err = errors.New("it is in float32")
	} else {
		p.exact, _, err = start(c.Engine, w, nil)
	}
	if err != nil {
		p.exactOn = ref.New()
		if p.exact, _, err = start(p.exactOn, w, nil); err != nil {
			return nil, fmt.Errorf("in float32: %w", err)
		}
	}
	return p, nil
}

// call makes one call. wrong is what the replacement did wrong, err what kept it from
// being tried.
func (c *Checker) call(ctx context.Context, p *place, t trial, at *Place) (wrong, err error) {
	in, r, err := c.inputs(ctx, p, t)
	if err != nil {
		return nil, err
	}
	call, got, err := c.both(ctx, p, t, in, r, at)
	var its *ownError
	switch {
	case errors.As(err, &its) && ctx.Err() == nil:
		return its.error, nil
	case err != nil:
		return nil, err
	}
	return call.Judge(got, &at.Error, &at.Stock), nil
}

// ownError is what kept a replacement from running: its own fault.
type ownError struct{ error }

// both runs MLX's own ops, the replacement, and what both are held against.
func (c *Checker) both(ctx context.Context, p *place, t trial, in map[string]data, r *rand.Rand, at *Place) (*kernelcheck.Call, [][]byte, error) {
	stock, err := run(ctx, c.Engine, p.before, p.results, keepOnly(in, p.stock), t.env)
	if err != nil {
		return nil, nil, fmt.Errorf("MLX's own ops: %w", err)
	}
	got, err := run(ctx, c.Engine, p.after, p.results, keepOnly(in, p.changed), t.env)
	if err != nil {
		return nil, nil, &ownError{err}
	}
	call := &kernelcheck.Call{Numerics: p.use.Rule.Numerics, Results: p.results, Style: t.style, Stock: stock, Weights: p.weighted || t.inside, Tied: &at.Tied}
	for _, o := range p.stock.Outputs() {
		typ := p.stock.Type(o.Value)
		shape, err := engine.Shape(typ.Shape, t.env)
		if err != nil {
			return nil, nil, err
		}
		dims := make([]graph.Dim, len(shape))
		for i, d := range shape {
			dims[i] = graph.N(int64(d))
		}
		of, unordered := chosenOf(p.stock, o.Value, t.env)
		call.Types, call.Of, call.Unordered = append(call.Types, graph.T(typ.DType, dims...)), append(call.Of, of), append(call.Unordered, unordered)
	}
	if p.exact == nil {
		return call, got, nil
	}
	wideIn := map[string]data{}
	for name, x := range in {
		if x.dtype.IsFloat() {
			x.bytes, x.dtype = kernelcheck.ToFloat32(x.dtype, x.bytes), graph.Float32
		}
		wideIn[name] = x
	}
	if call.Exact, err = run(ctx, p.exactOn, p.exact, p.results, wideIn, t.env); err != nil {
		return nil, nil, fmt.Errorf("in float32: %w", err)
	}
	for range 2 {
		moved := map[string]data{}
		for _, name := range sortedKeys(wideIn) {
			x := wideIn[name]
			if x.dtype == graph.Float32 {
				x.bytes = kernelcheck.Nudge(r, x.bytes)
			}
			moved[name] = x
		}
		m, err := run(ctx, p.exactOn, p.exact, p.results, moved, t.env)
		if err != nil {
			return nil, nil, fmt.Errorf("in float32: %w", err)
		}
		call.Moved = append(call.Moved, m)
	}
	call.Turn = turn(p.stock, t.env)
	return call, got, nil
}

// turn is the rounding of the largest angle that a graph turns by.
func turn(g *graph.Graph, env map[string]int64) float64 {
	most := 0.0
	for id := range graph.NodeID(g.NumNodes()) {
		if n := g.Node(id); n.Op.Name == "rope" {
			scale := 1.0
			if f, ok := n.Attr("scale").(graph.Float); ok {
				scale = max(float64(f), -float64(f))
			}
			most = max(most, scale*float64(env[graph.SymKVLen])*0x1p-23)
		}
	}
	return most
}

// keepOnly returns the inputs that a graph has; the two of a pair may differ in what they
// read.
func keepOnly(in map[string]data, g *graph.Graph) map[string]data {
	out := map[string]data{}
	for _, v := range g.Inputs() {
		if x, ok := in[g.InputName(v)]; ok {
			out[g.InputName(v)] = x
		}
	}
	return out
}

// inputs makes the inputs of a trial.
func (c *Checker) inputs(ctx context.Context, p *place, t trial) (map[string]data, *rand.Rand, error) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s", p.use.Rule.Name, t)
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	in, err := inputs(p.stock, p.names, c.Program.Window, t.env, t.style, r)
	if err != nil || !t.inside {
		return in, r, err
	}
	real, err := c.activations(ctx, p, t.env, r)
	if err != nil {
		return nil, nil, err
	}
	for name := range in {
		if x, ok := real[name]; ok {
			in[name] = x
		}
	}
	return in, r, nil
}

// rerun runs the first call again and again.
func (c *Checker) rerun(ctx context.Context, rep *Report, p *place, t trial, over func() bool, left map[string]bool) error {
	in, _, err := c.inputs(ctx, p, t)
	if err != nil {
		return err
	}
	var first [][]byte
	for i := range Reruns {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i >= 2 && over() {
			left[fmt.Sprintf("%d of %d reruns", Reruns-i, Reruns)] = true
			return nil
		}
		out, err := run(ctx, c.Engine, p.after, p.results, keepOnly(in, p.changed), t.env)
		if err != nil {
			return err
		}
		rep.Runs++
		rep.Reruns++
		if first == nil {
			first = out
		}
		for k := range out {
			if !bytes.Equal(out[k], first[k]) {
				rep.Verdict, rep.Reason = Failed, fmt.Sprintf("%s, %s: run %d gives other bits of %s than the first", p.use.Scope, t, i+1, p.results[k])
				return nil
			}
		}
	}
	return nil
}

type changedError struct{ input string }

func (e *changedError) Error() string { return fmt.Sprintf("input %s was changed", e.input) }

// run makes one call and reads its results. The inputs must be what they were afterwards.
func run(ctx context.Context, e engine.Engine, s engine.Session, results []string, in map[string]data, env map[string]int64) ([][]byte, error) {
	given := map[string]engine.Tensor{}
	defer func() {
		for _, t := range given {
			t.Release()
		}
	}()
	for name, x := range in {
		t, err := e.NewTensor(x.dtype, x.shape, x.bytes)
		if err != nil {
			return nil, err
		}
		given[name] = t
	}
	out, err := s.Step(ctx, given, env)
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(results))
	for i, name := range results {
		var failed error
		if list[i], failed = out[name].Read(); failed != nil && err == nil {
			err = failed
		}
		out[name].Release()
	}
	if err != nil {
		return nil, err
	}
	for name, t := range given {
		now, err := t.Read()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(now, in[name].bytes) {
			return nil, &changedError{name}
		}
	}
	return list, nil
}

func sortedKeys[T any](m map[string]T) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

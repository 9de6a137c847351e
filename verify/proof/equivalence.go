package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/exact"
)

// Codes of failed equivalence.
const (
	CodeDiffers    = "proof/differs"    // a sample shows it
	CodeDiffersBy  = "proof/formula"    // the formulas differ by less than samples show
	CodeNoCall     = "proof/no-call"    // no call of an instance runs what the rule made
	CodeEvaluation = "proof/evaluation" // one side cannot be evaluated where the other can
)

// Methods of equivalence, from the strongest on.
const (
	methodForm  = "normal form"
	methodField = "finite field"
	methodReal  = "float64"
)

// Equivalence shows that instances compute the same before and after their rule, for the
// targets that it applies to: by their normal form, where that is the same; else in exact
// arithmetic (package exact) at random points, for numbers of all symbols at and around
// what guards and kernels ask for. Count is the points.
//
// What the fields do not decide, since one side chose by comparing or a function has
// identities that they do not know, is held against float64, and is Assumed or Tested.
func Equivalence(ctx context.Context, set *rules.Set, instances []*Instance) *Verdict {
	v := &Verdict{Check: CheckEquivalence, Status: Proven, Method: methodForm}
	assumed := map[string]bool{}
	for _, in := range instances {
		pairs, err := in.pairs(set)
		if err != nil {
			return v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		}
		if len(pairs) == 0 {
			return v.fail(CodeNoCall, "%s: the rule was applied, but no call was found that runs what it made", in.Where)
		}
		left := maxSteps
		for _, p := range pairs {
			if left <= 0 {
				break // the first call has been compared at least
			}
			if left -= v.pair(ctx, p, left, assumed); v.Status == Failed || ctx.Err() != nil {
				return v
			}
		}
	}
	if names := slices.Sorted(keysOf(assumed)); len(names) > 0 {
		v.Why = append(v.Why, "the same where these choose as they did in the samples: "+strings.Join(names, ", "))
	}
	return v
}

func keysOf(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (v *Verdict) fail(code, format string, args ...any) *Verdict {
	v.Status, v.Code, v.Detail = Failed, code, fmt.Sprintf(format, args...)
	return v
}

// weaken lowers a status: a check is as sure as its least sure part.
func (v *Verdict) weaken(s Status) { v.Status = min(v.Status, s) }

// pairs returns an instance before and after its rule, for all targets and a few calls.
func (in *Instance) pairs(set *rules.Set) ([]*pair, error) {
	var all []*pair
	seen := map[graph.Hash]bool{}
	for _, target := range Targets {
		res, err := in.Rewrite(set, target)
		if err != nil {
			return nil, err
		}
		hash := res.Program.Hash()
		if sites(res) == 0 || seen[hash] {
			continue
		}
		seen[hash] = true
		after, err := set.Kernels.Expand(res.Program, nil)
		if err != nil {
			return nil, err
		}
		for _, env := range calls(in.Program, res) {
			p, err := newPair(in, target, res, after, env)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// sameForm reports whether both graphs have one normal form. Made parameters are other
// names there, so that rules with weights are never the same.
func (p *pair) sameForm() bool {
	hash := func(g *graph.Graph) (graph.Hash, bool) {
		c := g.Clone()
		if normal.Lower(c, normal.CPU) != nil || c.Compact() != nil {
			return graph.Hash{}, false
		}
		if _, err := normal.Form(c); err != nil {
			return graph.Hash{}, false
		}
		return c.Hash(), true
	}
	a, okA := hash(p.before)
	b, okB := hash(p.after)
	return okA && okB && a == b
}

// points are the samples of one call.
var points = []style{normalStyle, lattice, tiny, small, large, deep, normalStyle}

// maxSteps bounds the numbers that are computed for one instance: what attends to
// thousands of rows is held against at fewer points than the sum of two vectors.
const maxSteps = 2_000_000

// pair compares both sides of a pair at all points that the steps allow, and returns how
// many it took.
func (v *Verdict) pair(ctx context.Context, p *pair, steps int, assumed map[string]bool) (took int) {
	if p.sameForm() {
		v.Count++
		return 0
	}
	if v.Method == methodForm {
		v.Method = methodField
	}
	for i := range points {
		if i > 0 && took+took/i > steps {
			break
		}
		n, done := v.point(ctx, p, i, assumed)
		if took += n; v.Code == CodeDiffers {
			v.plainer(ctx, p, i)
		}
		if done {
			break
		}
	}
	return took
}

// point compares both sides of a pair at one point, and returns how many steps it took and
// whether nothing is left to be found out.
func (v *Verdict) point(ctx context.Context, p *pair, i int, assumed map[string]bool) (took int, done bool) {
	s := points[i]
	rng := rand.New(rand.NewPCG(uint64(i), 0x7a6d6c78))
	in, err := p.sample(ctx, rng, s)
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", p, err)
		return 0, true
	}
	before, after := exact.NewTrace(), exact.NewTrace()
	want, err := exact.Run(ctx, p.before, in, before)
	var no *exact.UnsupportedError
	if errors.As(err, &no) {
		v.rounded(ctx, p, s, in, no)
		return 0, v.Status == Failed
	}
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", p, err)
		return 0, true
	}
	got, err := exact.Run(ctx, p.after, in, after)
	if errors.As(err, &no) {
		v.rounded(ctx, p, s, in, no)
		return 0, v.Status == Failed
	}
	if err != nil {
		v.fail(CodeEvaluation, "%s: the pattern can be evaluated, the replacement not: %v", p, err)
		return 0, true
	}
	took = before.Steps + after.Steps
	v.Count++
	for _, o := range p.before.Outputs() {
		if v.output(p, s, in, o.Name, want[o.Name], got[o.Name], before, after); v.Status == Failed {
			return took, true
		}
	}
	for name := range before.Choices {
		assumed[name] = true
		v.weaken(Assumed)
	}
	return took, false
}

// methodRounded is that of graphs with an op that has no meaning in a field.
const methodRounded = "engine/ref"

// rounded compares both sides on engine/ref, in the instance's own types: what is left for
// an op that cannot be evaluated exactly. Whatever rounding does, a row may not be further
// off than some units in the last place of its largest element.
func (v *Verdict) rounded(ctx context.Context, p *pair, s style, in map[string]*exact.Array, no *exact.UnsupportedError) {
	if !s.measured() {
		return
	}
	want, err := runRef(ctx, p.before, in)
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", p, err)
		return
	}
	got, err := runRef(ctx, p.after, in)
	if err != nil {
		v.fail(CodeEvaluation, "%s: the pattern can be evaluated, the replacement not: %v", p, err)
		return
	}
	v.Count++
	v.weaken(Tested)
	v.Method = methodRounded
	if why := no.Error() + ": compared with rounding, at the samples only"; !slices.Contains(v.Why, why) {
		v.Why = append(v.Why, why)
	}
	for _, o := range p.before.Outputs() {
		a, b := want[o.Name], got[o.Name]
		largest := 0.0
		for _, x := range a.V {
			if r := math.Abs(x.Real()); !math.IsInf(r, 0) {
				largest = max(largest, r)
			}
		}
		for k := range a.V {
			x, y := a.V[k].Real(), b.V[k].Real()
			if d := math.Abs(x - y); x == y || math.IsNaN(x) && math.IsNaN(y) || d <= 64*epsilon(a.DType)*largest {
				continue
			}
			v.Counter = p.counterexample(in, o.Name, a, b, k)
			v.fail(CodeDiffers, "%s, %s values: %s", p, s, v.Counter)
			return
		}
	}
}

// plain is how far the sides of a counterexample are apart, in parts of the values, so that
// nobody takes it for rounding.
const plain = 1e-3

// plainer looks for a counterexample at the points after i that is plainer than the one
// that was found.
func (v *Verdict) plainer(ctx context.Context, p *pair, i int) {
	for i++; i < len(points) && v.Counter.apart() < plain; i++ {
		w := &Verdict{Status: Proven}
		if w.point(ctx, p, i, map[string]bool{}); w.Code == CodeDiffers && w.Counter.apart() > v.Counter.apart() {
			v.Counter, v.Detail = w.Counter, w.Detail
		}
	}
}

// apart is how far both sides are from each other, in parts of the larger.
func (c *Counterexample) apart() float64 {
	switch d := math.Abs(c.Want - c.Got); {
	case c.Want == c.Got:
		return 0
	case math.IsNaN(d) || math.IsInf(d, 0):
		return 1
	default:
		return d / max(math.Abs(c.Want), math.Abs(c.Got))
	}
}

// cancelled is how far float64 itself may be off where numbers near 1 cancel out, so that
// nothing large is left to compare with.
const cancelled = 1e-15

// output compares one result.
func (v *Verdict) output(p *pair, s style, in map[string]*exact.Array, name string, want, got *exact.Array, before, after *exact.Trace) {
	if got == nil || len(got.V) != len(want.V) {
		v.fail(CodeEvaluation, "%s: %s is not there", p, name)
		return
	}
	scale := 0.0
	for _, x := range want.V {
		if r := math.Abs(x.Real()); !math.IsInf(r, 0) {
			scale = max(scale, r)
		}
	}
	same, worst, at := true, 0.0, 0
	for i, x := range want.V {
		y := got.V[i]
		same = same && x.Same(y)
		d := math.Abs(x.Real() - y.Real())
		if x.Real() == y.Real() || math.IsNaN(x.Real()) && math.IsNaN(y.Real()) {
			d = 0
		} else if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d > worst {
			worst, at = d, i
		}
	}
	switch {
	case worst > max(1e-9*scale, cancelled):
		v.Counter = p.counterexample(in, name, want, got, at)
		v.fail(CodeDiffers, "%s, %s values: %s", p, s, v.Counter)
	case same:
	case len(before.Functions)+len(before.Choices)+len(after.Functions)+len(after.Choices) == 0:
		v.fail(CodeDiffersBy, "%s: %s is another function of the inputs, though samples differ by less than 1e-9", p, name)
	default:
		v.weaken(Tested)
		v.Method = methodReal
		why := fmt.Sprintf("%s is not the same in the field, and within 1e-9 in float64 (%s)", name, strings.Join(slices.Sorted(namesOf(before, after)), ", "))
		if !slices.Contains(v.Why, why) {
			v.Why = append(v.Why, why)
		}
	}
}

func namesOf(traces ...*exact.Trace) func(func(string) bool) {
	all := map[string]bool{}
	for _, t := range traces {
		for name := range t.Functions {
			all[name] = true
		}
		for name := range t.Choices {
			all[name] = true
		}
	}
	return keysOf(all)
}

// String names a pair for people.
func (p *pair) String() string {
	var dims []string
	for _, name := range sortedKeys(p.dims) {
		dims = append(dims, fmt.Sprintf("%s=%d", name, p.dims[name]))
	}
	return strings.Join(append([]string{p.in.Where, p.target}, dims...), ", ")
}

func (p *pair) counterexample(in map[string]*exact.Array, name string, want, got *exact.Array, at int) *Counterexample {
	c := &Counterexample{Instance: p.in, Target: p.target, Dims: p.dims, Inputs: map[string]Array{}, Output: name,
		Want: want.V[at].Real(), Got: got.V[at].Real()}
	read := map[string]bool{}
	for _, q := range p.in.Program.Params {
		read[q.Name] = true
	}
	for _, id := range p.before.Inputs() {
		read[p.before.InputName(id)] = true
	}
	for key, a := range in {
		if read[key] {
			values := make([]float64, len(a.V))
			for i, x := range a.V {
				values[i] = x.Real()
			}
			c.Inputs[key] = Array{a.Shape, values}
		}
	}
	c.Index = make([]int, len(want.Shape))
	for d := len(want.Shape) - 1; d >= 0; d-- {
		c.Index[d] = at % want.Shape[d]
		at /= want.Shape[d]
	}
	return c
}

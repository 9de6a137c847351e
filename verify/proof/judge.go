package proof

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
)

// judge tells whether instances compute the same with their rule and without.
type judge struct {
	ctx context.Context
	set *rules.Set
	// steps counts the numbers that were computed, left those that may still be.
	steps, left int
	samples     int   // at most, of a call whose bits are compared
	same        *bool // what sameChoices found
}

// judgedSteps bounds the numbers that are computed for the mutants of one pattern, or the
// guards of one rule. A second or so is spent on those.
const judgedSteps = 8_000_000

func newJudge(ctx context.Context, set *rules.Set) *judge {
	return &judge{ctx: ctx, set: set, left: judgedSteps, samples: manySamples}
}

// spent reports whether no more than what must be compared should be.
func (j *judge) spent() bool { return j.left <= 0 || j.ctx.Err() != nil }

// calls gives an instance numbers, for one target: those of a call, or of few calls if at
// is nil.
func (j *judge) calls(v *Verdict, in *Instance, target string, at point, look func(p *pair)) {
	res, err := in.Rewrite(j.set, target)
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		return
	}
	after, err := j.set.Kernels.Expand(res.Program, nil)
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		return
	}
	list := []map[string]int64{at}
	if at == nil {
		if list = few(calls(in.Program, res)); len(list) == 0 {
			v.Status, v.Detail = Unchecked, "no call runs what the rule made"
		}
	}
	for _, env := range list {
		p, err := newPair(in, target, res, after, env)
		if err != nil {
			v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		}
		if v.Failed() {
			return
		}
		look(p)
	}
}

// values does what Equivalence does, at few points: one for each of two calls, which are
// the smallest that there is, and the smallest of those in which the fewest lengths are 1.
// In the fields, two functions that differ are seldom the same at one point.
func (j *judge) values(in *Instance, target string, at point) *Verdict {
	v := &Verdict{Check: CheckEquivalence, Status: Proven, Method: methodForm}
	j.calls(v, in, target, at, func(p *pair) {
		took := v.pair(j.ctx, p, 0, map[string]bool{})
		j.steps, j.left = j.steps+took, j.left-took
	})
	return v
}

// bits compares what two sides make in the element types that they have: nothing may be
// infinite that was not, an exact rule may not change a bit, and no rule may choose
// otherwise: whole numbers are compared as they are.
func (j *judge) bits(in *Instance, target string, at point) *Verdict {
	v := &Verdict{Check: CheckRounding, Status: Tested, Method: "engine/ref"}
	j.calls(v, in, target, at, func(p *pair) {
		if same, err := p.sameSteps(j.ctx); err != nil || !same {
			cost := p.cost() + given(p.before) + given(p.after)
			samples := min(j.samples, max(fewSamples, bitSteps/max(1, cost)))
			j.left -= samples * cost
			v.bits(j.ctx, p, samples)
		}
	})
	return v
}

// given is how many numbers a graph reads.
func given(g *graph.Graph) int {
	n := 0
	for id := range graph.NodeID(g.NumNodes()) {
		if node := g.Node(id); node.Op.Name == "input" || node.Op.Name == "param" {
			n += g.Type(node.Out[0]).Size().Int()
		}
	}
	return n
}

// bitSteps bounds the numbers of all samples of a call whose bits are compared: what
// changes a choice among a few experts is seldom met.
const (
	bitSteps    = 600_000
	fewSamples  = 6
	manySamples = 200
)

func (v *Verdict) bits(ctx context.Context, p *pair, samples int) {
	styles := []style{normalStyle, normalStyle, normalStyle, lattice, large}
	for i := range samples {
		in, err := p.sample(ctx, rand.New(rand.NewPCG(uint64(i), 0x62697473)), styles[i%len(styles)])
		if err != nil {
			return
		}
		want, errWant := runRef(ctx, p.before, in)
		got, errGot := runRef(ctx, p.after, in)
		if errWant != nil || errGot != nil {
			return
		}
		v.Count++
		for _, o := range p.before.Outputs() {
			a, b := want[o.Name], got[o.Name]
			at := firstInfinite(a, b)
			if at < 0 && (!a.DType.IsFloat() || p.in.Rule.Numerics == kernels.Exact) {
				at = firstDifference(a, b)
			}
			if at >= 0 {
				v.Counter = p.counterexample(in, o.Name, a, b, at)
				v.fail(CodeDiffers, "in %s, %s", a.DType, v.Counter)
				return
			}
		}
	}
}

// few picks two calls.
func few(all []map[string]int64) []map[string]int64 {
	if len(all) == 0 {
		return nil
	}
	small := slices.MinFunc(all, func(a, b map[string]int64) int { return cmp.Compare(point(a).size(), point(b).size()) })
	wide := slices.MinFunc(all, func(a, b map[string]int64) int {
		return cmp.Or(point(a).ones()-point(b).ones(), cmp.Compare(point(a).size(), point(b).size()))
	})
	if point(small).String() == point(wide).String() {
		return []map[string]int64{small}
	}
	return []map[string]int64{small, wide}
}

package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/exact"
	"zmlx-rewrite/verify/rounding"
)

// Codes of failed rounding.
const (
	CodeOverstated = "rounding/overstated" // numerics says exact, and bits differ
	CodeWorse      = "rounding/worse"      // further from the truth than what is replaced
	CodeFinite     = "rounding/finite"     // infinite or NaN where the pattern is finite
)

// maxWorse is how many times the error of the pattern the replacement's may be. Sums in
// another order come out some percent apart, and a step that rounds to a half type once
// more or less makes a factor of up to about 1.4.
const maxWorse = 2

// Rounding holds what a rule says under `numerics` against what it does, kernels being
// their reference graphs; the kernels' own classes are theirs to prove.
//
// "exact" is proven if each element of the results comes about by the same sequence of
// rounded steps (package rounding). It is refuted by inputs for which bits differ on
// engine/ref, or by reductions of other shapes, and Tested if there were none. For "reordered", both sides are run on
// engine/ref in the instance's own types and held against float64 values of the same
// numbers: the replacement may not be further off than maxWorse times the pattern, nor
// infinite where the pattern is not. Count is the points.
func Rounding(ctx context.Context, set *rules.Set, r *rules.Rule, instances []*Instance) *Verdict {
	v := &Verdict{Check: CheckRounding, Status: Proven, Method: "equal rounding steps"}
	if r.Numerics == kernels.Lossy {
		return &Verdict{Check: CheckRounding, Status: Unchecked, Detail: "a lossy rule promises nothing"}
	}
	errs := map[graph.DType]*[2]rms{}
	var regrouped *pair // whose sums are of other shapes behind the rule
	for _, in := range instances {
		pairs, err := in.pairs(set)
		if err != nil {
			return v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		}
		left := maxSteps
		for i, p := range firstOfTarget(pairs) {
			if i > 0 && left <= 0 {
				break
			}
			same, err := p.sameSteps(ctx)
			if err != nil {
				return v.fail(CodeEvaluation, "%s: %v", p, err)
			}
			if same {
				v.Count++
				continue
			}
			v.Status, v.Method = min(v.Status, Tested), "engine/ref"
			if regrouped == nil && !slices.Equal(sums(p.before), sums(p.after)) {
				regrouped = p
			}
			if left -= v.rounds(ctx, p, r.Numerics, left, errs); v.Status == Failed || ctx.Err() != nil {
				return v
			}
		}
	}
	if r.Numerics == kernels.Exact && regrouped != nil {
		return v.fail(CodeOverstated, "numerics says exact, but %s adds up over other shapes: how a backend groups such sums is its own affair. Say reordered", regrouped)
	}
	for _, t := range []graph.DType{graph.BFloat16, graph.Float16, graph.Float32} {
		e := errs[t]
		if e == nil {
			continue
		}
		before, after := e[0].value(), e[1].value()
		v.Why = append(v.Why, fmt.Sprintf("%s: error %.2g, that of the pattern %.2g", t, after, before))
		if r.Numerics == kernels.Reordered && after > maxWorse*before+epsilon(t)/4 {
			return v.fail(CodeWorse, "in %s the replacement is %.3g off, the pattern %.3g: more than %d times", t, after, before, maxWorse)
		}
	}
	return v
}

// sums lists the reductions of a graph: ops that add up, and the types that they do it over.
func sums(g *graph.Graph) []string {
	var list []string
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if n.Op.Numerics != graph.Sums {
			continue
		}
		text := n.Op.Name
		for _, v := range n.In {
			if v != graph.None {
				text += " " + g.Type(v).String()
			}
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

// firstOfTarget keeps the first two calls for each target: what rounds does not depend on
// the numbers of symbols, but on which case runs.
func firstOfTarget(pairs []*pair) []*pair {
	n := map[string]int{}
	return slices.DeleteFunc(slices.Clone(pairs), func(p *pair) bool { n[p.target]++; return n[p.target] > 2 })
}

// epsilon is the distance from 1 to the next number.
func epsilon(t graph.DType) float64 {
	return map[graph.DType]float64{graph.Float16: 0x1p-10, graph.BFloat16: 0x1p-7, graph.Float32: 0x1p-23}[t]
}

// sameSteps reports whether all results come about in the same way on both sides, up to
// what normal form changes, which keeps every bit.
func (p *pair) sameSteps(ctx context.Context) (bool, error) {
	var sides [2]map[string]*rounding.Array
	for i, g := range []*graph.Graph{p.before, p.after} {
		c := g.Clone()
		if _, err := normal.Form(c); err != nil {
			return false, err
		}
		var err error
		if sides[i], err = rounding.Run(ctx, c, append(slices.Clone(p.in.Program.Params), p.made...)); err != nil {
			return false, err
		}
	}
	for name, a := range sides[0] {
		b := sides[1][name]
		if b == nil || len(a.V) != len(b.V) {
			return false, nil
		}
		for k := range a.V {
			if !a.V[k].Same(b.V[k]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// rms is the root of the mean square of errors, in units of the largest element of a row.
type rms struct {
	sum float64
	n   int
}

func (e *rms) value() float64 { return math.Sqrt(e.sum / max(1, float64(e.n))) }

// roundingPoints are the samples of one call.
var roundingPoints = []style{normalStyle, heavy, lattice, edgeStyle, special}

// rounds runs both sides on engine/ref, at two points and more if the steps allow it, and
// returns how many it took.
func (v *Verdict) rounds(ctx context.Context, p *pair, claimed kernels.Numerics, steps int, errs map[graph.DType]*[2]rms) (took int) {
	before, err := p.asOnCUDA()
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", p, err)
		return 0
	}
	for i, s := range roundingPoints {
		if i > 1 && took+took/i > steps {
			break
		}
		in, err := p.sample(ctx, rand.New(rand.NewPCG(uint64(i), 0x726f756e64)), s)
		if err != nil {
			v.fail(CodeEvaluation, "%s: %v", p, err)
			return took
		}
		want, err := runRef(ctx, before, in)
		if err != nil {
			v.fail(CodeEvaluation, "%s: %v", p, err)
			return took
		}
		got, err := runRef(ctx, p.after, in)
		if err != nil {
			v.fail(CodeEvaluation, "%s: %v", p, err)
			return took
		}
		var truth map[string]*exact.Array
		if s.measured() {
			trace := exact.NewTrace()
			truth, err = exact.Run(ctx, p.before, in, trace)
			took += trace.Steps
			if no := (*exact.UnsupportedError)(nil); err != nil && !errors.As(err, &no) {
				v.fail(CodeEvaluation, "%s: %v", p, err)
				return took
			}
		}
		v.Count++
		for _, o := range p.before.Outputs() {
			a, b := want[o.Name], got[o.Name]
			if at := firstDifference(a, b); at >= 0 && claimed == kernels.Exact {
				v.Counter = p.counterexample(in, o.Name, a, b, at)
				v.fail(CodeOverstated, "numerics says exact, but bits differ: %s, %s values: %s", p, s, v.Counter)
				return took
			}
			if !a.DType.IsFloat() {
				continue
			}
			if at := firstInfinite(a, b); at >= 0 {
				v.Counter = p.counterexample(in, o.Name, a, b, at)
				v.fail(CodeFinite, "%s, %s values: %s", p, s, v.Counter)
				return took
			}
			if truth != nil {
				if errs[a.DType] == nil {
					errs[a.DType] = &[2]rms{}
				}
				errs[a.DType][0].add(a, a, truth[o.Name])
				errs[a.DType][1].add(b, a, truth[o.Name])
			}
		}
	}
	return took
}

// elements is how many numbers a graph computes, views left out.
func elements(g *graph.Graph) int {
	n := 0
	for id := range graph.NodeID(g.NumNodes()) {
		if node := g.Node(id); node.Op.Launches > 0 {
			n += g.Type(node.Out[0]).Size().Int()
		}
	}
	return n
}

// add adds the errors of all elements, in units of the largest element of their row. Where
// the pattern overflows there is nothing to measure.
func (e *rms) add(got, pattern, want *exact.Array) {
	width := 1
	if n := len(want.Shape); n > 0 {
		width = want.Shape[n-1]
	}
	for at := 0; at < len(want.V); at += width {
		largest := 0.0
		for k := range width {
			largest = max(largest, math.Abs(want.V[at+k].Real()))
		}
		if largest == 0 {
			continue
		}
		for k := range width {
			if x := pattern.V[at+k].Real(); math.IsInf(x, 0) || math.IsNaN(x) {
				continue
			}
			d := (got.V[at+k].Real() - want.V[at+k].Real()) / largest
			e.sum, e.n = e.sum+d*d, e.n+1
		}
	}
}

// firstDifference returns where two results differ in a bit, or -1. All NaN are one.
func firstDifference(a, b *exact.Array) int {
	for i := range a.V {
		x, y := a.V[i].Real(), b.V[i].Real()
		if (x != y || math.Signbit(x) != math.Signbit(y)) && !(math.IsNaN(x) && math.IsNaN(y)) {
			return i
		}
	}
	return -1
}

// firstInfinite returns where b is infinite or NaN and a is not, or -1. An infinity beside a
// number that is among the type's largest is the rounding of it.
func firstInfinite(a, b *exact.Array) int {
	edge := math.Inf(1)
	if top, ok := largestOf[a.DType]; ok {
		edge = top * (1 - 2*epsilon(a.DType))
	}
	for i := range a.V {
		x, y := a.V[i].Real(), b.V[i].Real()
		if !math.IsInf(x, 0) && !math.IsNaN(x) && (math.IsInf(y, 0) && !(math.Abs(x) >= edge && math.Signbit(x) == math.Signbit(y)) || math.IsNaN(y)) {
			return i
		}
	}
	return -1
}

// largestOf is the largest number of a type.
var largestOf = map[graph.DType]float64{graph.Float16: 65504, graph.BFloat16: 0x1.fep127, graph.Float32: math.MaxFloat32}

// runRef runs a graph on engine/ref, with its parameters given like inputs.
func runRef(ctx context.Context, g *graph.Graph, in map[string]*exact.Array) (map[string]*exact.Array, error) {
	g = g.Clone()
	given := map[string]engine.Tensor{}
	e := ref.New()
	defer e.Close()
	names := map[string]string{}
	for _, id := range g.Inputs() {
		names[g.InputName(id)] = g.InputName(id)
	}
	for name, id := range g.Params() {
		at := "param " + name
		if err := g.Replace(id, g.Input(at, g.Type(id))); err != nil {
			return nil, err
		}
		names[at] = name
	}
	if err := g.Compact(); err != nil {
		return nil, err
	}
	for at, name := range names {
		a := in[name]
		data := make([]byte, 0, len(a.V)*a.DType.Size())
		for _, x := range a.V {
			data = graph.AppendElem(data, a.DType, x.Real())
		}
		x, err := e.NewTensor(a.DType, a.Shape, data)
		if err != nil {
			return nil, err
		}
		defer x.Release()
		given[at] = x
	}
	res, err := engine.Run(ctx, e, g, nil, given, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]*exact.Array{}
	for name, x := range res {
		data, err := x.Read()
		if err != nil {
			return nil, err
		}
		out[name] = exact.FromBytes(x.DType(), x.Shape(), data)
		x.Release()
	}
	return out, nil
}

package proof

import (
	"context"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/exact"
)

// CheckSymmetry is that of Symmetry.
const CheckSymmetry = "symmetry"

// CodeSymmetry is of a replacement that breaks a symmetry which its pattern has.
const CodeSymmetry = "proof/symmetry"

// Symmetry looks for symmetries of patterns and holds the replacements to them: when the
// rows of a batch change places, so must those of the results; when experts or heads get
// other numbers, so must indices that name them. It needs no oracle, and finds what only
// shows when lengths are equal that have nothing to do with each other, such as a batch as
// large as the number of chosen experts.
//
// For each length, all axes of the operands that have it are permuted alike, and whole
// numbers that count so many are renamed. Where the pattern's results are then the old
// ones, or these with their own axes of that length permuted, that is a symmetry. Count is
// how many were found.
func Symmetry(ctx context.Context, set *rules.Set, instances []*Instance) *Verdict {
	v := &Verdict{Check: CheckSymmetry, Status: Tested, Method: methodField}
	for _, in := range instances {
		pairs, err := in.pairs(set)
		if err != nil {
			return v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		}
		for _, p := range firstOfTarget(pairs) {
			if p.cost() > maxSymmetry || p.sameForm() { // what is the same has the same symmetries
				continue
			}
			if v.symmetries(ctx, p); v.Status == Failed || ctx.Err() != nil {
				return v
			}
		}
	}
	if v.Count == 0 {
		v.Detail = "no symmetry was found, or both sides have one normal form"
	}
	return v
}

// maxSymmetry bounds the numbers of a call whose symmetries are looked for.
const maxSymmetry = 300_000

func (p *pair) cost() int { return elements(p.before) + elements(p.after) }

// symmetries finds those of a pair's pattern and tries them on the replacement.
func (v *Verdict) symmetries(ctx context.Context, p *pair) {
	rng := rand.New(rand.NewPCG(1, 0x73796d))
	in, err := p.sample(ctx, rng, normalStyle)
	if err != nil {
		v.fail(CodeEvaluation, "%s: %v", p, err)
		return
	}
	want, err := exact.Run(ctx, p.before, in, exact.NewTrace())
	if err != nil {
		return // Equivalence says what cannot be evaluated
	}
	limits := p.limits()
	lengths := map[int]bool{}
	for _, q := range p.leaves() {
		for _, d := range in[q].Shape {
			lengths[d] = d > 1
		}
	}
	for _, d := range sortedInts(lengths) {
		if !lengths[d] {
			continue
		}
		perm := rng.Perm(d)
		moved := map[string]*exact.Array{}
		for _, name := range p.leaves() {
			moved[name] = permuteAll(in[name], d, perm)
			if l := limits[name]; l != nil && l.n == int64(d) {
				moved[name] = rename(moved[name], perm)
			}
		}
		if err := p.derive(ctx, moved); err != nil {
			continue // a parameter that is made of others is of another shape now
		}
		again, err := exact.Run(ctx, p.before, moved, exact.NewTrace())
		if err != nil {
			continue
		}
		how := map[string]func(*exact.Array) *exact.Array{}
		for name := range want {
			for _, f := range []func(*exact.Array) *exact.Array{
				func(a *exact.Array) *exact.Array { return permuteAll(a, d, perm) },
				func(a *exact.Array) *exact.Array { return rename(permuteAll(a, d, perm), perm) },
				func(a *exact.Array) *exact.Array { return rename(a, perm) },
				func(a *exact.Array) *exact.Array { return a },
			} {
				if same(f(want[name]), again[name]) {
					how[name] = f
					break
				}
			}
		}
		if len(how) < len(want) {
			continue
		}
		v.Count++
		before, err := exact.Run(ctx, p.after, in, exact.NewTrace())
		if err != nil {
			v.fail(CodeEvaluation, "%s: %v", p, err)
			return
		}
		after, err := exact.Run(ctx, p.after, moved, exact.NewTrace())
		if err != nil {
			v.fail(CodeEvaluation, "%s: %v", p, err)
			return
		}
		for name, f := range how {
			if !same(f(before[name]), after[name]) {
				v.fail(CodeSymmetry, "%s: the pattern does not mind when what is %d long is put in another order, the replacement does: %s", p, d, name)
				return
			}
		}
	}
}

// leaves are the inputs and parameters that are not made from others.
func (p *pair) leaves() []string {
	var all []string
	for _, id := range p.before.Inputs() {
		all = append(all, p.before.InputName(id))
	}
	for _, q := range p.in.Program.Params {
		all = append(all, q.Name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func sortedInts(m map[int]bool) []int {
	var all []int
	for d := range m {
		all = append(all, d)
	}
	slices.Sort(all)
	return all
}

// permuteAll puts every axis of a length in another order.
func permuteAll(a *exact.Array, d int, perm []int) *exact.Array {
	if a == nil || !slices.Contains(a.Shape, d) {
		return a
	}
	out := &exact.Array{DType: a.DType, Shape: a.Shape, V: make([]exact.Number, len(a.V))}
	for i := range a.V {
		rest, from, stride := i, 0, 1
		for ax := len(a.Shape) - 1; ax >= 0; ax-- {
			k := rest % a.Shape[ax]
			rest /= a.Shape[ax]
			if a.Shape[ax] == d {
				k = perm[k]
			}
			from += k * stride
			stride *= a.Shape[ax]
		}
		out.V[i] = a.V[from]
	}
	return out
}

// rename gives whole numbers the places that perm has moved them to.
func rename(a *exact.Array, perm []int) *exact.Array {
	if a == nil || a.DType.IsFloat() {
		return a
	}
	to := make([]int, len(perm)) // element perm[k] is now at k
	for k, from := range perm {
		to[from] = k
	}
	out := &exact.Array{DType: a.DType, Shape: a.Shape, V: make([]exact.Number, len(a.V))}
	for i, x := range a.V {
		n := int(x.Real())
		if n < 0 || n >= len(to) {
			return a
		}
		out.V[i] = exact.Int(int64(to[n]))
	}
	return out
}

func same(a, b *exact.Array) bool {
	if a == nil || b == nil || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	for i := range a.V {
		if !a.V[i].Same(b.V[i]) {
			return false
		}
	}
	return true
}

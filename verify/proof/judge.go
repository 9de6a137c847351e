package proof

import (
	"cmp"
	"context"
	"slices"

	"zmlx-rewrite/rules"
)

// Judge tells whether an instance computes the same with its rule and without, on a target.
type Judge func(ctx context.Context, in *Instance, target string) *Verdict

// Compare returns a judge that does what Equivalence does, at few points: one for each of
// two calls, which are the smallest that there is, and the smallest of those in which the
// fewest lengths are 1. In the fields, two functions that differ are seldom the same at one
// point.
func Compare(set *rules.Set) Judge {
	return func(ctx context.Context, in *Instance, target string) *Verdict {
		v := &Verdict{Check: CheckEquivalence, Status: Proven, Method: methodForm}
		res, err := in.Rewrite(set, target)
		if err != nil {
			return v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		}
		after, err := set.Kernels.Expand(res.Program, nil)
		if err != nil {
			return v.fail(CodeEvaluation, "%s: %v", in.Where, err)
		}
		list := few(calls(in.Program, res))
		for _, env := range list {
			p, err := newPair(in, target, res, after, env)
			if err != nil {
				return v.fail(CodeEvaluation, "%s: %v", in.Where, err)
			}
			if v.pair(ctx, p, 0, map[string]bool{}); v.Failed() {
				return v
			}
		}
		if len(list) == 0 {
			v.Status, v.Detail = Unchecked, "no call runs what the rule made"
		}
		return v
	}
}

// few picks two calls.
func few(all []map[string]int64) []map[string]int64 {
	if len(all) == 0 {
		return nil
	}
	ones := func(p point) (n int) {
		for _, x := range p {
			if x == 1 {
				n++
			}
		}
		return n
	}
	small := slices.MinFunc(all, func(a, b map[string]int64) int { return cmp.Compare(point(a).size(), point(b).size()) })
	wide := slices.MinFunc(all, func(a, b map[string]int64) int {
		return cmp.Or(ones(a)-ones(b), cmp.Compare(point(a).size(), point(b).size()))
	})
	if point(small).String() == point(wide).String() {
		return []map[string]int64{small}
	}
	return []map[string]int64{small, wide}
}

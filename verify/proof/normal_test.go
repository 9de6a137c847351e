package proof

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/verify/exact"
)

// TestNormalForm: the patterns of all rules, and what these make of them, compute the same
// in normal form, with the same bits on engine/ref; and the same when they are lowered, in
// float64: fast ops and their decompositions round differently, constants too. Random
// graphs are in graph/normal.
func TestNormalForm(t *testing.T) {
	ctx := context.Background()
	set := shipped(t)
	all, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := NewCorpus(all)
	for _, r := range tried(set) {
		instances, err := corpus.Instances(set, r)
		if err != nil {
			t.Fatal(err)
		}
		pairs, err := instances.All[0].pairs(set)
		if err != nil {
			t.Fatal(err)
		}
		p := pairs[0]
		if p.cost() > maxSymmetry {
			continue
		}
		in, err := p.sample(ctx, rand.New(rand.NewPCG(3, 4)), normalStyle)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range []*graph.Graph{p.before, p.after} {
			formed, lowered := compacted(t, g), compacted(t, g)
			if _, err := normal.Form(formed); err != nil {
				t.Fatal(err)
			}
			if err := normal.Lower(lowered, normal.CPU); err != nil {
				t.Fatal(err)
			}
			if err := lowered.Compact(); err != nil {
				t.Fatal(err)
			}
			holds(ctx, t, g, formed, in, true)
			holds(ctx, t, g, lowered, in, false)
		}
	}
}

func compacted(t *testing.T, g *graph.Graph) *graph.Graph {
	c := g.Clone()
	if err := c.Compact(); err != nil {
		t.Fatal(err)
	}
	return c
}

// holds fails the test if two graphs are not the same function, or have other bits on
// engine/ref.
func holds(ctx context.Context, t *testing.T, a, b *graph.Graph, in map[string]*exact.Array, bits bool) {
	t.Helper()
	x, err := runRef(ctx, a, in)
	if err != nil {
		t.Fatal(err)
	}
	if bits {
		y, err := runRef(ctx, b, in)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, a, b)
		}
		for name := range x {
			if k := firstDifference(x[name], y[name]); k >= 0 {
				t.Errorf("element %d of %s has other bits\n%s\n%s", k, name, a, b)
			}
		}
	}
	want, err := exact.Run(ctx, a, in, exact.NewTrace())
	if err != nil {
		t.Fatal(err)
	}
	got, err := exact.Run(ctx, b, in, exact.NewTrace())
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, a, b)
	}
	for name := range want {
		if bits && !same(want[name], got[name]) || !bits && !near(want[name], got[name]) {
			t.Errorf("%s is another function\n%s\n%s", name, a, b)
		}
	}
}

// near reports whether two results are the same up to constants that are rounded to float32.
func near(a, b *exact.Array) bool {
	scale, worst := 0.0, 0.0
	for i := range a.V {
		scale = max(scale, math.Abs(a.V[i].Real()))
		worst = max(worst, math.Abs(a.V[i].Real()-b.V[i].Real()))
	}
	return worst <= 1e-5*scale
}

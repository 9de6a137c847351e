package proof

import (
	"context"
	"math"
	"testing"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/exact"
)

// TestShippedRulesRound holds what every rule that ships says under numerics against what
// it does.
func TestShippedRulesRound(t *testing.T) {
	eachShipped(t, func(set *rules.Set, r *rules.Rule, in *Instances) {
		start := time.Now()
		v := Rounding(context.Background(), set, r, in.All)
		if v.Status <= Failed {
			t.Errorf("%s: %s %s %s", r.Name, v.Status, v.Code, v.Detail)
		}
		t.Log(r.Name, r.Numerics, v.Status, v.Method, v.Count, v.Why, time.Since(start).Round(time.Millisecond))
	})
}

// TestFirstInfinite: an overflow is a failure, but for the rounding of a number that is
// among the largest itself.
func TestFirstInfinite(t *testing.T) {
	array := func(x float64) *exact.Array {
		return &exact.Array{DType: graph.Float16, Shape: []int{1}, V: []exact.Number{exact.Exactly(x)}}
	}
	for _, c := range []struct {
		was, now float64
		want     int
	}{
		{65504, math.Inf(1), -1}, {-65472, math.Inf(-1), -1}, {65504, math.Inf(-1), 0}, {65504, math.NaN(), 0},
		{65000, math.Inf(1), 0}, {math.Inf(1), math.NaN(), -1}, {1, 2, -1},
	} {
		if got := firstInfinite(array(c.was), array(c.now)); got != c.want {
			t.Errorf("%v, then %v: %d, not %d", c.was, c.now, got, c.want)
		}
	}
}

package proof

import (
	"context"
	"testing"
	"time"

	"zmlx-rewrite/rules"
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

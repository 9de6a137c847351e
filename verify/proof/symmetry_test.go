package proof

import (
	"context"
	"testing"
	"time"

	"zmlx-rewrite/rules"
)

// TestShippedRulesKeepSymmetries holds every rule that ships to the symmetries of its patterns.
func TestShippedRulesKeepSymmetries(t *testing.T) {
	eachShipped(t, func(set *rules.Set, r *rules.Rule, in *Instances) {
		start := time.Now()
		v := Symmetry(context.Background(), set, in.All)
		if v.Status <= Failed {
			t.Errorf("%s: %s %s %s", r.Name, v.Status, v.Code, v.Detail)
		}
		t.Log(r.Name, v.Status, v.Count, v.Detail, time.Since(start).Round(time.Millisecond))
	})
}

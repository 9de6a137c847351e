package proof

import (
	"context"
	"testing"
	"time"
)

// TestShippedRulesRound holds what every rule that ships says under numerics against what
// it does.
func TestShippedRulesRound(t *testing.T) {
	set := shipped(t)
	all, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := NewCorpus(all)
	for _, r := range tried(set) {
		in, err := corpus.Instances(set, r)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		v := Rounding(context.Background(), set, r, in.All)
		if v.Status <= Failed {
			t.Errorf("%s: %s %s %s", r.Name, v.Status, v.Code, v.Detail)
		}
		t.Log(r.Name, r.Numerics, v.Status, v.Method, v.Count, v.Why, time.Since(start).Round(time.Millisecond))
	}
}

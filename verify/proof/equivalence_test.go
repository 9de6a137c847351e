package proof

import (
	"context"
	"testing"
	"time"
)

// TestShippedRulesAreEquivalent holds every rule that ships against what it replaces.
func TestShippedRulesAreEquivalent(t *testing.T) {
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
		v := Equivalence(context.Background(), set, in.All)
		if v.Status <= Failed {
			t.Errorf("%s: %s %s %s", r.Name, v.Status, v.Code, v.Detail)
		}
		t.Log(r.Name, len(in.All), v.Status, v.Method, v.Count, v.Why, time.Since(start).Round(time.Millisecond))
	}
}

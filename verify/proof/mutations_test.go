package proof

import (
	"context"
	"testing"
	"time"

	"zmlx-rewrite/rules"
)

func instances(t testing.TB, set *rules.Set) map[string]*Instances {
	t.Helper()
	all, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus, out := NewCorpus(all), map[string]*Instances{}
	for _, r := range set.Rules() {
		if out[r.Name], err = corpus.Instances(set, r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestShippedMutations changes one thing at a time in the patterns of the rules that ship.
func TestShippedMutations(t *testing.T) {
	set := shipped(t)
	all := instances(t, set)
	instances, spellings, changes := 0, 0, 0
	for _, r := range tried(set) {
		start := time.Now()
		s := SelfMatch(set, all[r.Name])
		v := Mutations(context.Background(), set, all[r.Name])
		t.Logf("%s: %v %v", r.Name, v.Detail, time.Since(start).Round(time.Millisecond))
		for _, v := range []*Verdict{s, v} {
			if v.Status != Tested || v.Count == 0 {
				t.Errorf("%s: %s %s %s: %v", r.Name, v.Check, v.Status, v.Code, join(v.Why, 4))
			}
		}
		instances, spellings, changes = instances+len(all[r.Name].All), spellings+s.Count-len(all[r.Name].All), changes+v.Count
	}
	t.Logf("%d instances and %d other spellings match; %d changes", instances, spellings, changes)
}

package proof

import (
	"context"
	"testing"
	"time"
)

// TestShippedGuards asks what each guard of the rules that ship is for.
func TestShippedGuards(t *testing.T) {
	set := shipped(t)
	programs, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := NewCorpus(programs)
	for _, r := range tried(set) {
		all, err := corpus.Instances(set, r)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for _, v := range Guards(context.Background(), set, corpus, all) {
			t.Logf("%s: %s %s %s (%d) %v", r.Name, v.Status, v.Code, v.Detail, v.Count, time.Since(start).Round(time.Millisecond))
			if v.Status <= Failed || v.Code != "" {
				t.Errorf("%s: %s %s %s", r.Name, v.Status, v.Code, v.Detail)
			}
		}
	}
}

package proof

import (
	"os"
	"testing"

	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/rules"
)

func shipped(t testing.TB) *rules.Set {
	t.Helper()
	catalog, issues := author.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	set, issues := rules.Load("", nil, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return set
}

// TestInstances finds an instance of every pattern of every rule that ships.
func TestInstances(t *testing.T) {
	set := shipped(t)
	all, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := NewCorpus(all)
	for _, r := range set.Rules() {
		in, err := corpus.Instances(set, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range in.Unseen {
			t.Errorf("%s: no instance of a pattern: %v\n%s", r.Name, u.Reason, u.Pattern)
		}
		if len(in.All) == 0 {
			t.Errorf("%s has no instances", r.Name)
		}
		t.Log(r.Name, len(in.Patterns), len(in.All))
	}
}

// sampled is whether tests of all rules that ship are to look at some only: in the short form,
// and where the step verify of scripts/check.sh asks the same checks about all of them.
func sampled() bool { return testing.Short() || os.Getenv("ZMLX_STEP") == "plain" }

// tried are the rules that a test of all of them takes: one in twelve, if sampled.
func tried(set *rules.Set) []*rules.Rule {
	all := set.Rules()
	if !sampled() {
		return all
	}
	var some []*rules.Rule
	for i := 0; i < len(all); i += 12 {
		some = append(some, all[i])
	}
	return some
}

// eachShipped calls f with the rules of a test and their instances.
func eachShipped(t *testing.T, f func(set *rules.Set, r *rules.Rule, in *Instances)) {
	t.Helper()
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
		f(set, r, in)
	}
}

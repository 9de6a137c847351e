package proof

import (
	"context"
	"strings"
	"testing"
)

// TestExamine: all checks are asked, in their order; one that breaks fails and leaves the
// others alone; without an instance nothing else is asked.
func TestExamine(t *testing.T) {
	set := shipped(t)
	models, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &Subject{Set: set, Rule: set.Rule("llama.swiglu"), Corpus: NewCorpus(models)}
	defer func(old []Check) { Checks = old }(Checks)
	Checks = append(append([]Check{}, Checks...), Check{"broken", func(context.Context, *Subject) []*Verdict { panic("on purpose") }})
	r, err := Examine(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, c := range Checks {
		if c.Name == CheckGuards { // the rule has none
			continue
		}
		if at >= len(r.Verdicts) || r.Verdicts[at].Check != c.Name {
			t.Fatalf("verdict %d is not that of %s", at, c.Name)
		}
		if v := r.Verdicts[at]; c.Name == "broken" {
			if v.Code != "proof/broken" || !strings.Contains(v.Detail, "on purpose") || r.Status() != Failed {
				t.Errorf("%s %s", v.Status, v.Detail)
			}
		} else if v.Failed() {
			t.Errorf("%s: %s", v.Check, v.Detail)
		}
		at++
	}
	s.Corpus = NewCorpus(nil)
	if r, err = Examine(context.Background(), s); err != nil || len(r.Verdicts) != 1 || r.Status() != Failed || r.Verdicts[0].Code != "proof/no-instance" {
		t.Errorf("without models: %v %v", r.Verdicts, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Examine(ctx, s); err == nil {
		t.Error("no error of a context that has ended")
	}
}

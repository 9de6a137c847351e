package proof

import "testing"

// TestPointsAreSmall holds that a limit of a product of lengths, such as the 65,535 groups of
// a grid in kernels/sdpa_merge.yaml, is not taken for rows of a cache: a call of so many rows
// was evaluated once, and took 22 GB.
func TestPointsAreSmall(t *testing.T) {
	set := shipped(t)
	programs, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rule("llama.sdpa_decode_split")
	all, err := NewCorpus(programs).Instances(set, r)
	if err != nil {
		t.Fatal(err)
	}
	large := false
	for _, in := range all.All {
		in.Rule = withoutCost(r)
		for _, target := range in.targets(set) {
			res, err := in.Rewrite(set, target)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range in.points(res) {
				for name, x := range p {
					if x > maxRows+3 {
						t.Errorf("%s for %s: %s is %d", in.Where, target, name, x)
					}
					large = large || x > 3
				}
			}
		}
	}
	if !large {
		t.Error("no point is beside a number of a guard")
	}
}

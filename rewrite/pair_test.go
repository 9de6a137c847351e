package rewrite

import (
	"slices"
	"testing"

	"zmlx-rewrite/graph"
)

// TestPairs: each site of a model is two graphs that make the same results of the same
// types. Under the names of the rule, sites that are alike are the same graphs; under
// their own, no two layers are.
func TestPairs(t *testing.T) {
	for _, name := range []string{"Qwen3-30B-A3B-4bit", "gemma-2-9b-it-4bit"} {
		res, err := Run(reference(t, name), config(t))
		if err != nil {
			t.Fatal(err)
		}
		sites := 0
		for i := range res.Cases {
			c := &res.Cases[i]
			var firsts []*Site
			for k := range c.Sites {
				s := &c.Sites[k]
				sites++
				p, err := s.Pair(false)
				if err != nil {
					t.Fatalf("%s, %s at %s: %v", name, s.Rule.Name, s.Scope, err)
				}
				before, after := p.Before.Outputs(), p.After.Outputs()
				if len(before) != len(s.Rule.Results) || len(after) != len(before) {
					t.Fatalf("%s at %s: results %v before, %v after, the rule's %v", s.Rule.Name, s.Scope, before, after, s.Rule.Results)
				}
				for j, o := range before {
					if a := after[j]; a.Name != o.Name || !p.After.Type(a.Value).Equal(p.Before.Type(o.Value)) {
						t.Errorf("%s at %s: %s is %s, %s is %s", s.Rule.Name, s.Scope, o.Name, p.Before.Type(o.Value), a.Name, p.After.Type(a.Value))
					}
				}
				if n := count(p.Before, nil); n != len(slices.DeleteFunc(slices.Clone(s.Match.Nodes), func(id graph.NodeID) bool {
					return id < 0 || len(s.Graph().Node(id).In) == 0
				})) {
					t.Errorf("%s at %s: %d nodes of %d that were matched", s.Rule.Name, s.Scope, n, s.Size)
				}
				for _, k := range s.Rule.Kernels {
					if count(p.After, func(n *graph.Node) bool { return n.Op.Name == graph.KernelPrefix+k }) == 0 {
						t.Errorf("%s at %s: no kernel %s", s.Rule.Name, s.Scope, k)
					}
				}
				at := slices.IndexFunc(firsts, func(f *Site) bool { return f.Rule == s.Rule && f.Alike(s) })
				if at < 0 {
					firsts = append(firsts, s)
					continue
				}
				q, err := firsts[at].Pair(false)
				if err != nil || q.Before.Hash() != p.Before.Hash() || q.After.Hash() != p.After.Hash() {
					t.Errorf("%s: %s and %s are alike and differ (%v)", s.Rule.Name, firsts[at].Scope, s.Scope, err)
				}
				a, _ := firsts[at].Pair(true)
				b, _ := s.Pair(true)
				if slices.ContainsFunc(p.Leaves, func(l Leaf) bool { return l.Param != "" }) && a.Before.Hash() == b.Before.Hash() && a.After.Hash() == b.After.Hash() {
					t.Errorf("%s: %s and %s have the same parameters", s.Rule.Name, firsts[at].Scope, s.Scope)
				}
			}
		}
		if sites == 0 {
			t.Errorf("%s: no sites", name)
		}
	}
}

func count(g *graph.Graph, want func(*graph.Node) bool) int {
	n := 0
	for id := range graph.NodeID(g.NumNodes()) {
		if x := g.Node(id); len(x.In) > 0 && (want == nil || want(x)) {
			n++
		}
	}
	return n
}

// TestKeep: what a plan applies is the same each time, and so is each part of it. Any prefix
// of a case's applications gives exactly these, all of them the plan itself, none the
// program as it was.
func TestKeep(t *testing.T) {
	p := reference(t, "Qwen3-30B-A3B-4bit")
	p.Cases = p.Cases[:1]
	cfg := config(t)
	res, err := Run(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var plan []SiteID
	for _, c := range res.Cases {
		for _, s := range c.Sites {
			if !slices.Contains(plan, s.ID) {
				plan = append(plan, s.ID)
			}
		}
	}
	rounds := 0
	for _, id := range plan {
		rounds = max(rounds, id.Round)
	}
	if rounds < 2 {
		t.Fatalf("a plan of %d rounds, too simple for this test", rounds)
	}
	for _, n := range []int{0, 1, 7, len(plan) / 2, len(plan) - 1, len(plan)} {
		only := *cfg
		only.Keep = func(id SiteID) bool { return slices.Contains(plan[:n], id) }
		part, err := Run(p, &only)
		if err != nil {
			t.Fatal(err)
		}
		if err := part.Program.Verify(); err != nil {
			t.Fatal(err)
		}
		var got []SiteID
		for _, c := range part.Cases {
			for _, s := range c.Sites {
				if !slices.Contains(got, s.ID) {
					got = append(got, s.ID)
				}
			}
		}
		if !slices.Equal(got, plan[:n]) {
			t.Errorf("of %d applications, the first %d were asked for, %d applied: %v", len(plan), n, len(got), got[:min(3, len(got))])
		}
		if n == len(plan) && part.Program.Hash() != res.Program.Hash() {
			t.Error("all applications are another program than the plan")
		}
		if n == 0 {
			for _, c := range part.Cases {
				if c.After.Hash() != c.Before.Hash() {
					t.Errorf("case %s was changed", c.Name)
				}
			}
		}
	}
}

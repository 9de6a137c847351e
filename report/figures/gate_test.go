package figures

import (
	"fmt"
	"slices"
	"testing"

	"zmlx-rewrite/measure/capsule"
)

// TestJudge: what the newest version says of each test. A test is written as its name, with
// "!" if its tokens differ and "?" if it has too few rounds.
func TestJudge(t *testing.T) {
	type version struct {
		commit string
		tests  []string
	}
	for name, x := range map[string]struct {
		history []version
		want    []string
	}{
		"one alone":                          {[]version{{"", []string{"a"}}}, nil},
		"one alone, other tokens":            {[]version{{"", []string{"a!"}}}, []string{"differs a"}},
		"one alone, few rounds":              {[]version{{"", []string{"a?"}}}, []string{"few a"}},
		"two":                                {[]version{{"", []string{"a", "b"}}, {"", []string{"a", "b"}}}, []string{"held a", "held b"}},
		"few rounds behind a good one":       {[]version{{"", []string{"a"}}, {"", []string{"a"}}, {"", []string{"a?"}}}, []string{"few a"}},
		"other tokens and few rounds":        {[]version{{"", []string{"a"}}, {"", []string{"a!?"}}}, []string{"differs a"}},
		"few rounds before":                  {[]version{{"", []string{"a"}}, {"", []string{"a?"}}, {"", []string{"a"}}}, []string{"held a"}},
		"other tokens before":                {[]version{{"", []string{"a!"}}, {"", []string{"a"}}}, []string{"held a"}},
		"another test":                       {[]version{{"", []string{"a"}}, {"", []string{"a"}}, {"", []string{"b"}}}, []string{"missing a"}},
		"a test fewer":                       {[]version{{"", []string{"a", "b"}}, {"", []string{"b"}}}, []string{"held b", "missing a"}},
		"a test more":                        {[]version{{"", []string{"a"}}, {"", []string{"a", "b"}}}, []string{"held a"}},
		"none of the tests":                  {[]version{{"", []string{"a"}}, {"", nil}}, []string{"missing a"}},
		"a test that is gone for long":       {[]version{{"", []string{"a", "b"}}, {"", []string{"b"}}, {"", []string{"b"}}}, []string{"held b"}},
		"two capsules of one commit":         {[]version{{"1", []string{"a"}}, {"1", []string{"b"}}, {"2", []string{"a"}}, {"2", []string{"b"}}}, []string{"held a", "held b"}},
		"half of a commit":                   {[]version{{"1", []string{"a"}}, {"1", []string{"b"}}, {"2", []string{"a"}}}, []string{"held a", "missing b"}},
		"a commit's bad half stays":          {[]version{{"1", []string{"a"}}, {"2", []string{"a!"}}, {"2", []string{"a"}}}, []string{"differs a"}},
		"few rounds, measured again":         {[]version{{"1", []string{"a"}}, {"2", []string{"a?"}}, {"2", []string{"a"}}}, []string{"held a"}},
		"measured again with too few":        {[]version{{"1", []string{"a"}}, {"2", []string{"a"}}, {"2", []string{"a?"}}}, []string{"few a"}},
		"a changed checkout is no version":   {[]version{{"1+", []string{"a"}}, {"1+", []string{"b"}}}, []string{"missing a"}},
		"a commit and one that is not known": {[]version{{"1", []string{"a"}}, {"", []string{"b"}}}, []string{"missing a"}},
	} {
		var all []Named
		for i, v := range x.history {
			n := sample("m", 20)
			n.File, n.Made = fmt.Sprintf("%d.json", i), n.Made.AddDate(2025, 0, i)
			n.Program.Revision = v.commit
			if len(v.commit) > 1 {
				n.Program.Revision, n.Program.Modified = v.commit[:1], true
			}
			cell := n.Cells[0]
			n.Cells = nil
			for _, test := range v.tests {
				c := cell
				c.Test, c.Depth = test[:1], 0
				if slices.Contains([]byte(test), '!') {
					c.First = 3
				}
				if slices.Contains([]byte(test), '?') {
					c.Runs = slices.Clone(c.Runs[:8])
				}
				n.Cells = append(n.Cells, c)
			}
			all = append(all, n)
		}
		slices.Reverse(all) // their order is no matter, but their age
		var got []string
		for _, j := range Judge(all, ByRatio, 0.97) {
			verdict := j.Verdict
			if j.Few {
				if verdict != Unclear {
					t.Errorf("%s: %s of few rounds", name, verdict)
				}
				verdict = "few"
			}
			got = append(got, verdict+" "+j.Test)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}

	// What bench measured is not missing in a capsule of stress.
	one, two := sample("m", 20), sample("m", 20)
	two.Made = two.Made.AddDate(2025, 0, 0)
	two.Kind, two.Cells[0].Test = capsule.Stress, "code"
	if got := Judge([]Named{one, two}, ByRatio, 0.97); len(got) > 0 {
		t.Errorf("a stress run behind one of bench: %+v", got)
	}
	// Another MLX, rewrite or kernel with the same commit is another version.
	for name, change := range map[string]func(n *Named){
		"nothing": func(*Named) {},
		"MLX":     func(n *Named) { n.Device.Version = "0.33.0" },
		"library": func(n *Named) { n.Device.Library = "other" },
		"rewrite": func(n *Named) { n.Rewrite.After = "other" },
		"kernel":  func(n *Named) { n.Rewrite.Kernels = map[string]string{"qmv": "other"} },
	} {
		one, two := sample("m", 20), sample("m", 20)
		one.Program.Revision, two.Program.Revision = "1", "1"
		two.Made, two.Cells[0].Test = two.Made.AddDate(2025, 0, 0), "b"
		change(&two)
		got := Judge([]Named{one, two}, ByRatio, 0.97)
		if missing := len(got) == 1 && got[0].Verdict == Missing; missing != (name != "nothing") {
			t.Errorf("another %s: %+v", name, got)
		}
	}
}

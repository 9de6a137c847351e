package capsule

import (
	"reflect"
	"testing"
)

// TestRan: steps with a quantized cache begin behind the call that fills the caches up to the
// start (decode.Generator.step). One token of a prompt is fed with the first token made.
func TestRan(t *testing.T) {
	for name, x := range map[string]struct {
		start int
		cells []Cell
		want  []bool // with a quantized cache?
		last  []bool // of each cell
	}{
		"never":                       {100, []Cell{{Fed: 16, Made: 8}}, []bool{false}, []bool{false}},
		"always":                      {0, []Cell{{Fed: 16, Made: 8}}, []bool{true}, []bool{true}},
		"not for the very first call": {0, []Cell{{Fed: 1, Made: 1}}, []bool{false}, []bool{false}},
		"but for the second":          {0, []Cell{{Fed: 1, Made: 2}}, []bool{false, true}, []bool{true}},
		"the prompt fills it":         {15, []Cell{{Fed: 16, Made: 1}}, []bool{true}, []bool{true}},
		"the prompt does not":         {16, []Cell{{Fed: 16, Made: 1}}, []bool{false}, []bool{false}},
		"in the middle":               {20, []Cell{{Fed: 16, Made: 6}}, []bool{false, true}, []bool{true}},
		"a token too early":           {21, []Cell{{Fed: 16, Made: 6}}, []bool{false}, []bool{false}},
		"of one cell":                 {50, []Cell{{Fed: 16, Made: 1}, {Depth: 64, Fed: 1, Made: 9}}, []bool{false, true}, []bool{false, true}},
	} {
		c := &Capsule{Cells: x.cells, Rewrite: Rewrite{KV: &KV{Bits: 8, Start: x.start}, Launches: []Layer{{Before: 9, After: 3}}, Quantized: &Quantized{Launches: []Layer{{Before: 7, After: 2}, {Before: 4, After: 1}}}}}
		var got, last []bool
		for _, s := range c.Rewrite.Ran(c.Cells) {
			got = append(got, s.Quantized)
			before, after := s.Sum()
			if want := map[bool][2]int{false: {9, 3}, true: {11, 3}}[s.Quantized]; [2]int{before, after} != want {
				t.Errorf("%s: launches %d, %d, want %v", name, before, after, want)
			}
		}
		for i := range c.Cells {
			last = append(last, c.Rewrite.LastStep(&c.Cells[i]).Quantized)
		}
		if !reflect.DeepEqual(got, x.want) || !reflect.DeepEqual(last, x.last) {
			t.Errorf("%s: ran %v, want %v; last %v, want %v", name, got, x.want, last, x.last)
		}
	}
	// Versions that did not keep the programs with a quantized cache.
	old := &Capsule{Cells: []Cell{{Fed: 16, Made: 8}}, Rewrite: Rewrite{KV: &KV{Bits: 8}}}
	if ran := old.Rewrite.Ran(old.Cells); len(ran) != 1 || ran[0].Quantized {
		t.Errorf("an old one: %+v", ran)
	}
}

// TestChoice: what a capsule says counts; that of one that says nothing is in its command line.
func TestChoice(t *testing.T) {
	c := &Capsule{Command: []string{"bench", "--only", "b", "--only=a", "-p", "8", "--exclude", "x", "--force=y", "--no-ledger"}}
	if got := c.Choice(); !reflect.DeepEqual(got, Choice{[]string{"a", "b"}, []string{"x"}, []string{"y"}, true}) {
		t.Errorf("%+v", got)
	}
	c.Rewrite.Choice = &Choice{Only: []string{"f.a"}}
	if got := c.Choice(); !reflect.DeepEqual(got, Choice{Only: []string{"f.a"}}) {
		t.Errorf("%+v", got)
	}
	if got := (&Capsule{Command: []string{"bench", "--only"}}).Choice(); !reflect.DeepEqual(got, Choice{Only: []string{""}}) {
		t.Errorf("%+v", got)
	}
}

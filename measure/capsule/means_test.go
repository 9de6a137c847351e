package capsule

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"zmlx-rewrite/bench"
)

// stressed has two kinds of prompts and two lengths; of each three rounds. The rewritten program
// is speed times as fast, and slower at the end of what is long.
func stressed() *Capsule {
	c := sample()
	c.Kind, c.Cells = Stress, nil
	for _, x := range []struct {
		prompt        string
		made          int
		seconds, fast float64
	}{{"code", 101, 10, 2}, {"code", 201, 20, 4}, {"math", 101, 5, 8}, {"math", 201, 40, 1}} {
		cell := Cell{Test: fmt.Sprintf("%s/%d", x.prompt, x.made), Prompt: x.prompt, Made: x.made, Counted: x.made - 1, First: -1}
		for round := range 3 {
			cell.Runs = append(cell.Runs, Run{Run: bench.Run{Round: round, Seconds: x.seconds}, Early: 1, Late: 1}, Run{Run: bench.Run{Round: round, B: true, Seconds: x.seconds / x.fast}, Early: 1, Late: 2})
		}
		c.Cells = append(c.Cells, cell)
	}
	return c
}

// TestMeans: means of medians in tokens a second, and geometric means of ratios, by length, by
// kind, and of all.
func TestMeans(t *testing.T) {
	c := stressed()
	c.Sum()
	want := []Mean{
		{Of: ByLength, Which: "101", Cells: 2, A: (10 + 20) / 2, B: (20 + 160) / 2, Ratio: 4},
		{Of: ByLength, Which: "201", Cells: 2, A: (10 + 5) / 2., B: (40 + 5) / 2., Ratio: 2},
		{Of: ByPrompt, Which: "code", Cells: 2, A: 10, B: (20 + 40) / 2, Ratio: math.Sqrt(8)},
		{Of: ByPrompt, Which: "math", Cells: 2, A: (20 + 5) / 2., B: (160 + 5) / 2., Ratio: math.Sqrt(8)},
		{Of: OfAll, Cells: 4, A: 45 / 4., B: (20 + 40 + 160 + 5) / 4., Ratio: math.Sqrt(8)},
	}
	if len(c.Means) != len(want) {
		t.Fatalf("%+v", c.Means)
	}
	near := func(x, y float64) bool { return math.Abs(x-y) < 1e-9*y }
	for i, m := range c.Means {
		w := want[i]
		if m.Of != w.Of || m.Which != w.Which || m.Cells != w.Cells || !near(m.A, w.A) || !near(m.B, w.B) || !near(m.Ratio, w.Ratio) {
			t.Errorf("%+v, want %+v", m, w)
		}
		if m.Interval == nil || !near(m.Interval[0], w.Ratio) || !near(m.Interval[1], w.Ratio) {
			t.Errorf("%s %s: interval %v", m.Of, m.Which, m.Interval)
		}
	}
	for i, want := range []string{"code/101 math/101", "code/201 math/201", "code/101 code/201", "math/101 math/201", "code/101 code/201 math/101 math/201"} {
		if got := strings.Join(c.Means[i].Combinations(c), " "); got != want {
			t.Errorf("%s %s is of %s, want %s", c.Means[i].Of, c.Means[i].Which, got, want)
		}
	}
	if x := c.Cells[1]; x.DriftA != 1 || x.DriftB != 0.5 {
		t.Errorf("drift %v, %v", x.DriftA, x.DriftB)
	}
	// A combination with too few rounds takes the interval from what it is a part of; one that
	// was not measured counts nowhere.
	c.Cells[0].Runs = c.Cells[0].Runs[:4]
	c.Cells[3].Runs = nil
	for _, m := range MeansOf(c) {
		if few := m.Which == "101" || m.Which == "code" || m.Of == OfAll; few != (m.Interval == nil) {
			t.Errorf("%s %s: interval %v", m.Of, m.Which, m.Interval)
		}
		if m.Of == OfAll && m.Cells != 3 {
			t.Errorf("mean of %d", m.Cells)
		}
	}
	c.Cells = nil
	if list := MeansOf(c); len(list) > 0 {
		t.Errorf("of nothing: %+v", list)
	}
}

// TestSummed: what a capsule says of its times is held against them, after being written and
// read, and whatever is changed is found.
func TestSummed(t *testing.T) {
	again := func(change func(*Capsule)) bool {
		c := stressed()
		c.Sum()
		data, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if c, err = Parse("c.json", data); err != nil {
			t.Fatal(err)
		}
		change(c)
		return c.Summed()
	}
	if !again(func(*Capsule) {}) {
		t.Error("what was written is not what is read")
	}
	if !again(func(c *Capsule) { c.Means[0].Ratio *= 1 + 1e-12 }) {
		t.Error("another rounding is a difference")
	}
	if c := stressed(); !c.Summed() {
		t.Error("an older capsule says nothing that could be wrong")
	}
	for what, change := range map[string]func(*Capsule){
		"a time":              func(c *Capsule) { c.Cells[2].Runs[0].Seconds *= 1.5 },
		"a mean":              func(c *Capsule) { c.Means[1].A *= 1.01 },
		"a ratio":             func(c *Capsule) { c.Means[4].Ratio *= 1.01 },
		"an interval":         func(c *Capsule) { c.Means[0].Interval[0] *= 0.99 },
		"no interval":         func(c *Capsule) { c.Means[0].Interval = nil },
		"a drift":             func(c *Capsule) { c.Cells[0].DriftB = 0.6 },
		"a mean less":         func(c *Capsule) { c.Means = c.Means[:4] },
		"another combination": func(c *Capsule) { c.Means[0].Which = "102" },
	} {
		if again(change) {
			t.Errorf("%s was changed, and all is well", what)
		}
	}
}

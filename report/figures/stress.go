package figures

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
)

// Stress writes the tables of a stress run: each combination, then the mean of the medians
// by length, by kind of prompt, and of all.
func Stress(w io.Writer, c *capsule.Capsule) {
	rows := [][]string{{"prompt", "length", "runs", "unrewritten t/s", "rewritten t/s", "speed-up [95 %]", "tokens"}}
	differ := 0
	for i := range c.Cells {
		cell := &c.Cells[i]
		s := cell.Summary()
		tokens := "same in all runs"
		if !cell.Identical() {
			differ++
			tokens = "differ between runs"
			if cell.First >= 0 {
				tokens = fmt.Sprintf("differ from %d on", cell.First)
			}
		}
		rows = append(rows, []string{cell.Prompt, strconv.Itoa(cell.Made), fmt.Sprintf("%d + %d", s.A.N, s.B.N), fmt.Sprintf("%.2f", s.A.Median), fmt.Sprintf("%.2f", s.B.Median), ratioOf(&s, 3), tokens})
	}
	if slices.ContainsFunc(c.Cells, func(x capsule.Cell) bool { return x.Drift(false) > 0 }) {
		rows[0] = append(rows[0], "last / first quarter")
		for i := range c.Cells {
			text := "" // of generations that are too short
			if a, b := c.Cells[i].Drift(false), c.Cells[i].Drift(true); a > 0 && b > 0 {
				text = fmt.Sprintf("%.3f, %.3f", a, b)
			}
			rows[i+1] = append(rows[i+1], text)
		}
	}
	fmt.Fprintf(w, "%s · profile %s · %s · %d combinations, medians\n\n", Describe(&c.Model), c.Rewrite.Profile, Backend(c), len(c.Cells))
	Table(w, rows, 2, 3, 4, 5, 6)
	groups := func(title string, key func(*capsule.Cell) string) {
		var keys []string
		for i := range c.Cells {
			if k := key(&c.Cells[i]); !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
		rows := [][]string{{title, "unrewritten t/s", "rewritten t/s", "speed-up [95 %]"}}
		for _, k := range keys {
			rows = append(rows, append([]string{k}, group(c, func(x *capsule.Cell) bool { return key(x) == k })...))
		}
		fmt.Fprintln(w)
		Table(w, rows, 2, 3, 4)
	}
	groups("length", func(x *capsule.Cell) string { return strconv.Itoa(x.Made) })
	groups("prompt", func(x *capsule.Cell) string { return x.Prompt })
	groups("all", func(*capsule.Cell) string { return "mean of medians" })
	Routings(w, c)
	if differ > 0 {
		fmt.Fprintf(w, "\n%d of %d combinations made other tokens\n", differ, len(c.Cells))
	}
	for _, n := range c.Notes {
		fmt.Fprintln(w, "\nnote: "+n)
	}
}

// group is the mean of the medians of some cells, and the geometric mean of their ratios.
func group(c *capsule.Capsule, in func(*capsule.Cell) bool) []string {
	a, b, n, few := 0.0, 0.0, 0, false
	var runs [][]bench.Run
	for i := range c.Cells {
		if cell := &c.Cells[i]; in(cell) {
			s := cell.Summary()
			a, b, n = a+s.A.Median, b+s.B.Median, n+1
			few = few || s.Rounds <= bench.FewRounds
			runs = append(runs, cell.Bench())
		}
	}
	ratio, low, high, ok := bench.Group(runs)
	if !ok {
		return []string{"", "", ""}
	}
	text := fmt.Sprintf("%.3f [%.3f, %.3f]", ratio, low, high)
	if few {
		text = fmt.Sprintf("%.3f (too few rounds)", ratio)
	}
	return []string{fmt.Sprintf("%.2f", a/float64(n)), fmt.Sprintf("%.2f", b/float64(n)), text}
}

// Load prints load averages.
func Load(list []float64) string {
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%.2f", x))
	}
	return strings.Join(out, " ")
}

package figures

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

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
	if drifted(c) {
		rows[0] = append(rows[0], "last / first quarter")
		for i := range c.Cells {
			rows[i+1] = append(rows[i+1], driftText(&c.Cells[i]))
		}
	}
	fmt.Fprintf(w, "%s · profile %s · %s · %d combinations, medians\n\n", Describe(&c.Model), c.Rewrite.Profile, Backend(c), len(c.Cells))
	Table(w, rows, 2, 3, 4, 5, 6)
	for _, rows := range meanTables(c) {
		fmt.Fprintln(w)
		Table(w, rows, 2, 3, 4)
	}
	Routings(w, c)
	if differ > 0 {
		fmt.Fprintf(w, "\n%d of %d combinations made other tokens\n", differ, len(c.Cells))
	}
	for _, n := range c.Notes {
		fmt.Fprintln(w, "\nnote: "+n)
	}
}

// drifted reports whether a combination is long enough for its drift to be measured.
func drifted(c *capsule.Capsule) bool {
	return slices.ContainsFunc(c.Cells, func(x capsule.Cell) bool { return x.Drift(false) > 0 })
}

// driftText is a test's drift; nothing if its generations are too short.
func driftText(c *capsule.Cell) string {
	d, ok := driftOf("", c)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.3f, %.3f", d.a, d.b)
}

// meanTables are the tables of means: by length, by kind of prompt, and of all.
func meanTables(c *capsule.Capsule) (out [][][]string) {
	for _, t := range []struct{ of, title string }{{capsule.ByLength, "length"}, {capsule.ByPrompt, "prompt"}, {capsule.OfAll, "all"}} {
		rows := [][]string{{t.title, "unrewritten t/s", "rewritten t/s", "speed-up [95 %]"}}
		for _, m := range capsule.MeansOf(c) {
			if m.Of == t.of {
				rows = append(rows, meanRow(&m))
			}
		}
		out = append(out, rows)
	}
	return out
}

// meanRow is a line of the tables of means.
func meanRow(m *capsule.Mean) []string {
	name := m.Which
	if m.Of == capsule.OfAll {
		name = "mean of medians"
	}
	return []string{name, fmt.Sprintf("%.2f", m.A), fmt.Sprintf("%.2f", m.B), meanRatio(m)}
}

// meanName says what a mean is of, where all stand together.
func meanName(m *capsule.Mean) string {
	switch m.Of {
	case capsule.ByLength:
		return m.Which + " tokens"
	case capsule.ByPrompt:
		return m.Which
	}
	return "all"
}

func meanRatio(m *capsule.Mean) string {
	if m.Interval == nil {
		return fmt.Sprintf("%.3f (too few rounds)", m.Ratio)
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", m.Ratio, m.Interval[0], m.Interval[1])
}

// MeanRow is a mean of a stress run as a line of JSON, behind its combinations. Fields may be
// added, these stay.
type MeanRow struct {
	Model   string `json:"model" jsonschema:"type and precision, as llama-bench names it"`
	Backend string `json:"backend" jsonschema:"engine, its version and its device"`
	Profile string `json:"profile" jsonschema:"of rules"`
	capsule.Mean
	Capsule string `json:"capsule,omitempty" jsonschema:"file that it is from"`
}

// Means are those of a stress run's capsule, computed from its raw times; none of others.
func Means(file string, c *capsule.Capsule) []MeanRow {
	if c.Kind != capsule.Stress {
		return nil
	}
	var out []MeanRow
	for _, m := range capsule.MeansOf(c) {
		out = append(out, MeanRow{Describe(&c.Model), Backend(c), c.Rewrite.Profile, m, file})
	}
	return out
}

// Load prints load averages.
func Load(list []float64) string {
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%.2f", x))
	}
	return strings.Join(out, " ")
}

package figures

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/measure/capsule"
)

// stressHTML writes what a stress run has beyond its combinations: the means of their medians,
// and how speed drifts over long generations.
func stressHTML(b *strings.Builder, c *capsule.Capsule) {
	var list []bar
	for _, m := range capsule.MeansOf(c) {
		list = append(list, meanBar(meanName(&m), &m))
	}
	if len(list) > 0 {
		b.WriteString("<h3>Means of the medians</h3>\n<p>Tokens a second: the mean of the combinations' medians. Speed-up: the geometric mean of their ratios, with its 95 % interval.</p>\n")
		bars(b, "mean", "mean ratios with 95 % intervals", list)
		for _, rows := range meanTables(c) {
			htmlTable(b, rows, 1)
		}
	}
	if drifted(c) {
		b.WriteString("<h3>Drift over long generations</h3>\n" + aboutDrift)
		rows := [][]string{{"test", Unrewritten, Rewritten}}
		var list []drift
		for i := range c.Cells {
			if d, ok := driftOf(c.Cells[i].Name(), &c.Cells[i]); ok {
				list = append(list, d)
				rows = append(rows, []string{d.name, fmt.Sprintf("%.3f", d.a), fmt.Sprintf("%.3f", d.b)})
			}
		}
		drifts(b, list)
		htmlTable(b, rows, 1)
	}
}

const aboutDrift = "<p>How fast the last quarter of the tokens was, as a share of how fast the first was: left of the line at 1 it got slower. Median over the runs; " +
	"unrewritten in grey, rewritten in blue.</p>\n"

// meanBar is a mean to be drawn.
func meanBar(name string, m *capsule.Mean) bar {
	low, high := m.Ratio, m.Ratio
	if m.Interval != nil {
		low, high = m.Interval[0], m.Interval[1]
	}
	return bar{name, m.Ratio, low, high, meanRatio(m)}
}

// drift is how fast the last quarter of a test's tokens was, as a share of how fast the first
// was: of the unrewritten program and of the rewritten one.
type drift struct {
	name string
	a, b float64
}

// driftOf is that of a test; there is none if it is too short.
func driftOf(name string, c *capsule.Cell) (drift, bool) {
	d := drift{name, c.Drift(false), c.Drift(true)}
	return d, d.a > 0 && d.b > 0
}

// drifts draws two dots for each.
func drifts(b *strings.Builder, list []drift) {
	from, to := 0.95, 1.0
	for _, p := range list {
		from, to = min(from, p.a, p.b), max(to, p.a, p.b)
	}
	from, to = math.Floor(from*20)/20, math.Ceil(to*20)/20
	const left, width, step = 240, 560, 24
	x := func(v float64) float64 { return left + (v-from)/(to-from)*width }
	height := len(list)*step + 30
	fmt.Fprintf(b, `<svg class="drifts" viewBox="0 0 %d %d" width="%d" role="img" aria-label="speed of the last quarter over that of the first">`+"\n", left+width+130, height, left+width+130)
	fmt.Fprintf(b, `<path d="M%.1f 0V%d" stroke="var(--soft)" stroke-dasharray="3 3"/>`+"\n", x(1), height-22)
	for i, p := range list {
		y := float64(i*step) + 12
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text><path d="M%.1f %.1fH%.1f" stroke="var(--line)" stroke-width="2"/>`, left-8, y+4, esc(short(p.name, 38)), x(p.a), y, x(p.b))
		for _, d := range []struct {
			side, color string
			share       float64
		}{{Unrewritten, "var(--a)", p.a}, {Rewritten, "var(--b)", p.b}} {
			fmt.Fprintf(b, `<circle class="drift" cx="%.1f" cy="%.1f" r="4.5" fill="%s"><title>%s, %s: %.3f</title></circle>`, x(d.share), y, d.color, esc(p.name), d.side, d.share)
		}
		fmt.Fprintf(b, `<text class="soft" x="%d" y="%.1f">%.3f, %.3f</text>`+"\n", left+width+10, y+4, p.a, p.b)
	}
	for _, v := range slices.Compact([]float64{from, 1, to}) { // from is less than 1
		fmt.Fprintf(b, `<text class="axis soft" x="%.1f" y="%d" text-anchor="middle">%.2f</text>`, x(v), height-8, v)
	}
	b.WriteString("\n</svg>\n")
}

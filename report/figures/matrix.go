package figures

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
)

// Series is one test of one model under one profile on one device, over time.
type Series struct {
	Model   string  `json:"model" jsonschema:"type and precision, with the beginning of the hash of its files"`
	Profile string  `json:"profile" jsonschema:"of rules, with what else was chosen: preset, rules, cache"`
	Device  string  `json:"device" jsonschema:"and its name"`
	Test    string  `json:"test" jsonschema:"pp512, tg128, or kind of prompt and length; @ d is the depth"`
	Points  []Point `json:"points" jsonschema:"one for each capsule, oldest first"`
}

// Point is one capsule's figures.
type Point struct {
	Capsule  string     `json:"capsule" jsonschema:"file"`
	Made     time.Time  `json:"made" jsonschema:"when the measurement began"`
	Version  string     `json:"version" jsonschema:"of zmlx-rewrite"`
	MLX      string     `json:"mlx" jsonschema:"version of the engine"`
	Before   float64    `json:"unrewritten_ts" jsonschema:"median of tokens a second"`
	After    float64    `json:"rewritten_ts" jsonschema:"the same of the rewritten program"`
	Ratio    float64    `json:"ratio" jsonschema:"of times: above 1 the rewritten program is faster"`
	Interval [2]float64 `json:"interval" jsonschema:"of the ratio, 95 %"`
	Launches [2]int     `json:"launches_per_step" jsonschema:"of the step that made the last token: unrewritten, rewritten"`
	Change   *Change    `json:"change,omitempty" jsonschema:"against the capsule before it; absent of the first"`

	ratios, speeds []float64
}

// Change is a quotient of two capsules with its interval: below 1, the newer one is slower.
type Change struct {
	Quotient float64    `json:"quotient" jsonschema:"of the newer ratio (or speed, with --by speed) over the older: below 1, the newer is slower"`
	Interval [2]float64 `json:"interval" jsonschema:"95 %"`
}

// Metrics that points are compared by.
const (
	ByRatio = "ratio" // of times, unrewritten over rewritten, of one run: a slower machine changes both
	BySpeed = "speed" // tokens a second of the rewritten program
)

// Matrix sorts capsules into series. Tests of too few rounds for an interval are left out.
func Matrix(all []Named, metric string) []Series {
	byKey := map[string]*Series{}
	var list []*Series
	sorted := byAge(all)
	for i := range sorted {
		n := &sorted[i]
		for k := range n.Cells {
			cell := &n.Cells[k]
			s := cell.Summary()
			if s.Rounds <= bench.FewRounds {
				continue
			}
			one := seriesOf(n, cell)
			key := one.key()
			at := byKey[key]
			if at == nil {
				at = &one
				byKey[key], list = at, append(list, at)
			}
			p := Point{Capsule: n.File, Made: n.Made, Version: n.Program.Version, MLX: n.Device.Version, Before: s.A.Median, After: s.B.Median, Ratio: s.Ratio, Interval: [2]float64{s.Low, s.High}, ratios: bench.Ratios(cell.Bench())}
			p.Launches[0], p.Launches[1] = n.Rewrite.LastStep(cell).Sum()
			for _, r := range cell.Runs {
				if r.B {
					p.speeds = append(p.speeds, cell.Rate(r.Seconds))
				}
			}
			if len(at.Points) > 0 {
				p.Change = change(&at.Points[len(at.Points)-1], &p, metric)
			}
			at.Points = append(at.Points, p)
		}
	}
	out := make([]Series, len(list))
	for i, s := range list {
		out[i] = *s
	}
	return out
}

// TooFew are the tests of a capsule that Matrix leaves out.
func TooFew(c *capsule.Capsule) (tests []string) {
	for i := range c.Cells {
		if cell := &c.Cells[i]; cell.Summary().Rounds <= bench.FewRounds {
			tests = append(tests, cell.Name())
		}
	}
	return tests
}

// byAge sorts capsules, the oldest first.
func byAge(all []Named) []Named {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Named) int { return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.File, b.File)) })
	return sorted
}

// seriesOf is the series of a cell, without points.
func seriesOf(n *Named, cell *capsule.Cell) Series {
	one := Series{Model: fmt.Sprintf("%s (%.8s)", Describe(&n.Model), n.Model.SHA256), Profile: n.Rewrite.Profile, Device: deviceOf(n.Capsule), Test: cell.Name()}
	if n.Model.DType != "" {
		one.Model += " as " + n.Model.DType
	}
	one.Profile += choiceText(n.Capsule) + kvText(n.Rewrite.KV)
	return one
}

func (s *Series) key() string {
	return strings.Join([]string{s.Model, s.Profile, s.Device, s.Test}, "\x00")
}

func deviceOf(c *capsule.Capsule) string {
	name := cmp.Or(c.Device.Name, c.Machine.CPU)
	return strings.TrimSpace(c.Device.Device + " " + name)
}

func change(before, after *Point, metric string) *Change {
	a, b := before.ratios, after.ratios
	if metric == BySpeed {
		a, b = before.speeds, after.speeds
	}
	var c Change
	c.Quotient, c.Interval[0], c.Interval[1] = bench.Quotient(a, b)
	return &c
}

// Verdicts of a gate.
const (
	Regressed = "regressed" // the whole interval lies below the threshold
	Unclear   = "unclear"   // the threshold is inside the interval
	Held      = "held"      // the whole interval lies above it
	Alone     = "-"         // there is nothing to compare with
)

// Verdict holds the newest point of a series against the one before it.
func (s *Series) Verdict(threshold float64) string {
	c := s.Points[len(s.Points)-1].Change
	switch {
	case c == nil:
		return Alone
	case c.Interval[1] < threshold:
		return Regressed
	case c.Interval[0] < threshold:
		return Unclear
	}
	return Held
}

func (c *Change) String() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", c.Quotient, c.Interval[0], c.Interval[1])
}

func (p *Point) launches() string { return fmt.Sprintf("%d → %d", p.Launches[0], p.Launches[1]) }

// MatrixTable writes the newest point of each series; with history all of them.
func MatrixTable(w io.Writer, all []Series, threshold float64, history bool) {
	rows := [][]string{{"model", "profile", "device", "test", "made", "version", "unrewritten t/s", "rewritten t/s", "launches", "ratio [95 %]", "against the one before", "verdict"}}
	for i := range all {
		s := &all[i]
		for k := range s.Points {
			if !history && k < len(s.Points)-1 {
				continue
			}
			p := &s.Points[k]
			verdict := ""
			if k == len(s.Points)-1 {
				verdict = s.Verdict(threshold)
			}
			rows = append(rows, []string{s.Model, s.Profile, s.Device, s.Test, p.Made.Format("2006-01-02 15:04"), p.Version, fmt.Sprintf("%.2f", p.Before), fmt.Sprintf("%.2f", p.After), p.launches(),
				fmt.Sprintf("%.2f [%.2f, %.2f]", p.Ratio, p.Interval[0], p.Interval[1]), p.Change.String(), verdict})
		}
	}
	Table(w, rows, 7, 8, 9, 10, 11)
}

// MatrixCSV writes all points.
func MatrixCSV(w io.Writer, all []Series) error {
	c := csv.NewWriter(w)
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	c.Write([]string{"model", "profile", "device", "test", "capsule", "made", "version", "mlx", "unrewritten_ts", "rewritten_ts", "ratio", "ratio_low", "ratio_high", "change", "change_low", "change_high", "unrewritten_launches", "rewritten_launches"})
	for _, s := range all {
		for _, p := range s.Points {
			row := []string{s.Model, s.Profile, s.Device, s.Test, p.Capsule, p.Made.Format(time.RFC3339), p.Version, p.MLX, f(p.Before), f(p.After), f(p.Ratio), f(p.Interval[0]), f(p.Interval[1]), "", "", "", strconv.Itoa(p.Launches[0]), strconv.Itoa(p.Launches[1])}
			if p.Change != nil {
				row[13], row[14], row[15] = f(p.Change.Quotient), f(p.Change.Interval[0]), f(p.Change.Interval[1])
			}
			c.Write(row)
		}
	}
	c.Flush()
	return c.Error()
}

// MatrixJSON writes the series, one a line.
func MatrixJSON(w io.Writer, all []Series) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range all {
		if err := enc.Encode(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

// MatrixHTML writes the table and the history of each series as one file, as HTML does.
func MatrixHTML(w io.Writer, all []Series, threshold float64) error {
	var b strings.Builder
	page(&b, "zmlx-rewrite: matrix", "")
	b.WriteString("<h1>Models × profiles × devices</h1>\n<p>The newest capsule of each. Ratio: time of the unrewritten program over that of the rewritten one.</p>\n")
	rows := [][]string{{"model", "profile", "device", "test", "made", "unrewritten t/s", "rewritten t/s", "launches", "ratio [95 %]", "against the one before", "verdict"}}
	for i := range all {
		s := &all[i]
		p := &s.Points[len(s.Points)-1]
		rows = append(rows, []string{s.Model, s.Profile, s.Device, s.Test, p.Made.Format("2006-01-02"), fmt.Sprintf("%.2f", p.Before), fmt.Sprintf("%.2f", p.After), p.launches(), fmt.Sprintf("%.2f [%.2f, %.2f]", p.Ratio, p.Interval[0], p.Interval[1]), p.Change.String(), s.Verdict(threshold)})
	}
	htmlTable(&b, rows, 5)
	b.WriteString("<h2>History</h2>\n<p>One dot is one capsule, with the 95 % interval of its ratio; oldest at the left. The line is at 1.</p>\n")
	for i := range all {
		history(&b, &all[i])
	}
	b.WriteString("</body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func history(b *strings.Builder, s *Series) {
	top := 1.25
	for _, p := range s.Points {
		top = max(top, p.Interval[1]*1.05)
	}
	const left, width, height = 60, 640, 120
	y := func(v float64) float64 { return height - v/top*(height-10) }
	name := strings.Join([]string{s.Model, s.Profile, s.Device, s.Test}, " · ")
	fmt.Fprintf(b, "<h3>%s</h3>\n"+`<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="%s">`, esc(name), left+width+20, height+24, left+width+20, esc(name))
	fmt.Fprintf(b, `<path d="M%d 4V%dH%d" stroke="var(--line)" fill="none"/><path d="M%d %.1fH%d" stroke="var(--soft)" stroke-dasharray="3 3"/>`, left, height, left+width, left, y(1), left+width)
	fmt.Fprintf(b, `<text class="soft" x="%d" y="%.1f" text-anchor="end">1</text><text class="soft" x="%d" y="14" text-anchor="end">%.2f</text>`, left-6, y(1)+4, left-6, top)
	for i, p := range s.Points {
		x := left + (float64(i)+0.5)/float64(len(s.Points))*width
		fmt.Fprintf(b, `<path d="M%.1f %.1fV%.1f" stroke="var(--b)" stroke-width="1.5"/>`, x, y(p.Interval[0]), y(p.Interval[1]))
		fmt.Fprintf(b, `<circle class="point" cx="%.1f" cy="%.1f" r="4" fill="var(--b)"><title>%s: %.3f [%.3f, %.3f], %.2f t/s</title></circle>`, x, y(p.Ratio), esc(p.Capsule), p.Ratio, p.Interval[0], p.Interval[1], p.After)
		if i == 0 || i == len(s.Points)-1 {
			fmt.Fprintf(b, `<text class="soft" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, height+16, p.Made.Format("2006-01-02"))
		}
	}
	b.WriteString("</svg>\n")
}

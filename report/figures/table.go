// Package figures turns capsules into what people look at: tables, and one HTML file
// with its drawings in it. What it prints is computed from the raw times of the capsules
// by package bench, and from nothing else.
package figures

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
)

// Row is one program in one test: a line of llama-bench's table, and beside the rewritten
// program how it compares. Its JSON form is a contract: fields may be added, these stay.
type Row struct {
	Model     string      `json:"model" jsonschema:"type and precision, as llama-bench names it"`
	Size      int64       `json:"model_size" jsonschema:"bytes of weights"`
	Params    int64       `json:"model_n_params" jsonschema:"numbers in the weights"`
	Backend   string      `json:"backend" jsonschema:"engine, its version and its device"`
	Test      string      `json:"test" jsonschema:"pp512, tg128, or kind of prompt and length"`
	Depth     int         `json:"n_depth" jsonschema:"tokens in the caches before the test"`
	Batch     int         `json:"batch_size,omitempty" jsonschema:"sequences side by side; absent: one. Tokens a second are those of all of them"`
	Program   string      `json:"program" jsonschema:"which side this row is of: against is what took the place of the unrewritten program"`
	Profile   string      `json:"profile" jsonschema:"of rules"`
	Flags     string      `json:"flags,omitempty" jsonschema:"of bench --against"`
	Mean      float64     `json:"avg_ts" jsonschema:"mean of tokens a second over all runs"`
	SD        float64     `json:"stddev_ts" jsonschema:"standard deviation of the sample"`
	Median    float64     `json:"median_ts" jsonschema:"over all runs"`
	Samples   []float64   `json:"samples_ts" jsonschema:"of each run, in order"`
	Ratio     float64     `json:"ratio,omitempty" jsonschema:"of times, this program the second: above 1 it is faster; the median over rounds"`
	Interval  *[2]float64 `json:"interval,omitempty" jsonschema:"of the ratio, 95 %; absent of fewer than three rounds"`
	Identical *bool       `json:"tokens_identical,omitempty" jsonschema:"whether both sides made the same tokens in every run"`
	First     *int        `json:"first_difference,omitempty" jsonschema:"first token that differs between the sides; -1 if none does"`
	Drift     float64     `json:"drift,omitempty" jsonschema:"of stress: how fast the last quarter of the tokens was, as a share of how fast the first was, median over the runs; absent of generations that are too short"`
	Launches  int         `json:"launches_per_step" jsonschema:"of the step that made the last token"`
	Peak      int64       `json:"peak_memory,omitempty" jsonschema:"bytes of arrays that this program takes at most if it is loaded alone; absent if the engine does not tell"`
	Routing   *Routed     `json:"routing,omitempty" jsonschema:"with stress --routing"`
	Cut       bool        `json:"interrupted,omitempty" jsonschema:"ctrl-C ended the measurement early: rounds of this test, or other tests, are missing"`
	Capsule   string      `json:"capsule,omitempty" jsonschema:"file that the row is from"`
}

// Rows are the lines of a capsule.
func Rows(file string, c *capsule.Capsule) []Row {
	var out []Row
	for i := range c.Cells {
		cell := &c.Cells[i]
		s := cell.Summary()
		base := Row{Model: Describe(&c.Model), Size: c.Model.Bytes, Params: c.Model.Params, Backend: Backend(c), Test: cell.Test, Depth: cell.Depth, Batch: cell.Batch, Profile: c.Rewrite.Profile, Routing: RoutingOf(cell), Cut: c.Interrupted, Capsule: file}
		a, b := base, base
		a.Samples, b.Samples = []float64{}, []float64{} // not null, if there are none
		a.Program, b.Program = Unrewritten, Rewritten
		a.Launches, b.Launches = c.Rewrite.LastStep(cell).Sum()
		if x := c.Against; x != nil {
			a.Program, a.Profile, a.Flags = Against, x.Rewrite.Profile, x.Flags
			_, a.Launches = x.Rewrite.LastStep(cell).Sum()
		}
		a.Peak, b.Peak = cell.PeakA, cell.PeakB
		a.Drift, b.Drift = cell.Drift(false), cell.Drift(true)
		for _, r := range cell.Runs {
			if r.B {
				b.Samples = append(b.Samples, cell.Rate(r.Seconds))
			} else {
				a.Samples = append(a.Samples, cell.Rate(r.Seconds))
			}
		}
		set := func(r *Row, s bench.Side) { r.Mean, r.SD, r.Median = s.Mean, s.SD, s.Median }
		set(&a, s.A)
		set(&b, s.B)
		b.Ratio = s.Ratio
		if s.Rounds > bench.FewRounds {
			b.Interval = &[2]float64{s.Low, s.High}
		}
		if cell.StreamA != "" {
			same, first := cell.Identical(), cell.First
			b.Identical, b.First = &same, &first
		}
		out = append(out, a, b)
	}
	return out
}

// Describe names a model as llama-bench does: "llama 4-bit".
func Describe(m *capsule.Model) string { return strings.TrimSpace(m.Type + " " + m.Quant) }

// Backend names what computed.
func Backend(c *capsule.Capsule) string {
	return fmt.Sprintf("%s %s, %s", c.Device.Engine, c.Device.Version, c.Device.Device)
}

// Size prints bytes.
func Size(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
}

// Params prints a number of parameters.
func Params(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.2f B", float64(n)/1e9)
	}
	return fmt.Sprintf("%.2f M", float64(n)/1e6)
}

// test is the test of a row with its depth.
func (r *Row) test() string {
	return (&capsule.Cell{Test: r.Test, Depth: r.Depth, Batch: r.Batch}).Name()
}

func (r *Row) ratio() string {
	switch {
	case r.Interval != nil:
		return fmt.Sprintf("%.2f [%.2f, %.2f]", r.Ratio, r.Interval[0], r.Interval[1])
	case r.Ratio > 0:
		return fmt.Sprintf("%.2f (too few rounds)", r.Ratio)
	}
	return ""
}

func (r *Row) tokens() string {
	switch {
	case r.Identical == nil:
		return ""
	case *r.Identical:
		return "same"
	case *r.First >= 0:
		return fmt.Sprintf("differ from %d on", *r.First)
	}
	return "differ between runs"
}

// What a side of a measurement may be.
const (
	Unrewritten = "unrewritten"
	Rewritten   = "rewritten"
	Against     = "against" // another rewrite, in the place of the unrewritten program
)

// Program says what a side ran.
func Program(side, profile, flags string) string {
	switch {
	case side == Rewritten:
		return side + " (" + profile + ")"
	case side == Against && flags != "":
		return side + " (" + flags + ")"
	case side == Against:
		return side + " (the same)"
	}
	return side
}

// first is what the first side of a capsule is called.
func first(c *capsule.Capsule) string {
	if c.Against != nil {
		return Program(Against, "", c.Against.Flags)
	}
	return Unrewritten
}

// Markdown writes the table.
func Markdown(w io.Writer, rows []Row) {
	table := [][]string{{"model", "size", "params", "backend", "program", "test", "t/s", "ratio [95 %]", "tokens"}}
	for i := range rows {
		r := &rows[i]
		table = append(table, []string{r.Model, Size(r.Size), Params(r.Params), r.Backend, Program(r.Program, r.Profile, r.Flags), r.test(), fmt.Sprintf("%.2f ± %.2f", r.Mean, r.SD), r.ratio(), r.tokens()})
	}
	Table(w, table, 2, 3, 7, 8)
}

// Table writes rows as Markdown, the first as its head; numbers are the columns to be
// aligned to the right, counted from 1.
func Table(w io.Writer, rows [][]string, numbers ...int) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)), 3)
		}
	}
	right := make([]bool, len(width))
	for _, n := range numbers {
		right[n-1] = true
	}
	for k, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			cell = strings.ReplaceAll(cell, "|", `\|`)
			if right[i] {
				cell = pad + cell
			} else {
				cell += pad
			}
			fmt.Fprintf(w, "| %s ", cell)
		}
		fmt.Fprintln(w, "|")
		if k > 0 {
			continue
		}
		for i := range row {
			line := strings.Repeat("-", width[i])
			if right[i] {
				line = line[1:] + ":"
			}
			fmt.Fprintf(w, "| %s ", line)
		}
		fmt.Fprintln(w, "|")
	}
}

// CSV writes the rows with llama-bench's names of columns where it has them, and behind them two
// for each mean: one a program, without a test.
func CSV(w io.Writer, rows []Row, means []MeanRow) error {
	c := csv.NewWriter(w)
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	c.Write([]string{"capsule", "model", "model_size", "model_n_params", "backend", "program", "profile", "test", "n_depth", "avg_ts", "stddev_ts", "median_ts", "runs", "ratio", "ratio_low", "ratio_high", "tokens_identical", "routing_entropy", "routing_balance", "flags", "launches_per_step", "peak_memory", "drift", "interrupted", "mean_of", "which", "combinations"})
	for _, r := range rows {
		ratio, low, high, same, bits, balance, peak, drift := "", "", "", "", "", "", "", ""
		if r.Drift > 0 {
			drift = f(r.Drift)
		}
		if r.Peak > 0 {
			peak = strconv.FormatInt(r.Peak, 10)
		}
		if r.Routing != nil {
			bits, balance = f(r.Routing.Entropy), f(r.Routing.Balance)
		}
		if r.Ratio > 0 {
			ratio = f(r.Ratio)
		}
		if r.Interval != nil {
			low, high = f(r.Interval[0]), f(r.Interval[1])
		}
		if r.Identical != nil {
			same = strconv.FormatBool(*r.Identical)
		}
		c.Write([]string{r.Capsule, r.Model, strconv.FormatInt(r.Size, 10), strconv.FormatInt(r.Params, 10), r.Backend, r.Program, r.Profile, r.Test, strconv.Itoa(r.Depth), f(r.Mean), f(r.SD), f(r.Median), strconv.Itoa(len(r.Samples)), ratio, low, high, same, bits, balance, r.Flags, strconv.Itoa(r.Launches), peak, drift, strconv.FormatBool(r.Cut), "", "", ""})
	}
	for _, m := range means {
		ratio, low, high := f(m.Ratio), "", ""
		if m.Interval != nil {
			low, high = f(m.Interval[0]), f(m.Interval[1])
		}
		line := func(program string, speed float64, ratio, low, high string) {
			c.Write([]string{m.Capsule, m.Model, "", "", m.Backend, program, m.Profile, "", "", f(speed), "", "", "", ratio, low, high, "", "", "", "", "", "", "", "", m.Of, m.Which, strconv.Itoa(m.Cells)})
		}
		line(Unrewritten, m.A, "", "", "")
		line(Rewritten, m.B, ratio, low, high)
	}
	c.Flush()
	return c.Error()
}

// JSON writes rows, one a line.
func JSON[T any](w io.Writer, rows []T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range rows {
		if err := enc.Encode(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

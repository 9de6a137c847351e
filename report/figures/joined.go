package figures

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/routing"
)

// Routed is the routing of one combination, beside its speed-up: means over the layers.
type Routed struct {
	Entropy float64 `json:"entropy" jsonschema:"bits, of how often each expert was chosen: mean over layers"`
	Balance float64 `json:"balance" jsonschema:"entropy over the most that it can be: mean over layers"`
	Load    float64 `json:"max_over_mean" jsonschema:"load of the most popular expert: mean over layers"`
	Weights float64 `json:"weight_entropy" jsonschema:"bits, of the weights of a token: mean over layers"`
	Other   int     `json:"other" jsonschema:"choices that are others after the rewrite, of all layers"`
	Choices int     `json:"choices" jsonschema:"of all layers"`
}

// RoutingOf joins the layers of a cell; nil if its routing was not collected.
func RoutingOf(c *capsule.Cell) *Routed {
	if len(c.Routing) == 0 {
		return nil
	}
	r := &Routed{}
	n := float64(len(c.Routing))
	for _, l := range c.Routing {
		bits, balance := routing.Entropy(l.Counts)
		load, _ := routing.Load(l.Counts)
		r.Entropy, r.Balance, r.Load, r.Weights = r.Entropy+bits/n, r.Balance+balance/n, r.Load+load/n, r.Weights+l.Weights/n
		r.Other, r.Choices = r.Other+l.Other, r.Choices+l.Tokens
	}
	return r
}

// OtherExperts counts the choices of a capsule that are others after the rewrite, and all.
func OtherExperts(c *capsule.Capsule) (other, choices int) {
	for i := range c.Cells {
		if r := RoutingOf(&c.Cells[i]); r != nil {
			other, choices = other+r.Other, choices+r.Choices
		}
	}
	return other, choices
}

// joined is a combination with its speed-up.
type joined struct {
	cell *capsule.Cell
	*Routed
	bench.Summary
}

func join(c *capsule.Capsule) (out []joined) {
	for i := range c.Cells {
		if r := RoutingOf(&c.Cells[i]); r != nil {
			out = append(out, joined{&c.Cells[i], r, c.Cells[i].Summary()})
		}
	}
	return out
}

func joinedRows(all []joined) [][]string {
	rows := [][]string{{"test", "speed-up [95 %]", "bits of choice", "balance", "most / mean", "bits of weights", "experts after the rewrite"}}
	for _, j := range all {
		same := "same"
		if j.Other > 0 {
			same = fmt.Sprintf("%d of %d others", j.Other, j.Choices)
		}
		rows = append(rows, []string{j.cell.Name(), ratioOf(&j.Summary, 3), fmt.Sprintf("%.3f", j.Entropy), fmt.Sprintf("%.3f", j.Balance), fmt.Sprintf("%.2f", j.Load), fmt.Sprintf("%.2f", j.Weights), same})
	}
	return rows
}

// fewPoints is too few for a correlation to say anything.
const fewPoints = 4

// together says how entropy and speed-up go together.
func together(all []joined) string {
	if len(all) < fewPoints {
		return ""
	}
	var x, y []float64
	for _, j := range all {
		x, y = append(x, j.Entropy), append(y, j.Ratio)
	}
	return fmt.Sprintf("rank correlation of the bits of choice with the speed-up: %.2f, over %d combinations", Spearman(x, y), len(all))
}

// Routings writes how the routing of the combinations goes with their speed-up; nothing if it
// was not collected.
func Routings(w io.Writer, c *capsule.Capsule) {
	all := join(c)
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w)
	Table(w, joinedRows(all), 2, 3, 4, 5, 6)
	if text := together(all); text != "" {
		fmt.Fprintf(w, "\n%s\n", text)
	}
}

// Spearman is the correlation of the ranks of two lists; equal values share their ranks. 0 if
// either is constant.
func Spearman(x, y []float64) float64 {
	a, b := ranks(x), ranks(y)
	mean := float64(len(a)-1) / 2
	var xy, xx, yy float64
	for i := range a {
		xy += (a[i] - mean) * (b[i] - mean)
		xx += (a[i] - mean) * (a[i] - mean)
		yy += (b[i] - mean) * (b[i] - mean)
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

func ranks(list []float64) []float64 {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(list[a], list[b]) })
	out := make([]float64, len(list))
	for i := 0; i < len(order); {
		k := i + 1
		for k < len(order) && list[order[k]] == list[order[i]] {
			k++
		}
		for _, at := range order[i:k] {
			out[at] = float64(i+k-1) / 2
		}
		i = k
	}
	return out
}

// scatter draws a dot for each combination: across is the entropy of its routing, up its
// speed-up, with its interval.
func scatter(b *strings.Builder, all []joined) {
	from, to, top := math.Inf(1), math.Inf(-1), 1.25
	for _, j := range all {
		from, to = min(from, j.Entropy), max(to, j.Entropy)
		top = max(top, j.Ratio*1.05, j.High*1.05)
	}
	if to-from < 0.02 { // they are alike: no zoom into noise
		from, to = (from+to)/2-0.01, (from+to)/2+0.01
	}
	const left, width, height = 80, 560, 200
	x := func(v float64) float64 { return left + 10 + (v-from)/(to-from)*(width-20) }
	y := func(v float64) float64 { return height - v/top*(height-10) }
	fmt.Fprintf(b, `<svg class="scatter" viewBox="0 0 %d %d" width="%d" role="img" aria-label="speed-up by entropy of routing">`+"\n", left+width+200, height+40, left+width+200)
	fmt.Fprintf(b, `<path d="M%d 4V%dH%d" stroke="var(--line)" fill="none"/><path d="M%d %.1fH%d" stroke="var(--soft)" stroke-dasharray="3 3"/>`, left, height, left+width, left, y(1), left+width)
	fmt.Fprintf(b, `<text class="axis soft" x="%d" y="%.1f" text-anchor="end">1</text><text class="axis soft" x="%d" y="14" text-anchor="end">%.2f</text>`, left-6, y(1)+4, left-6, top)
	fmt.Fprintf(b, `<text class="axis soft" x="%.1f" y="%d" text-anchor="middle">%.3f</text><text class="axis soft" x="%.1f" y="%d" text-anchor="middle">%.3f</text>`, x(from), height+16, from, x(to), height+16, to)
	fmt.Fprintf(b, `<text class="axis soft" x="%d" y="%d" text-anchor="middle">bits of choice, mean over layers</text>`+"\n", left+width/2, height+34)
	for _, j := range all {
		if j.High > j.Low {
			fmt.Fprintf(b, `<path d="M%.1f %.1fV%.1f" stroke="var(--b)" stroke-width="1.5"/>`, x(j.Entropy), y(j.Low), y(j.High))
		}
		fmt.Fprintf(b, `<circle class="routed" cx="%.1f" cy="%.1f" r="4" fill="var(--b)"><title>%s: %s, %.3f bits</title></circle>`, x(j.Entropy), y(j.Ratio), esc(j.cell.Name()), ratioOf(&j.Summary, 3), j.Entropy)
		fmt.Fprintf(b, `<text class="soft" x="%.1f" y="%.1f">%s</text>`+"\n", x(j.Entropy)+7, y(j.Ratio)+4, esc(short(j.cell.Name(), 24)))
	}
	b.WriteString("</svg>\n")
}

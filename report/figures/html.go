package figures

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"

	"zmlx-rewrite/measure/capsule"
)

// HTML writes capsules as one file: no request to anywhere, all drawings inline. Its one
// script opens what is clicked; without it all is there, too, one part below the other.
func HTML(w io.Writer, all []Named) error {
	all = labelled(all)
	var b strings.Builder
	page(&b, "zmlx-rewrite: measurements", clicks)
	fmt.Fprint(&b, "<h1>Measurements</h1>\n")
	if len(all) > 1 {
		b.WriteString("<h2>Side by side</h2>\n<p>Time of the unrewritten program, or of what else it is compared with, over that of the rewritten one, median over rounds, with its 95 % interval. Beyond the line at 1 the rewritten one is faster.</p>\n")
		ratios(&b, all)
		htmlTable(&b, sideBySide(all), 1)
		stressSideBySideHTML(&b, all)
	}
	for i := range all {
		n := &all[i]
		fmt.Fprintf(&b, "<section>\n<h2>%s</h2>\n<table class=facts>\n", esc(n.Label()))
		for _, f := range n.Facts() {
			fmt.Fprintf(&b, "<tr><th>%s</th><td>%s</td></tr>\n", esc(f[0]), esc(f[1]))
		}
		b.WriteString("</table>\n<h3>Ratio</h3>\n")
		ratios(&b, all[i:i+1])
		b.WriteString("<h3>Tokens a second</h3>\n")
		rows := [][]string{{"test", first(n.Capsule), Rewritten, "ratio [95 %]", "tokens"}}
		list := Rows("", n.Capsule)
		for k := 0; k+1 < len(list); k += 2 {
			a, r := &list[k], &list[k+1]
			rows = append(rows, []string{r.test(), fmt.Sprintf("%.2f ± %.2f", a.Mean, a.SD), fmt.Sprintf("%.2f ± %.2f", r.Mean, r.SD), r.ratio(), r.tokens()})
		}
		htmlTable(&b, rows, 1)
		b.WriteString("<h3>Every run, in order</h3>\n<p>One dot is one run; across is time, up is tokens a second.</p>\n")
		for k := range n.Cells {
			timeline(&b, &n.Cells[k], first(n.Capsule))
		}
		if n.Kind == capsule.Stress {
			stressHTML(&b, n.Capsule)
		}
		if routed := join(n.Capsule); len(routed) > 0 {
			b.WriteString("<h3>Routing and speed-up</h3>\n<p>One dot is one combination: across, how evenly its tokens were spread over the experts; up, its speed-up with its 95 % interval.</p>\n")
			scatter(&b, routed)
			htmlTable(&b, joinedRows(routed), 1)
			if text := together(routed); text != "" {
				fmt.Fprintf(&b, "<p>%s</p>\n", esc(text))
			}
		}
		steps(&b, fmt.Sprintf("c%d", i), "", &n.Rewrite, n.Cells)
		if x := n.Capsule.Against; x != nil {
			steps(&b, fmt.Sprintf("c%da", i), ", "+first(n.Capsule), &x.Rewrite, n.Cells)
		}
		b.WriteString("</section>\n")
	}
	fmt.Fprintf(&b, "<script>%s</script>\n</body></html>\n", clicks)
	_, err := io.WriteString(w, b.String())
	return err
}

// page writes the head of a document that stands alone, and may run the one script.
func page(b *strings.Builder, title, script string) {
	scripts := ""
	if script != "" {
		sum := sha256.Sum256([]byte(script))
		scripts = "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	fmt.Fprintf(b, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>%s</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'%s">
<meta name="viewport" content="width=device-width">
<style>
:root { --ink: #1d2430; --soft: #5d6878; --line: #d5dae2; --paper: #ffffff; --a: #8a94a6; --b: #0b6bcb; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #9aa5b6; --line: #38414f; --paper: #14181f; --a: #7d889a; --b: #5aa9f5; --bad: #ff8a80 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2.5rem } h3 { font-size: 1rem; margin: 1.6rem 0 .4rem }
p { color: var(--soft); margin: .2rem 0 .6rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right } .facts th { color: var(--soft); font-weight: normal } .bad { color: var(--bad); font-weight: 600 }
svg { display: block; max-width: 100%%; height: auto; margin: .3rem 0 }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) } svg .soft { fill: var(--soft) }
%s</style></head><body>
`, esc(title), scripts, style)
}

func esc(s string) string { return html.EscapeString(s) }

// htmlTable writes rows, the first as head; columns behind left are numbers.
func htmlTable(b *strings.Builder, rows [][]string, left int) {
	b.WriteString("<table>\n")
	for i, row := range rows {
		b.WriteString("<tr>")
		for k, cell := range row {
			tag, class := "td", ""
			if i == 0 {
				tag = "th"
			}
			if k >= left {
				class = " class=n"
			}
			fmt.Fprintf(b, "<%s%s>%s</%s>", tag, class, esc(cell), tag)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table>\n")
}

// bar is a ratio with its interval, to be drawn. Too few rounds have no interval: low and high
// are the ratio.
type bar struct {
	name             string
	ratio, low, high float64
	text             string
}

// ratios draws a bar for each test of each capsule, with its interval.
func ratios(b *strings.Builder, all []Named) {
	var list []bar
	for _, test := range Tests(all) {
		for i := range all {
			cell := Find(all[i].Capsule, test)
			if cell == nil {
				continue
			}
			s := cell.Summary()
			if s.Rounds == 0 {
				continue
			}
			name := test
			if len(all) > 1 {
				name += " · " + all[i].Label()
			}
			list = append(list, bar{name, s.Ratio, s.Low, s.High, ratioOf(&s, 2)})
		}
	}
	bars(b, "bar", "ratios with 95 % intervals", list)
}

// bars draws ratios one below the other, on a scale from 0. class is that of their rectangles.
func bars(b *strings.Builder, class, label string, list []bar) {
	top := 1.25
	for _, r := range list {
		top = max(top, r.high*1.05)
	}
	const left, width, step = 240, 560, 24
	x := func(v float64) float64 { return left + v/top*width }
	height := len(list)*step + 30
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="%s">`+"\n", left+width+130, height, left+width+130, label)
	for i, r := range list {
		y := float64(i*step) + 4
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-8, y+12, esc(short(r.name, 38)))
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%.1f" width="%.1f" height="16" fill="var(--b)" opacity=".75"><title>%s: %s</title></rect>`, class, left, y, x(r.ratio)-left, esc(r.name), r.text)
		if r.high > r.low {
			fmt.Fprintf(b, `<path class="interval" d="M%.1f %.1fV%.1fM%.1f %.1fH%.1fM%.1f %.1fV%.1f" stroke="var(--ink)" stroke-width="1.5" fill="none"/>`, x(r.low), y+3, y+13, x(r.low), y+8, x(r.high), x(r.high), y+3, y+13)
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", x(max(r.high, r.ratio))+8, y+12, r.text)
	}
	fmt.Fprintf(b, `<path d="M%.1f 0V%d" stroke="var(--soft)" stroke-dasharray="3 3"/>`, x(1), height-22)
	for _, v := range ticks(top) {
		fmt.Fprintf(b, `<text class="axis soft" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(v), height-8, strconv.FormatFloat(v, 'g', 3, 64))
	}
	b.WriteString("\n</svg>\n")
}

// ticks are 0, 1 and further round numbers up to top, at most eight.
func ticks(top float64) []float64 {
	step := 1.0
	for _, f := range []float64{2, 2.5, 2} { // 1, 2, 5, 10
		if top/step > 6 {
			step *= f
		}
	}
	for top/step > 6 {
		step *= 10
	}
	out := []float64{0, 1}
	for v := step; v <= top; v += step {
		if v > 1 {
			out = append(out, v)
		}
	}
	return out
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// timeline draws every run of a test: when it ended and how fast it was.
func timeline(b *strings.Builder, c *capsule.Cell, first string) {
	if len(c.Runs) == 0 {
		return
	}
	top, from, to := 0.0, math.Inf(1), math.Inf(-1)
	for _, r := range c.Runs {
		top = max(top, c.Rate(r.Seconds))
		from, to = min(from, r.At), max(to, r.At)
	}
	const left, width, height = 240, 560, 64
	span := max(to-from, 1e-9)
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="runs of %s">`, left+width+130, height+6, left+width+130, esc(c.Name()))
	fmt.Fprintf(b, `<text x="%d" y="38" text-anchor="end">%s</text><path d="M%d 2V%dH%d" stroke="var(--line)" fill="none"/>`, left-8, esc(short(c.Name(), 38)), left, height, left+width)
	fmt.Fprintf(b, `<text class="axis soft" x="%d" y="14">%.1f t/s</text>`, left+width+8, top)
	for _, r := range c.Runs {
		color, side := "var(--a)", first
		if r.B {
			color, side = "var(--b)", Rewritten
		}
		rate := c.Rate(r.Seconds)
		fmt.Fprintf(b, `<circle class="run" cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>round %d, %s: %.2f t/s, %.4f s</title></circle>`, left+6+(r.At-from)/span*(width-12), height-rate/top*(height-8), color, r.Round, esc(side), rate, r.Seconds)
	}
	b.WriteString("</svg>\n")
}

package figures

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"

	"zmlx-rewrite/measure/capsule"
)

// HTML writes capsules as one file: no script, no request to anywhere, all drawings inline.
func HTML(w io.Writer, all []Named) error {
	var b strings.Builder
	page(&b, "zmlx-rewrite: measurements")
	fmt.Fprint(&b, "<h1>Measurements</h1>\n")
	if len(all) > 1 {
		b.WriteString("<h2>Side by side</h2>\n<p>Time of the unrewritten program over that of the rewritten one, median over rounds, with its 95 % interval. Beyond the line at 1 the rewritten one is faster.</p>\n")
		ratios(&b, all)
		htmlTable(&b, sideBySide(all), 1)
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
		rows := [][]string{{"test", "unrewritten", "rewritten", "ratio [95 %]", "tokens"}}
		list := Rows("", n.Capsule)
		for k := 0; k+1 < len(list); k += 2 {
			a, r := &list[k], &list[k+1]
			rows = append(rows, []string{r.test(), fmt.Sprintf("%.2f ± %.2f", a.Mean, a.SD), fmt.Sprintf("%.2f ± %.2f", r.Mean, r.SD), r.ratio(), r.tokens()})
		}
		htmlTable(&b, rows, 1)
		b.WriteString("<h3>Every run, in order</h3>\n<p>One dot is one run; across is time, up is tokens a second.</p>\n")
		for k := range n.Cells {
			timeline(&b, &n.Cells[k])
		}
		if routed := join(n.Capsule); len(routed) > 0 {
			b.WriteString("<h3>Routing and speed-up</h3>\n<p>One dot is one combination: across, how evenly its tokens were spread over the experts; up, its speed-up with its 95 % interval.</p>\n")
			scatter(&b, routed)
			htmlTable(&b, joinedRows(routed), 1)
			if text := together(routed); text != "" {
				fmt.Fprintf(&b, "<p>%s</p>\n", esc(text))
			}
		}
		b.WriteString("<h3>Launches of a decode step, by layer</h3>\n")
		launches(&b, n.Rewrite.Launches)
		b.WriteString("</section>\n")
	}
	b.WriteString("</body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// page writes the head of a document that stands alone.
func page(b *strings.Builder, title string) {
	fmt.Fprintf(b, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>%s</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
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
</style></head><body>
`, esc(title))
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

// ratios draws a bar for each test of each capsule, with its interval, on a scale from 0.
func ratios(b *strings.Builder, all []Named) {
	type bar struct {
		name             string
		ratio, low, high float64
		text             string
	}
	var bars []bar
	top := 1.25
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
			bars = append(bars, bar{name, s.Ratio, s.Low, s.High, ratioOf(&s, 2)})
			top = max(top, s.High*1.05)
		}
	}
	const left, width, step = 240, 560, 24
	x := func(v float64) float64 { return left + v/top*width }
	height := len(bars)*step + 30
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="ratios with 95 %% intervals">`+"\n", left+width+130, height, left+width+130)
	for i, r := range bars {
		y := float64(i*step) + 4
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-8, y+12, esc(short(r.name, 38)))
		fmt.Fprintf(b, `<rect class="bar" x="%d" y="%.1f" width="%.1f" height="16" fill="var(--b)" opacity=".75"><title>%s: %s</title></rect>`, left, y, x(r.ratio)-left, esc(r.name), r.text)
		if r.high > r.low { // too few rounds have none
			fmt.Fprintf(b, `<path class="interval" d="M%.1f %.1fV%.1fM%.1f %.1fH%.1fM%.1f %.1fV%.1f" stroke="var(--ink)" stroke-width="1.5" fill="none"/>`, x(r.low), y+3, y+13, x(r.low), y+8, x(r.high), x(r.high), y+3, y+13)
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", x(max(r.high, r.ratio))+8, y+12, r.text)
	}
	fmt.Fprintf(b, `<path d="M%.1f 0V%d" stroke="var(--soft)" stroke-dasharray="3 3"/><text class="soft" x="%.1f" y="%d" text-anchor="middle">1</text>`+"\n</svg>\n", x(1), height-22, x(1), height-8)
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// timeline draws every run of a test: when it ended and how fast it was.
func timeline(b *strings.Builder, c *capsule.Cell) {
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
	fmt.Fprintf(b, `<text class="soft" x="%d" y="14">%.1f t/s</text>`, left+width+8, top)
	for _, r := range c.Runs {
		color, side := "var(--a)", "unrewritten"
		if r.B {
			color, side = "var(--b)", "rewritten"
		}
		rate := c.Rate(r.Seconds)
		fmt.Fprintf(b, `<circle class="run" cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>round %d, %s: %.2f t/s, %.4f s</title></circle>`, left+6+(r.At-from)/span*(width-12), height-rate/top*(height-8), color, r.Round, side, rate, r.Seconds)
	}
	b.WriteString("</svg>\n")
}

// launches draws, for each part of the model, how many launches a step has there.
func launches(b *strings.Builder, list []capsule.Layer) {
	top, before, after := 1, 0, 0
	for _, l := range list {
		top = max(top, l.Before, l.After)
		before += l.Before
		after += l.After
	}
	fmt.Fprintf(b, "<p>%d unrewritten (grey), %d rewritten (blue).</p>\n", before, after)
	const left, width, step = 240, 560, 20
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="launches by layer">`+"\n", left+width+130, len(list)*step+4, left+width+130)
	for i, l := range list {
		y, name := i*step+2, l.Scope
		if name == "" {
			name = "the rest"
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+12, esc(short(name, 38)))
		for k, n := range []int{l.Before, l.After} {
			fmt.Fprintf(b, `<rect class="launches" x="%d" y="%d" width="%.1f" height="7" fill="%s"/>`, left, y+8*k, float64(n)/float64(top)*width, [2]string{"var(--a)", "var(--b)"}[k])
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%d → %d</text>`+"\n", left+float64(max(l.Before, l.After))/float64(top)*width+8, y+12, l.Before, l.After)
	}
	b.WriteString("</svg>\n")
}

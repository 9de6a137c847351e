package figures

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"zmlx-rewrite/measure/routing"
)

// Routing writes the table of a text's routing.
func Routing(w io.Writer, all []routing.Stats) {
	Table(w, routingRows(all), 2, 3, 4, 5, 6, 7, 8)
}

func routingRows(all []routing.Stats) [][]string {
	rows := [][]string{{"layer", "experts", "k", "balance", "most / mean", "unused", "bits of choice", "bits of weights", "most chosen", "most often together (lift)"}}
	for i := range all {
		s := &all[i]
		var top, pairs []string
		for _, e := range s.Top(3) {
			top = append(top, fmt.Sprintf("%d: %d", e, s.Counts[e]))
		}
		for _, p := range s.Together[:min(2, len(s.Together))] {
			pairs = append(pairs, fmt.Sprintf("%d+%d: %d (%.1f)", p.A, p.B, p.Count, p.Lift))
		}
		rows = append(rows, []string{s.Layer, strconv.Itoa(s.Experts), strconv.Itoa(s.K), fmt.Sprintf("%.3f", s.Balance), fmt.Sprintf("%.2f", s.Load), strconv.Itoa(s.Unused),
			fmt.Sprintf("%.2f", s.Entropy), fmt.Sprintf("%.2f", s.Mixing), strings.Join(top, ", "), strings.Join(pairs, ", ")})
	}
	return rows
}

// RoutingHTML writes a heat map of layers and experts and the table as one file, as HTML does.
func RoutingHTML(w io.Writer, title string, all []routing.Stats) error {
	var b strings.Builder
	page(&b, "zmlx-rewrite: routing", "")
	fmt.Fprintf(&b, "<h1>Routing</h1>\n<p>%s</p>\n<h2>Which experts are chosen</h2>\n<p>A row is a layer, a column an expert; the darker, the more of the layer's choices. A frame marks experts that were never chosen.</p>\n", esc(title))
	const left, step = 150, 18
	wide := 0
	for _, s := range all {
		wide = max(wide, s.Experts)
	}
	side := max(4, min(step, 800/max(wide, 1)))
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="choices by layer and expert">`+"\n", left+wide*side+10, len(all)*step+24, left+wide*side+10)
	for i, s := range all {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, i*step+13, esc(short(s.Layer, 24)))
		most := 1
		for _, n := range s.Counts {
			most = max(most, n)
		}
		for e, n := range s.Counts {
			frame := ""
			if n == 0 {
				frame = ` stroke="var(--line)"`
			}
			fmt.Fprintf(&b, `<rect class="expert" x="%d" y="%d" width="%d" height="%d" fill="var(--b)" fill-opacity="%.3f"%s><title>%s, expert %d: %d of %d tokens</title></rect>`, left+e*side, i*step+1, side-1, step-2, float64(n)/float64(most), frame, esc(s.Layer), e, n, s.Tokens)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, `<text class="soft" x="%d" y="%d">expert 0</text><text class="soft" x="%d" y="%d" text-anchor="end">%d</text></svg>`+"\n", left, len(all)*step+18, left+wide*side, len(all)*step+18, wide-1)
	b.WriteString("<h2>Figures</h2>\n<p>Balance: entropy of the choices over the most that it can be; 1 is perfectly even. Lift: how many times more often two experts are chosen together than if they were chosen independently.</p>\n")
	htmlTable(&b, routingRows(all), 1)
	b.WriteString("</body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

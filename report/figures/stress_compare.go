package figures

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"zmlx-rewrite/measure/capsule"
)

// What several stress runs have beyond their combinations, side by side: the means of their
// medians, and the drift of long generations.

// stressOnly are the capsules of stress runs; none if there are not several to compare.
func stressOnly(all []Named) (out []Named) {
	for _, n := range all {
		if n.Kind == capsule.Stress {
			out = append(out, n)
		}
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

// stressSideBySide writes the tables.
func stressSideBySide(w io.Writer, all []Named) {
	all = stressOnly(all)
	numbers := columns(2, 1+len(all))
	if means := comparedMeans(all); len(means) > 0 {
		fmt.Fprint(w, "\nmeans of the medians: tokens a second of the rewritten program, and the mean ratio to the unrewritten one\n\n")
		Table(w, meansSideBySide(all, means), numbers...)
	}
	if rows := driftSideBySide(all); len(rows) > 1 {
		fmt.Fprint(w, "\nlast / first quarter of long generations: unrewritten, rewritten\n\n")
		Table(w, rows, numbers...)
	}
}

// stressSideBySideHTML draws them, with the tables below.
func stressSideBySideHTML(b *strings.Builder, all []Named) {
	all = stressOnly(all)
	if means := comparedMeans(all); len(means) > 0 {
		var list []bar
		for _, m := range means {
			for i, x := range m.of {
				if x != nil {
					list = append(list, meanBar(meanName(x)+" · "+all[i].Label(), x))
				}
			}
		}
		b.WriteString("<h3>Means of the medians</h3>\n<p>The geometric mean of the ratios, with its 95 % interval; in the table behind the mean of the rewritten program's medians, in tokens a second.</p>\n")
		bars(b, "mean", "mean ratios with 95 % intervals", list)
		htmlTable(b, meansSideBySide(all, means), 1)
	}
	if rows := driftSideBySide(all); len(rows) > 1 {
		var list []drift
		for _, test := range Tests(all) {
			for i := range all {
				if cell := Find(all[i].Capsule, test); cell != nil {
					if d, ok := driftOf(test+" · "+all[i].Label(), cell); ok {
						list = append(list, d)
					}
				}
			}
		}
		b.WriteString("<h3>Drift over long generations</h3>\n" + aboutDrift)
		drifts(b, list)
		htmlTable(b, rows, 1)
	}
}

// comparedMean is one mean of several stress runs.
type comparedMean struct {
	name string
	of   []*capsule.Mean // one for each capsule; nil where it has none
}

// comparedMeans has those that any capsule has: by length, by kind of prompt, and of all. The
// name says so where capsules have other combinations in a mean, since such means differ even
// if every combination is as fast as before.
func comparedMeans(all []Named) (out []comparedMean) {
	means := make([][]capsule.Mean, len(all))
	for i := range all {
		means[i] = capsule.MeansOf(all[i].Capsule)
	}
	for _, of := range []string{capsule.ByLength, capsule.ByPrompt, capsule.OfAll} {
		var known []string
		for i := range means {
			for k := range means[i] {
				m := &means[i][k]
				if m.Of != of || slices.Contains(known, m.Which) {
					continue
				}
				known = append(known, m.Which)
				row := comparedMean{meanName(m), make([]*capsule.Mean, len(all))}
				same := true
				for j := range all {
					at := slices.IndexFunc(means[j], func(x capsule.Mean) bool { return x.Of == of && x.Which == m.Which })
					if at < 0 {
						continue
					}
					row.of[j] = &means[j][at]
					same = same && slices.Equal(m.Combinations(all[j].Capsule), m.Combinations(all[i].Capsule))
				}
				if !same {
					row.name += ", of other combinations"
				}
				out = append(out, row)
			}
		}
	}
	return out
}

func meansSideBySide(all []Named, means []comparedMean) [][]string {
	rows := [][]string{labels("mean", all)}
	for _, m := range means {
		row := []string{m.name}
		for _, x := range m.of {
			text := ""
			if x != nil {
				text = fmt.Sprintf("%.2f · %s", x.B, meanRatio(x))
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return rows
}

// driftSideBySide has a line for each test that is long enough in any capsule.
func driftSideBySide(all []Named) [][]string {
	rows := [][]string{labels("test", all)}
	for _, test := range Tests(all) {
		row, any := []string{test}, false
		for i := range all {
			text := ""
			if cell := Find(all[i].Capsule, test); cell != nil {
				text = driftText(cell)
			}
			row, any = append(row, text), any || text != ""
		}
		if any {
			rows = append(rows, row)
		}
	}
	return rows
}

// labels are the head of a table that has a column for each capsule.
func labels(first string, all []Named) []string {
	head := []string{first}
	for i := range all {
		head = append(head, all[i].Label())
	}
	return head
}

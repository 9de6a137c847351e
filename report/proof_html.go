package report

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed proof.html
var proofPage string

var proofTemplate = template.Must(template.New("proof").Parse(proofPage))

// shownPatterns is how many patterns of a rule are drawn.
const shownPatterns = 4

// HTML writes the account as one page that needs nothing else.
func (p *Proofs) HTML(w io.Writer) error {
	type drawing struct {
		Where         string
		Before, After template.HTML
	}
	type rule struct {
		*ProvedRule
		Cells    []string // the status under each check
		Counts   []int
		Text     string
		Drawings []drawing
		More     int
	}
	page := struct {
		Checks    []string
		Rules     []rule
		Together  []ProvedProfile
		Summary   ProofsSummary
		Arrowhead template.HTML
	}{p.checks, nil, p.Together, p.Summary, Arrowhead}
	for i := range p.Rules {
		r := rule{ProvedRule: &p.Rules[i]}
		for _, c := range p.checks {
			status, count := r.check(c)
			r.Cells, r.Counts = append(r.Cells, status), append(r.Counts, count)
		}
		src := r.report.Rule
		var b strings.Builder
		b.WriteString(block("match", src.Match))
		if len(src.Guards) > 0 {
			b.WriteString("guards:\n")
		}
		for _, g := range src.Guards {
			b.WriteString("  " + g.Name + ": " + g.Text + "\n")
		}
		b.WriteString(block("weights", src.Weights) + block("replace", src.Replace) + "numerics: " + string(src.Numerics) + "\n")
		r.Text = b.String()
		if in := r.report.Instances; in != nil {
			drawn := map[string]bool{}
			for _, one := range in.All {
				key := one.Pattern.String()
				if drawn[key] {
					continue
				}
				drawn[key] = true
				if len(drawn) > shownPatterns {
					continue
				}
				d := drawing{Where: one.Where, Before: template.HTML(SVG(one.Program.Cases[0].Graph, r.Name, "pattern of "+r.Name))}
				if g := r.report.Rewritten(one); g != nil {
					d.After = template.HTML(SVG(g, r.Name, "replacement of "+r.Name))
				}
				r.Drawings = append(r.Drawings, d)
			}
			r.More = max(0, len(drawn)-shownPatterns)
		}
		page.Rules = append(page.Rules, r)
	}
	return proofTemplate.Execute(w, page)
}

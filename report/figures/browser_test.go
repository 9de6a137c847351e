package figures

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/report/browsertest"
)

// open writes a page to the test's artefacts, and opens it in a browser. When the test ends
// there is a picture of it beside the page, and it has asked nothing of any network.
func open(t *testing.T, name string, page []byte) *browsertest.Page {
	t.Helper()
	file := filepath.Join(t.ArtifactDir(), name+".html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	p := browsertest.Open(t, file)
	t.Cleanup(func() {
		p.Screenshot(strings.TrimSuffix(file, ".html") + ".png")
		if list := p.Requests(); len(list) > 0 {
			t.Errorf("it asks for %s", list)
		}
		if list := p.Errors(); len(list) > 0 {
			t.Errorf("errors: %s", list)
		}
	})
	return p
}

// TestInBrowser opens a report of two capsules: what is drawn, and that a click on a layer's
// bars opens the layer, and one on a replacement its drawing, which a second click closes.
func TestInBrowser(t *testing.T) {
	var b bytes.Buffer
	evil := sample(`<script>alert("x")</script>`, 30)
	if err := HTML(&b, []Named{sample("one", 20), evil}); err != nil {
		t.Fatal(err)
	}
	p := open(t, "report", b.Bytes())
	for selector, n := range map[string]int{"rect.bar": 4, "circle.run": 24, "rect.launches": 8, "path.interval": 0, "details.layer": 2, "details.change": 4, ".pair": 0, "button": 0, "section": 2} {
		if got := p.Count(selector); got != n {
			t.Errorf("%d of %s are drawn, want %d", got, selector, n)
		}
	}
	// The bar of a ratio of 2 is twice as long as the axis is from 0 to 1.
	var ratio float64
	p.Eval(`(() => { const svg = document.querySelector("section svg"), [zero, one] = [...svg.querySelectorAll(".axis")].map(e => { const r = e.getBoundingClientRect(); return r.x + r.width / 2 });
		return svg.querySelector(".bar").getBoundingClientRect().width / (one - zero) })()`, &ratio)
	if ratio < 1.98 || ratio > 2.02 {
		t.Errorf("the bar is %v times as long as the unit of its axis", ratio)
	}
	if got := p.Texts("section:first-of-type .axis"); !slices.Equal(got, []string{"0", "1", "2", "20.0 t/s"}) {
		t.Errorf("axes: %q", got)
	}
	if got := p.Texts("section:first-of-type g.row text"); !slices.Equal(got, []string{"model.layers.0", "20 → 5", "the rest", "2 → 2"}) {
		t.Errorf("layers: %q", got)
	}
	p.Click(`g.row[data-layer="c0-layer0"]`)
	if got := p.Texts("#c0-layer0 button"); !slices.Equal(got, []string{
		"llama.swiglu: 3 ops → kernel.swiglu, 2 launches fewer", "llama.qmv one: 1 op → kernel.qmv, 0 launches fewer (round 2)", "llama.swiglu: 3 ops → kernel.swiglu, 2 launches fewer"}) {
		t.Fatalf("a click on a layer opens %q", got)
	}
	if n := p.Count("button"); n != 3 {
		t.Errorf("%d replacements are shown after one layer was clicked", n)
	}
	p.Click("#c0-layer0 li:nth-child(1) button")
	if got := p.Texts("#c0-layer0 .pair > div:first-child svg text:not(.faint)"); !slices.Equal(got, []string{"gate", "sigmoid", "multiply", "multiply"}) {
		t.Errorf("before: %q", got)
	}
	if got := p.Texts("#c0-layer0 .pair > div:last-child svg text:not(.faint)"); !slices.Equal(got, []string{"gate", "kernel.swiglu"}) {
		t.Errorf("after: %q", got)
	}
	if n := p.Count("#c0-layer0 path.edge"); n != 4 {
		t.Errorf("%d arrows", n)
	}
	p.Click("#c0-layer0 li:nth-child(2) button")
	p.Click("#c0-layer0 li:nth-child(1) button")
	if got := p.Count("#c0-layer0 .pair"); got != 1 {
		t.Errorf("%d drawings after one was opened and another closed", got)
	}
	p.Click("#c1-change1 summary") // without the script's help
	if got := p.Texts("#c1-change1 .pair svg .made ~ text"); !slices.Contains(got, "kernel.qmv") || !slices.Contains(got, `<script>alert("x")</script>`) {
		t.Errorf("a kind of replacement: %q", got)
	}
}

// TestStressInBrowser: the bar of a mean ends where its axis says, and the dots of drift stand
// where theirs does: the rewritten program's at 0.8, left of the unrewritten one's at 1.
func TestStressInBrowser(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, []Named{stressed()}); err != nil {
		t.Fatal(err)
	}
	p := open(t, "stress", b.Bytes())
	for selector, n := range map[string]int{"rect.mean": 4, "circle.drift": 2, "svg.drifts": 1} {
		if got := p.Count(selector); got != n {
			t.Errorf("%d of %s are drawn, want %d", got, selector, n)
		}
	}
	const middle = `const middle = e => { const r = e.getBoundingClientRect(); return r.x + r.width / 2 };`
	var ratio, share float64
	p.Eval(`(() => { `+middle+` const bar = document.querySelector("rect.mean"), [zero, one] = [...bar.closest("svg").querySelectorAll(".axis")].map(middle);
		return bar.getBoundingClientRect().width / (one - zero) })()`, &ratio)
	if ratio < 1.98 || ratio > 2.02 {
		t.Errorf("the bar of the mean 2 is %v times as long as the unit of its axis", ratio)
	}
	if got := p.Texts(".drifts .axis"); !slices.Equal(got, []string{"0.80", "1.00"}) {
		t.Errorf("axis of drift: %q", got)
	}
	p.Eval(`(() => { `+middle+` const [low, one] = [...document.querySelectorAll(".drifts .axis")].map(middle), [a, b] = [...document.querySelectorAll("circle.drift")].map(middle);
		return (a - b) / (one - low) })()`, &share)
	if share < 0.98 || share > 1.02 {
		t.Errorf("the dots are %v of the axis from 0.8 to 1 apart", share)
	}
}

// TestStressComparedInBrowser: of two stress runs the bars of their means and the dots of their
// drift stand at the top, those of one test below each other.
func TestStressComparedInBrowser(t *testing.T) {
	one, two := stressed(), stressed()
	one.File, two.File = "one.json", "two.json"
	for i := range two.Cells {
		for k := range two.Cells[i].Runs {
			if r := &two.Cells[i].Runs[k]; r.B {
				r.Seconds *= 2 // as fast as the unrewritten program
			}
		}
	}
	var b bytes.Buffer
	if err := HTML(&b, []Named{one, two}); err != nil {
		t.Fatal(err)
	}
	p := open(t, "compared", b.Bytes())
	for selector, n := range map[string]int{"body > svg rect.mean": 8, "body > svg.drifts circle.drift": 4, "section rect.mean": 8, "section circle.drift": 4} {
		if got := p.Count(selector); got != n {
			t.Errorf("%d of %s are drawn, want %d", got, selector, n)
		}
	}
	var wide []float64
	p.Eval(`[...document.querySelectorAll("body > svg rect.mean")].map(e => e.getBoundingClientRect().width)`, &wide)
	for i := 0; i+1 < len(wide); i += 2 {
		if share := wide[i] / wide[i+1]; share < 1.98 || share > 2.02 {
			t.Errorf("bars %d and %d are as %v to 1, their means are as 2 to 1", i, i+1, share)
		}
	}
	if got := p.Texts("body > svg.drifts text[text-anchor=end]"); !slices.Equal(got, []string{"code · one", "code · two"}) {
		t.Errorf("dots of drift: %q", got)
	}
}

// TestMatrixInBrowser: a dot a capsule, and the days on the axis.
func TestMatrixInBrowser(t *testing.T) {
	all := []Named{sample("one", 20), sample("two", 21), sample("three", 10)}
	for i := range all {
		all[i].Model.Name, all[i].Made = "m", all[i].Made.AddDate(2025, 0, i)
	}
	var b bytes.Buffer
	if err := MatrixHTML(&b, Matrix(all, ByRatio), 0.97); err != nil {
		t.Fatal(err)
	}
	p := open(t, "matrix", b.Bytes())
	if n := p.Count("circle.point"); n != 3 {
		t.Errorf("%d dots", n)
	}
	if got := p.Texts("svg text"); !slices.Equal(got, []string{"1", "2.21", "2026-01-01", "2026-01-03"}) {
		t.Errorf("axes: %q", got)
	}
	if got := p.Texts("td:last-child"); !slices.Equal(got, []string{"regressed"}) {
		t.Errorf("verdict: %q", got)
	}
	var y []float64
	p.Eval(`[...document.querySelectorAll("circle.point")].map(e => e.getBoundingClientRect().y)`, &y)
	if len(y) != 3 || !(y[1] < y[0] && y[0] < y[2]) {
		t.Errorf("heights of the dots: %v", y)
	}
}

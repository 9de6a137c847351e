package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/report/browsertest"
)

// runs a command that must end well, and returns what it prints.
func runs(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// opens a page in a browser. When the test ends there is a picture of it among the test's
// artefacts, and it has asked nothing of any network and made no errors.
func opens(t *testing.T, file string) *browsertest.Page {
	t.Helper()
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

// TestReportInBrowser measures a small model, and clicks through the report: each layer of
// the capsule opens by its bars, and each of its replacements is drawn with its kernels.
func TestReportInBrowser(t *testing.T) {
	if engineName != "mlx" {
		t.Skip("needs MLX (make build)")
	}
	dir := t.ArtifactDir()
	file, page := filepath.Join(dir, "one.json"), filepath.Join(dir, "report.html")
	runs(t, "stress", "--model", "../../testdata/trained/qwen3_moe", "--dtype", "float32", "--prompts", "technical,code,math,creative", "--lengths", "4", "--runs", "3", "--routing", "--json-out", file)
	runs(t, "report", "-o", "html", "--out", page, file)
	c, err := capsule.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	p := opens(t, page)
	layers, places := 0, 0
	for _, l := range c.Rewrite.Launches {
		if len(l.Replaced) > 0 {
			layers++
			places += len(l.Replaced)
		}
	}
	if layers < 4 || len(c.Rewrite.Replacements) < 5 {
		t.Fatalf("%d layers, %d kinds of replacements", layers, len(c.Rewrite.Replacements))
	}
	for selector, n := range map[string]int{"rect.bar": 4, "circle.run": 24, "rect.mean": 6, "path.interval": 4 + 6, "circle.drift": 0, "circle.routed": 4, "rect.launches": 2 * len(c.Rewrite.Launches), "details.layer": layers, "details.change": len(c.Rewrite.Replacements)} {
		if got := p.Count(selector); got != n {
			t.Errorf("%d of %s are drawn, want %d", got, selector, n)
		}
	}
	before, after := c.Rewrite.Ran(c.Cells)[0].Sum()
	if got := p.Texts("p"); !slices.Contains(got, fmt.Sprintf("%d unrewritten (grey), %d rewritten (blue). Click a layer to see what was replaced in it.", before, after)) {
		t.Errorf("launches: %q", got)
	}
	kernels := map[string]bool{}
	for i, l := range c.Rewrite.Launches {
		if len(l.Replaced) == 0 {
			continue
		}
		p.Click(fmt.Sprintf(`g.row[data-layer="c0-layer%d"]`, i))
		for k, r := range l.Replaced {
			at := fmt.Sprintf("#c0-layer%d li:nth-child(%d)", i, k+1)
			p.Click(at + " button")
			ops := func(pic *capsule.Picture) (list []string) {
				for _, b := range pic.Boxes {
					list = append(list, b.Lines[0])
				}
				slices.Sort(list)
				return list
			}
			one := &c.Rewrite.Replacements[r]
			for side, want := range [][]string{ops(&one.Before), ops(&one.After)} {
				var got []string // the first line of each box
				p.Eval(fmt.Sprintf(`[...document.querySelectorAll("%s .pair > div:nth-child(%d) svg rect + text")].map(e => e.textContent).sort()`, at, side+1), &got)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s: drawn are %q, the capsule has %q", at, one.Rule, got, want)
				}
			}
			for _, name := range ops(&one.After) {
				if short, is := strings.CutPrefix(name, "kernel."); is {
					kernels[short] = true
				}
			}
		}
	}
	if got := p.Count(".layer .pair"); got != places {
		t.Errorf("%d drawings are open, %d were clicked", got, places)
	}
	for name := range kernels {
		if c.Rewrite.Kernels[name] == "" {
			t.Errorf("kernel %s is drawn, the capsule says nothing of it", name)
		}
	}
	if !kernels["gather_qmm_swiglu"] || !kernels["router_softmax_topk"] {
		t.Errorf("kernels that are drawn: %v", kernels)
	}
}

// TestVerifyInBrowser: the page of verify has a row and a part for each rule; a click in the
// table opens the part, in which pattern and replacement are drawn.
func TestVerifyInBrowser(t *testing.T) {
	onceEnough(t)
	page := filepath.Join(t.ArtifactDir(), "verify.html")
	runs(t, "verify", "llama.swiglu", "llama.add_rms_norm", "-o", "html", "--out", page)
	p := opens(t, page)
	if got := p.Texts("td a"); !slices.Equal(got, []string{"llama.swiglu", "llama.add_rms_norm"}) && !slices.Equal(got, []string{"llama.add_rms_norm", "llama.swiglu"}) {
		t.Errorf("rules: %q", got)
	}
	if n := p.Count("details svg"); n != 0 {
		t.Errorf("%d drawings are shown before anything is clicked", n)
	}
	p.Click(`td a[href="#llama.swiglu"]`)
	var open bool
	for range 500 { // the page hears of it a moment later
		if p.Eval(`document.getElementById("llama.swiglu").open`, &open); open {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !open {
		t.Fatal("the click opened nothing")
	}
	if n := p.Count(".pair svg .made"); n < 1 {
		t.Errorf("%d kernels are drawn", n)
	}
	if got := p.Texts(".pair > div:first-child svg rect + text"); !slices.Contains(got, "sigmoid") || !slices.Contains(got, "multiply") {
		t.Errorf("the pattern: %q", got)
	}
	if got := p.Texts(".pair > div:last-child svg rect + text"); !slices.Contains(got, "kernel.swiglu") || slices.Contains(got, "sigmoid") {
		t.Errorf("the replacement: %q", got)
	}
	if info, err := os.Stat(page); err != nil || info.Size() < 5000 {
		t.Errorf("%v", err)
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/routing"
)

// TestFormats: what report and matrix make of the fixed capsules of testdata/capsules, and
// routing of a fixed text, is testdata/formats, numbers to twelve digits. UPDATE_GOLDEN=1 writes that; then
// read the difference. Nothing is measured.
func TestFormats(t *testing.T) {
	onceEnough(t)
	goldens, err := filepath.Abs(filepath.Join("testdata", "formats"))
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	keep := func(name, text string) {
		made[name] = text
		file := filepath.Join(goldens, name)
		text = rounded(text)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if at := differsAt(text, string(want)); at > 0 {
			t.Errorf("%s is another one from line %d on (UPDATE_GOLDEN=1 writes it)", name, at)
		}
	}
	for _, f := range []string{"md", "json", "html"} {
		text, err := routingText(f, "model · profile · 24 tokens in 2 layers: both programs choose the same experts", someRouting())
		if err != nil {
			t.Fatal(err)
		}
		keep("routing."+f, string(text))
	}
	t.Chdir(filepath.Join("..", "..", "testdata", "capsules"))
	for _, f := range []string{"md", "csv", "json", "html"} {
		keep("report."+f, runs(t, "report", "one.json", "two.json", "stress.json", "against.json", "-o", f))
	}
	slow := slowed(t, "stress.json")
	for _, f := range []string{"md", "csv", "json"} {
		keep("report-stress."+f, strings.ReplaceAll(runs(t, "report", "stress.json", slow, "-o", f), slow, "slow.json"))
	}
	for _, f := range []string{"md", "csv", "json"} {
		keep("matrix."+f, runs(t, "matrix", ".", "-o", f))
	}
	keep("matrix-history.md", runs(t, "matrix", ".", "--history"))
	keep("matrix.html", runs(t, "matrix", "html", "."))
	for _, f := range []string{"text", "json"} {
		var out, errs bytes.Buffer
		if code := run([]string{"matrix", "gate", ".", "-o", f}, strings.NewReader(""), &out, &errs); code != 1 { // one regressed, one has other tokens
			t.Errorf("matrix gate: exit code %d: %s", code, errs.String())
		}
		keep("matrix-gate."+f, out.String())
	}
	files, err := os.ReadDir(goldens)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if made[f.Name()] == "" {
			t.Errorf("%s is nobody's", f.Name())
		}
	}
}

// slowed writes a capsule whose rewritten program takes a quarter longer, and the last quarter of
// its tokens twice as long as the first.
func slowed(t *testing.T, file string) string {
	c, err := capsule.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Cells {
		for k := range c.Cells[i].Runs {
			if r := &c.Cells[i].Runs[k]; r.B {
				r.Seconds *= 1.25
				r.Late = 2 * r.Early
			}
		}
	}
	c.Sum()
	out := filepath.Join(t.TempDir(), "slow.json")
	if err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// someRouting is that of 24 tokens in two layers: an even one, and one with experts that are
// never chosen, and without weights.
func someRouting() []routing.Stats {
	var even, uneven []routing.Token
	for i := range 24 {
		even = append(even, routing.Token{IDs: []int{i % 8, (i + 1 + i/8) % 8}, Weights: []float64{0.75, 0.25}})
		uneven = append(uneven, routing.Token{IDs: []int{i % 2, 2 + i%3}})
	}
	return []routing.Stats{routing.Sum("model.layers.0", 8, 2, even), routing.Sum("model.layers.1", 8, 2, uneven)}
}

// longNumber has more digits than processors agree on: some round once where others round twice.
var longNumber = regexp.MustCompile(`-?\b[0-9]+\.[0-9]{12,}(e[-+]?[0-9]+)?\b`)

// rounded has no number of more than twelve digits.
func rounded(text string) string {
	return longNumber.ReplaceAllStringFunc(text, func(s string) string {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic(fmt.Sprintf("%q is no number", s))
		}
		return strconv.FormatFloat(x, 'g', 12, 64)
	})
}

// differsAt is the first line that is another one, counted from 1; 0 if none is.
func differsAt(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	if len(x) != len(y) {
		return min(len(x), len(y)) + 1
	}
	return 0
}

package figures

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
)

// sample has one test with two rounds: 10 t/s unrewritten, 20 rewritten.
func sample(name string, rewritten float64) Named {
	c := &capsule.Capsule{Kind: capsule.Bench, Model: capsule.Model{Name: name, Type: "llama", Quant: "4-bit", Bytes: 3 << 30, Params: 7e9}, Device: capsule.Device{Engine: "mlx", Version: "0.32.2", Device: "cuda"},
		Rewrite: capsule.Rewrite{Profile: "llama", Launches: []capsule.Layer{{Scope: "model.layers.0", Before: 20, After: 5, Replaced: []int{0, 1, 0}}, {Scope: "", Before: 2, After: 2}}}}
	picture := func(ops ...string) (p capsule.Picture) {
		for i, op := range ops {
			p.Boxes = append(p.Boxes, capsule.Box{Lines: []string{op, name}, Leaf: i == 0})
			if i > 0 {
				p.Arrows = append(p.Arrows, capsule.Arrow{From: i - 1, To: i, Type: "float32[1]"})
			}
		}
		return p
	}
	c.Rewrite.Replacements = []capsule.Replacement{{Rule: "llama.swiglu", Round: 1, Saved: 2, Before: picture("gate", "sigmoid", "multiply", "multiply"), After: picture("gate", "kernel.swiglu")},
		{Rule: "llama.qmv " + name, Round: 2, Before: picture("x", "quantized_matmul"), After: picture("x", "kernel.qmv")}}
	cell := capsule.Cell{Test: "tg20", Depth: 512, Counted: 20, Made: 21, StreamA: "aa", StreamB: "aa", First: -1}
	for i := range 12 {
		b := i%4 == 1 || i%4 == 2
		s := 2.0
		if b {
			s = 20 / rewritten
		}
		cell.Runs = append(cell.Runs, capsule.Run{Run: bench.Run{Round: i / 4, B: b, Seconds: s, At: float64(i)}, Tokens: "00"})
	}
	c.Cells = []capsule.Cell{cell}
	return Named{File: name + ".json", Capsule: c}
}

func TestTables(t *testing.T) {
	n := sample("one", 20)
	rows := Rows(n.File, n.Capsule)
	var b bytes.Buffer
	Markdown(&b, rows)
	want := `| model       |     size | params | backend          | program           | test        |          t/s |      ratio [95 %] | tokens |
| ----------- | -------: | -----: | ---------------- | ----------------- | ----------- | -----------: | ----------------: | ------ |
| llama 4-bit | 3.00 GiB | 7.00 B | mlx 0.32.2, cuda | unrewritten       | tg20 @ d512 | 10.00 ± 0.00 |                   |        |
| llama 4-bit | 3.00 GiB | 7.00 B | mlx 0.32.2, cuda | rewritten (llama) | tg20 @ d512 | 20.00 ± 0.00 | 2.00 [2.00, 2.00] | same   |
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := CSV(&b, rows, nil); err != nil {
		t.Fatal(err)
	}
	if lines, err := csv.NewReader(&b).ReadAll(); err != nil || len(lines) != 3 || lines[2][13] != "2" || lines[2][16] != "true" || len(lines[0]) != len(lines[1]) {
		t.Errorf("%v, %v", lines, err)
	}
	b.Reset()
	if err := JSON(&b, rows); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&b)
	var row Row
	dec.Decode(&row)
	if err := dec.Decode(&row); err != nil || row.Ratio != 2 || len(row.Samples) != 6 || !*row.Identical {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestHTML: the file asks nothing of a network, what comes from a capsule cannot become
// markup, and all is there: a bar a test, a dot a run, two bars a layer, both sides of each
// replacement once. Drawings are XML. Its only script is the one that its policy allows.
// (TestInBrowser looks at what becomes of it.)
func TestHTML(t *testing.T) {
	evil := sample(`<script>alert("x")</script>`, 30)
	evil.Cells[0].Test = `"><img src=http://example.org>`
	var b bytes.Buffer
	if err := HTML(&b, []Named{sample("one", 20), evil}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	sum := sha256.Sum256([]byte(clicks))
	allowed := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if strings.Count(text, "<script>"+clicks+"</script>") != 1 || !strings.Contains(text, allowed) {
		t.Error("the script is not there once, or not allowed")
	}
	rest := strings.Replace(text, "<script>"+clicks+"</script>", "", 1)
	if regexp.MustCompile(`(?i)<(script|img|link|iframe|object|base)|\b(src|href)\s*=\s*["']|url\([^#]|@import|\bon[a-z]+\s*=`).MatchString(rest) {
		t.Error("the file has markup that it should not have")
	}
	for what, n := range map[string]int{`<circle class="run"`: 24, `<rect class="bar"`: 4, `<rect class="launches"`: 8, "<svg ": 17, "</svg>": 17, "<details class=layer": 2, "<details class=change": 4, "<button ": 6} {
		if got := strings.Count(text, what); got != n {
			t.Errorf("%d of %s, want %d", got, what, n)
		}
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(text, -1) {
		dec := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, svg)
			}
		}
	}
}

// stressed is a stress run of two combinations of 256 tokens, both twice as fast rewritten. The
// first gets slower with its length, from the second nothing is known of that.
func stressed() Named {
	n := sample("s", 20)
	base := n.Cells[0]
	n.Kind, n.Cells = capsule.Stress, nil
	for _, x := range []struct {
		kind string
		made int
		slow float64
	}{{"code", 256, 1}, {"math", 256, 2}} {
		c := base
		c.Prompt, c.Made, c.Test, c.Runs = x.kind, x.made, x.kind, nil
		for _, r := range base.Runs {
			r.Seconds *= x.slow
			c.Runs = append(c.Runs, r)
		}
		n.Cells = append(n.Cells, c)
	}
	n.Cells[1].First = 7
	for i := range n.Cells[0].Runs { // the rewritten program gets slower: its last quarter takes longer
		r := &n.Cells[0].Runs[i]
		r.Early, r.Late = 1, 1
		if r.B {
			r.Late = 1.25
		}
	}
	return n
}

// TestStress: means of medians, by length and by kind.
func TestStress(t *testing.T) {
	n := stressed()
	var b bytes.Buffer
	Stress(&b, n.Capsule)
	for _, want := range []string{
		"| code   |    256 | 6 + 6 |           10.00 |         20.00 | 2.000 [2.000, 2.000] | same in all runs | 1.000, 0.800         |\n",
		"| math   |    256 | 6 + 6 |            5.00 |         10.00 | 2.000 [2.000, 2.000] | differ from 7 on |                      |\n",
		"| 256    |            7.50 |         15.00 | 2.000 [2.000, 2.000] |\n", "| mean of medians |", "1 of 2 combinations made other tokens\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestStressHTML: the page of a stress run draws the means and the drift, beside its tables; one
// whose generations are too short has no drift, and one of bench has neither.
func TestStressHTML(t *testing.T) {
	n := stressed()
	short := stressed()
	for i := range short.Cells[0].Runs {
		short.Cells[0].Runs[i].Early, short.Cells[0].Runs[i].Late = 0, 0
	}
	for name, x := range map[string]struct {
		n            Named
		means, dots  int
		heads, lines []string
	}{
		"stress":         {n, 4, 2, []string{"Means of the medians", "Drift over long generations"}, []string{"<tr><td>code</td><td class=n>10.00</td><td class=n>20.00</td><td class=n>2.000 [2.000, 2.000]</td></tr>", "<tr><td>code</td><td class=n>1.000</td><td class=n>0.800</td></tr>"}},
		"too short":      {short, 4, 0, []string{"Means of the medians"}, nil},
		"bench":          {sample("one", 20), 0, 0, nil, nil},
		"before a round": {Named{File: "s.json", Capsule: &capsule.Capsule{Kind: capsule.Stress}}, 0, 0, nil, nil},
	} {
		var b bytes.Buffer
		if err := HTML(&b, []Named{x.n}); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(x.heads, x.lines...) {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q", name, want)
			}
		}
		if got := strings.Count(b.String(), `<rect class="mean"`); got != x.means {
			t.Errorf("%s: %d bars of means, want %d", name, got, x.means)
		}
		if got := strings.Count(b.String(), `<circle class="drift"`); got != x.dots {
			t.Errorf("%s: %d dots of drift, want %d", name, got, x.dots)
		}
		if len(x.heads) < 2 && strings.Contains(b.String(), "Drift over") {
			t.Errorf("%s: there is a drift", name)
		}
	}
}

// TestStressCompared: of several stress runs the means and the drift stand side by side, too: as
// tables, drawn, and as lines of CSV. Others are left out of it, and one alone has no comparison.
// A mean over other combinations says so.
func TestStressCompared(t *testing.T) {
	one, two := stressed(), stressed()
	one.File, two.File = "one.json", "two.json"
	two.Cells = two.Cells[:1] // no math
	for i := range two.Cells[0].Runs {
		if r := &two.Cells[0].Runs[i]; r.B { // 1.5 times as fast, and no drift
			r.Seconds, r.Late = r.Seconds*4/3, 1
		}
	}
	var b bytes.Buffer
	Report(&b, []Named{one, sample("bench", 20), two})
	_, text, _ := strings.Cut(b.String(), "## side by side\n")
	for _, want := range []string{
		"\nmeans of the medians: tokens a second of the rewritten program, and the mean ratio to the unrewritten one\n\n" +
			"| mean                              |                          one |                          two |\n",
		"| 256 tokens, of other combinations | 15.00 · 2.000 [2.000, 2.000] | 15.00 · 1.500 [1.500, 1.500] |\n",
		"| code                              | 20.00 · 2.000 [2.000, 2.000] | 15.00 · 1.500 [1.500, 1.500] |\n",
		"| math                              | 10.00 · 2.000 [2.000, 2.000] |                              |\n",
		"| all, of other combinations        | 15.00 · 2.000 [2.000, 2.000] | 15.00 · 1.500 [1.500, 1.500] |\n",
		"\nlast / first quarter of long generations: unrewritten, rewritten\n\n" +
			"| test |          one |          two |\n",
		"| code | 1.000, 0.800 | 1.000, 1.000 |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var page bytes.Buffer
	if err := HTML(&page, []Named{one, sample("bench", 20), two}); err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(page.String(), "<section>")
	for want, times := range map[string]int{
		`<rect class="mean"`: 7, `<circle class="drift"`: 4, "<h3>Means of the medians</h3>": 1, "<h3>Drift over long generations</h3>": 1,
		"<title>code · two: 1.500 [1.500, 1.500]</title>": 1, "<title>code · one, rewritten: 0.800</title>": 1,
		"<tr><td>code</td><td class=n>20.00 · 2.000 [2.000, 2.000]</td><td class=n>15.00 · 1.500 [1.500, 1.500]</td></tr>": 1,
		"<tr><td>code</td><td class=n>1.000, 0.800</td><td class=n>1.000, 1.000</td></tr>":                                 1,
	} {
		if got := strings.Count(top, want); got != times {
			t.Errorf("%s is there %d times, want %d", want, got, times)
		}
	}
	for name, all := range map[string][]Named{"one stress run": {one, sample("bench", 20)}, "none": {sample("one", 20), sample("two", 20)}, "two before a round": {{File: "a.json", Capsule: &capsule.Capsule{Kind: capsule.Stress}}, {File: "b.json", Capsule: &capsule.Capsule{Kind: capsule.Stress}}}} {
		var text, page bytes.Buffer
		Report(&text, all)
		if err := HTML(&page, all); err != nil {
			t.Fatal(err)
		}
		_, side, _ := strings.Cut(text.String(), "## side by side\n")
		top, _, _ := strings.Cut(page.String(), "<section>")
		if strings.Contains(side, "means of the medians") || strings.Contains(top, "<h3>") {
			t.Errorf("%s: there is nothing to compare, and it is", name)
		}
	}
	b.Reset()
	var means []MeanRow
	for _, n := range []Named{one, two} {
		means = append(means, Means(n.File, n.Capsule)...)
	}
	if err := CSV(&b, nil, means); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != 1+2*(4+3) {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	at := func(line int, column string) string { return lines[line][slices.Index(lines[0], column)] }
	for column, want := range map[string]string{"capsule": "two.json", "program": "rewritten", "test": "", "avg_ts": "15", "ratio": "1.5", "ratio_low": "1.5", "mean_of": "prompt", "which": "code", "combinations": "1"} {
		if got := at(12, column); got != want {
			t.Errorf("%s is %q, want %q", column, got, want)
		}
	}
	if at(11, "program") != "unrewritten" || at(11, "avg_ts") != "10" || at(11, "ratio") != "" {
		t.Errorf("%q", lines[11])
	}
}

// TestLabels: capsules whose files have one name are told apart by their folders.
func TestLabels(t *testing.T) {
	var all []Named
	for _, file := range []string{"old/stress.json", "new/stress.json", "old/other.json"} {
		n := stressed()
		n.File = file
		all = append(all, n)
	}
	var b, page bytes.Buffer
	Report(&b, all)
	if err := HTML(&page, all); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"text": b.String(), "page": page.String()} {
		for want, times := range map[string]int{"old/stress": 1, "new/stress": 1, "old/other": 0} {
			if got := strings.Count(text, want); got < times || times == 0 && got > 0 {
				t.Errorf("%s: %q is there %d times", what, want, got)
			}
		}
	}
	if !strings.Contains(b.String(), "## old/stress\n") || !strings.Contains(b.String(), "## other\n") {
		t.Error(b.String())
	}
}

// TestRoutings: routing is joined with speed-ups, and drawn.
func TestRoutings(t *testing.T) {
	n := sample("s", 20)
	base := n.Cells[0]
	n.Kind, n.Cells = capsule.Stress, nil
	for i, kind := range []string{"code", "math", "chinese", "creative"} {
		c := base
		c.Prompt, c.Test, c.Runs = kind, kind, nil
		for _, r := range base.Runs {
			if r.B {
				r.Seconds *= float64(1 + i) // the more even, the slower
			}
			c.Runs = append(c.Runs, r)
		}
		counts := [][]int{{8, 0, 0, 0}, {4, 4, 0, 0}, {3, 3, 2, 0}, {2, 2, 2, 2}}[i]
		c.Routing = []capsule.Routing{{Layer: "l0", K: 2, Tokens: 4, Counts: counts, Weights: 0.5}, {Layer: "l1", K: 2, Tokens: 4, Counts: counts, Weights: 1, Other: i / 3}}
		n.Cells = append(n.Cells, c)
	}
	var b bytes.Buffer
	Stress(&b, n.Capsule)
	for _, want := range []string{
		"| code     | 2.000 [2.000, 2.000] |          0.000 |   0.000 |        4.00 |            0.75 | same                      |\n",
		"| math     | 1.000 [1.000, 1.000] |          1.000 |   0.500 |        2.00 |            0.75 | same                      |\n",
		"| creative | 0.500 [0.500, 0.500] |          2.000 |   1.000 |        1.00 |            0.75 | 1 of 8 others             |\n",
		"rank correlation of the bits of choice with the speed-up: -1.00, over 4 combinations\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if other, choices := OtherExperts(n.Capsule); other != 1 || choices != 32 {
		t.Errorf("%d of %d", other, choices)
	}
	b.Reset()
	if err := HTML(&b, []Named{n}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), `<circle class="routed"`); got != 4 {
		t.Errorf("%d dots", got)
	}
}

func TestSpearman(t *testing.T) {
	for _, c := range []struct {
		x, y []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{10, 20, 1000}, 1}, {[]float64{1, 2, 3}, []float64{3, 2, 1}, -1},
		{[]float64{1, 2, 3}, []float64{5, 5, 5}, 0}, {[]float64{1, 1, 2}, []float64{1, 1, 7}, 1},
		{[]float64{1, 2, 3, 4}, []float64{2, 1, 4, 3}, 0.6}, // 1 - 6*4/(4*15)
	} {
		if got := Spearman(c.x, c.y); got < c.want-1e-12 || got > c.want+1e-12 {
			t.Errorf("%v %v: %v, want %v", c.x, c.y, got, c.want)
		}
	}
}

// TestQuantizedSteps: of a capsule with a quantized cache, what its steps launched is shown:
// of the programs that made tokens, and of no others.
func TestQuantizedSteps(t *testing.T) {
	for name, x := range map[string]struct {
		start            int
		facts, row, html string
		svgs             int
	}{
		"from the beginning": {0, "launches 30 → 9 with a quantized cache, ", "30 → 9", "a decode step with a quantized cache, by layer", 1},
		"later":              {520, "launches 22 → 7 with plain caches, 30 → 9 with a quantized cache, ", "30 → 9", "a decode step with plain caches, by layer", 2},
		"never":              {1000, "launches 22 → 7 with plain caches, ", "22 → 7", "a decode step with plain caches, by layer", 1},
	} {
		n := sample("one", 20)
		n.Cells[0].Fed = 1
		n.Rewrite.KV = &capsule.KV{Bits: 8, GroupSize: 64, Start: x.start}
		n.Rewrite.Quantized = &capsule.Quantized{Launches: []capsule.Layer{{Scope: "model.layers.0", Before: 28, After: 7}, {Before: 2, After: 2}}}
		for _, f := range n.Facts() {
			if f[0] == "rewrite" && !strings.Contains(f[1], x.facts) {
				t.Errorf("%s: %s", name, f[1])
			}
		}
		var b bytes.Buffer
		MatrixTable(&b, Matrix([]Named{n}, ByRatio), 0.97, false)
		if !strings.Contains(b.String(), " "+x.row+" |") {
			t.Errorf("%s: %s", name, b.String())
		}
		b.Reset()
		if err := HTML(&b, []Named{n}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "launches by layer"); got != x.svgs || !strings.Contains(b.String(), x.html) {
			t.Errorf("%s: %d drawings of launches, want %d, and %q", name, got, x.svgs, x.html)
		}
		for _, id := range regexp.MustCompile(`id="[^"]*"`).FindAllString(b.String(), -1) {
			if id != `id="arrow"` && strings.Count(b.String(), id) != 1 {
				t.Errorf("%s: %s is there more than once", name, id)
			}
		}
	}
}

// TestSeriesApart: capsules with other rules are no history of each other.
func TestSeriesApart(t *testing.T) {
	var all []Named
	for i, change := range []func(*capsule.Capsule){
		func(*capsule.Capsule) {},
		func(c *capsule.Capsule) { c.Rewrite.Choice = &capsule.Choice{} },
		func(c *capsule.Capsule) { c.Rewrite.Preset = "inference" },
		func(c *capsule.Capsule) { c.Rewrite.Preset = "minimal" },
		func(c *capsule.Capsule) { c.Rewrite.Choice = &capsule.Choice{Only: []string{"llama.qmv"}} },
		func(c *capsule.Capsule) { c.Command = []string{"bench", "--only", "llama.qmv"} },
		func(c *capsule.Capsule) { c.Rewrite.Choice = &capsule.Choice{Exclude: []string{"llama.qmv"}} },
		func(c *capsule.Capsule) { c.Rewrite.Choice = &capsule.Choice{Force: []string{"llama.qmv"}} },
		func(c *capsule.Capsule) { c.Rewrite.Choice = &capsule.Choice{NoLedger: true} },
		func(c *capsule.Capsule) { c.Rewrite.Target = "cuda" },
		func(c *capsule.Capsule) { c.Rewrite.Target = "metal" },
	} {
		n := sample("one", 20)
		n.Made = n.Made.AddDate(2025, 0, i)
		change(n.Capsule)
		all = append(all, n)
	}
	got := map[string]int{}
	for _, s := range Matrix(all, ByRatio) {
		got[s.Profile] = len(s.Points)
	}
	want := map[string]int{"llama": 4, "llama, preset minimal": 1, "llama, only llama.qmv": 2, "llama, without llama.qmv": 1, "llama, with llama.qmv": 1, "llama, no ledger": 1, "llama, for metal": 1}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// A gate holds none of them against another either.
	for _, j := range Judge(all, ByRatio, 0.97) {
		if j.Profile != "llama" && j.Profile != "llama, only llama.qmv" {
			t.Errorf("%s: %s", j.Profile, j.Verdict)
		}
	}
}

// TestAgainst: what takes the unrewritten program's place is named wherever that would be, with
// its own launches, and nothing of it becomes markup.
func TestAgainst(t *testing.T) {
	n := sample("one", 20)
	n.Capsule.Against = &capsule.Against{Flags: "--exclude <b>", Rewrite: capsule.Rewrite{Profile: "other", Launches: []capsule.Layer{{Scope: "model.layers.0", Before: 20, After: 11}}}}
	rows := Rows(n.File, n.Capsule)
	a, b := rows[0], rows[1]
	if a.Program != Against || a.Profile != "other" || a.Flags != "--exclude <b>" || a.Launches != 11 || b.Program != Rewritten || b.Flags != "" || b.Launches != 7 {
		t.Errorf("%+v\n%+v", a, b)
	}
	var text, page bytes.Buffer
	Report(&text, []Named{n, sample("two", 30)})
	for _, want := range []string{"| against (--exclude <b>) |", "| rewritten (llama)       |", "- against: --exclude <b>: profile other, 0 rules, launches 20 → 11, ", "| one against (--exclude <b>) |"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	if err := HTML(&page, []Named{n}); err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]int{"<b>": 0, "of a decode step, against (--exclude &lt;b&gt;), by layer": 1, "20 → 11": 2, "unrewritten:": 0, ", against (--exclude &lt;b&gt;): ": 6} {
		if got := strings.Count(page.String(), want); got != times {
			t.Errorf("%q is there %d times, want %d", want, got, times)
		}
	}
	if got := Program(Against, "", ""); got != "against (the same)" {
		t.Error(got)
	}
}

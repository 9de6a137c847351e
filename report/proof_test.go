package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/proof"
)

func shipped(t *testing.T) *rules.Set {
	t.Helper()
	catalog, issues := author.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	set, issues := rules.Load("", nil, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return set
}

// TestDrawings draws the patterns of all rules that ship. Boxes do not overlap, arrows go
// down from a box that is there, and the text is XML.
func TestDrawings(t *testing.T) {
	set := shipped(t)
	models, err := proof.Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := proof.NewCorpus(models)
	n := 0
	for _, r := range set.Rules() {
		all, err := corpus.Instances(set, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range all.All[:min(2, len(all.All))] {
			g := in.Program.Cases[0].Graph
			checkLayers(t, r.Name, g)
			checkXML(t, SVG(g, r.Name, `a "title" & <more>`))
			n++
		}
	}
	if n < 50 {
		t.Errorf("only %d drawings", n)
	}
}

func checkLayers(t *testing.T, name string, g *graph.Graph) {
	t.Helper()
	p := g.Draw("")
	layers := layOut(p)
	boxes := 0
	for i, layer := range layers {
		for k, c := range layer {
			if c.box != nil {
				boxes++
			}
			if c.layer != i {
				t.Errorf("%s: a cell of layer %d is in layer %d", name, c.layer, i)
			}
			if k > 0 && layer[k-1].x+layer[k-1].w/2 > c.x-c.w/2 {
				t.Errorf("%s: cells of layer %d overlap", name, i)
			}
			for _, u := range c.up {
				if u.layer != i-1 {
					t.Errorf("%s: an arrow from layer %d to layer %d passes others", name, u.layer, i)
				}
			}
		}
	}
	if boxes != len(p.Boxes) {
		t.Errorf("%s: %d boxes are drawn of %d", name, boxes, len(p.Boxes))
	}
}

func checkXML(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
}

// sample is an account that has everything in it.
func sample(t *testing.T) *Proofs {
	t.Helper()
	set := shipped(t)
	models, err := proof.Programs()
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rule("llama.swiglu")
	in, err := proof.NewCorpus(models).Instances(set, r)
	if err != nil {
		t.Fatal(err)
	}
	c := &proof.Counterexample{Instance: in.All[0], Target: "cpu", Dims: map[string]int64{"batch": 1}, Output: "out", Index: []int{0}, Want: math.NaN(), Got: math.Inf(-1),
		Inputs: map[string]proof.Array{"gate": {Shape: []int{2}, Values: []float64{1, math.Inf(1)}}}}
	p := NewProofs([]*proof.Report{{Set: set, Rule: r, Instances: in, Verdicts: []*proof.Verdict{
		{Check: proof.CheckInstances, Status: proof.Proven, Count: 3},
		{Check: proof.CheckEquivalence, Status: proof.Failed, Code: "proof/differs", Detail: "<script>alert(1)</script>", Why: []string{"a reason"}, Counter: c},
	}}}, map[*proof.Counterexample]string{c: "found/x.txtar"})
	p.AddTogether(&proof.Together{Name: "smollm2, cpu", Rules: set.Rules()[:2], Models: models[:1]}, []*proof.Verdict{{Check: proof.CheckRules, Status: proof.Tested, Code: "rule-shadowed", Count: 5}})
	return p
}

// TestProofsJSON: numbers that JSON does not have are words, and docs/VERIFY.md names every
// field.
func TestProofsJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).JSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"want": "NaN"`, `"got": "-Inf"`, `"+Inf"`, `"failed": 1`, `"file": "found/x.txtar"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in\n%s", want, b.String())
		}
	}
	docs, err := os.ReadFile("../docs/VERIFY.md")
	if err != nil {
		t.Fatal(err)
	}
	var any any
	if err := json.Unmarshal(b.Bytes(), &any); err != nil {
		t.Fatal(err)
	}
	fields(any, func(name string) {
		if name != "batch" && !regexp.MustCompile("`"+name+`(\[\])?`+"`").Match(docs) {
			t.Errorf("docs/VERIFY.md does not name %s", name)
		}
	})
}

func fields(x any, f func(string)) {
	switch x := x.(type) {
	case map[string]any:
		for name, y := range x {
			f(name)
			fields(y, f)
		}
	case []any:
		for _, y := range x {
			fields(y, f)
		}
	}
}

// TestProofsHTML: the page has everything, asks for nothing from elsewhere, and takes text
// for text.
func TestProofsHTML(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"llama.swiglu", "<svg viewBox", "pattern", "replacement", "kernel.swiglu", "Counterexample", "out[0] is NaN, with the rule it is -Inf", "a reason", "smollm2, cpu",
		"prefers-color-scheme: dark", "&lt;script&gt;alert(1)", "verify --replay found/x.txtar"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if outside := regexp.MustCompile(`(?i)(src|href)\s*=\s*"?[^"#]|url\((?:[^#)])|@import|fetch\(`).FindString(page); outside != "" {
		t.Errorf("the page asks for something: %s", outside)
	}
	if strings.Contains(page, "<script>alert") {
		t.Error("text became a script")
	}
}

// TestProofsText: what failed is told with its example.
func TestProofsText(t *testing.T) {
	var b bytes.Buffer
	sample(t).Text(&b)
	for _, want := range []string{"FAILED llama.swiglu: equivalence [proof/differs]", "out[0] is NaN, with the rule it is -Inf", "gate [2] = 1, +Inf", "lint smollm2, cpu: rules [rule-shadowed]", "1 failed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// TestCauses: a mistake is told once, with all checks that found it.
func TestCauses(t *testing.T) {
	example := func(x Number) *Counter {
		return &Counter{Output: "out", Index: []int{0}, Inputs: []CounterInput{{Name: "x", Shape: []int{1}, Values: []Number{x}}}}
	}
	failed := func(check, code string, c *Counter) Verdict {
		return Verdict{Check: check, Status: "failed", Code: code, Counter: c}
	}
	for _, tt := range []struct {
		name string
		list []Verdict
		want string
	}{
		{"another function", []Verdict{failed("mutations", "m", example(1)), {Check: "self-match", Status: "tested"}, failed("equivalence", "e", example(2)),
			failed("rounding", "r", nil), failed("kernel", "k", nil), failed("guards", "g", example(3))}, "equivalence+mutations+rounding+guards self-match kernel"},
		{"one example", []Verdict{failed("mutations", "m", example(1)), failed("rounding", "r", example(1)), failed("guards", "g", example(2))}, "mutations+rounding guards"},
		{"nothing in common", []Verdict{failed("instances", "i", nil), failed("rounding", "r", nil), {Check: "guards", Status: "tested", Code: "lint"}}, "instances rounding guards"},
	} {
		var got []string
		for _, c := range causes(tt.list) {
			text := c.said.Check
			for _, v := range c.found {
				text += "+" + v.Check
			}
			got = append(got, text)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, not %s", tt.name, s, tt.want)
		}
	}
}

package rewrite

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
)

// Random graphs and random rules that are right by construction, on engines: where all
// rules that were applied are exact, no bit may change; where one is reordered, results
// may differ by as many roundings as there are ops. The same bound holds between engines.
//
// ZMLX_FUZZ_CASES says how many cases there are, ZMLX_FUZZ_FROM which is the first;
// scripts/fuzz-rewrites.sh runs many.

// fuzzRewrites runs cases on engine/ref and on another engine, if there is one.
func fuzzRewrites(t *testing.T, other engine.Engine, cases int) {
	cases, from := number(t, "ZMLX_FUZZ_CASES", cases), number(t, "ZMLX_FUZZ_FROM", 0)
	reference := ref.New()
	defer reference.Close()
	f := &fuzzer{engines: []engine.Engine{reference}}
	if other != nil {
		f.engines = append(f.engines, other)
	}
	start := time.Now()
	for seed := from; seed < from+cases; {
		var some []*randomCase // their kernels are loaded together
		first := seed
		for ; seed < from+cases && len(some) < 64; seed++ {
			some = append(some, drawRandomCase(t, uint64(seed), fmt.Sprintf("s%d", seed), seed%4 == 3))
		}
		linkRandomCases(t, some...)
		for i, c := range some {
			if f.one(t, c, uint64(first+i)); t.Failed() {
				t.Fatalf("seed %d", first+i)
			}
		}
	}
	took := time.Since(start)
	fmt.Printf("fuzz-rewrites: %d cases from %d on, %d rewritten at %d places (%d reordered), %.0f cases/s, largest error %.2g of the bound\n",
		cases, from, f.rewritten, f.places, f.reordered, float64(cases)/took.Seconds(), f.worst)
	if f.rewritten == 0 {
		t.Error("no rule was applied")
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s is %q", name, text)
	}
	return n
}

type fuzzer struct {
	engines                      []engine.Engine
	rewritten, places, reordered int
	worst                        float64
}

func (f *fuzzer) one(t *testing.T, c *randomCase, seed uint64) {
	p := parsed(t, c.text)
	res, err := Run(p, &Config{Set: c.set, Rules: c.own, Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Program.Verify(); err != nil {
		t.Fatal(err)
	}
	after, err := c.set.Kernels.Expand(res.Program, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.must && len(res.Cases[0].Sites) == 0 {
		// As in FuzzRules: what a domain or a guard refuses is not tried again in another way.
		other := slices.ContainsFunc(allRefusals(&res.Cases[0]), func(r *Refusal) bool { return r.Code == CodeKernel || r.Code == CodeGuard })
		if !other {
			t.Errorf("a rule does not apply where it was cut out\n%s%s", c.rules, c.text)
		}
	}
	exact := res.Cases[0].Numerics() == kernels.Exact
	if n := len(res.Cases[0].Sites); n > 0 {
		f.rewritten, f.places = f.rewritten+1, f.places+n
		if !exact {
			f.reordered++
		}
	}
	in := randomInputs(p.Cases[0].Graph, seed)
	var first map[string][]byte
	for _, e := range f.engines {
		was, is := onEngine(t, e, p, in), onEngine(t, e, after, in)
		for name := range was {
			if exact && !bytes.Equal(was[name], is[name]) {
				t.Errorf("%s on %s is %x, rewritten %x\n%s%s", name, fmt.Sprintf("%T", e), was[name], is[name], c.rules, c.text)
			}
		}
		if first == nil {
			first = was
		}
		if !exact || len(f.engines) > 1 {
			f.near(t, c, e, first, was, is, in)
		}
	}
}

// near compares results up to the bound.
func (f *fuzzer) near(t *testing.T, c *randomCase, e engine.Engine, first, was, is, in map[string][]byte) {
	large := onEngine(t, f.engines[0], parsed(t, magnitudes(c.text)), in)
	ops := float64(strings.Count(c.text, "\n"))
	for name := range was {
		for i := 0; i < len(was[name]); i += 4 {
			at := func(m map[string][]byte) float64 { return graph.DecodeElem(graph.Float32, m[name][i:i+4]) }
			bound := 4 * ops * 0x1p-23 * at(large)
			if bound > 0x1p60 || math.IsNaN(bound) {
				continue // near what overflows
			}
			for _, m := range []map[string][]byte{first, is} {
				d := math.Abs(at(m) - at(was))
				if !(d <= bound) {
					t.Errorf("%s[%d] on %s is %v, and %v; the bound is %g\n%s%s", name, i/4, fmt.Sprintf("%T", e), at(was), at(m), bound, c.rules, c.text)
					return
				}
				if d > 0 {
					f.worst = max(f.worst, d/bound)
				}
			}
		}
	}
}

func parsed(t *testing.T, text string) *graph.Program {
	t.Helper()
	p, issues := graph.ParseText("random.zg", []byte(text), nil)
	if issues.HasErrors() {
		t.Fatal(issues, text)
	}
	if err := p.Cases[0].Graph.Compact(); err != nil {
		t.Fatal(err)
	}
	return p
}

var lineOf = regexp.MustCompile(`^  (v[0-9]+) = (negative|sigmoid|softmax|subtract|maximum|minimum)\((v?[0-9a-z]+)(, (v?[0-9a-z]+))?.*$`)

// magnitudes makes the text of the graph that bounds what errors can grow to: that of the
// absolute values, in which a function whose slope is at most 1 adds 1, since its argument
// may be the small difference of large numbers.
func magnitudes(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := lineOf.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name, a, b := m[1], m[3], m[5]
		switch m[2] {
		case "negative":
			lines[i] = fmt.Sprintf("  %s = multiply(%s, c1) : float32[3, 3]", name, a)
		case "sigmoid":
			lines[i] = fmt.Sprintf("  %s = add(%s, c1) : float32[3, 3]", name, a)
		case "softmax": // of any element of the row
			lines[i] = fmt.Sprintf("  s%s = sum(%s, axis=-1, keepdims=true) : float32[3, 1]\n  t%s = add(s%s, c1) : float32[3, 1]\n  %s = add(t%s, %s) : float32[3, 3]", name, a, name, name, name, name, a)
		default:
			lines[i] = fmt.Sprintf("  %s = add(%s, %s) : float32[3, 3]", name, a, b)
		}
	}
	return strings.Join(lines, "\n")
}

// randomInputs are as in outputs: from 0.5 to 2.5, and zeros of both signs.
func randomInputs(g *graph.Graph, seed uint64) map[string][]byte {
	rng, in := rand.New(rand.NewPCG(seed, 7)), map[string][]byte{}
	for _, name := range []string{"x", "y", "z"} {
		for range 9 {
			v := 0.5 + 2*rng.Float64()
			if rng.IntN(8) == 0 {
				v = math.Copysign(0, rng.Float64()-0.5)
			}
			in[name] = graph.AppendElem(in[name], graph.Float32, v)
		}
	}
	return in
}

func onEngine(t *testing.T, e engine.Engine, p *graph.Program, data map[string][]byte) map[string][]byte {
	t.Helper()
	in := map[string]engine.Tensor{}
	g := p.Cases[0].Graph
	for _, id := range g.Inputs() {
		x, err := e.NewTensor(graph.Float32, []int{3, 3}, data[g.InputName(id)])
		if err != nil {
			t.Fatal(err)
		}
		defer x.Release()
		in[g.InputName(id)] = x
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	res := map[string][]byte{}
	for name, x := range out {
		if res[name], err = x.Read(); err != nil {
			t.Fatal(err)
		}
		res[name] = bytes.Clone(res[name])
		x.Release()
	}
	return res
}

func TestRandomRewrites(t *testing.T) { fuzzRewrites(t, nil, 200) }

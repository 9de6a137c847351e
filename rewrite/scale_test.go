package rewrite

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
)

// deep is a Qwen3 model with experts, 4-bit, of one case: the one that takes few
// tokens. A layer has 71 nodes, and all rules of the qwen3 profile find work in it.
func deep(t testing.TB, layers int) *graph.Program {
	t.Helper()
	text, err := os.ReadFile("../models/reference/Qwen3-30B-A3B-4bit.json")
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	fields["num_hidden_layers"] = layers
	fields["quantization"] = map[string]int{"group_size": 64, "bits": 4}
	if text, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	cfg, err := models.ParseConfig("deep.json", text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := models.Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Cases = p.Cases[:1]
	return p
}

// beside puts copies of a program of one case into one graph. They share the tokens
// and the offset; parameters and caches of each have names of their own. Package
// models builds no model of more than 1000 layers, too few for 100,000 nodes.
func beside(t testing.TB, p *graph.Program, copies int) *graph.Program {
	t.Helper()
	old, g := p.Cases[0].Graph, graph.New()
	params := old.Params()
	out := &graph.Program{Name: p.Name}
	shared := map[string]graph.ValueID{}
	for i := range copies {
		prefix := fmt.Sprintf("copy%d.", i)
		values := map[graph.ValueID]graph.ValueID{graph.None: graph.None}
		leaf := func(v graph.ValueID) graph.ValueID {
			if l := old.Literal(v); l != nil {
				return g.Constant(l)
			}
			name := old.InputName(v)
			if _, ok := params[name]; ok {
				return g.Param(prefix+name, old.Type(v))
			}
			if strings.HasPrefix(name, "cache.") {
				return g.Input(prefix+name, old.Type(v))
			}
			if _, ok := shared[name]; !ok {
				shared[name] = g.Input(name, old.Type(v))
			}
			return shared[name]
		}
		for id := range graph.NodeID(old.NumNodes()) {
			n := old.Node(id)
			if n.Op.IsLeaf() {
				values[n.Out[0]] = leaf(n.Out[0])
				continue
			}
			in := make([]graph.ValueID, len(n.In))
			for k, v := range n.In {
				in[k] = values[v]
			}
			res, err := g.Add(n.Op, prefix+n.Scope, in, n.Attrs...)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range n.Out {
				values[v] = res[k]
			}
		}
		for _, o := range old.Outputs() {
			g.Output(prefix+o.Name, values[o.Value])
		}
		quants := map[*graph.Quant]*graph.Quant{nil: nil}
		for _, q := range p.Params {
			c := *q
			c.Name = prefix + q.Name
			if _, ok := quants[q.Quant]; !ok {
				other := *q.Quant
				other.Module = prefix + other.Module
				quants[q.Quant] = &other
			}
			c.Quant = quants[q.Quant]
			out.Params = append(out.Params, &c)
		}
	}
	if err := g.Compact(); err != nil {
		t.Fatal(err)
	}
	out.Cases = []graph.Case{{Name: p.Cases[0].Name, When: p.Cases[0].When, Graph: g}}
	if err := out.Verify(); err != nil {
		t.Fatal(err)
	}
	return out
}

// scales are programs of about 1,000, 10,000 and 100,000 nodes.
var scales = []struct{ layers, copies int }{{14, 1}, {140, 1}, {704, 2}}

// Ten times the nodes take ten times the memory: nothing is looked up by going
// through everything. Time, which a busy machine blurs, is asked of soak runs.
func TestLinear(t *testing.T) {
	cfg := config(t)
	soak, runs := os.Getenv("ZMLX_SOAK") != "", 1
	if soak {
		runs = 5
	}
	var first struct{ sites, allocs, bytes, seconds float64 }
	for i, s := range scales {
		if i == 2 && testing.Short() {
			break
		}
		p := beside(t, deep(t, s.layers), s.copies)
		nodes, layers := float64(p.NumNodes()), s.layers*s.copies
		sites := 0
		best := time.Duration(math.MaxInt64)
		var allocs, bytes uint64
		for range runs {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			res, err := Run(p, cfg)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			best, sites = min(best, took), 0
			allocs, bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
			for _, c := range res.Cases {
				for _, site := range c.Sites {
					if strings.Contains(site.Scope, "layers.") { // the others are of their heads
						sites++
					}
				}
			}
		}
		t.Logf("%.0f nodes, %d layers: %d sites, %.3fs, %d allocations, %d MB", nodes, layers, sites, best.Seconds(), allocs, bytes>>20)
		if i == 0 {
			first.sites = float64(sites) / float64(layers)
			first.allocs, first.bytes, first.seconds = float64(allocs)/nodes, float64(bytes)/nodes, best.Seconds()/nodes
			if sites < layers {
				t.Fatal("the rules find nothing")
			}
			continue
		}
		if float64(sites)/float64(layers) != first.sites {
			t.Errorf("%d layers: %d sites, not %g a layer", layers, sites, first.sites)
		}
		if a, b := float64(allocs)/nodes, float64(bytes)/nodes; a > 1.25*first.allocs || b > 1.25*first.bytes {
			t.Errorf("%.0f nodes: %.1f allocations and %.0f bytes a node, after %.1f and %.0f in the small program", nodes, a, b, first.allocs, first.bytes)
		}
		if !soak {
			continue
		}
		// Caches hold the small program and not the large one: that is worth a factor.
		if took := best.Seconds() / nodes; took > 3*first.seconds {
			t.Errorf("%.0f nodes: %.0f ns a node, after %.0f in the small program", nodes, took*1e9, first.seconds*1e9)
		}
		if best > time.Second {
			t.Errorf("%.0f nodes take %v", nodes, best)
		}
	}
}

// BenchmarkScale plans and applies all rules.
func BenchmarkScale(b *testing.B) {
	cfg := config(b)
	for _, s := range scales {
		p := beside(b, deep(b, s.layers), s.copies)
		b.Run(strconv.Itoa(p.NumNodes()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Run(p, cfg); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(p.NumNodes()), "ns/node")
		})
	}
}

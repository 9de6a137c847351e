package replay

import (
	"maps"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// Moves are made by the kernel that reads what they write, if it alone does, they are small, and
// the moves of one kernel may be made at the same time.
func TestAhead(t *testing.T) {
	a, b, c, d := &buffer{name: "a"}, &buffer{name: "b"}, &buffer{name: "c"}, &buffer{name: "d"}
	sized := func(to, from *buffer, n int64, part *graph.Node) step {
		m := &Move{Unit: 16, Shape: [4]int64{1, 1, 1, n}}
		return step{moves: []movement{{Move: m, node: part, from: ref{buffer: from}, to: ref{buffer: to}}}, in: []ref{{buffer: from}}, out: []ref{{buffer: to}}}
	}
	// A launch of one group of 128 threads.
	one, many := &syntax.Number{IsInt: true, Int: 1}, &syntax.Number{IsInt: true, Int: 128}
	group := [3]syntax.Expr{many, one, one}
	wide := &numbers{spec: &kernels.Spec{Launch: &kernels.Launch{Grid: group, Group: group}}}
	move := func(to, from *buffer) step { return sized(to, from, 4, nil) }
	kernel := func(out *buffer, in ...*buffer) step {
		s := step{call: call{source: &Source{}, numbers: wide, made: []ref{{buffer: out}}}}
		for _, x := range in {
			s.operands = append(s.operands, ref{buffer: x})
		}
		s.in, s.out = s.operands, s.made
		return s
	}
	taken := move(c, b)
	taken.moves[0].rows = &ref{buffer: a}
	node := &graph.Node{}
	for _, x := range []struct {
		name  string
		steps []step
		want  int // launches
	}{
		{"a row in front of its reader", []step{move(b, a), kernel(c, b)}, 1},
		{"over a kernel that has nothing to do with it", []step{move(b, a), kernel(d), kernel(c, b)}, 2},
		{"another reader", []step{move(b, a), kernel(c, b), kernel(d, b)}, 3},
		{"read and moved on", []step{move(b, a), move(c, b), kernel(d, c)}, 1},
		{"the reader writes what is moved", []step{move(b, a), kernel(a, b)}, 2},
		{"no reader", []step{kernel(b, a), move(c, b)}, 2},
		{"overwritten, not read", []step{move(b, a), kernel(b, c)}, 2},
		{"one of two: the reader writes what the other reads", []step{move(c, a), move(d, b), kernel(a, c, d)}, 2},
		{"one overwrites what the other reads", []step{move(c, a), move(a, b), kernel(d, c, a)}, 2},
		{"two rows", []step{move(c, a), move(d, b), kernel(&buffer{}, c, d)}, 1},
		{"two to one place", []step{move(c, a), move(c, b), kernel(d, c)}, 2},
		{"parts of a concatenation", []step{sized(c, a, 4, node), sized(c, b, 4, node), kernel(d, c)}, 1},
		{"large", []step{sized(b, a, 128*mostUnits+1, nil), kernel(c, b)}, 2},
		{"large together", []step{sized(c, a, 64*mostUnits+1, node), sized(c, b, 64*mostUnits, node), kernel(d, c)}, 2},
		{"rows of a table", []step{taken, kernel(d, c)}, 2},
	} {
		m := &maker{script: &script{steps: x.steps}}
		m.ahead(true)
		if len(m.steps) != x.want {
			t.Errorf("%s: %d launches, want %d", x.name, len(m.steps), x.want)
		}
		for _, s := range m.steps {
			if s.source != nil && len(s.source.Fronts) != len(s.fronts) {
				t.Errorf("%s: %d fronts, and the source has %d", x.name, len(s.fronts), len(s.source.Fronts))
			}
		}
	}
}

// What is in front of attention and of the experts takes no launches of its own.
func TestAheadInModels(t *testing.T) {
	for _, m := range []struct {
		name, profile   string
		launches, moves int // of moves alone
		fused           map[string]int
	}{
		{"Qwen3-30B-A3B-4bit", "qwen3", 291, 0, map[string]int{"moves, sdpa_decode": 48, "qk_norm_rope, sdpa_decode": 48, "router_softmax_topk, rms_norm_gather_qmm_swiglu": 48}},
		{"gpt-oss-20b-MXFP4-Q4", "gpt_oss", 291, 0, map[string]int{"moves, sdpa_decode": 24, "rope_freqs, sdpa_decode": 24}},
		{"LFM2-8B-A1B-4bit", "lfm2", 148, 3, map[string]int{"moves, sdpa_decode": 6, "qk_norm_rope, sdpa_decode": 6, "router_sigmoid_topk, rms_norm_gather_qmm_swiglu": 22}},
		{"GLM-4.7-Flash-4bit", "glm47", 702, 47, map[string]int{"moves, mla_decode": 94, "rope, mla_decode": 94, "router_sigmoid_topk_first, gather_qmm_swiglu": 46}},
	} {
		p, catalog := rewritten(t, m.name, m.profile)
		env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
		c, err := p.Select(env)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newScript(c, env, catalog, true)
		if err != nil {
			t.Fatal(err)
		}
		moves, fused := 0, map[string]int{}
		for _, x := range s.steps {
			if x.source == nil {
				moves++
			}
			for _, f := range x.fronts {
				what := "moves"
				if f.source != nil {
					what = f.source.Spec.Name
				}
				fused[what+", "+x.source.Spec.Name]++
			}
		}
		if len(s.steps) != m.launches || moves != m.moves || !maps.Equal(fused, m.fused) {
			t.Errorf("%s: %d launches, %d of them moves alone, in front: %v; want %d, %d, %v", m.name, len(s.steps), moves, fused, m.launches, m.moves, m.fused)
		}
		if s, err = newScript(c, env, catalog, false); err != nil || slices.ContainsFunc(s.steps, func(x step) bool {
			return slices.ContainsFunc(x.fronts, func(f front) bool { return f.source != nil })
		}) {
			t.Errorf("%s: kernels are in front of others on a device that does not take them (%v)", m.name, err)
		}
	}
}

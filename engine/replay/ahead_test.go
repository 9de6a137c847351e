package replay

import (
	"maps"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
)

// Moves are made by the kernel that reads what they write, if it alone does, they are small, and
// the moves of one kernel may be made at the same time.
func TestAhead(t *testing.T) {
	a, b, c, d := &buffer{name: "a"}, &buffer{name: "b"}, &buffer{name: "c"}, &buffer{name: "d"}
	sized := func(to, from *buffer, n int64, part *graph.Node) step {
		m := &Move{MoveShape: MoveShape{16, [4]int64{1, 1, 1, n}}}
		return step{moves: []movement{{Move: m, node: part, from: ref{buffer: from}, to: ref{buffer: to}}}, in: []ref{{buffer: from}}, out: []ref{{buffer: to}}}
	}
	move := func(to, from *buffer) step { return sized(to, from, 4, nil) }
	kernel := func(out *buffer, in ...*buffer) step {
		s := step{source: &Source{}, numbers: &numbers{}, made: []ref{{buffer: out}}}
		for _, x := range in {
			s.operands = append(s.operands, ref{buffer: x})
		}
		s.in, s.out = s.operands, s.made
		return s
	}
	taken := move(c, b)
	taken.moves[0].rows = &ref{buffer: a}
	one := &graph.Node{}
	for _, x := range []struct {
		name  string
		steps []step
		want  int // launches
	}{
		{"a row in front of its reader", []step{move(b, a), kernel(c, b)}, 1},
		{"over a kernel that has nothing to do with it", []step{move(b, a), kernel(d), kernel(c, b)}, 2},
		{"another reader", []step{move(b, a), kernel(c, b), kernel(d, b)}, 3},
		{"read and moved on", []step{move(b, a), move(c, b), kernel(d, c)}, 2},
		{"the reader writes what is moved", []step{move(b, a), kernel(a, b)}, 2},
		{"no reader", []step{kernel(b, a), move(c, b)}, 2},
		{"overwritten, not read", []step{move(b, a), kernel(b, c)}, 2},
		{"rows of two caches", []step{move(c, a), move(d, b), kernel(a, c, d)}, 2}, // it writes what the first reads
		{"one overwrites what the other reads", []step{move(c, a), move(a, b), kernel(d, c, a)}, 2},
		{"the reader writes there, too", []step{move(b, a), kernel(b, b, c)}, 2},
		{"two rows", []step{move(c, a), move(d, b), kernel(&buffer{}, c, d)}, 1},
		{"two to one place", []step{move(c, a), move(c, b), kernel(d, c)}, 2},
		{"parts of a concatenation", []step{sized(c, a, 4, one), sized(c, b, 4, one), kernel(d, c)}, 1},
		{"large", []step{sized(b, a, mostAhead+1, nil), kernel(c, b)}, 2},
		{"large together", []step{sized(c, a, mostAhead/2+1, one), sized(c, b, mostAhead/2, one), kernel(d, c)}, 2},
		{"rows of a table", []step{taken, kernel(d, c)}, 2},
	} {
		m := &maker{script: &script{steps: x.steps}}
		m.ahead()
		if len(m.steps) != x.want {
			t.Errorf("%s: %d launches, want %d", x.name, len(m.steps), x.want)
		}
		for _, s := range m.steps {
			if s.source != nil && len(s.source.Ahead) != len(s.moves) {
				t.Errorf("%s: %d moves, and the source says %v", x.name, len(s.moves), s.source.Ahead)
			}
		}
	}
}

// Attention makes the row that it reads: no layer has a launch for the cache. Where a kernel has the
// row in its hands, caches take theirs at the end, those of twelve layers in a launch. So do the
// states of LFM2, in one more.
func TestAheadOfAttention(t *testing.T) {
	for _, m := range []struct {
		name, profile string
		ahead, alone  int // kernels with moves in front, and launches of moves: heads of a latent query, which are many
	}{{"Qwen3-30B-A3B-4bit", "qwen3", 0, 4}, {"LFM2-8B-A1B-4bit", "lfm2", 0, 2}, {"Llama-3.1-8B-4bit", "smollm2", 32, 0}, {"gpt-oss-20b-MXFP4-Q4", "gpt_oss", 24, 0},
		{"GLM-4.7-Flash-4bit", "glm47", 2 * 47, 47}} {
		p, catalog := rewritten(t, m.name, m.profile)
		env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 1024, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
		for _, rows := range []int64{9, 700} {
			env[graph.SymKVLen] = rows
			c, err := p.Select(env)
			if err != nil {
				t.Fatal(err)
			}
			s, err := newScript(&graph.Case{Graph: c.Graph}, env, catalog)
			if err != nil {
				t.Fatal(err)
			}
			alone, ahead := 0, 0
			for _, x := range s.steps {
				if x.source == nil {
					alone++
				} else if len(x.moves) > 0 {
					ahead++
				}
			}
			if alone != m.alone || ahead != m.ahead {
				t.Errorf("%s, %s: %d launches of moves alone, want %d, %d kernels with moves in front, want %d", m.name, c.Name, alone, m.alone, ahead, m.ahead)
			}
		}
	}
}

// Products with weights may ask for them early, and attention for the rows of a cache that the step
// has not written: in each layer of Qwen3 four of six launches, and the head. The experts' down
// projection may if it is not the launch in front of it that chooses them, as it is in Qwen3.
func TestEarlyWeights(t *testing.T) {
	env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
	for _, m := range []struct {
		name, profile string
		want          map[string]int
	}{
		{"Qwen3-30B-A3B-4bit", "qwen3", map[string]int{"norm_rope_sdpa_decode": 48, "qmv": 1, "qmv_add": 48, "rms_norm_qmv": 96}},
		{"LFM2-8B-A1B-4bit", "lfm2", map[string]int{"norm_rope_sdpa_decode": 6, "qmv": 1, "qmv_add": 26, "rms_norm_qmv": 6, "rms_norm_qmv_short_conv": 18, "rms_norm_qmv_swiglu": 2, "rms_norm_qmv_sigmoid_topk": 22,
			"gather_qmm_combine_add": 22}},
	} {
		p, catalog := rewritten(t, m.name, m.profile)
		c, err := p.Select(env)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newScript(&graph.Case{Graph: c.Graph}, env, catalog)
		if err != nil {
			t.Fatal(err)
		}
		early := map[string]int{}
		for i, x := range s.steps {
			if x.source == nil || !x.source.Early {
				continue
			}
			early[x.source.Spec.Name]++
			for _, k := range x.after {
				for _, w := range s.steps[k].out {
					if slices.ContainsFunc(x.first, func(r ref) bool { return r.buffer == w.buffer }) {
						t.Errorf("%s: launch %d, %s, reads early what launch %d in front of it writes", m.name, i, x.source.Spec.Name, k)
					}
				}
			}
		}
		if !maps.Equal(early, m.want) {
			t.Errorf("%s: early launches: %v, want %v", m.name, early, m.want)
		}
	}
}

// Kernels may read a cache as it was before a row is written to it, and the row waits for them; not
// if anybody could read that behind the write: a kernel, a view, a result, or another write.
func TestLateRows(t *testing.T) {
	_, catalog := rewritten(t, "Qwen3-0.6B-4bit", "qwen3")
	const head = `zmlx 1
program p
case decode
  input offset : int32[]
  input rows : float32[1, 1, 1, 64]
  input cache : float32[1, 1, 64, 64]
`
	op := catalog.Op("kernel.swiglu")
	for _, x := range []struct {
		name, body string
		refused    bool
		moves      int // behind so many kernels
	}{
		{"read behind", "  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  y = kernel.swiglu(c, c) : float32[1, 1, 64, 64]\n  output y = y\n  output cache = c\n", false, 0},
		{"read before", "  y = kernel.swiglu(cache, cache) : float32[1, 1, 64, 64]\n  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  output y = y\n  output cache = c\n", false, 1},
		{"read before and behind", "  y = kernel.swiglu(cache, cache) : float32[1, 1, 64, 64]\n  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  z = kernel.swiglu(c, y) : float32[1, 1, 64, 64]\n  output y = z\n  output cache = c\n", false, 1},
		{"as it was, behind", "  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  y = kernel.swiglu(cache, c) : float32[1, 1, 64, 64]\n  output y = y\n  output cache = c\n", true, 0},
		{"a view", "  s = transpose(cache, axes=[0, 1, 3, 2]) : float32[1, 1, 64, 64]\n  y = kernel.swiglu(s, s) : float32[1, 1, 64, 64]\n  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  output y = y\n  output cache = c\n", true, 0},
		{"a result", "  y = kernel.swiglu(cache, cache) : float32[1, 1, 64, 64]\n  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  output y = y\n  output cache = c\n  output peek = cache\n", true, 0},
		{"two rows at one place", "  y = kernel.swiglu(cache, cache) : float32[1, 1, 64, 64]\n  c = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  d = kv_append(cache, rows, offset) : float32[1, 1, 64, 64]\n  output y = y\n  output cache = c\n  output peek = d\n", true, 0},
	} {
		p, issues := graph.ParseText("p.zg", []byte(head+x.body), func(string) *graph.Op { return op })
		if issues.HasErrors() {
			t.Fatal(issues)
		}
		s, err := newScript(&p.Cases[0], nil, catalog)
		if x.refused != (err != nil) {
			t.Errorf("%s: %v", x.name, err)
		}
		if err != nil {
			continue
		}
		behind := slices.IndexFunc(s.steps, func(s step) bool { return len(s.moves) > 0 })
		if behind != x.moves || behind > 0 && !slices.Equal(s.steps[behind].after, []int{behind - 1}) {
			t.Errorf("%s: the row is written by launch %d of %d, want %d", x.name, behind, len(s.steps), x.moves)
		}
	}
}

// What the host copies in, and a cache that the step has written, is read early by none; what a launch
// has made is, but for the launch in front.
func TestStill(t *testing.T) {
	w, c, cache, made := &buffer{kind: parameter}, &buffer{kind: copied}, &buffer{kind: state}, &buffer{kind: temporary}
	m := &maker{script: &script{steps: []step{{in: []ref{{buffer: cache}}}}}}
	if !m.still(w) || !m.still(cache) || m.still(c) || !m.still(made) {
		t.Error("weights, a cache that was only read, and what a launch has made may be read early, and nothing else")
	}
	m.steps = append(m.steps, step{out: []ref{{buffer: cache}}})
	if m.still(cache) {
		t.Error("a cache may not be read early behind what writes to it")
	}
	early := &Source{Early: true}
	m.steps = []step{{out: []ref{{buffer: made}}}, {source: early, after: []int{0}, first: []ref{{buffer: w}}}, {source: early, after: []int{1}, first: []ref{{buffer: made}}}, {source: early, after: []int{0}, first: []ref{{buffer: made}}}}
	m.inTime()
	if !m.steps[1].source.Early || !m.steps[2].source.Early || m.steps[3].source.Early || !early.Early {
		t.Error("a launch reads early what others than the one in front of it have made")
	}
}

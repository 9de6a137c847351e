package replay

import (
	"maps"
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

// Attention makes the row that it reads: no layer has a launch for the cache.
func TestAheadOfAttention(t *testing.T) {
	for _, m := range []struct {
		name, profile string
		ahead, alone  int // kernels with moves in front, and launches of moves: heads of a latent query, which are many
	}{{"Qwen3-30B-A3B-4bit", "qwen3", 48, 0}, {"gpt-oss-20b-MXFP4-Q4", "gpt_oss", 24, 0}, {"GLM-4.7-Flash-4bit", "glm47", 2 * 47, 47}} {
		p, catalog := rewritten(t, m.name, m.profile)
		for i := range p.Cases {
			env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
			s, err := newScript(&p.Cases[i], env, catalog)
			if err != nil {
				continue
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
				t.Errorf("%s, %s: %d launches of moves alone, want %d, %d kernels with moves in front, want %d", m.name, p.Cases[i].Name, alone, m.alone, ahead, m.ahead)
			}
		}
	}
}

// Products with weights may ask for them early: in each layer of Qwen3 three of seven launches, and
// the head.
func TestEarlyWeights(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-30B-A3B-4bit", "qwen3")
	env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
	early := func(g *graph.Graph) map[string]int {
		s, err := newScript(&graph.Case{Graph: g}, env, catalog)
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, x := range s.steps {
			if x.source != nil && x.source.Early {
				n[x.source.Spec.Name]++
			}
		}
		return n
	}
	c, err := p.Select(env)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := early(c.Graph), map[string]int{"qmv": 1, "qmv_add": 48, "rms_norm_qmv": 96}; !maps.Equal(got, want) {
		t.Errorf("early launches: %v, want %v", got, want)
	}
}

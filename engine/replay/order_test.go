package replay

import (
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// Of two launches that touch the same memory, one of them to write, the later one waits for the
// earlier one, at least by way of others; and there are launches that wait for less than all
// before them.
func TestOrder(t *testing.T) {
	for _, m := range []struct {
		name, profile string
		deep          int // launches that one after the other wait, at most
	}{
		{"Qwen3-30B-A3B-4bit", "qwen3", 387}, {"GLM-4.7-Flash-4bit", "glm47", 610}, {"gpt-oss-20b-MXFP4-Q4", "gpt_oss", 292},
	} {
		p, catalog := rewritten(t, m.name, m.profile)
		// Those that a step of one sequence may take, behind few rows and behind many: how deep the others
		// are, which are for several, is their own matter.
		one := map[*graph.Case]bool{}
		for _, rows := range []int64{9, 5000} {
			for _, window := range []int64{9, 5000} {
				c, err := p.Select(map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: rows, graph.SymWindowLen: window})
				if err != nil {
					t.Fatal(err)
				}
				one[c] = true
			}
		}
		scripts := 0
		for i := range p.Cases {
			env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
			s, err := newScript(&p.Cases[i], env, catalog)
			if err != nil {
				continue
			}
			scripts++
			before, parts := make([][]bool, len(s.steps)), 0 // attention in parts is two launches
			depth, deepest := make([]int, len(s.steps)), 0
			for j, x := range s.steps {
				if x.source != nil && strings.HasPrefix(x.source.Spec.Name, "sdpa_merge") {
					parts++
				}
				before[j] = make([]bool, len(s.steps))
				for _, k := range x.after {
					if k >= j {
						t.Fatalf("%s: launch %d waits for launch %d", m.name, j, k)
					}
					depth[j] = max(depth[j], depth[k])
					before[j][k] = true
					for q, b := range before[k] {
						before[j][q] = before[j][q] || b
					}
				}
				depth[j]++
				deepest = max(deepest, depth[j])
				for k := range j {
					if !before[j][k] && (meet(s.steps[k].out, x.in) || meet(s.steps[k].out, x.out) || meet(s.steps[k].in, x.out)) {
						t.Fatalf("%s, %s: launch %d does not wait for launch %d, and touches the same memory", m.name, p.Cases[i].Name, j, k)
					}
				}
			}
			if one[&p.Cases[i]] && deepest > m.deep+parts {
				t.Errorf("%s, %s: %d of %d launches wait one for the other, more than %d", m.name, p.Cases[i].Name, deepest, len(s.steps), m.deep+parts)
			}
		}
		if scripts == 0 {
			t.Errorf("%s: no case is replayed", m.name)
		}
	}
}

// meet reports whether operands share memory: a buffer, or a place in the arena.
func meet(a, b []ref) bool {
	for _, r := range a {
		for _, q := range b {
			if r.buffer == q.buffer || r.kind == temporary && q.kind == temporary && r.buffer.offset < q.buffer.offset+q.size && q.buffer.offset < r.buffer.offset+r.size {
				return true
			}
		}
	}
	return false
}

package main

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

type rowsOf struct {
	name        string
	least, most int64
}

// meant says for how many rows kernels are, by the beginning of their names: the first that is one
// counts. Those that make a norm anew in each group are for less than eight, or eight with matrices of
// 8 bits; what reads a matrix for each row, or is there for a step to be kernels alone, ends at 32.
var meant = []rowsOf{
	{"kernel.gather_qmm_rows", 32, 1 << 40}, {"kernel.qmm_batch", 8, 32}, {"kernel.qmv_swiglu", 1, 8}, {"kernel.qmv_geglu", 1, 8},
	{"kernel.rms_norm_", 1, 8}, {"kernel.gather_qmm_", 1, 32}, {"kernel.qmv", 1, 32}, {"kernel.add_rms_norm", 1, 32}, {"kernel.router_", 1, 32},
}

// TestSweep calls each 4-bit reference model, rewritten for NVIDIA, with batches and lengths
// on both sides of the rules' guards: what the case that is taken launches must be meant
// for so many rows, and steps of up to 32 sequences must be given what is made for them.
func TestSweep(t *testing.T) {
	onceEnough(t)
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	o := &options{preset: "inference", target: "cuda", profile: "all"}
	w, err := a.workspace(o)
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, prof := range w.profiles {
		for _, e := range prof.Expected("cuda") {
			if !strings.Contains(e.Model, "4bit") && !strings.Contains(e.Model, "Q4") {
				continue
			}
			tested++
			t.Run(e.Model, func(t *testing.T) {
				p, err := reference(e.Model)
				if err != nil {
					t.Fatal(err)
				}
				res, err := rewriteOne(w, prof, o, &subject{name: e.Model, program: p}, nil)
				if err != nil {
					t.Fatal(err)
				}
				few := map[int64]int{} // by batch: kernels for few rows that a step of it launches
				for _, batch := range []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 33} {
					for _, length := range []int64{1, 2, 33, 64} {
						c, err := res.res.Program.Select(map[string]int64{graph.SymBatch: batch, graph.SymSeqLen: length, graph.SymKVLen: length, graph.SymWindowLen: length})
						if err != nil {
							t.Fatal(err)
						}
						rows := batch * length
						count := map[string]int{}
						for id := range graph.NodeID(c.Graph.NumNodes()) {
							if op := c.Graph.Node(id).Op; op.IsKernel() {
								count[op.Name]++
							}
						}
						for name, n := range count {
							i := slices.IndexFunc(meant, func(m rowsOf) bool { return strings.HasPrefix(name, m.name) })
							if i < 0 {
								continue
							}
							if rows < meant[i].least || rows > meant[i].most {
								t.Errorf("batch %d, length %d: case %s launches %s %d times, for %d rows", batch, length, c.Name, name, n, rows)
							}
							if length == 1 && meant[i].most <= 32 {
								few[batch] += n
							}
						}
						if rows == 1 && len(count) == 0 {
							t.Errorf("one token launches no kernel in case %s", c.Name)
						}
					}
				}
				t.Logf("%d cases; steps launch, by batch, kernels that are for few rows: %v", len(res.res.Program.Cases), few)
				for _, batch := range []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32} {
					if few[batch] == 0 {
						t.Errorf("a step of %d launches none of the kernels that are for few rows", batch)
					}
				}
				if few[33] > 0 {
					t.Errorf("a step of 33 launches %d kernels that are for few rows", few[33])
				}
			})
		}
	}
	if tested < 10 {
		t.Errorf("%d models", tested)
	}
}

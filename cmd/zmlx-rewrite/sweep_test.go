package main

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// rowKernel is kernels that read a matrix for each row, or for a few; where rows are many,
// MLX's own products are better. one says that they are for a single row.
type rowKernel struct {
	prefix string
	one    bool
}

var fewRows = []rowKernel{
	{"kernel.rms_norm_qmv", true}, {"kernel.rms_norm_gather_qmm", true},
	{"kernel.gather_qmm", false}, {"kernel.qmv_", false}, {"kernel.add_rms_norm", false}, {"kernel.router_", false},
}

// TestSweep calls each 4-bit reference model, rewritten for NVIDIA, with batches and lengths
// on both sides of the rules' guards: what the case that is taken launches must be meant
// for so many rows, and a single token must be given what is made for it.
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
				single := 0 // kernels for one row only that one token launches
				for _, batch := range []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 32} {
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
							i := slices.IndexFunc(fewRows, func(f rowKernel) bool {
								return strings.HasPrefix(name, f.prefix)
							})
							switch {
							case i < 0:
							case rows > 8, fewRows[i].one && rows > 1:
								t.Errorf("batch %d, length %d: case %s launches %s %d times, for %d rows", batch, length, c.Name, name, n, rows)
							case fewRows[i].one:
								single += n
							}
						}
						if rows == 1 && len(count) == 0 {
							t.Errorf("one token launches no kernel in case %s", c.Name)
						}
					}
				}
				t.Logf("%d cases; one token launches %d kernels that are for one row", len(res.res.Program.Cases), single)
			})
		}
	}
	if tested < 10 {
		t.Errorf("%d models", tested)
	}
}

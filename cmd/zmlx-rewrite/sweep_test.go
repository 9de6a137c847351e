package main

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// fewRows are kernels, by the beginning of their names, that read a matrix for each row, or make
// a norm anew in each group: where rows are more than eight, MLX's own products are better.
var fewRows = []string{"kernel.rms_norm_qmv", "kernel.rms_norm_gather_qmm", "kernel.rms_norm_softmax_topk", "kernel.rms_norm_sigmoid_topk",
	"kernel.gather_qmm", "kernel.qmv_", "kernel.add_rms_norm", "kernel.router_"}

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
				few := map[int64]int{} // by batch: kernels for few rows that a step of it launches
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
							if name == "kernel.gather_qmm" || !slices.ContainsFunc(fewRows, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
								continue
							}
							if rows > 8 {
								t.Errorf("batch %d, length %d: case %s launches %s %d times, for %d rows", batch, length, c.Name, name, n, rows)
							}
							if rows <= 8 && length == 1 {
								few[batch] += n
							}
						}
						if rows == 1 && len(count) == 0 {
							t.Errorf("one token launches no kernel in case %s", c.Name)
						}
					}
				}
				t.Logf("%d cases; steps launch, by batch, kernels that are for few rows: %v", len(res.res.Program.Cases), few)
				for batch := range int64(8) {
					if few[batch+1] == 0 {
						t.Errorf("a step of %d launches none of the kernels that are for few rows", batch+1)
					}
				}
			})
		}
	}
	if tested < 10 {
		t.Errorf("%d models", tested)
	}
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
)

const decodeOps = "testdata/decode_ops_cuda.txt"

// TestDecodeOps lists what one token of each reference model, rewritten for NVIDIA, still
// starts besides our kernels: a step without such ops can be started as one CUDA graph,
// without MLX. The list is a golden file; UPDATE_GOLDEN=1 writes it.
func TestDecodeOps(t *testing.T) {
	if testing.Short() {
		t.Skip("short: every reference model is rewritten")
	}
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	o := &options{preset: "inference", target: "cuda", profile: "all"}
	w, err := a.workspace(o)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	fmt.Fprintln(&got, "# Model, rows in the cache: launches, and those of MLX's own ops, each with its number.")
	for _, model := range models.ReferenceNames() {
		p, err := reference(model)
		if err != nil {
			t.Fatal(err)
		}
		prof, err := w.profile("", p)
		if err != nil {
			t.Fatal(err)
		}
		res, err := rewriteOne(w, prof, o, &subject{name: model, program: p}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int64{512, 8192} {
			c, err := res.res.Program.Select(map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: rows, graph.SymWindowLen: 128})
			if err != nil {
				t.Fatal(err)
			}
			stock := map[string]int{}
			for id := range graph.NodeID(c.Graph.NumNodes()) {
				if op := c.Graph.Node(id).Op; op.Launches > 0 && !op.IsKernel() && op.Name != "kv_append" {
					stock[op.Name]++
				}
			}
			fmt.Fprintf(&got, "%s, %d: %d launches", model, rows, c.Graph.Launches())
			if len(stock) == 0 {
				fmt.Fprint(&got, ", all of kernels")
			}
			for _, name := range slices.Sorted(maps.Keys(stock)) {
				fmt.Fprintf(&got, ", %s %d", name, stock[name])
			}
			fmt.Fprintln(&got)
		}
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(decodeOps, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(decodeOps)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what the rules give (UPDATE_GOLDEN=1 writes it); they give\n%s", decodeOps, got.Bytes())
	}
}

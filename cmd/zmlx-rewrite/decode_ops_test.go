package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/models"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

const decodeOps = "testdata/decode_ops_cuda.txt"

// TestDecodeOps lists what one token of each reference model, rewritten for NVIDIA, still
// starts besides our kernels: a step without such ops can be started as one CUDA graph,
// without MLX. The list is a golden file; UPDATE_GOLDEN=1 writes it.
func TestDecodeOps(t *testing.T) {
	onceEnough(t)
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

// TestHeadRule: of what runs behind the model, the token is one kernel, and where nothing else
// is asked for, it is all there is.
func TestHeadRule(t *testing.T) {
	onceEnough(t)
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	w, err := a.workspace(&options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, only := range []bool{false, true} {
		p, err := decode.HeadProgram(graph.BFloat16, 151936)
		if err != nil {
			t.Fatal(err)
		}
		if only {
			p = tokenOnly(t, p)
		}
		res, err := rewrite.Run(p, &rewrite.Config{Set: w.set, Rules: []*rules.Rule{w.set.Rule("decode.argmax_logprobs")}, Setting: guard.Setting{Target: "cuda", TPSize: 1}})
		if err != nil {
			t.Fatal(err)
		}
		g := res.Program.Cases[0].Graph
		kernels, stock := 0, 0
		for id := range graph.NodeID(g.NumNodes()) {
			switch op := g.Node(id).Op; {
			case op.Name == "kernel.logits_parts" || op.Name == "kernel.argmax_logprobs":
				kernels++
			case op.Launches > 0:
				stock++
			}
		}
		// The sum, the differences and two conversions are for those who want to see them.
		if want := map[bool]int{false: 4, true: 0}[only]; kernels != 2 || stock != want {
			t.Errorf("token only %v: %d kernels and %d other launches, want 2 and %d\n%s", only, kernels, stock, want, g)
		}
	}
}

// tokenOnly is a program without outputs but next.
func tokenOnly(t *testing.T, p *graph.Program) *graph.Program {
	lines := slices.DeleteFunc(strings.Split(string(p.Text()), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "  output ") && !strings.HasPrefix(line, "  output next ")
	})
	q, issues := graph.ParseText("head.zg", []byte(strings.Join(lines, "\n")), graph.LookupOp)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	if err := q.Cases[0].Graph.Compact(); err != nil {
		t.Fatal(err)
	}
	return q
}

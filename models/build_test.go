package models

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

func buildReference(t testing.TB, name string) *graph.Program {
	t.Helper()
	c, ok := ReferenceConfig(name)
	if !ok {
		t.Fatalf("no reference configuration %s", name)
	}
	p, err := Build(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// summary prints a program's shape: per case its condition, signature and the
// operations of each scope, with layers that look alike on one line.
func summary(p *graph.Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d parameters\n", p.Name, len(p.Params))
	for _, c := range p.Cases {
		g := c.Graph
		fmt.Fprintf(&b, "\ncase %s when %s: %d nodes, %d launches\n", c.Name, c.When, g.NumNodes(), g.Launches())
		for i, id := range g.Inputs() {
			if i < 4 || i >= len(g.Inputs())-2 {
				fmt.Fprintf(&b, "  in  %s %s\n", g.InputName(id), g.Type(id))
			}
		}
		for i, o := range g.Outputs() {
			if i < 3 || i >= len(g.Outputs())-2 {
				fmt.Fprintf(&b, "  out %s %s\n", o.Name, g.Type(o.Value))
			}
		}
		var scopes []string
		ops := map[string][]string{}
		for i := range g.NumNodes() {
			n := g.Node(graph.NodeID(i))
			if n.Op.IsLeaf() {
				continue
			}
			if ops[n.Scope] == nil {
				scopes = append(scopes, n.Scope)
			}
			ops[n.Scope] = append(ops[n.Scope], n.Op.Name)
		}
		var lines []string
		count := map[string][]string{}
		for _, s := range scopes {
			slices.Sort(ops[s])
			var parts []string
			for i := 0; i < len(ops[s]); {
				j := i
				for j < len(ops[s]) && ops[s][j] == ops[s][i] {
					j++
				}
				parts = append(parts, fmt.Sprintf("%d %s", j-i, ops[s][i]))
				i = j
			}
			parts = append([]string{layerless(s) + ":"}, parts...)
			line := strings.Join(parts, " ")
			if count[line] == nil {
				lines = append(lines, line)
			}
			count[line] = append(count[line], s)
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "  %d x %s\n", len(count[l]), l)
		}
	}
	return b.String()
}

// layerless replaces the number of a layer by N.
func layerless(scope string) string {
	parts := strings.Split(scope, ".")
	for i := range parts {
		if i > 0 && parts[i-1] == "layers" {
			parts[i] = "N"
		}
	}
	return strings.Join(parts, ".")
}

// TestReferencePrograms compares every reference model with its golden summary.
func TestReferencePrograms(t *testing.T) {
	for _, name := range ReferenceNames() {
		t.Run(name, func(t *testing.T) {
			p := buildReference(t, name)
			golden(t, filepath.Join("testdata", "summary", name+".txt"), []byte(summary(p)))
			if err := p.Verify(); err != nil {
				t.Error(err)
			}
			for _, c := range p.Cases {
				for i := range c.Graph.NumNodes() {
					if n := c.Graph.Node(graph.NodeID(i)); !n.Op.IsLeaf() && n.Scope == "" {
						t.Errorf("case %s: node %d, %s, has no scope", c.Name, i, n.Op.Name)
					}
				}
			}
		})
	}
}

// TestProgramText pins every operation, operand and attribute of one small model
// of each architecture. What they compute is held against mlx-lm bit for bit
// where engines are (testdata/tiny).
func TestProgramText(t *testing.T) {
	for name, config := range map[string][]byte{
		"llama-biases": tinyConfig(t, "llama", map[string]any{"num_hidden_layers": 1, "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": false,
			"quantization": map[string]any{"group_size": 32, "bits": 8, "lm_head": false, "model.layers.0.mlp.up_proj": false}}),
		"lfm2": tinyConfig(t, "lfm2", map[string]any{"num_hidden_layers": 2, "layer_types": nil, "full_attn_idxs": []int{1}, "conv_bias": true}),
		"lfm2_moe-4bit": tinyConfig(t, "lfm2_moe", map[string]any{"num_hidden_layers": 2, "layer_types": []string{"full_attention", "conv"}, "torch_dtype": "bfloat16",
			"quantization": map[string]any{"group_size": 64, "bits": 4, "model.layers.1.feed_forward.gate": map[string]any{"bits": 8, "group_size": 64}}}),
		"lfm2_moe": tinyConfig(t, "lfm2_moe", map[string]any{"num_hidden_layers": 2, "layer_types": []string{"conv", "full_attention"}, "num_dense_layers": 0,
			"use_expert_bias": false, "norm_topk_prob": false, "routed_scaling_factor": 2.5}),
		"qwen3": tinyConfig(t, "qwen3", map[string]any{"num_hidden_layers": 1}),
		"qwen3_moe-4bit": tinyConfig(t, "qwen3_moe", map[string]any{"num_hidden_layers": 1, "torch_dtype": "bfloat16",
			"quantization": map[string]any{"group_size": 64, "bits": 4, "model.layers.0.mlp.gate": map[string]any{"bits": 8, "group_size": 64}}}),
		"mixtral-4bit": tinyConfig(t, "mixtral", map[string]any{"num_hidden_layers": 1, "tie_word_embeddings": false,
			"quantization": map[string]any{"group_size": 32, "bits": 4, "model.layers.0.block_sparse_moe.gate": false}}),
		"qwen3_moe": tinyConfig(t, "qwen3_moe", map[string]any{"num_hidden_layers": 1, "norm_topk_prob": false}),
		"gpt_oss-mxfp4": tinyConfig(t, "gpt_oss", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 32.0},
			"quantization_config": map[string]any{"quant_method": "mxfp4", "modules_to_not_convert": []string{"model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"}}}),
		"qwen3_next-4bit": tinyConfig(t, "qwen3_next", map[string]any{"num_hidden_layers": 2, "torch_dtype": "bfloat16", "quantization": map[string]any{"group_size": 32, "bits": 4}}),
		"gemma":           tinyConfig(t, "gemma", map[string]any{"num_hidden_layers": 1}),
		"gemma2":          tinyConfig(t, "gemma2", map[string]any{"num_hidden_layers": 1, "torch_dtype": "bfloat16"}),
		"gemma3_text":     tinyConfig(t, "gemma3_text", map[string]any{"sliding_window_pattern": 2, "sliding_window": 16, "tie_word_embeddings": false}),
		"gemma3-4bit":     tinyConfig(t, "gemma3", map[string]any{"num_hidden_layers": 1, "torch_dtype": "bfloat16", "quantization": map[string]any{"group_size": 64, "bits": 4}}),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Build(mustParse(t, config), nil)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "programs", name+".zg"), p.Text())
		})
	}
}

// golden compares with a file; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

// TestCasesCoverEveryCall checks that exactly one case applies to any call, and
// that it is the one mlx-lm would take.
func TestCasesCoverEveryCall(t *testing.T) {
	for _, k := range []int{0, 1, 2, 3, 8, 63, 64, 65} {
		shapes := caseShapes(k)
		for batch := int64(1); batch <= 70; batch++ {
			for seqLen := int64(1); seqLen <= 70; seqLen++ {
				env := map[string]int64{graph.SymBatch: batch, graph.SymSeqLen: seqLen}
				want := "prefill"
				if seqLen == 1 {
					want = "decode"
				}
				if k > 0 && batch*seqLen*int64(k) >= 64 {
					want += "_sorted"
				}
				var got []string
				for _, s := range shapes {
					ok, err := s.when.Eval(env)
					if err != nil {
						t.Fatal(err)
					}
					if ok {
						got = append(got, s.name)
					}
				}
				if len(got) != 1 || got[0] != want {
					t.Fatalf("k=%d %v: cases %v, want %s", k, env, got, want)
				}
			}
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, name := range []string{"Qwen3-0.6B", "Qwen3-30B-A3B-4bit"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buildReference(b, name)
			}
		})
	}
}

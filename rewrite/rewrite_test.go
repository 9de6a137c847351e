package rewrite

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rules"
)

// Every rewrite of a test is verified, unless benchmarks measure how long one takes.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		verify = func(x interface{ Verify() error }) error { return x.Verify() }
	}
	os.Exit(m.Run())
}

func load(t testing.TB) *rules.Set {
	t.Helper()
	c, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	s, issues := rules.Load("", nil, c)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return s
}

func config(t testing.TB) *Config {
	set := load(t)
	return &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu", TPSize: 1}}
}

func reference(t testing.TB, name string) *graph.Program {
	t.Helper()
	cfg, ok := models.ReferenceConfig(name)
	if !ok {
		t.Fatalf("no reference configuration %s among %v", name, models.ReferenceNames())
	}
	p, err := models.Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestReferences rewrites every reference model by every rule: the result holds
// together, every case that was there is still covered, and launches go down.
func TestReferences(t *testing.T) {
	cfg := config(t)
	names := models.ReferenceNames()
	if testing.Short() { // of many cases, which are rewritten side by side; one with windows; one with latent caches
		names = []string{"Qwen3-30B-A3B-4bit", "gemma-3-4b-it-4bit", "GLM-4.7-Flash-4bit"}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			p := reference(t, name)
			before := p.Hash()
			res, err := Run(p, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := res.Program.Verify(); err != nil {
				t.Fatal(err)
			}
			if p.Hash() != before {
				t.Error("the program that was rewritten has changed")
			}
			if res.Stop != StopDone {
				t.Errorf("stopped because %s", res.Stop)
			}
			for batch := int64(1); batch <= 16; batch++ {
				for _, n := range []int64{1, 2, 7, 64} {
					env := map[string]int64{"batch": batch, "seq_len": n, "kv_len": n}
					was, err := p.Select(env)
					if err != nil {
						t.Fatal(err)
					}
					is, err := res.Program.Select(env)
					if err != nil {
						t.Fatal(err)
					}
					if is.Graph.Launches() >= was.Graph.Launches() {
						t.Errorf("%v: %d launches, %d before", env, is.Graph.Launches(), was.Graph.Launches())
					}
				}
			}
			again, err := Run(res.Program, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if again.Program.Hash() != res.Program.Hash() {
				t.Error("rewriting the result changes it again")
			}
		})
	}
}

// TestQwen3Launches is the promise of the profile: half the launches of a decode step.
func TestQwen3Launches(t *testing.T) {
	res, err := Run(reference(t, "Qwen3-30B-A3B-4bit"), config(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := res.Program.Select(map[string]int64{"batch": 1, "seq_len": 1, "kv_len": 1})
	if err != nil {
		t.Fatal(err)
	}
	if before, after := res.Cases[0].Before.Launches(), c.Graph.Launches(); 2*after > before {
		t.Errorf("%d launches, %d before", after, before)
	}
}

// TestJournal replays a journal and gives the same bytes twice.
func TestJournal(t *testing.T) {
	cfg, p := config(t), reference(t, "SmolLM2-135M-Instruct-Q4_1")
	var texts [2][]byte
	for i := range texts {
		res, err := Run(p, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if texts[i], err = res.Journal(cfg).Bytes(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("two rewrites have different journals")
	}
	j, err := ReadJournal("x.journal.json", texts[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Replay(p, cfg); err != nil {
		t.Error(err)
	}
	j.After = j.Before
	if _, err := j.Replay(p, cfg); err == nil {
		t.Error("a journal with another result replays")
	}
	if _, err := j.Replay(reference(t, "Llama-3.2-1B"), cfg); err == nil {
		t.Error("a journal replays on another program")
	}
}

const tinyMoE = `{"model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
 "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "vocab_size": 96, "max_position_embeddings": 512, "rope_theta": 1000000,
 "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "decoder_sparse_step": 1, "mlp_only_layers": [1], "norm_topk_prob": true,
 "tie_word_embeddings": false, "torch_dtype": "%s", "quantization": {"group_size": 32, "bits": 4}}`

// randomWeights makes the parameters of a program that are read from files.
func randomWeights(t *testing.T, p *graph.Program) *weights.Store {
	rng := rand.New(rand.NewPCG(1, 2))
	w := weights.NewStore()
	for _, q := range p.Params {
		if q.From != nil {
			continue
		}
		shape, n := make([]int, q.Type.Rank()), 1
		for i, d := range q.Type.Shape {
			shape[i] = d.Int()
			n *= shape[i]
		}
		var data []byte
		for range n {
			if q.Type.DType == graph.Uint32 {
				data = binary.LittleEndian.AppendUint32(data, rng.Uint32())
			} else {
				data = graph.AppendElem(data, q.Type.DType, 0.05*rng.NormFloat64())
			}
		}
		x, err := weights.New(q.Name, q.Type.DType, shape, weights.Raw(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// TestSameResults runs a small mixture of experts before and after the rewrite on
// the reference engine: with kernels run as their reference graphs, and sums that
// the engine rounds once, every output has the same bits, in every case.
func TestSameResults(t *testing.T) {
	for _, dtype := range []string{"float32", "bfloat16"} {
		t.Run(dtype, func(t *testing.T) {
			mc, err := models.ParseConfig("tiny", fmt.Appendf(nil, tinyMoE, dtype))
			if err != nil {
				t.Fatal(err)
			}
			p, err := models.Build(mc, nil)
			if err != nil {
				t.Fatal(err)
			}
			cfg := config(t)
			res, err := Run(p, cfg)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := cfg.Set.Kernels.Expand(res.Program, nil)
			if err != nil {
				t.Fatal(err)
			}
			w := randomWeights(t, p)
			for _, prog := range []*graph.Program{res.Program, p} {
				if err := models.Derive(prog, w); err != nil {
					t.Fatal(err)
				}
			}
			for _, shape := range [][2]int{{1, 1}, {3, 1}, {9, 1}, {33, 1}, {1, 2}, {2, 20}} {
				a, b := step(t, p, w, shape), step(t, plain, w, shape)
				for name := range a {
					if !bytes.Equal(a[name], b[name]) {
						t.Errorf("batch %d, seq_len %d: %s differs", shape[0], shape[1], name)
					}
				}
			}
		})
	}
}

// step runs one call with empty caches and random tokens.
func step(t *testing.T, p *graph.Program, w *weights.Store, shape [2]int) map[string][]byte {
	t.Helper()
	ctx, e := context.Background(), ref.New()
	defer e.Close()
	s, err := e.Load(ctx, p, w)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	in := map[string]engine.Tensor{}
	g := p.Cases[0].Graph
	for _, id := range g.Inputs() {
		typ := g.Type(id)
		var dims []int
		n := 1
		for i, d := range typ.Shape {
			v, err := d.Eval(map[string]int64{"batch": int64(shape[0]), "seq_len": int64(shape[1]), "kv_cap": 32})
			if err != nil {
				t.Fatal(err)
			}
			if g.InputName(id) == "tokens" && i == 1 {
				v = int64(shape[1]) // the decode case has the number 1 here
			}
			dims = append(dims, int(v))
			n *= int(v)
		}
		data := make([]byte, n*typ.DType.Size())
		if g.InputName(id) == "tokens" {
			for i := range n {
				binary.LittleEndian.PutUint32(data[4*i:], uint32(rng.IntN(96)))
			}
		}
		x, err := e.NewTensor(typ.DType, dims, data)
		if err != nil {
			t.Fatal(err)
		}
		in[g.InputName(id)] = x
	}
	out, err := s.Step(ctx, in, map[string]int64{"kv_len": int64(shape[1])})
	if err != nil {
		t.Fatal(err)
	}
	res := map[string][]byte{}
	for name, x := range out {
		if res[name], err = x.Read(); err != nil {
			t.Fatal(err)
		}
	}
	return res
}

// TestOpenConditions splits by a condition whose opposite is no interval: each way
// becomes one case, and the cases together cover all calls.
func TestOpenConditions(t *testing.T) {
	set, issues := withRule(t, `
zmlx: 1
family: test
rules:
  - name: both
    doc: Guarded by two symbols.
    match: {y: "multiply(x, sigmoid(x))", z: "multiply(y, u)"}
    guards: {small: batch <= 4 && kv_len <= 100 || seq_len == 3}
    replace: {z: "kernel.swiglu(x, u)"}
    numerics: exact
`)
	if issues != nil {
		t.Fatal(issues)
	}
	p := reference(t, "SmolLM2-135M-Instruct")
	res, err := Run(p, &Config{Set: set, Rules: []*rules.Rule{set.Rule("test.both")}, Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(res.Cases); n != 4 { // decode and prefill, each split once
		for _, c := range res.Cases {
			t.Logf("%s when %s: %d", c.Name, c.When, c.Matches("test.both"))
		}
		t.Errorf("%d cases, not 4", n)
	}
	for i, want := range []int{30, 0, 30, 0} {
		if got := res.Cases[i].Matches("test.both"); got != want {
			t.Errorf("case %s: %d matches, not %d", res.Cases[i].Name, got, want)
		}
	}
}

func withRule(t *testing.T, text string) (*rules.Set, error) {
	t.Helper()
	c, _ := kernels.Load()
	f, issues := rules.Parse("test.yaml", []byte(text))
	if issues.HasErrors() {
		return nil, issues
	}
	s, issues := rules.Link([]*rules.File{f}, c)
	return s, issues.Err()
}

// BenchmarkQwen3MoE plans and applies to Qwen3-30B-A3B what its profile uses, as apply
// does, and the rules of all families. It collects garbage as rarely as the command.
func BenchmarkQwen3MoE(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	p := reference(b, "Qwen3-30B-A3B-4bit")
	run := func(name string, cfg *Config) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Run(p, cfg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("all", config(b))
	list, issues := profiles.Load("")
	if issues.HasErrors() {
		b.Fatal(issues)
	}
	i := slices.IndexFunc(list, func(p *profiles.Profile) bool { return p.Name == "qwen3" })
	for _, target := range []string{"cpu", "cuda"} {
		cfg := config(b)
		choice := list[i].Choose(cfg.Set, "inference", target, nil)
		cfg.Rules, cfg.Off, cfg.Setting.Target = choice.Rules, choice.Off, target
		run(target, cfg)
	}
}

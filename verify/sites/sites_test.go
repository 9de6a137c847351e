package sites

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// small is a model whose sites take engine/ref no time.
const small = `{"model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 64, "num_hidden_layers": 3,
	"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 320, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
	"num_experts": 16, "num_experts_per_tok": 4, "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [], "tie_word_embeddings": false,
	"max_position_embeddings": 4096, "torch_dtype": "bfloat16", "quantization": {"group_size": 32, "bits": 4}}`

type fixture struct {
	catalog *kernels.Catalog
	res     *rewrite.Result
	store   *weights.Store
}

func newFixture(t *testing.T, only ...string) *fixture {
	t.Helper()
	catalog, issues := author.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	set, issues := rules.Load(t.TempDir(), nil, catalog)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	cfg, err := models.ParseConfig("config.json", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	p, err := models.Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	var chosen []*rules.Rule
	for _, r := range set.Rules() {
		for _, name := range only {
			if r.Name == name {
				chosen = append(chosen, r)
			}
		}
	}
	res, err := rewrite.Run(p, &rewrite.Config{Set: set, Rules: chosen, Setting: guard.Setting{Target: "cpu", TPSize: 1}})
	if err != nil {
		t.Fatal(err)
	}
	store, err := models.RandomWeights(p, 1, true)
	if err == nil {
		err = models.Derive(res.Program, store)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{catalog, res, store}
}

func (f *fixture) check(t *testing.T, e engine.Engine) []*Report {
	t.Helper()
	list, err := Distinct(f.res)
	if err != nil {
		t.Fatal(err)
	}
	c := &Checker{Engine: e, Catalog: f.catalog, Program: f.res.Program, Weights: f.store, Places: 2, Activations: true}
	all, err := c.Check(context.Background(), list, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDistinct: every site is in one replacement; those of one are in all layers.
func TestDistinct(t *testing.T) {
	f := newFixture(t, "llama.qkv", "qwen3.moe_gate_up_swiglu", "qwen3.qk_norm_rope")
	list, err := Distinct(f.res)
	if err != nil {
		t.Fatal(err)
	}
	sites, uses := 0, 0
	for _, c := range f.res.Cases {
		sites += len(c.Sites)
	}
	keys := map[string]bool{}
	for _, r := range list {
		uses += len(r.Uses)
		if keys[r.Key] {
			t.Errorf("%s: two replacements are the same", r.Rule.Name)
		}
		keys[r.Key] = true
		if n := len(r.Places()); n != 3 {
			t.Errorf("%s: %d places in a model of 3 layers", r.Rule.Name, n)
		}
	}
	if sites == 0 || uses != sites || len(list) > 8 {
		t.Errorf("%d replacements for %d sites, of which they have %d", len(list), sites, uses)
	}
}

// TestDistinctOperands: sites whose operands have the same types are one replacement only if
// the same operands are equal, or constants of the same value, in both.
func TestDistinctOperands(t *testing.T) {
	catalog, issues := kernels.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	f, issues := rules.Parse("test.yaml", []byte("zmlx: 1\nfamily: test\nrules:\n  - name: r\n    doc: Of this test.\n    match: {m: 'multiply(x, z)', y: negative(m)}\n    replace: {y: 'multiply(x, z)'}\n    numerics: lossy\n"))
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	set, issues := rules.Link([]*rules.File{f}, catalog)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	text := "zmlx 1\nprogram test\ncase all\n  input x : float32[4]\n  input z : float32[4]\n  c2 = constant(2) : float32[]\n  c3 = constant(3) : float32[]\n"
	for i, operands := range []string{"x, z", "z, x", "x, x", "z, z", "c2, x", "c2, z", "c3, x"} {
		typ := "float32[4]"
		name := string(rune('a' + i))
		text += "  m" + name + " = multiply(" + operands + ") : " + typ + "\n  " + name + " = negative(m" + name + ") : " + typ + "\n  output " + name + " = " + name + "\n"
	}
	p, issues := graph.ParseText("test.zg", []byte(text), nil)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	res, err := rewrite.Run(p, &rewrite.Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := Distinct(res)
	if err != nil {
		t.Fatal(err)
	}
	uses := 0
	for _, r := range list {
		uses += len(r.Uses)
	}
	if len(list) != 4 || uses != 7 { // two values, one value, twice, three times
		t.Errorf("%d replacements for %d sites", len(list), uses)
		for _, r := range list {
			pair, _ := r.Uses[0].Pair(false)
			t.Logf("%d times\n%s", len(r.Uses), pair.Before)
		}
	}
}

// TestPasses: right rules pass with the whole programme: all rows, 200 runs of one call, two
// layers, and what the layers in front make.
func TestPasses(t *testing.T) {
	f := newFixture(t, "llama.qkv", "qwen3.moe_gate_up_swiglu", "qwen3.router_softmax_topk")
	for _, r := range f.check(t, ref.New()) {
		if r.Verdict != Passed || r.Reruns != Reruns || len(r.LeftOut) > 0 || len(r.Places) != 2 {
			t.Errorf("%s in %v: %s: %s; %d reruns, %d places, left out %v", r.Rule.Name, r.Cases(), r.Verdict, r.Reason, r.Reruns, len(r.Places), r.LeftOut)
		}
		if got, stock := r.Errors(); strings.HasPrefix(r.Rule.Name, "llama.") && (stock.RMS() < 1e-5 || got.RMS() < 1e-5) {
			t.Errorf("%s: in bfloat16 the errors are %v and %v", r.Rule.Name, got.RMS(), stock.RMS())
		}
		for i, n := range r.Rows[:min(7, len(r.Rows))] {
			if first := r.Rows[0]; n != first+int64(i) && n <= 8 {
				t.Errorf("%s: rows %v", r.Rule.Name, r.Rows)
			}
		}
	}
}

// broken is an engine with a fault in the sessions of replacements: those loaded second, of
// three.
type broken struct {
	engine.Engine
	loads int
	fault func(calls int, out map[string]engine.Tensor, in map[string]engine.Tensor) error
}

func (b *broken) Load(ctx context.Context, p *graph.Program, w *weights.Store) (engine.Session, error) {
	s, err := b.Engine.Load(ctx, p, w)
	if b.loads++; b.loads%3 == 2 && err == nil {
		return &brokenSession{s, b, 0}, nil
	}
	return s, err
}

type brokenSession struct {
	engine.Session
	b     *broken
	calls int
}

func (s *brokenSession) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	out, err := s.Session.Step(ctx, in, dims)
	s.calls++
	if err == nil {
		err = s.b.fault(s.calls, out, in)
	}
	return out, err
}

// flipped is a tensor of which the last bit of every n-th byte reads as another one.
type flipped struct {
	engine.Tensor
	every int
}

func (f flipped) Read() ([]byte, error) {
	data, err := f.Tensor.Read()
	for i := 0; i < len(data); i += f.every {
		data[i] ^= 1
	}
	return data, err
}

// TestFaults: what a device may do wrong is found: other bits in one run of many, an input
// that is changed, a launch that fails, last places that are always wrong.
func TestFaults(t *testing.T) {
	flip := func(m map[string]engine.Tensor, every int) {
		for name, x := range m {
			m[name] = flipped{x, every}
		}
	}
	for _, f := range []struct {
		name, reason string
		fault        func(calls int, out, in map[string]engine.Tensor) error
	}{
		{"one run of many", "gives other bits of q than the first", func(n int, out, _ map[string]engine.Tensor) error {
			if n == 150 {
				flip(out, 1<<30)
			}
			return nil
		}},
		{"a changed input", "input x was changed", func(_ int, _, in map[string]engine.Tensor) error { flip(in, 1<<30); return nil }},
		// No element is further off than another order of summation may make it.
		{"the last place of every element", "over all calls its error against float32 is", func(_ int, out, _ map[string]engine.Tensor) error { flip(out, 2); return nil }},
		{"a launch that fails", "out of registers", func(int, map[string]engine.Tensor, map[string]engine.Tensor) error {
			return errors.New("out of registers")
		}},
	} {
		fx := newFixture(t, "llama.qkv")
		e := &broken{Engine: ref.New(), fault: f.fault}
		for _, r := range fx.check(t, e)[:1] {
			if r.Verdict != Failed || !strings.Contains(r.Reason, f.reason) {
				t.Errorf("%s: %s: %s", f.name, r.Verdict, r.Reason)
			}
		}
	}
}

// TestRecords: outcomes come back for the device, the rule and the kernels that they are of,
// and for no others; a file that is none is an error.
func TestRecords(t *testing.T) {
	f := newFixture(t, "qwen3.moe_gate_up_swiglu")
	list, err := Distinct(f.res)
	if err != nil {
		t.Fatal(err)
	}
	x := list[0]
	here := Device{Engine: "mlx", Device: "metal", Name: "Apple M3 Ultra", Version: "0.32.0"}
	path := filepath.Join(t.TempDir(), "new", "device-checks.json")
	known, err := ReadRecords(path)
	if err != nil || len(known) != 0 {
		t.Fatalf("no file: %v, %v", known, err)
	}
	first := NewRecord(here, &Report{Replacement: x, Verdict: Failed, Reason: "it was wrong", Reruns: 3, LeftOut: []string{"197 of 200 reruns"}}, f.catalog)
	if err := Keep(path, []*Record{first}); err != nil {
		t.Fatal(err)
	}
	if known, err = ReadRecords(path); err != nil {
		t.Fatal(err)
	}
	// Another process, which read no file, adds what it found.
	there := *first
	there.Device.Name = "Apple M9"
	if err := Keep(path, []*Record{&there}); err != nil {
		t.Fatal(err)
	}
	if both, err := ReadRecords(path); err != nil || len(both) != 2 {
		t.Errorf("%d records after two processes kept one each, %v", len(both), err)
	}
	if r := known.Get(here, x, f.catalog); r == nil || r.Verdict != Failed || r.Reason != "it was wrong" || r.Reruns != 3 || len(r.LeftOut) != 1 {
		t.Errorf("what was written comes back as %+v", r)
	}
	if !known.AnyFailed("metal") || known.AnyFailed("cpu") {
		t.Error("it failed on metal, and nowhere else")
	}
	for what, d := range map[string]Device{"another MLX": {Engine: "mlx", Device: "metal", Name: "Apple M3 Ultra", Version: "0.32.1"}, "another chip": {Engine: "mlx", Device: "metal", Name: "Apple M1", Version: "0.32.0"}, "another kind": {Engine: "mlx", Device: "cuda", Name: "Apple M3 Ultra", Version: "0.32.0"}} {
		if known.Get(d, x, f.catalog) != nil {
			t.Errorf("%s has the outcome, too", what)
		}
	}
	edited := *x.Rule
	edited.Hash = "0"
	if known.Get(here, &Replacement{Rule: &edited, Key: x.Key}, f.catalog) != nil {
		t.Error("an edited rule has the outcome of the old one")
	}
	if known.Get(here, &Replacement{Rule: x.Rule, Key: "other"}, f.catalog) != nil {
		t.Error("another replacement of the rule has the outcome")
	}
	for _, r := range known {
		for k := range r.Kernels {
			r.Kernels[k] = "0"
		}
	}
	if known.Get(here, x, f.catalog) != nil {
		t.Error("an edited kernel has the outcome of the old one")
	}
	for _, text := range []string{"", "[]", `{"zmlx": 99}`, `{"zmlx": 1, "checks": 3}`, "\x00"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		var issue *diag.Issue
		if _, err := ReadRecords(path); !errors.As(err, &issue) || issue.Code != "verify/records" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

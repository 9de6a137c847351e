package enginetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

// tinyRun is a run in testdata/tiny/FAMILY.json: see scripts/oracle/tiny_models.py.
type tinyRun struct {
	Batch  int
	Chunks []int
	Prompt [][]int
	Tokens [][]int
	Logits []string // sha256 of each call's
}

// logitBound is how far a logit of about 1 to 10 may be from mlx-lm's in an engine
// that sums in another order. Quantized products are another matter in half types:
// MLX on x86 keeps their sums in the type itself, and what that moves can even
// choose another expert.
func logitBound(t graph.DType, quantized bool) float64 {
	switch {
	case t == graph.Float32:
		return 5e-5
	case t == graph.Float16 && quantized:
		return 0.5
	case t == graph.Float16:
		return 0.02
	case quantized:
		return 2
	}
	return 0.1
}

// RunModels runs the tiny models on an engine, prefill and decode with caches, and
// compares the logits of every call with what mlx-lm computed: by their hash if the
// engine is to be exact with these goldens, else by number. Each call is given mlx-lm's
// tokens, so that one near-tie does not decide the rest. root is the path of the
// repository. If families are named, only theirs are run.
func RunModels(t *testing.T, e engine.Engine, root string, exact func(goldens string) bool, only ...string) {
	families, err := filepath.Glob(filepath.Join(root, "testdata/tiny/*.json"))
	if err != nil || len(families) == 0 {
		t.Fatalf("no goldens in testdata/tiny: %v", err)
	}
	for _, file := range families {
		if len(only) > 0 && !slices.Contains(only, strings.TrimSuffix(filepath.Base(file), ".json")) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var goldens struct {
			Models map[string]struct{ Runs []tinyRun }
		}
		if err := json.Unmarshal(text, &goldens); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		same := exact(file)
		names := slices.Sorted(maps.Keys(goldens.Models))
		if testing.Short() { // the race detector's turn: the others are in the long form
			names = names[:1]
		}
		for _, name := range names {
			t.Run(name, func(t *testing.T) { runModel(t, e, root, name, goldens.Models[name].Runs, same) })
		}
	}
}

func runModel(t *testing.T, e engine.Engine, root, name string, runs []tinyRun, exact bool) {
	dir := filepath.Join(root, ".cache/oracle/tiny", name)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the tiny models are not in .cache/oracle/tiny: scripts/oracle/tiny_models.py makes them")
	}
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	logits, _, err := safetensors.Open(filepath.Join(dir, "logits.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer logits.Close()
	s, err := e.Load(context.Background(), m.Program, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, r := range runs {
		if testing.Short() && r.Batch*len(r.Prompt[0]) > 48 {
			continue // the race detector's turn: long prompts are in the other one
		}
		(&replay{t: t, e: e, s: s, p: m.Program, run: i, r: r, want: logits, exact: exact}).all()
	}
}

// replay is one run of one tiny model.
type replay struct {
	t      *testing.T
	e      engine.Engine
	s      engine.Session
	p      *graph.Program
	run    int
	r      tinyRun
	want   *weights.Store
	exact  bool
	caches *cache.Caches
	calls  int
}

func (r *replay) all() {
	var err error
	if r.caches, err = cache.New(r.e, r.p, r.r.Batch); err != nil {
		r.t.Fatal(err)
	}
	defer r.caches.Reset()
	at := 0
	for i, n := range r.r.Chunks {
		ids := make([][]int, r.r.Batch)
		for b := range ids {
			ids[b] = r.r.Prompt[b][at : at+n]
		}
		at += n
		r.call("prefill", i, ids)
	}
	for step := range r.r.Tokens[0] {
		ids := make([][]int, r.r.Batch)
		for b := range ids {
			ids[b] = r.r.Tokens[b][step : step+1]
		}
		r.call("decode", step, ids)
	}
}

// call makes one call and compares its logits.
func (r *replay) call(kind string, index int, ids [][]int) {
	t, n := r.t, len(ids[0])
	name := fmt.Sprintf("%d.%s.%d", r.run, kind, index)
	tokens := &graph.Literal{DType: graph.Int32, Shape: []int{len(ids), n}}
	for _, row := range ids {
		for _, id := range row {
			tokens.Data = graph.AppendElem(tokens.Data, graph.Int32, float64(id))
		}
	}
	out, err := r.caches.Step(context.Background(), r.s, engine.Take(newTensor(t, r.e, tokens)), n)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, err := out["logits"].Read()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	dtype := out["logits"].DType()
	out["logits"].Release()
	defer func() { r.calls++ }()
	if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) == r.r.Logits[r.calls] {
		return
	}
	if r.exact {
		t.Errorf("%s: logits have other bits than mlx-lm's", name)
	}
	w := r.want.Get(name)
	if w == nil || w.DType != dtype {
		t.Fatalf("%s: no logits of type %s to compare with", name, dtype)
	}
	want := make([]byte, w.NumBytes())
	if err := w.ReadInto(want); err != nil {
		t.Fatal(err)
	}
	es, worst := dtype.Size(), 0.0
	for i := 0; i < len(got); i += es {
		g, v := graph.DecodeElem(dtype, got[i:]), graph.DecodeElem(dtype, want[i:])
		worst = max(worst, math.Abs(g-v))
		if math.IsNaN(g) {
			worst = math.Inf(1)
		}
	}
	quantized := slices.ContainsFunc(r.p.Params, func(q *graph.Param) bool { return q.Quant != nil })
	if bound := logitBound(dtype, quantized); worst > bound {
		t.Errorf("%s: a logit is off by %.3g, bound %.3g", name, worst, bound)
	}
}

// EmptyCaches makes zeros for all inputs of a model's program that are caches.
func EmptyCaches(t testing.TB, e engine.Engine, p *graph.Program, batch, capacity int) map[string]engine.Tensor {
	t.Helper()
	caches := map[string]engine.Tensor{}
	g := p.Cases[0].Graph
	env := map[string]int64{graph.SymBatch: int64(batch), graph.SymKVCap: int64(capacity)}
	for _, id := range g.Inputs() {
		name := g.InputName(id)
		if !strings.HasPrefix(name, "cache.") {
			continue
		}
		shape, err := engine.Shape(g.Type(id).Shape, env)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := weights.NumBytes(g.Type(id).DType, shape)
		c, err := e.NewTensor(g.Type(id).DType, shape, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		caches[name] = c
	}
	return caches
}

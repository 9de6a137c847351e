//go:build mlx

package mlx

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/enginetest"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
)

const smollm2 = "../../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"

func loadSmolLM2(t testing.TB) *models.Model {
	t.Helper()
	if _, err := os.Stat(smollm2); errors.Is(err, fs.ErrNotExist) {
		t.Skip("SmolLM2 is not in .cache/models: scripts/setup-model.sh fetches it")
	}
	m, err := models.Load(smollm2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func open(t testing.TB, e engine.Engine, p *graph.Program, m *models.Model) engine.Session {
	t.Helper()
	s, err := e.Load(context.Background(), p, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sequence is a generation in progress: a session, its caches, and how many rows
// they hold.
type sequence struct {
	t      testing.TB
	e      engine.Engine
	s      engine.Session
	caches map[string]engine.Tensor
	rows   int
}

func newSequence(t testing.TB, e engine.Engine, s engine.Session, p *graph.Program, capacity int) *sequence {
	return &sequence{t: t, e: e, s: s, caches: enginetest.EmptyCaches(t, e, p, 1, capacity)}
}

func (q *sequence) tensor(l *graph.Literal) engine.Tensor {
	x, err := q.e.NewTensor(l.DType, l.Shape, l.Data)
	if err != nil {
		q.t.Fatal(err)
	}
	return engine.Take(x)
}

// step gives the logits of a call, not computed yet.
func (q *sequence) step(ids ...int) engine.Tensor {
	q.t.Helper()
	tokens := &graph.Literal{DType: graph.Int32, Shape: []int{1, len(ids)}}
	for _, id := range ids {
		tokens.Data = graph.AppendElem(tokens.Data, graph.Int32, float64(id))
	}
	in := make(map[string]engine.Tensor, len(q.caches)+2)
	in["tokens"], in["offset"] = q.tensor(tokens), q.tensor(graph.ScalarLiteral(graph.Int32, float64(q.rows)))
	for name, c := range q.caches {
		in[name] = engine.Take(c)
	}
	q.rows += len(ids)
	out, err := q.s.Step(context.Background(), in, map[string]int64{graph.SymKVLen: int64(q.rows)})
	if err != nil {
		q.t.Fatal(err)
	}
	for name := range q.caches {
		q.caches[name] = out[name]
	}
	return out["logits"]
}

func (q *sequence) release() {
	for _, c := range q.caches {
		c.Release()
	}
}

func read(t testing.TB, x engine.Tensor) []byte {
	t.Helper()
	b, err := x.Read()
	if err != nil {
		t.Fatal(err)
	}
	x.Release()
	return b
}

// smolRun is a run in testdata/smollm2.json: see scripts/oracle/smollm2_goldens.py.
type smolRun struct {
	Text           string
	Prompt, Tokens []int
	Prefill        string
	Margins        []float64
	Logits         []string
}

const smolGoldens = "../../testdata/smollm2.json"

func smolRuns(t testing.TB) []smolRun {
	t.Helper()
	text, err := os.ReadFile(smolGoldens)
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct{ Runs []smolRun }
	if err := json.Unmarshal(text, &goldens); err != nil {
		t.Fatal(err)
	}
	return goldens.Runs
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Real weights: the logits of a prompt and of each step of a greedy decode have the
// bits that mlx-lm computed on the CPU. On another kind of CPU each step chooses
// mlx-lm's token, unless that was a near-tie.
func TestSmolLM2IsMLXLM(t *testing.T) {
	m, e := loadSmolLM2(t), newEngine(t)
	s := open(t, e, m.Program, m)
	defer s.Close()
	exact := enginetest.SameCPU(t, smolGoldens)
	runs, steps := smolRuns(t), 128
	switch {
	case testing.Short():
		runs, steps = runs[:1], 8
	case os.Getenv("ZMLX_SOAK") == "":
		runs, steps = runs[:2], 48
	}
	for _, r := range runs {
		q := newSequence(t, e, s, m.Program, 256)
		n := len(r.Prompt)
		if got := digest(read(t, q.step(r.Prompt[:n-1]...))); exact && got != r.Prefill {
			t.Errorf("%q: the prompt's logits are %s, mlx-lm's %s", r.Text, got, r.Prefill)
		}
		id := r.Prompt[n-1]
		for i := range steps {
			x := q.step(id)
			dtype, logits := x.DType(), read(t, x)
			if got := digest(logits); exact && got != r.Logits[i] {
				t.Fatalf("%q: step %d: the logits are %s, mlx-lm's %s", r.Text, i, got, r.Logits[i])
			}
			id = r.Tokens[i]
			if got := argmax(dtype, logits); got != id && r.Margins[i] >= nearTie {
				t.Fatalf("%q: step %d chooses %d, mlx-lm %d by a margin of %v", r.Text, i, got, id, r.Margins[i])
			}
		}
		q.release()
	}
}

// nearTie is a margin of logits that another order of summation may turn around.
const nearTie = 0.05

func argmax(dt graph.DType, data []byte) int {
	best, top := 0, math.Inf(-1)
	for i := 0; i < len(data); i += dt.Size() {
		if v := graph.DecodeElem(dt, data[i:i+dt.Size()]); v > top {
			best, top = i/dt.Size(), v
		}
	}
	return best
}

// anonymous returns the memory of the process that no file backs, in bytes.
func anonymous() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no RssAnon")
}

// watchAnonymous returns the highest anonymous memory while f runs, less that before.
func watchAnonymous(t testing.TB, f func()) int64 {
	t.Helper()
	debug.FreeOSMemory()
	do(clearCache)
	before, err := anonymous()
	if err != nil {
		t.Skipf("needs Linux's /proc: %v", err)
	}
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		top := before
		for {
			now, _ := anonymous()
			top = max(top, now)
			select {
			case <-stop:
				peak <- top
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	return <-peak - before
}

// joined is m's program with the gate and up projections of each layer as one
// matrix, as rules that fuse them ask for. The program reads both spellings'
// parameters; logits are as before.
func joined(t testing.TB, m *models.Model) *graph.Program {
	t.Helper()
	p := &graph.Program{Name: "joined", Params: append([]*graph.Param{}, m.Program.Params...)}
	for layer := range 30 {
		for _, part := range []string{"weight", "scales", "biases"} {
			gate := m.Program.Param(fmt.Sprintf("model.layers.%d.mlp.gate_proj.%s", layer, part))
			up := m.Program.Param(fmt.Sprintf("model.layers.%d.mlp.up_proj.%s", layer, part))
			shape := append([]graph.Dim{}, gate.Type.Shape...)
			shape[0] = shape[0].Add(up.Type.Shape[0])
			q := &graph.Param{Name: fmt.Sprintf("model.layers.%d.mlp.gate_up_proj.%s", layer, part), Type: graph.T(gate.Type.DType, shape...),
				From: &graph.Derived{Op: "concat", Axis: -2, Args: []string{gate.Name, up.Name}}}
			if _, err := p.AddParam(q); err != nil {
				t.Fatal(err)
			}
		}
	}
	g := graph.New()
	for _, q := range p.Params {
		if q.From != nil {
			g.Output(q.Name, g.Param(q.Name, q.Type))
		}
	}
	p.Cases = []graph.Case{{Name: "all", When: graph.True, Graph: g}}
	if err := models.Derive(p, m.Weights); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoadMemory(t *testing.T) {
	m, e := loadSmolLM2(t), newEngine(t)
	size := m.Weights.NumBytes()
	var s engine.Session
	if grew := watchAnonymous(t, func() { s = open(t, e, m.Program, m) }); grew > size*13/10 {
		t.Errorf("loading %d bytes took %d", size, grew)
	} else {
		t.Logf("loading %d bytes took %d", size, grew)
	}
	first := read(t, newSequence(t, e, s, m.Program, 8).step(1, 2, 3))

	// A program that reads derived parameters: the first one's become views.
	p := joined(t, m)
	var j, again engine.Session
	if grew := watchAnonymous(t, func() { j = open(t, e, p, m); again = open(t, e, m.Program, m) }); grew > size*8/10 {
		t.Errorf("the joined matrices took %d", grew)
	}
	if grew := active(t); grew > uint64(size)*11/10 {
		t.Errorf("MLX holds %d for weights of %d", grew, size)
	}
	for _, s := range []engine.Session{s, again} {
		if !bytes.Equal(first, read(t, newSequence(t, e, s, m.Program, 8).step(1, 2, 3))) {
			t.Error("views give other logits")
		}
	}
	out, err := j.Step(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const name = "model.layers.7.mlp.gate_up_proj.scales"
	want := make([]byte, m.Weights.Get(name).NumBytes())
	if err := m.Weights.Get(name).ReadInto(want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, out[name]), want) {
		t.Error(name + " has other bytes")
	}
	for _, x := range out {
		x.Release()
	}
	// The owner stays as long as somebody reads a view of it.
	for i, x := range []engine.Session{s, j} {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, read(t, newSequence(t, e, again, m.Program, 8).step(1, 2, 3))) {
			t.Errorf("other logits after %d sessions were closed", i+1)
		}
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func active(t testing.TB) (bytes uint64) {
	t.Helper()
	err := do(func() error {
		if err := clearCache(); err != nil {
			return err
		}
		m, err := memoryUse()
		bytes = m.active
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// A cache that is handed over is written in place: decoding takes no new cache.
func TestAppendInPlace(t *testing.T) {
	m, e := loadSmolLM2(t), newEngine(t)
	s := open(t, e, m.Program, m)
	defer s.Close()
	const capacity = 8192 // 30 layers, keys and values: 94 MB a cache in float16
	q := newSequence(t, e, s, m.Program, capacity)
	defer q.release()
	read(t, q.step(1, 2, 3))
	before := active(t)
	if err := do(resetPeak); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		read(t, q.step(4+i))
	}
	var peak uint64
	do(func() error { m, err := memoryUse(); peak = m.peak; return err })
	if grew := int64(peak) - int64(before); grew > 20<<20 {
		t.Errorf("3 steps took %d MB beyond weights and caches", grew>>20)
	}
}

func BenchmarkLoadSmolLM2(b *testing.B) {
	m := loadSmolLM2(b)
	for b.Loop() {
		e := newEngine(b)
		open(b, e, m.Program, m)
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(m.Weights.NumBytes())
}

// What a decode step costs before anything is computed.
func BenchmarkStepSmolLM2(b *testing.B) {
	m, e := loadSmolLM2(b), newEngine(b)
	s := open(b, e, m.Program, m)
	defer s.Close()
	in := enginetest.EmptyCaches(b, e, m.Program, 1, 1024)
	var err error
	if in["tokens"], err = e.NewTensor(graph.Int32, []int{1, 1}, []byte{1, 0, 0, 0}); err != nil {
		b.Fatal(err)
	}
	if in["offset"], err = e.NewTensor(graph.Int32, nil, []byte{30, 0, 0, 0}); err != nil {
		b.Fatal(err)
	}
	nodes, g := 0, m.Program.Cases[0].Graph
	for i := range g.NumNodes() {
		if !g.Node(graph.NodeID(i)).Op.IsLeaf() {
			nodes++
		}
	}
	b.ReportAllocs()
	for n := int64(0); b.Loop(); n++ {
		// Each step sees another length, as in decoding.
		out, err := s.Step(context.Background(), in, map[string]int64{graph.SymKVLen: 31 + n%2})
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range out {
			x.Release()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
	b.ReportMetric(float64(nodes), "nodes")
}

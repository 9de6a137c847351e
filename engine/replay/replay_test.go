package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// short is the length of scripts that are no step of a model.
const short = 8

// grower is a short script.
type grower struct{}

func (*grower) Start() error                        { return nil }
func (*grower) Reshape(int, kernels.Geometry) error { return nil }
func (*grower) Release()                            {}

// counter is a device that computes nothing: it counts calls, and hands out addresses.
type counter struct {
	next                                       Address
	compiled, prepared, started, reshaped, got int
	busy                                       bool  // something may be under way
	mute                                       error // what Compile says
	rigid                                      error // what Reshape says
}

func (d *counter) Alloc(bytes int64) (Address, error) {
	d.next += Address(align(bytes))
	return d.next, nil
}
func (d *counter) Free(Address, int64) {}
func (d *counter) Compile(_ context.Context, list []*Source) ([]Function, error) {
	if d.mute != nil {
		return nil, d.mute
	}
	d.compiled += len(list)
	return slices.Repeat([]Function{1}, len(list)), nil
}
func (d *counter) Write(Address, []byte) error      { return nil }
func (d *counter) Copy(_, _ Address, _ int64) error { return nil }
func (d *counter) Wait() error                      { d.busy = false; return nil }
func (d *counter) Fetch(Address, int64) (Pending, error) {
	d.got++
	return nothing(make([]byte, 4)), nil
}
func (d *counter) Prepare(list []Launch) (Prepared, error) {
	if len(list) <= short { // a cache that is made larger
		return &grower{}, nil
	}
	d.prepared++
	return d, nil
}
func (d *counter) Start() error                        { d.started++; d.busy = true; return nil }
func (d *counter) Reshape(int, kernels.Geometry) error { d.reshaped++; return d.rigid }
func (d *counter) Release()                            {}

type nothing []byte

func (n nothing) Read() ([]byte, error) { return n, nil }
func (nothing) Release()                {}

// under is an engine that runs nothing, and has every parameter somewhere.
type under struct {
	next  Address
	asked int // for parameters
	loads int
	open  int   // sessions
	evals []int // how many tensors each Eval was given
	wrong error // what Eval returns
}

var errUnder = errors.New("the engine underneath was asked to compute")

type value struct {
	t     graph.DType
	shape []int
}

func (v *value) DType() graph.DType    { return v.t }
func (v *value) Shape() []int          { return v.shape }
func (v *value) Read() ([]byte, error) { return nil, errUnder }
func (v *value) Release()              {}

func (*under) ResetPeak() error                 { return nil }
func (*under) PeakMemory() (uint64, error)      { return 0, nil }
func (u *under) Name() string                   { return "none" }
func (u *under) Device() string                 { return "cuda" }
func (u *under) Version() string                { return "0" }
func (u *under) RunsKernel(*kernels.Spec) error { return nil }
func (u *under) Launches() map[string]int       { return nil }
func (u *under) Eval(_ context.Context, list ...engine.Tensor) error {
	u.evals = append(u.evals, len(list))
	return u.wrong
}
func (u *under) AsyncEval(...engine.Tensor) error { return nil }
func (u *under) Close() error                     { return nil }
func (u *under) Load(_ context.Context, p *graph.Program, _ *weights.Store) (engine.Session, error) {
	u.loads++
	u.open++
	return &underSession{u, p}, nil
}

// underSession gives results without content if it knows their shapes: those of a cache
// that is made larger.
type underSession struct {
	u *under
	p *graph.Program
}

func (s *underSession) Close() error { s.u.open--; return nil }
func (s *underSession) Step(context.Context, map[string]engine.Tensor, map[string]int64) (map[string]engine.Tensor, error) {
	out := map[string]engine.Tensor{}
	g := s.p.Cases[0].Graph
	for _, o := range g.Outputs() {
		shape, err := engine.Shape(g.Type(o.Value).Shape, nil)
		if err != nil {
			return nil, errUnder
		}
		out[o.Name] = &value{g.Type(o.Value).DType, shape}
	}
	return out, nil
}
func (u *under) NewTensor(t graph.DType, shape []int, _ []byte) (engine.Tensor, error) {
	return &value{t, shape}, nil
}
func (u *under) Zeros(t graph.DType, shape []int) (engine.Tensor, error) {
	return &value{t, shape}, nil
}
func (u *under) Address(engine.Tensor) (Address, error) { u.next += 1 << 20; return u.next, nil }
func (u *under) Param(engine.Session, string) (Address, error) {
	u.asked++
	return u.Address(nil)
}
func (u *under) FromDevice(t graph.DType, shape []int, fill func(Address) error) (engine.Tensor, error) {
	return &value{t, shape}, fill(1)
}

// rewritten is a reference model after the rewrite that is on for NVIDIA.
func rewritten(t testing.TB, name, profile string) (*graph.Program, *kernels.Catalog) {
	t.Helper()
	config, ok := models.ReferenceConfig(name)
	if !ok {
		t.Fatalf("no reference configuration %s", name)
	}
	p, err := models.Build(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	set, issues := rules.Load("", nil, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	list, issues := profiles.Load("")
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	i := slices.IndexFunc(list, func(p *profiles.Profile) bool { return p.Name == profile })
	choice := list[i].Choose(set, "inference", "cuda", nil)
	r, err := rewrite.Run(p, &rewrite.Config{Set: set, Rules: choice.Rules, Off: choice.Off, Setting: guard.Setting{Target: "cuda", TPSize: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Program, catalog
}

// steps decodes tokens one after the other, each fed back on the device.
type decoder struct {
	e      *Engine
	s      engine.Session
	caches *cache.Caches
}

func newDecoder(t testing.TB, p *graph.Program, catalog *kernels.Catalog, dev Device) *decoder {
	t.Helper()
	e := Wrap(&under{}, dev, catalog, slog.New(slog.DiscardHandler))
	s, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(e, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &decoder{e, s, c}
}

func (d *decoder) step(t testing.TB) {
	token, err := d.e.NewTensor(graph.Int32, []int{1, 1}, binary.LittleEndian.AppendUint32(nil, 7))
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.caches.Step(context.Background(), d.s, engine.Take(token), 1)
	if err != nil {
		for _, why := range d.s.(*session).Refusals() {
			t.Error(why)
		}
		t.Fatal(err)
	}
	out["logits"].Release()
}

// Whole decode steps of models are replayed, and prepared once for each size of the caches:
// not for each step.
func TestPreparedOnce(t *testing.T) {
	for _, m := range []struct{ name, profile string }{
		{"Qwen3-30B-A3B-4bit", "qwen3"}, {"LFM2-8B-A1B-4bit", "lfm2"}, {"gpt-oss-20b-MXFP4-Q4", "gpt_oss"}, {"GLM-4.7-Flash-4bit", "glm47"},
	} {
		t.Run(m.name, func(t *testing.T) {
			p, catalog := rewritten(t, m.name, m.profile)
			dev := &counter{}
			d := newDecoder(t, p, catalog, dev)
			for range 250 {
				d.step(t)
			}
			if dev.started != 250 {
				t.Errorf("%d of 250 steps were started", dev.started)
			}
			// The second step is the first that finds its caches where it left them.
			if dev.prepared > 2 {
				t.Errorf("prepared %d times in 250 steps of one size of the caches", dev.prepared)
			}
			if dev.compiled > 30 {
				t.Errorf("%d kernels were compiled: those of all layers should be one", dev.compiled)
			}
			inner := d.e.inner.(*under)
			compiled, asked := dev.compiled, inner.asked
			for range 10 {
				d.step(t)
			}
			if dev.prepared > 4 {
				t.Errorf("prepared %d times for two sizes of the caches", dev.prepared)
			}
			if dev.compiled != compiled || inner.asked != asked {
				t.Errorf("for another size of the caches %d kernels were compiled again, and %d parameters asked for", dev.compiled-compiled, inner.asked-asked)
			}
			if inner.loads != 1 {
				t.Errorf("%d programs were loaded by the engine underneath: caches are made by none of its own", inner.loads)
			}
		})
	}
}

// What the engine underneath has not computed yet, such as empty caches, it computes in one call; if that fails, so
// does the step.
func TestComputedTogether(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-30B-A3B-4bit", "qwen3")
	for _, wrong := range []error{nil, errors.New("no memory is left")} {
		d := newDecoder(t, p, catalog, &counter{})
		inner := d.e.inner.(*under)
		inner.wrong = wrong
		token, err := d.e.NewTensor(graph.Int32, []int{1, 1}, make([]byte, 4))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.caches.Step(t.Context(), d.s, engine.Take(token), 1); !errors.Is(err, wrong) {
			t.Errorf("%v, not %v", err, wrong)
		}
		if !slices.Equal(inner.evals, []int{96}) {
			t.Errorf("the engine underneath was asked for %d tensors, not for 96 at once", inner.evals)
		}
	}
}

// Temporary values that live at the same time do not overlap.
func TestPack(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-30B-A3B-4bit", "qwen3")
	for i := range p.Cases {
		env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256}
		s, err := newScript(&p.Cases[i], env, catalog)
		if err != nil {
			continue
		}
		for k, a := range s.buffers {
			for _, b := range s.buffers[:k] {
				if a.kind == temporary && b.kind == temporary && a.first <= b.last && b.first <= a.last && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					t.Fatalf("launches %d to %d and %d to %d share bytes", a.first, a.last, b.first, b.last)
				}
			}
		}
		if s.arena == 0 || s.arena > 5<<20 {
			t.Errorf("the arena has %d bytes", s.arena)
		}
		return
	}
	t.Fatal("no case has a script")
}

// Steps of several sequences are kernels alone, too: also where mlx-lm sorts rows by expert.
func TestSeveralSequences(t *testing.T) {
	for _, m := range []struct{ name, profile string }{
		{"Qwen3-30B-A3B-4bit", "qwen3"}, {"LFM2-8B-A1B-4bit", "lfm2"}, {"gpt-oss-20b-MXFP4-Q4", "gpt_oss"}, {"GLM-4.7-Flash-4bit", "glm47"}, {"gemma-3-1b-it-4bit", "gemma"},
		{"Mixtral-8x7B-v0.1-4bit", "mixtral"}, {"SmolLM2-135M-MoE", "mixtral"}, {"Llama-3.1-8B-4bit", "smollm2"}, {"DeepSeek-V3-4bit", "deepseek"}, {"SmolLM2-135M-Instruct-Q4_1", "smollm2"},
	} {
		p, catalog := rewritten(t, m.name, m.profile)
		for _, batch := range []int64{1, 2, 8, 9, 15, 16, 32} {
			env := map[string]int64{graph.SymBatch: batch, graph.SymSeqLen: 1, graph.SymKVLen: 9, graph.SymKVCap: 256, graph.SymWindowLen: 9, graph.SymWindowCap: 128}
			c, err := p.Select(env)
			if err != nil {
				t.Fatalf("%s, %d sequences: %v", m.name, batch, err)
			}
			s, err := newScript(c, env, catalog)
			if err != nil {
				t.Errorf("%s, %d sequences, case %s: %v", m.name, batch, c.Name, err)
			} else if n := len(s.steps); m.profile == "qwen3" && batch == 32 && n != 675 {
				t.Errorf("a step of 32 sequences of %s has %d launches, docs/BENCHMARKS.md says 675", m.name, n)
			}
		}
	}
}

// BenchmarkStep is what the host does for one decode step of Qwen3-30B-A3B, but for the
// driver's own time.
func BenchmarkStep(b *testing.B) {
	p, catalog := rewritten(b, "Qwen3-30B-A3B-4bit", "qwen3")
	d := newDecoder(b, p, catalog, &counter{})
	d.step(b)
	b.ReportAllocs()
	for b.Loop() {
		if d.caches.Offset() >= 250 {
			b.StopTimer()
			d.caches.Reset()
			d.step(b)
			d.step(b)
			b.StartTimer()
		}
		d.step(b)
	}
}

// BenchmarkGrow is what the host does for one step of Qwen3-30B-A3B whose caches become larger, which
// is one of 256, but for the driver's own time.
func BenchmarkGrow(b *testing.B) {
	p, catalog := rewritten(b, "Qwen3-30B-A3B-4bit", "qwen3")
	d := newDecoder(b, p, catalog, &counter{})
	d.step(b)
	for b.Loop() {
		b.StopTimer()
		d.caches.Reset()
		d.step(b) // the script of 256 rows
		if err := d.caches.Fill(b.Context(), 256, 1); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		d.step(b)
	}
}

// What Go allocates in a step is counted: docs/BENCHMARKS.md states the number.
func TestStepAllocations(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-30B-A3B-4bit", "qwen3")
	d := newDecoder(t, p, catalog, &counter{})
	d.step(t)
	if n := testing.AllocsPerRun(100, func() { d.step(t) }); n > 400 {
		t.Errorf("%.0f allocations in a step of 483 launches", n)
	}
}

// When a session is closed, the memory of its parameters is given up: no launch may be under
// way that reads them.
func TestCloseWaits(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-0.6B-4bit", "qwen3")
	dev := &counter{}
	d := newDecoder(t, p, catalog, dev)
	d.step(t)
	if !dev.busy {
		t.Fatal("a step is not under way")
	}
	if err := d.s.Close(); err != nil {
		t.Fatal(err)
	}
	if dev.busy {
		t.Error("the session was closed with a step under way")
	}
	if n := d.e.inner.(*under).open; n != 0 {
		t.Errorf("%d sessions of the engine underneath are left open", n)
	}
}

// A driver that cannot give a launch other threads makes the list anew.
func TestRigid(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-0.6B-4bit", "qwen3")
	dev := &counter{rigid: errors.New("this edge is programmatic")}
	d := newDecoder(t, p, catalog, dev)
	for range 20 { // eight rows more are other threads for attention
		d.step(t)
	}
	if dev.reshaped == 0 || dev.prepared < 3 || dev.started != 20 {
		t.Errorf("%d launches were to be reshaped, %d lists made, %d started in 20 steps", dev.reshaped, dev.prepared, dev.started)
	}
}

// Where kernels cannot be compiled, the engine underneath takes the step, and the reason is kept.
func TestNoCompiler(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-0.6B-4bit", "qwen3")
	d := newDecoder(t, p, catalog, &counter{mute: errors.New("there is no NVRTC")})
	token, err := d.e.NewTensor(graph.Int32, []int{1, 1}, binary.LittleEndian.AppendUint32(nil, 7))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.caches.Step(context.Background(), d.s, engine.Take(token), 1); !errors.Is(err, errUnder) {
		t.Errorf("the step was not handed on: %v", err)
	}
	for _, why := range d.s.(*session).Refusals() {
		if why.Error() == "there is no NVRTC" {
			return
		}
	}
	t.Errorf("reasons: %v", d.s.(*session).Refusals())
}

// near is a device that weights are brought to.
type near struct {
	counter
	told  map[Address]int64
	waits int
}

func (d *near) Near(a Address, bytes int64) error { d.told[a] += bytes; return nil }
func (d *near) Wait() error                       { d.waits++; return d.counter.Wait() }

// At load each parameter is brought to a device that has memory of its own, once and whole; a
// program without parameters waits for nothing.
func TestNear(t *testing.T) {
	p, catalog := rewritten(t, "Qwen3-0.6B-4bit", "qwen3")
	want := map[string]int64{}
	for i := range p.Cases {
		g := p.Cases[i].Graph
		for name, id := range g.Params() {
			typ := g.Type(id)
			want[name] = int64(typ.Size().Int() * typ.DType.Size())
		}
	}
	dev := &near{told: map[Address]int64{}}
	d := newDecoder(t, p, catalog, dev)
	total, all := int64(0), int64(0)
	for _, n := range dev.told {
		total += n
	}
	for _, n := range want {
		all += n
	}
	if len(dev.told) != len(want) || total != all {
		t.Errorf("%d bytes in %d pieces were brought near, of %d in %d", total, len(dev.told), all, len(want))
	}
	if dev.waits == 0 {
		t.Error("nobody waited for them")
	}
	dev.waits = 0
	if _, err := d.e.Load(context.Background(), &graph.Program{Cases: []graph.Case{{Graph: graph.New()}}}, nil); err != nil || dev.waits != 0 {
		t.Errorf("a program without parameters waits %d times (%v)", dev.waits, err)
	}
}

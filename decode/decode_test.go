package decode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
)

const vocab = 64

const tiny = `{"model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 2,
 "num_key_value_heads": 1, "head_dim": 16, "rms_norm_eps": 1e-6, "vocab_size": 64, "max_position_embeddings": 1024, "rope_theta": 10000,
 "tie_word_embeddings": true, "torch_dtype": "float32"}`

// model is a small model with random weights on the reference engine.
type model struct {
	program *graph.Program
	engine  engine.Engine
	session engine.Session
}

func newModel(t *testing.T) *model { return seededModel(t, 5) }

func seededModel(t *testing.T, seed uint64) *model { return modelOf(t, tiny, seed) }

func modelOf(t *testing.T, config string, seed uint64) *model {
	t.Helper()
	cfg, err := models.ParseConfig("tiny", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := models.Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng, w := rand.New(rand.NewPCG(seed, 6)), weights.NewStore()
	for _, q := range p.Params {
		var shape []int
		n := 1
		for _, d := range q.Type.Shape {
			shape = append(shape, d.Int())
			n *= d.Int()
		}
		var data []byte
		for range n {
			data = graph.AppendElem(data, q.Type.DType, rng.NormFloat64()/4)
		}
		x, err := weights.New(q.Name, q.Type.DType, shape, weights.Raw(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	e := ref.New()
	s, err := e.Load(context.Background(), p, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); e.Close() })
	return &model{p, e, s}
}

func (m *model) generator(t *testing.T) *Generator {
	t.Helper()
	g, err := New(context.Background(), m.engine, m.session, m.program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// whole returns the most likely token behind ids, and its logits, by one call over
// all of them: the slow way that every other way must agree with.
func (m *model) whole(t *testing.T, ids []int) (int, []float32) {
	t.Helper()
	g := m.generator(t)
	x, err := g.tokens(ids)
	if err != nil {
		t.Fatal(err)
	}
	logits, err := g.step(context.Background(), engine.Take(x), len(ids))
	if err != nil {
		t.Fatal(err)
	}
	defer logits.Release()
	data, err := logits.Read()
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, vocab)
	for i := range row {
		row[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*((len(ids)-1)*vocab+i):]))
	}
	return slices.Index(row, slices.Max(row)), row
}

func TestGenerate(t *testing.T) {
	m, ctx := newModel(t), context.Background()
	prompt := []int{3, 14, 15, 9, 26, 5, 35}
	text := slices.Clone(prompt)
	for range 8 {
		next, _ := m.whole(t, text)
		text = append(text, next)
	}
	want := text[len(prompt):]
	for _, chunk := range []int{0, 1, 2, 3, 100} {
		var read []int
		r, err := m.generator(t).Generate(ctx, prompt, Options{MaxTokens: 8, PrefillStep: chunk, OnPrompt: func(n, all int) {
			if read = append(read, n); all != len(prompt) {
				t.Errorf("%d tokens of a prompt of %d", all, len(prompt))
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if told := map[int][]int{0: {0, 6}, 1: {0, 1, 2, 3, 4, 5, 6}, 2: {0, 2, 4, 6}, 3: {0, 3, 6}, 100: {0, 6}}[chunk]; !slices.Equal(read, told) {
			t.Errorf("chunks of %d: told of %v tokens of the prompt, not of %v", chunk, read, told)
		}
		if !slices.Equal(r.Tokens, want) || r.Finish != "length" {
			t.Errorf("chunks of %d: %v (%s), want %v", chunk, r.Tokens, r.Finish, want)
		}
	}

	g := m.generator(t)
	r, err := g.Generate(ctx, prompt, Options{MaxTokens: 8, EOS: []int{want[4]}})
	if err != nil {
		t.Fatal(err)
	}
	if end := slices.Index(want, want[4]); !slices.Equal(r.Tokens, want[:end+1]) || r.Finish != "stop" {
		t.Errorf("with an end token: %v (%s)", r.Tokens, r.Finish)
	}
	g.Reset()
	// A sampler that takes the largest logit is greedy decoding without the pipeline.
	r, err = g.Generate(ctx, prompt, Options{MaxTokens: 8, Sampler: largest{}, Logits: true, OnToken: func(tok Token) error {
		if len(tok.Logits) != vocab {
			t.Errorf("%d logits", len(tok.Logits))
		}
		return nil
	}})
	if err != nil || !slices.Equal(r.Tokens, want) {
		t.Errorf("sampled: %v, %v", r.Tokens, err)
	}
	if want := []int{6, 1, 1, 1, 1, 1, 1, 1, 1}; !slices.Equal(r.Calls, want) {
		t.Errorf("calls %v, want %v", r.Calls, want)
	}
}

type largest struct{}

func (largest) Sample(logits []float32) int { return slices.Index(logits, slices.Max(logits)) }

// The caches grow by 256 rows: across the edge, tokens are those of one long call.
func TestCacheGrows(t *testing.T) {
	m, ctx := newModel(t), context.Background()
	rng := rand.New(rand.NewPCG(7, 8))
	prompt := make([]int, 254)
	for i := range prompt {
		prompt[i] = rng.IntN(vocab)
	}
	text := slices.Clone(prompt)
	g := m.generator(t)
	if _, err := g.Generate(ctx, prompt[:101], Options{}); err != nil { // nothing is told of what comes behind it
		t.Fatal(err)
	}
	_, err := g.Generate(ctx, prompt[100:], Options{MaxTokens: 5, PrefillStep: 100, Logits: true, OnToken: func(tok Token) error {
		_, want := m.whole(t, text)
		for i := range want {
			if d := math.Abs(float64(tok.Logits[i] - want[i])); !(d < 1e-4) { // float32 sums in another order
				t.Errorf("token %d: logit %d is %v, want %v", len(text)-len(prompt), i, tok.Logits[i], want[i])
				break
			}
		}
		text = append(text, tok.ID)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if rows := room(g); rows != 512 {
		t.Errorf("the caches have %d rows behind %d tokens", rows, len(text))
	}
}

// room is how many rows the first cache has.
func room(g *Generator) int { return g.caches.Tensors()[0].Shape()[2] }

// ending is a session that is asked to stop behind its first call.
type ending struct {
	engine.Session
	cancel func()
}

func (e *ending) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	out, err := e.Session.Step(ctx, in, dims)
	e.cancel()
	return out, err
}

// TestRoom: where tokens are to come, caches have room for them with the first call.
func TestRoom(t *testing.T) {
	m, ctx, prompt := newModel(t), context.Background(), []int{3, 1, 4}
	g := m.generator(t)
	check := func(what string, g *Generator, want int) {
		t.Helper()
		if rows := room(g); rows != want {
			t.Errorf("%s: room for %d tokens, not %d", what, rows, want)
		}
	}
	for _, x := range []struct{ prompt, step, tokens, rows int }{
		{3, 0, 253, 256}, {3, 0, 254, 512}, {3, 0, 700, 768}, {3, 0, 100000, 1280},
		{1, 0, 300, 512}, {600, 0, 300, 1024}, {600, 256, 300, 1024}, {600, 256, 0, 768}, {600, 599, 300, 1024}, {600, 256, 100000, 1792},
	} {
		g.Reset()
		if _, err := g.Generate(ctx, make([]int, x.prompt), Options{MaxTokens: x.tokens, PrefillStep: x.step, OnToken: func(Token) error { return ErrStop }}); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("%+v", x), g, x.rows)
	}
	draft := m.generator(t)
	if _, err := g.Speculate(ctx, Draft{draft, 2}, prompt, Options{MaxTokens: 700, OnToken: func(Token) error {
		check("a guessed token", g, 768)
		check("the guessing model", draft, 768)
		return ErrStop
	}}); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	session := &ending{m.session, cancel}
	two, err := NewBatch(ctx, m.engine, session, m.program, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if _, err := two.Together(over, [][]int{{3}, {1}}, Options{MaxTokens: 500}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	check("two sequences", two, 512)
	two.Reset()
	over, session.cancel = context.WithCancel(ctx)
	if _, err := two.Together(over, [][]int{make([]int, 250), make([]int, 250)}, Options{MaxTokens: 500}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	check("two sequences behind a prompt", two, 768)
}

func TestGenerateErrors(t *testing.T) {
	m := newModel(t)
	g := m.generator(t)
	if _, err := g.Generate(context.Background(), nil, Options{MaxTokens: 1}); err == nil {
		t.Error("an empty prompt is accepted")
	}
	if _, err := g.Generate(context.Background(), []int{1, vocab}, Options{MaxTokens: 1}); err == nil {
		t.Error("a token outside the vocabulary is accepted")
	}
	g.Reset()
	stop := errors.New("enough")
	r, err := g.Generate(context.Background(), []int{1}, Options{MaxTokens: 9, OnToken: func(Token) error { return stop }})
	if !errors.Is(err, stop) || len(r.Tokens) != 1 {
		t.Errorf("%v, %v", r.Tokens, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Reset()
	if _, err := g.Generate(ctx, []int{1, 2}, Options{MaxTokens: 9}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCompare(t *testing.T) {
	l := func(x ...float32) []float32 { return x }
	a := []Step{{1, l(0, 5, 1)}, {2, l(0, 1, 1.5)}, {0, l(9, 1, 2)}}
	same := Compare(a, a)
	if same.First != -1 || !same.Exact || same.MaxError != 0 || same.Margin != 0.5 || same.MarginStep != 1 || same.Steps != 3 {
		t.Errorf("the same twice: %+v", same)
	}
	b := []Step{{1, l(0, 5, 1.25)}, {1, l(0, 1.75, 1.5)}, {0, l(9, 1, 2)}}
	part := Compare(a, b)
	if part.First != 1 || part.A != 2 || part.B != 1 || part.Margin != 0.5 || part.Exact || part.MaxError != 0.75 || part.MaxErrorStep != 1 {
		t.Errorf("parting at 1: %+v", part)
	}
	if short := Compare(a, a[:2]); short.First != 2 || short.A != 0 || short.B != -1 {
		t.Errorf("ending early: %+v", short)
	}
	if nan := Compare([]Step{{0, l(1, 0)}}, []Step{{0, l(1, float32(math.NaN()))}}); nan.Exact || !math.IsNaN(nan.MaxError) {
		t.Errorf("a NaN: %+v", nan)
	}
}

func TestSampling(t *testing.T) {
	logits := []float32{1, 3, 2, -4, 2.5}
	draw := func(topP, minP float64, topK int, temp float64) map[int]int {
		s, err := NewSampling(Sampling{Temp: temp, TopP: topP, MinP: minP, MinKeep: 1, TopK: topK}, 1)
		if err != nil {
			t.Fatal(err)
		}
		n := map[int]int{}
		for range 20000 {
			n[s.Sample(slices.Clone(logits))]++
		}
		return n
	}
	if n := draw(0, 0, 1, 1); len(n) != 1 || n[1] != 20000 {
		t.Errorf("top_k 1 draws %v", n)
	}
	if n := draw(0, 0, 3, 1); len(n) != 3 || n[0]+n[3] > 0 {
		t.Errorf("top_k 3 draws %v", n)
	}
	if n := draw(0.4, 0, 0, 1); len(n) != 1 { // the best has more than 0.4 of the weight
		t.Errorf("top_p 0.4 draws %v", n)
	}
	if n := draw(0, 0.3, 0, 1); n[0]+n[3] > 0 || len(n) != 3 { // exp(2-3) = 0.37, exp(1-3) = 0.14
		t.Errorf("min_p 0.3 draws %v", n)
	}
	// Frequencies at temperature 2, within five standard deviations.
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) / 2)
	}
	for id, n := range draw(0, 0, 0, 2) {
		p := math.Exp(float64(logits[id])/2) / sum
		if d := math.Abs(float64(n) - 20000*p); d > 5*math.Sqrt(20000*p*(1-p)) {
			t.Errorf("token %d is drawn %d times, %.0f expected", id, n, 20000*p)
		}
	}
	for _, bad := range [][4]float64{{0, 0, 0, 0}, {-1, 0, 0, 0}, {1, 2, 0, 0}, {1, 0, -1, 0}, {1, 0, 0, -1}, {math.NaN(), 0, 0, 0}} {
		if _, err := NewSampling(Sampling{Temp: bad[0], TopP: bad[1], MinP: bad[2], MinKeep: 1, TopK: int(bad[3])}, 0); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

// watched is an engine that writes down, in order, which steps were dispatched and
// which tokens were read.
type watched struct {
	engine.Engine
	log []string
}

type watchedSession struct {
	engine.Session
	e *watched
}

type watchedToken struct {
	engine.Tensor
	e *watched
}

func (w *watched) Load(ctx context.Context, p *graph.Program, s *weights.Store) (engine.Session, error) {
	inner, err := w.Engine.Load(ctx, p, s)
	return &watchedSession{inner, w}, err
}

func (s *watchedSession) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	if t, ok := in["tokens"].(*watchedToken); ok {
		in["tokens"] = t.Tensor
	}
	out, err := s.Session.Step(ctx, in, dims)
	if t, ok := out["next"]; ok {
		out["next"] = &watchedToken{t, s.e}
	}
	return out, err
}

func (w *watched) AsyncEval(list ...engine.Tensor) error {
	w.log = append(w.log, "dispatch")
	for i, t := range list {
		if t, ok := t.(*watchedToken); ok {
			list[i] = t.Tensor
		}
	}
	return w.Engine.AsyncEval(list...)
}

func (t *watchedToken) Read() ([]byte, error) {
	t.e.log = append(t.e.log, "read")
	return t.Tensor.Read()
}

// The next step is under way before a token is read, so that the device has work
// while the host looks at the token and builds the step after it.
func TestNextStepBeforeToken(t *testing.T) {
	m := newModel(t)
	w := &watched{Engine: m.engine}
	m.engine, m.session = w, &watchedSession{m.session, w}
	if _, err := m.generator(t).Generate(context.Background(), []int{3, 14, 15}, Options{MaxTokens: 3}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"dispatch", "dispatch", "read", "dispatch", "read", "read"}; !slices.Equal(w.log, want) {
		t.Errorf("%v, want %v", w.log, want)
	}
}

// asked is an engine that only notes which of the numbered tensors it is asked for, and how many
// times it still does what it is asked for.
type asked struct {
	engine.Engine
	log  []string
	good int
}

type numbered struct {
	engine.Tensor
	n int
}

func (a *asked) note(what string, list []engine.Tensor) error {
	if a.good--; a.good < 0 {
		return errors.New(what)
	}
	a.log = append(a.log, fmt.Sprintf("%s %d to %d", what, list[0].(numbered).n, list[len(list)-1].(numbered).n))
	return nil
}

func (a *asked) AsyncEval(list ...engine.Tensor) error { return a.note("begin", list) }
func (a *asked) Eval(ctx context.Context, list ...engine.Tensor) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return a.note("wait for", list)
}

// Of a prompt's chunk four layers are under way at most, and never less than two until the last. What
// fails, or is interrupted, ends it.
func TestComputeInParts(t *testing.T) {
	var list []engine.Tensor
	for i := range 11 {
		list = append(list, numbered{n: i})
	}
	want := []string{"begin 0 to 7", "wait for 0 to 3", "begin 4 to 10", "wait for 4 to 7", "wait for 8 to 10"}
	for good := range len(want) + 1 {
		a := &asked{good: good}
		err := (&Generator{engine: a}).compute(context.Background(), list)
		if (err == nil) != (good == len(want)) || !slices.Equal(a.log, want[:good]) {
			t.Errorf("%d times good: %q, %v; want %q", good, a.log, err, want[:good])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a := &asked{good: 99}
	if err := (&Generator{engine: a}).compute(ctx, list); !errors.Is(err, context.Canceled) || len(a.log) != 1 {
		t.Errorf("interrupted: %q, %v", a.log, err)
	}
}

package decode_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph/kvquant"
	"zmlx-rewrite/graph/kvring"
	"zmlx-rewrite/models"
)

const (
	kvGoldens = "../testdata/kv.json"
	kvSmolLM2 = "SmolLM2-135M-Instruct"
)

// kvRun is a run in testdata/kv.json: see scripts/oracle/kv_goldens.py.
type kvRun struct {
	Model, DType   string
	Bits           int
	GroupSize      int `json:"group_size"`
	Start, Chunk   int
	Size           int // max_kv_size
	Prompt, Tokens []int
	Margins        []float64
	Logits         []string
}

func kvModel(t *testing.T, name string) *models.Model {
	t.Helper()
	path := "../.cache/oracle/tiny/" + name
	if name == kvSmolLM2 {
		path = "../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not there: scripts/setup-model.sh and scripts/oracle/tiny_models.py make the models", path)
	}
	m, err := models.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func readKV(t *testing.T) (runs []kvRun, refused map[string]string) {
	t.Helper()
	text, err := os.ReadFile(kvGoldens)
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct {
		Runs    []kvRun
		Refused map[string]string
	}
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens.Runs) < 10 {
		t.Fatalf("%d runs, %v", len(goldens.Runs), err)
	}
	return goldens.Runs, goldens.Refused
}

// TestQuantizedCacheTokens: with caches that are quantized from some token on, another
// engine chooses mlx-lm's tokens, too.
func TestQuantizedCacheTokens(t *testing.T) {
	e := ref.New()
	defer e.Close()
	runs, _ := readKV(t)
	n := 0
	for i, r := range runs {
		if strings.HasSuffix(r.Model, "f32") || strings.HasSuffix(r.Model, "f32-4bit") {
			n++
			t.Run(r.name(i), func(t *testing.T) { r.test(t, e, false) })
		}
	}
	if n < 6 {
		t.Errorf("%d runs in float32", n)
	}
}

func (r *kvRun) name(i int) string {
	return fmt.Sprintf("%d/%s %d bits from %d", i, r.Model, r.Bits, r.Start)
}

// tie has margins below which sums in another order may choose another token: those of
// scripts/oracle/tiny_models.py.
var tie = map[string]float64{"bfloat16": 0.25, "float16": 0.05, "float32": 1e-3}

// test runs the prompt of a tiny model twice, as Reset goes back to plain caches. exact
// says that logits have mlx-lm's bits.
func (r *kvRun) test(t *testing.T, e engine.Engine, exact bool) {
	g := kvGenerator(t, e, kvModel(t, r.Model), r, true)
	res := r.compare(t, g, exact)
	if reached := len(r.Prompt)+len(r.Tokens) > r.Start; reached != (res.Plain < len(res.Calls)) {
		t.Errorf("%d of %d calls came before the caches were quantized", res.Plain, len(res.Calls))
	}
}

func (r *kvRun) compare(t *testing.T, g *decode.Generator, exact bool) (res *decode.Result) {
	t.Helper()
	times := 2
	if r.Model == kvSmolLM2 {
		times = 1
	}
	for again := range times {
		g.Reset()
		var rows []string
		o := decode.Options{MaxTokens: len(r.Tokens), PrefillStep: r.Chunk, Logits: true}
		o.OnToken = func(tok decode.Token) error { rows = append(rows, digest(tok.Logits)); return nil }
		var err error
		if res, err = g.Generate(context.Background(), r.Prompt, o); err != nil {
			t.Fatal(err)
		}
		n := slices.IndexFunc(r.Margins, func(m float64) bool { return m < tie[r.DType] })
		if exact || n < 0 {
			n = len(r.Tokens)
		}
		if !slices.Equal(res.Tokens[:n], r.Tokens[:n]) {
			t.Errorf("run %d: tokens %v, mlx-lm's are %v", again, res.Tokens, r.Tokens)
		}
		if exact && !slices.Equal(rows, r.Logits) {
			t.Errorf("run %d: logits %v, mlx-lm's are %v", again, rows, r.Logits)
		}
	}
	return res
}

// kvGenerator returns a generator whose caches are quantized as r says, or plain ones.
func kvGenerator(t *testing.T, e engine.Engine, m *models.Model, r *kvRun, quantized bool) *decode.Generator {
	t.Helper()
	ctx := context.Background()
	s, err := e.Load(ctx, m.Program, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	g, err := decode.New(ctx, e, s, m.Program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	if !quantized {
		return g
	}
	q, err := kvquant.Program(m.Program, kvquant.Options{Bits: r.Bits, GroupSize: r.GroupSize})
	if err != nil {
		t.Fatal(err)
	}
	qs, err := e.Load(ctx, q, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { qs.Close() })
	g.Quantize(&decode.Quantized{Session: qs, Program: q, Start: r.Start})
	return g
}

func digest(logits []float32) string {
	data := make([]byte, 4*len(logits))
	for i, x := range logits {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// TestQuantizedCacheRefusals: what mlx-lm fails at is refused by name, before anything runs.
func TestQuantizedCacheRefusals(t *testing.T) {
	_, refused := readKV(t)
	want := map[string]string{
		"gpt_oss-f32": "kv/window", "gemma3_text-f32": "kv/window", "gemma2-f32": "kv/reader",
		"deepseek_v3-f32": "kv/reader", "glm4_moe_lite-f32": "kv/reader",
	}
	for name, theirs := range refused {
		t.Run(name, func(t *testing.T) {
			if theirs == "" {
				t.Error("mlx-lm does not refuse it")
			}
			_, err := kvquant.Program(kvModel(t, name).Program, kvquant.Options{Bits: 8, GroupSize: 32})
			var list diag.List
			if !errors.As(err, &list) || !slices.ContainsFunc(list, func(i *diag.Issue) bool { return i.Code == want[name] && i.Hint != "" }) {
				t.Errorf("%v, want %s", err, want[name])
			}
		})
	}
}

// testTurns: a second prompt goes on from the caches that the first one and its answer
// leave, which hold the last token, too.
func testTurns(t *testing.T, e engine.Engine, exact bool) {
	text, err := os.ReadFile(kvGoldens)
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct {
		Turns []struct {
			Model string
			Bits  int
			Turns []struct {
				Prompt, Tokens []int
				Logits         []string
			}
		}
	}
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens.Turns) < 3 {
		t.Fatalf("%d conversations, %v", len(goldens.Turns), err)
	}
	for _, c := range goldens.Turns {
		t.Run(fmt.Sprintf("%s/%d bits", c.Model, c.Bits), func(t *testing.T) {
			g := kvGenerator(t, e, kvModel(t, c.Model), &kvRun{Bits: c.Bits, GroupSize: 32}, c.Bits > 0)
			for i, turn := range c.Turns {
				var rows []string
				o := decode.Options{MaxTokens: len(turn.Tokens), Whole: true, Logits: true}
				o.OnToken = func(tok decode.Token) error { rows = append(rows, digest(tok.Logits)); return nil }
				res, err := g.Generate(context.Background(), turn.Prompt, o)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(res.Tokens, turn.Tokens) || exact && !slices.Equal(rows, turn.Logits) {
					t.Errorf("turn %d: tokens %v with logits %v, mlx-lm's %v with %v", i, res.Tokens, rows, turn.Tokens, turn.Logits)
				}
			}
		})
	}
}

func TestTurns(t *testing.T) {
	e := ref.New()
	defer e.Close()
	testTurns(t, e, false)
}

// testRings: caches of max_kv_size rows, of which the first four stay.
func testRings(t *testing.T, e engine.Engine, exact bool) {
	text, err := os.ReadFile(kvGoldens)
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct{ Rings []kvRun }
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens.Rings) < 5 {
		t.Fatalf("%d runs, %v", len(goldens.Rings), err)
	}
	for i, r := range goldens.Rings {
		if !exact && r.DType != "float32" {
			continue
		}
		t.Run(fmt.Sprintf("%d/%s %d rows", i, r.Model, r.Size), func(t *testing.T) {
			m := kvModel(t, r.Model)
			if m.Program, err = kvring.Program(m.Program, r.Size); err != nil {
				t.Fatal(err)
			}
			g := kvGenerator(t, e, m, &r, false)
			g.KeepFirst(kvring.Keep)
			r.compare(t, g, exact)
		})
	}
}

func TestRings(t *testing.T) {
	e := ref.New()
	defer e.Close()
	testRings(t, e, false)
}

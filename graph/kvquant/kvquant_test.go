package kvquant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/models"
)

func dims(list []int) []graph.Dim {
	out := make([]graph.Dim, len(list))
	for i, n := range list {
		out[i] = graph.N(int64(n))
	}
	return out
}

// TestAttention compares one call over a cache that was empty before with
// quantized_scaled_dot_product_attention of mlx-lm, for each kind of mask. (Whole models,
// bit for bit, are in package decode's tests.)
func TestAttention(t *testing.T) {
	text, err := os.ReadFile("../../testdata/kv.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct {
		Attention []struct {
			Mask      string
			Q, K, V   []int
			MaskShape []int `json:"mask_shape"`
			Bits      int
			Scale     float64
			Arrays    map[string][]float64
			Out       []float64
		}
	}
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens.Attention) < 6 {
		t.Fatalf("%d calls, %v", len(goldens.Attention), err)
	}
	e := ref.New()
	defer e.Close()
	for i, c := range goldens.Attention {
		t.Run(fmt.Sprintf("%d/%s", i, c.Mask), func(t *testing.T) {
			g := graph.New()
			in := map[string]engine.Tensor{}
			tensor := func(name string, t0 graph.DType, shape []int, v []float64) {
				var data []byte
				for _, x := range v {
					data = graph.AppendElem(data, t0, x)
				}
				x, err := e.NewTensor(t0, shape, data)
				if err != nil {
					t.Fatal(err)
				}
				in[name] = engine.Take(x)
			}
			input := func(name string, t0 graph.DType, shape []int, v []float64) graph.ValueID {
				tensor(name, t0, shape, v)
				return g.Input(name, graph.T(t0, dims(shape)...))
			}
			add := func(op string, operands []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
				out, err := g.Add(graph.LookupOp(op), "layer", operands, attrs...)
				if err != nil {
					t.Fatal(err)
				}
				return out[0]
			}
			q := input("q", graph.Float32, c.Q, c.Arrays["q"])
			at := input("offset", graph.Int32, []int{}, []float64{0})
			// The cache has room for a row more than are seen.
			whole := func(name string, shape []int) graph.ValueID {
				full := dims(shape)
				full[2] = graph.Sym(graph.SymKVCap)
				cache := g.Input("cache.0."+name, graph.T(graph.Float32, full...))
				return add("kv_append", []graph.ValueID{cache, input(name, graph.Float32, shape, c.Arrays[name]), at})
			}
			operands := []graph.ValueID{q, whole("k", c.K), whole("v", c.V)}
			mask := map[string]string{"none": "none", "causal": "causal", "bool": "array", "add": "array"}[c.Mask]
			switch c.Mask {
			case "bool":
				operands = append(operands, input("mask", graph.Bool, c.MaskShape, c.Arrays["mask"]))
			case "add":
				operands = append(operands, input("mask", graph.Float32, c.MaskShape, c.Arrays["mask"]))
			}
			g.Output("out", add("sdpa", operands, graph.Float(c.Scale), graph.Str(mask), nil, graph.N(int64(c.K[2]))))
			p, err := engine.Program(g)
			if err != nil {
				t.Fatal(err)
			}
			p, err = Program(p, Options{Bits: c.Bits, GroupSize: 32})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range []struct {
				name  string
				shape []int
			}{{"k", c.K}, {"v", c.V}} {
				shape := slices.Clone(x.shape)
				shape[2]++
				for k, part := range Parts {
					t0, n := graph.Float32, shape[3]/32
					if k == 0 {
						t0, n = graph.Uint32, shape[3]*c.Bits/32
					}
					full := append(slices.Clone(shape[:3]), n)
					tensor("cache.0."+x.name+part, t0, full, make([]float64, full[0]*full[1]*full[2]*n))
				}
			}
			out, err := engine.Run(context.Background(), e, p.Cases[0].Graph, nil, in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := out["out"].Read()
			if err != nil {
				t.Fatal(err)
			}
			for k, want := range c.Out {
				// Float32, where sums have another order.
				if x := graph.DecodeElem(graph.Float32, got[4*k:]); !(math.Abs(x-want) < 1e-5) {
					t.Fatalf("element %d is %v, mlx-lm's %v", k, x, want)
				}
			}
		})
	}
}

// TestRefusals: what cannot be quantized is named, with what to do instead.
func TestRefusals(t *testing.T) {
	const head = "zmlx 1\nprogram p\ncase all when seq_len >= 1\n  input offset : int32[]\n"
	const cache = "  input cache.0.keys : float32[batch, 2, kv_cap, 64]\n  input new : float32[batch, 2, seq_len, 64]\n" +
		"  k = kv_append(cache.0.keys, new, offset) : float32[batch, 2, kv_cap, 64]\n"
	const attend = "  y = sdpa(new, k, k, scale=0.125%s) : float32[batch, 2, seq_len, 64]\n  output y = y\n  output cache.0.keys = k\n"
	good := head + cache + fmt.Sprintf(attend, ", kv_len=kv_len")
	for _, x := range []struct{ name, text, code, says string }{
		{"a model that can", good, "", ""},
		{"a ring", strings.ReplaceAll(good, "kv_cap", "window_cap"), "kv/window", "RotatingKVCache"},
		{"a window over a whole cache", head + cache + fmt.Sprintf(attend, `, mask="window", window=3, kv_len=kv_len`), "kv/window", "sliding window"},
		{"sinks", strings.Replace(strings.Replace(good, "sdpa(new, k, k,", "sdpa(new, k, k, none, sinks,", 1), head, head+"  input sinks : float32[2]\n", 1), "kv/sinks", "sinks"},
		{"another reader", head + cache + "  n = negative(k) : float32[batch, 2, kv_cap, 64]\n  output n = n\n  output cache.0.keys = k\n", "kv/reader", "read by negative"},
		{"a reader of the old rows", head + cache + "  n = negative(cache.0.keys) : float32[batch, 2, kv_cap, 64]\n  output n = n\n  output cache.0.keys = k\n", "kv/reader", "read by negative"},
		{"queries from the cache", head + cache + "  y = sdpa(k, k, k, scale=0.125) : float32[batch, 2, kv_cap, 64]\n  output y = y\n  output cache.0.keys = k\n", "kv/reader", "read by sdpa"},
		{"odd rows", strings.ReplaceAll(good, "64]", "48]"), "kv/group", "48 elements"},
		{"groups of another size", strings.ReplaceAll(good, "64]", "96]"), "kv/group", "--kv-group-size 32"},
		{"nothing to quantize", head + "  output y = offset\n", "kv/none", "no cache"},
	} {
		t.Run(x.name, func(t *testing.T) {
			p, issues := graph.ParseText("p.zg", []byte(x.text), nil)
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			q, err := Program(p, Options{Bits: 8, GroupSize: 64})
			var list diag.List
			switch {
			case x.code == "" && (err != nil || q.Verify() != nil):
				t.Errorf("%v, %v", err, q.Verify())
			case x.code != "" && (!errors.As(err, &list) || list[0].Code != x.code || !strings.Contains(err.Error(), x.says) || list[0].Hint == ""):
				t.Errorf("%v, want %s: %s", err, x.code, x.says)
			}
		})
	}
}

// TestPrograms: models whose caches are quantized have valid programs in normal form, and
// keep what is no cache of keys and values.
func TestPrograms(t *testing.T) {
	for name, code := range map[string]string{
		"Qwen3-0.6B-4bit": "", "Qwen3-30B-A3B-4bit": "", "Llama-3.1-8B": "", "LFM2-8B-A1B-4bit": "", "Qwen3-Coder-Next-4bit": "", "Mixtral-8x7B-v0.1-4bit": "",
		"gpt-oss-20b": "kv/window", "gemma-3-1b-it": "kv/window", "gemma-2-9b-it": "kv/reader", "GLM-4.7-Flash-4bit": "kv/reader", "DeepSeek-V3.2-4bit": "kv/reader",
	} {
		t.Run(name, func(t *testing.T) {
			cfg, ok := models.ReferenceConfig(name)
			if !ok {
				t.Fatal("no such configuration")
			}
			p, err := models.Build(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			q, err := Program(p, Options{Bits: 8, GroupSize: 64})
			var list diag.List
			if code != "" {
				if !errors.As(err, &list) || !slices.ContainsFunc(list, func(i *diag.Issue) bool { return i.Code == code }) {
					t.Errorf("%v, want %s", err, code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := q.Verify(); err != nil {
				t.Fatal(err)
			}
			for i, c := range q.Cases {
				if counts, err := normal.Form(c.Graph); err != nil || counts.Total() > 0 {
					t.Errorf("case %s is not in normal form: %v, %v", c.Name, counts, err)
				}
				old := p.Cases[i].Graph
				kept, parts := 0, 0
				for _, id := range c.Graph.Inputs() {
					if strings.HasSuffix(c.Graph.InputName(id), ".weight") {
						parts++
					} else if slices.ContainsFunc(old.Inputs(), func(o graph.ValueID) bool { return old.InputName(o) == c.Graph.InputName(id) }) {
						kept++
					}
				}
				if parts == 0 || kept+parts != len(old.Inputs()) || kept+3*parts != len(c.Graph.Inputs()) {
					t.Errorf("case %s: %d inputs are as before and %d in parts, of %d", c.Name, kept, parts, len(old.Inputs()))
				}
			}
		})
	}
}

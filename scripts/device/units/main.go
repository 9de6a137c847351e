// Units writes the texts of kernels for NVRTC, with the shapes of their operands, for calls that
// large models make, so that scripts/device/micro.py can time them on a machine that has neither Go
// nor MLX:
//
//	go run ./scripts/device/units OUT [KERNELS]
//
// OUT gets units.json. KERNELS is a folder of kernels that are used over the built-in ones: a variant.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// calls are names, kernels, and what each was called with: dimensions and integer attributes by name.
// A call has bfloat16 and groups of 64 unless something else is said.
var calls = []struct{ name, kernel, with string }{
	{"qwen qkv", "rms_norm_qmv", "rows=1 n=5120 k=2048 bits=4"},
	{"qwen norm rope", "qk_norm_rope", "b=1 l=1 hq=32 hk=4 d=128 dims=128"},
	{"qwen attn 256", "sdpa_decode", "b=1 hq=32 hk=4 cap=1024 d=128 dv=128 kv_len=256"},
	{"qwen norm attn 256", "norm_rope_sdpa_decode", "b=1 hq=32 hk=4 cap=1024 d=128 dv=128 kv_len=256 dims=128"},
	{"qwen attn 8192", "sdpa_decode_split", "b=1 hq=32 hk=4 cap=8448 d=128 dv=128 kv_len=8200 splits=64"},
	{"qwen norm attn 8192", "norm_rope_sdpa_decode_split", "b=1 hq=32 hk=4 cap=8448 d=128 dv=128 kv_len=8200 splits=64 dims=128"},
	{"qwen attn 32768", "sdpa_decode_split", "b=1 hq=32 hk=4 cap=33024 d=128 dv=128 kv_len=32800 splits=64"},
	{"qwen merge", "sdpa_merge", "b=1 h=32 splits=64 d=128"},
	{"qwen o", "qmv_add", "rows=1 n=2048 k=4096 bits=4"},
	{"qwen router", "rms_norm_qmv", "rows=1 n=128 k=2048 bits=8"},
	{"qwen gate up", "rms_norm_softmax_topk_gather_qmm_swiglu", "b=1 l=1 e=128 n=768 k=2048 best=8 bits=4"},
	{"qwen gate up 8", "rms_norm_softmax_topk_gather_qmm_swiglu", "b=1 l=1 e=128 n=768 k=2048 best=8 bits=8"},
	{"qwen down", "gather_qmm_combine_add", "b=1 l=1 topk=8 e=128 n=2048 k=768 bits=4"},
	{"qwen head", "qmv", "rows=1 n=151936 k=2048 bits=4"},
	{"lfm8 in", "rms_norm_qmv", "rows=1 n=6144 k=2048 bits=8"},
	{"lfm conv", "short_conv", "b=1 c=2048 c3=6144 keep=2 taps=3"},
	{"lfm8 in conv", "rms_norm_qmv_short_conv", "b=1 c=2048 c3=6144 keep=2 taps=3 k=2048 bits=8"},
	{"lfm4 in conv", "rms_norm_qmv_short_conv", "b=1 c=2048 c3=6144 keep=2 taps=3 k=2048 bits=4"},
	{"lfm8 qkv", "rms_norm_qmv", "rows=1 n=3072 k=2048 bits=8"},
	{"lfm8 o", "qmv_add", "rows=1 n=2048 k=2048 bits=8"},
	{"lfm8 router", "rms_norm_qmv", "rows=1 n=32 k=2048 bits=8"},
	{"lfm8 router choice", "rms_norm_qmv_sigmoid_topk", "rows=1 e=32 k=2048 best=4 bits=8"},
	{"lfm8 gate up", "rms_norm_sigmoid_topk_gather_qmm_swiglu", "b=1 l=1 e=32 n=1792 k=2048 best=4 bits=8"},
	{"lfm8 gate up chosen", "gather_qmm_swiglu", "b=1 l=1 topk=4 e=32 n=1792 k=2048 bits=8"},
	{"qwen gate up chosen", "gather_qmm_swiglu", "b=1 l=1 topk=8 e=128 n=768 k=2048 bits=4"},
	{"lfm8 down", "gather_qmm_combine_add", "b=1 l=1 topk=4 e=32 n=2048 k=1792 bits=8"},
	{"lfm4 gate up", "rms_norm_sigmoid_topk_gather_qmm_swiglu", "b=1 l=1 e=32 n=1792 k=2048 best=4 bits=4"},
	{"lfm4 down", "gather_qmm_combine_add", "b=1 l=1 topk=4 e=32 n=2048 k=1792 bits=4"},
	{"lfm8 dense gate up", "rms_norm_qmv_swiglu", "rows=1 n=7168 k=2048 bits=8"},
	{"lfm8 dense down", "qmv_add", "rows=1 n=2048 k=7168 bits=8"},
	{"lfm8 head", "qmv", "rows=1 n=65536 k=2048 bits=8"},
	{"llama qkv", "rms_norm_qmv", "rows=1 n=6144 k=4096 bits=4"},
	{"llama o", "qmv_add", "rows=1 n=4096 k=4096 bits=4"},
	{"llama gate up", "rms_norm_qmv_swiglu", "rows=1 n=14336 k=4096 bits=4"},
	{"llama down", "qmv_add", "rows=1 n=4096 k=14336 bits=4"},
	{"llama head", "qmv", "rows=1 n=128256 k=4096 bits=4"},
	{"glm q_b", "rms_norm_qmv", "rows=1 n=5120 k=768 bits=4"},
	{"glm heads", "qmv_heads", "b=1 h=20 l=1 n=512 k=192 bits=4"},
	{"glm attn 32768", "mla_decode_split", "b=1 h=20 r=512 p=64 cap=33024 kv_len=32800 splits=44"},
	{"glm merge", "sdpa_merge", "b=1 h=20 splits=44 d=512"},
	{"glm gate up", "gather_qmm_swiglu", "b=1 l=1 topk=4 e=64 n=1536 k=2048 bits=4"},
	{"oss gate up", "gather_qmm_swiglu_oai", "b=1 l=1 topk=4 e=32 n=2880 k=2880 bits=4 group_size=32 mxfp4"},
}

// numbers are attributes that no call says.
var numbers = map[string]graph.Attr{
	"eps": graph.Float(1e-6), "base": graph.Float(1e6), "scale": graph.Float(0.0883883), "alpha": graph.Float(1.702), "limit": graph.Float(7),
}

type tensor struct {
	Name, Type string
	Shape      []int64
	Fill       *int64 `json:",omitempty"` // what all elements are
}

// unit is a launch: In and Out are its parameters, in order.
type unit struct {
	Name, Kernel, Fn, Text string
	Grid, Block            [3]int64
	In, Out                []tensor
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: go run ./scripts/device/units OUT [KERNELS]")
	}
	catalog, issues := kernels.Load(os.Args[2:]...)
	if issues.HasErrors() {
		log.Fatal(issues)
	}
	var units []unit
	for _, c := range calls {
		u, err := unitOf(catalog, c.kernel, c.with)
		if err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
		u.Name = c.name
		units = append(units, *u)
	}
	data, err := json.Marshal(units)
	if err == nil {
		err = os.MkdirAll(os.Args[1], 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(os.Args[1], "units.json"), data, 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func unitOf(catalog *kernels.Catalog, kernel, with string) (*unit, error) {
	s := catalog.Spec(kernel)
	if s == nil {
		return nil, fmt.Errorf("there is no kernel %s", kernel)
	}
	choice := kernels.Choice{Dims: map[string]int64{}, Attrs: map[string]graph.Attr{}, Absent: map[string]bool{}, Types: map[string]graph.DType{}}
	for _, in := range s.Inputs { // bfloat16 where it may be, else the first that may
		choice.Types[in.TypeName] = in.DTypes[0]
		if slices.Contains(in.DTypes, graph.BFloat16) {
			choice.Types[in.TypeName] = graph.BFloat16
		}
	}
	attr := func(name string) bool {
		return slices.ContainsFunc(s.Attrs, func(a kernels.Attr) bool { return a.Name == name })
	}
	for name, x := range numbers {
		if attr(name) {
			choice.Attrs[name] = x
		}
	}
	if attr("group_size") {
		choice.Attrs["group_size"] = graph.N(64)
	}
	rows := int64(1)
	for _, word := range strings.Fields(with) {
		name, text, ok := strings.Cut(word, "=")
		if !ok { // mxfp4 has no biases, and exponents for scales
			choice.Attrs["mode"], choice.Types["S"] = graph.Str(word), graph.Uint8
			for _, in := range s.Inputs {
				choice.Absent[in.Name] = strings.HasPrefix(in.Name, "bg") || strings.HasPrefix(in.Name, "bu") || in.Name == "biases"
			}
			continue
		}
		var n int64
		if _, err := fmt.Sscan(text, &n); err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		if name == "kv_len" {
			rows = n
		}
		if attr(name) {
			choice.Attrs[name] = graph.N(n)
		} else {
			choice.Dims[name] = n
		}
	}
	trial, err := s.Trial(choice)
	if err != nil {
		return nil, err
	}
	v, err := trial.Values()
	if err != nil {
		return nil, err
	}
	g, text, err := s.Standalone(v, trial.ResultTypes(), nil)
	if err != nil {
		return nil, err
	}
	geometry, err := s.Geometry(trial.Ints)
	if err != nil {
		return nil, err
	}
	u := &unit{Kernel: kernel, Fn: g.Name, Text: text}
	for i := range 3 {
		u.Block[i] = min(geometry.Group[i], geometry.Grid[i])
		u.Grid[i] = (geometry.Grid[i] + u.Block[i] - 1) / u.Block[i]
	}
	for i, in := range s.Inputs {
		if slices.Contains(g.Inputs, in.Name) {
			t := tensorOf(in.Name, trial.Inputs[i])
			if in.Name == "offset" { // the last row
				last := rows - 1
				t.Fill = &last
			}
			u.In = append(u.In, t)
		}
	}
	if len(u.In) != len(g.Inputs) {
		return nil, fmt.Errorf("the text has parameters %s", strings.Join(g.Inputs, ", "))
	}
	for i, name := range s.Results {
		u.Out = append(u.Out, tensorOf(name, trial.Results[i]))
	}
	return u, nil
}

func tensorOf(name string, t graph.Type) tensor {
	out := tensor{Name: name, Type: t.DType.String()}
	for _, d := range t.Shape {
		n, _ := d.Const()
		out.Shape = append(out.Shape, n)
	}
	return out
}

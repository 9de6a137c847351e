package models

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// publishedGPTOSS turns weights for gpt_oss into what OpenAI published: gate and up row by row in
// turns, packed weights as blocks of 16 bytes. Rows are numbered: those of a gate are
// even. Bytes that are computed with are held against mlx-lm by the tiny models.
func publishedGPTOSS(t *testing.T, w map[string]*weights.Tensor) map[string]*weights.Tensor {
	t.Helper()
	out := map[string]*weights.Tensor{}
	for name, x := range w {
		stem, rest, ok := strings.Cut(name, ".experts.")
		if !ok {
			out[name] = x
			continue
		}
		module, part, _ := strings.Cut(rest, ".")
		if module == "up_proj" {
			continue
		}
		shape := append([]int(nil), x.Shape...)
		if module == "gate_proj" {
			module, shape[1] = "gate_up_proj", 2*shape[1]
		}
		dtype, suffix := x.DType, map[string]string{"weight": "_blocks", "scales": "_scales", "bias": "_bias"}[part]
		if part == "weight" {
			dtype, shape = graph.Uint8, []int{shape[0], shape[1], shape[2] / 4, 16}
		}
		n, _ := weights.NumBytes(dtype, shape)
		data := make([]byte, n)
		row := n / (shape[0] * shape[1])
		for i := range data {
			data[i] = byte(i / row % shape[1])
		}
		y, err := weights.New(stem+".experts."+module+suffix, dtype, shape, weights.Raw(data))
		if err != nil {
			t.Fatal(err)
		}
		out[y.Name] = y
	}
	return out
}

func TestPublishedGPTOSS(t *testing.T) {
	config := tinyConfig(t, "gpt_oss", map[string]any{"quantization_config": map[string]any{"quant_method": "mxfp4",
		"modules_to_not_convert": []string{"model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"}}})
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := publishedGPTOSS(t, zeros(t, p))
	m, err := Load(writeFolder(t, config, w))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Program.Hash() != p.Hash() {
		t.Error("the program of the files is not that of the configuration")
	}
	for _, module := range []string{"gate_proj", "up_proj", "down_proj"} {
		for _, part := range []string{"weight", "scales", "bias"} {
			name := "model.layers.1.mlp.experts." + module + "." + part
			x := m.Weights.Get(name)
			got := make([]byte, x.NumBytes())
			if err := x.ReadInto(got); err != nil {
				t.Fatal(err)
			}
			row := len(got) / (x.Shape[0] * x.Shape[1])
			for i, b := range got {
				at := i / row % x.Shape[1]
				if want := map[string]int{"gate_proj": 2 * at, "up_proj": 2*at + 1, "down_proj": at}[module]; int(b) != want {
					t.Fatalf("%s: row %d is row %d of the file, want %d", name, at, b, want)
				}
			}
		}
	}

	const blocks = "model.layers.0.mlp.experts.gate_up_proj_blocks"
	for want, x := range map[string]struct {
		dtype graph.DType
		shape []int
	}{
		"weights/view view: \"" + blocks + "\" of uint8[4 256 2 15] as uint32":                                                        {graph.Uint8, []int{4, 256, 2, 15}},
		"weights/view view: \"" + blocks + "\" of uint8[] as uint32":                                                                  {graph.Uint8, []int{}},
		"weights/every every: axis -2 of 1 dimensions":                                                                                {graph.Uint8, []int{16}},
		"weights/shape model.layers.0.mlp.experts.up_proj.weight: has type uint32[4, 127, 8]; config.json asks for shape [4, 128, 8]": {graph.Uint8, []int{4, 255, 2, 16}},
	} {
		n, _ := weights.NumBytes(x.dtype, x.shape)
		bad := maps.Clone(w)
		if bad[blocks], err = weights.New("", x.dtype, x.shape, weights.Raw(make([]byte, n))); err != nil {
			t.Fatal(err)
		}
		m, err := Load(writeFolder(t, config, bad))
		if err == nil {
			m.Close()
		}
		if got := codes(err); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", fmt.Sprint(x), got, want)
		}
	}
}

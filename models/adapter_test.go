package models

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

// adaptedBases are the models that FuzzAdapter gives adapters to: with Linear and SwitchLinear,
// quantized and not, and an Embedding that is the head as well.
func adaptedBases(t testing.TB) (texts [][]byte, stores []*weights.Store) {
	for _, text := range [][]byte{
		tinyConfig(t, "llama", nil),
		tinyConfig(t, "qwen3_moe", map[string]any{"quantization": map[string]any{"group_size": 32, "bits": 4}}),
		tinyConfig(t, "gemma3_text", map[string]any{"quantization": map[string]any{"group_size": 32, "bits": 8}}),
	} {
		c, err := ParseConfig("config.json", text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Build(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := RandomWeights(p, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		texts, stores = append(texts, text), append(stores, w)
	}
	return texts, stores
}

// tensorsOf makes a file of safetensors of lines such as "model.layers.0.mlp.lora_a F16 64,4"; nil
// where the lines are no such ones, or the file would be too large for a test.
func tensorsOf(lines string) []byte {
	const most = 1 << 20
	header := map[string]any{}
	at := 0
	for line := range strings.Lines(lines) {
		var name, dtype, dims string
		if n, _ := fmt.Sscan(line, &name, &dtype, &dims); n < 2 {
			return nil
		}
		var shape []int
		if json.Unmarshal([]byte("["+dims+"]"), &shape) != nil {
			return nil
		}
		size := map[string]int{"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "I32": 4}[dtype]
		for _, n := range shape {
			if n < 0 || n > most {
				return nil
			}
			if size *= n; size > most {
				return nil
			}
		}
		if header[name] != nil || at+size > most {
			return nil
		}
		header[name] = map[string]any{"dtype": dtype, "shape": append([]int{}, shape...), "data_offsets": []int{at, at + size}}
		at += size
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(out, text...), make([]byte, at)...)
}

// FuzzAdapter: no adapter_config.json and no names, types and shapes of tensors make reading or
// building panic, and what is wrong with them has a code. What builds also verifies.
func FuzzAdapter(f *testing.F) {
	for _, kind := range []string{"lora", "dora", "embedding", "experts", "full"} {
		dir := filepath.Join("..", "testdata", "adapters", kind)
		text, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
		if err != nil {
			f.Fatal(err)
		}
		w, _, err := safetensors.Open(filepath.Join(dir, "adapters.safetensors"))
		if err != nil {
			f.Fatal(err)
		}
		names := map[graph.DType]string{graph.Float32: "F32", graph.Float16: "F16", graph.BFloat16: "BF16"}
		var lines strings.Builder
		for t := range w.All() {
			fmt.Fprintf(&lines, "%s %s %s\n", t.Name, names[t.DType], strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", ","))
		}
		w.Close()
		for base := range byte(3) {
			f.Add(text, lines.String(), base)
		}
	}
	const keys = `{"fine_tune_type":"%s","num_layers":1,"lora_parameters":{"rank":4,"scale":2,"keys":[%s]}}`
	config := func(kind, list string) []byte { return fmt.Appendf(nil, keys, kind, list) }
	f.Add(config("lora", `"self_attn.q_proj"`), "model.layers.1.self_attn.q_proj.lora_a F32 64,4\nmodel.layers.1.self_attn.q_proj.lora_b F32 4,128\n", byte(0))
	f.Add(config("dora", `"mlp.down_proj"`), "model.layers.1.mlp.down_proj.lora_a BF16 128,4\nmodel.layers.1.mlp.down_proj.lora_b BF16 4,64\nmodel.layers.1.mlp.down_proj.m BF16 64\n", byte(2))
	f.Add(config("lora", `"mlp.switch_mlp.up_proj"`), "model.layers.1.mlp.switch_mlp.up_proj.lora_a F16 4,4,64\nmodel.layers.1.mlp.switch_mlp.up_proj.lora_b F16 4,64,4\n", byte(1))
	f.Add(config("lora", `"model.embed_tokens"`), "model.embed_tokens.lora_a F32 100,4\nmodel.embed_tokens.lora_b F32 4,64\n", byte(0))
	f.Add([]byte(`{"fine_tune_type":"full"}`), "model.norm.weight F16 64\nmodel.layers.0.self_attn.q_proj.weight F32 128,64\n", byte(0))
	f.Add([]byte(`{"fine_tune_type":"full"}`), "model.layers.0.self_attn.q_proj.weight F32 128,8\n", byte(1)) // in the place of packed bits

	texts, stores := adaptedBases(f)
	coded := func(t *testing.T, err error) {
		var issue *diag.Issue
		var list diag.List
		if !errors.As(err, &list) && (!errors.As(err, &issue) || issue.Code == "") {
			t.Fatalf("an error without a code: %T: %v", err, err)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, lines string, base byte) {
		a, err := parseAdapter("adapter_config.json", text)
		if err != nil {
			coded(t, err)
			return
		}
		file := tensorsOf(lines)
		if file == nil {
			return
		}
		a.file = "adapters.safetensors"
		if a.tensors, _, err = safetensors.Parse(a.file, file); err != nil {
			coded(t, err)
			return
		}
		k := int(base) % len(texts)
		c, err := ParseConfig("config.json", texts[k])
		if err != nil {
			t.Fatal(err)
		}
		m := &Model{Config: c, Weights: stores[k]}
		if err := m.take(a); err != nil {
			coded(t, err)
			return
		}
		p, err := Build(m.Config, storeTypes{m.Weights})
		if err != nil {
			coded(t, err)
			return
		}
		if err := p.Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

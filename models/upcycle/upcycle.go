// Package upcycle makes a mixture of experts of a dense model's weights ("sparse
// upcycling"): real weights for the rules and kernels of experts, in a size that a
// laptop holds. The result is a Mixtral of 4 experts of which each token takes 2,
// as an MLX folder that mlx-lm reads, too.
//
// Every expert has the packed weights of the dense MLP, with scales and biases that
// are a little larger or smaller for each; routers are random. Attention, norms and
// embeddings are as they were, and the head is the embedding again. Text that comes
// out is nearly the dense model's. The same file gives the same bytes.
//
// It takes quantized GGUF files of the llama architecture with SmolLM's tokenizer,
// and nothing else.
package upcycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/gguf"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

const (
	experts  = 4
	perToken = 2
	// recipe is counted up when the same file is to give other bytes.
	recipe = 1
)

// stampName is the file that says what a folder was made of.
const stampName = "upcycle.json"

type stamp struct {
	Recipe int    `json:"recipe"`
	Source string `json:"source"`
	Bytes  int64  `json:"source_bytes"`
	Layers int    `json:"layers"` // 0: all
}

// Ensure writes the folder unless it is there and was made of a file of this name and
// size by this recipe. Several may call it at a time. Arguments are those of Write.
func Ensure(source, dir string, layers int) error {
	want, err := stampOf(source, layers)
	if err != nil {
		return err
	}
	if got, err := os.ReadFile(filepath.Join(dir, stampName)); err == nil && bytes.Equal(got, want) {
		return nil
	}
	err = Write(source, dir, layers)
	if errors.Is(err, fs.ErrExist) { // stale, or somebody was quicker
		if got, err := os.ReadFile(filepath.Join(dir, stampName)); err == nil && bytes.Equal(got, want) {
			return nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return diag.Errorf("upcycle/write", diag.Pos{File: dir}, "%v", err)
		}
		return Write(source, dir, layers)
	}
	return err
}

func stampOf(source string, layers int) ([]byte, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, diag.Errorf("upcycle/source", diag.Pos{File: source}, "%v", err)
	}
	return marshal(stamp{recipe, filepath.Base(source), info.Size(), layers})
}

// Write makes a folder of a GGUF file, of the first layers of it, or of all for 0. The
// folder must not exist; it appears when all of it is written. Weights are streamed.
func Write(source, dir string, layers int) error {
	f, err := gguf.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	hf, err := f.HF()
	if err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return diag.Errorf("upcycle/source", diag.Pos{File: source}, format, args...).WithHint("upcycling is for SmolLM2 in Q4_1")
	}
	stamp, err := stampOf(source, layers)
	if err != nil {
		return err
	}
	quantization, quantized := hf.Config["quantization"].(map[string]any)
	all := int(hf.Config["num_hidden_layers"].(int64))
	switch {
	case hf.Config["model_type"] != "llama":
		return refuse("is a %v, not a llama", hf.Config["model_type"])
	case !quantized || hf.Config["tie_word_embeddings"] != true:
		return refuse("is not quantized, or has a head of its own")
	case layers < 0 || layers > all:
		return refuse("has %d layers, not %d", all, layers)
	case layers == 0:
		layers = all
	}
	tokenizer, tokenizerConfig, err := tokenizerFiles(source, f)
	if err != nil {
		return err
	}
	made, err := mixture(hf.Weights, layers)
	if err != nil {
		return err
	}
	config, err := marshal(configOf(hf.Config, quantization, layers))
	if err != nil {
		return err
	}

	fail := func(err error) error { return diag.Errorf("upcycle/write", diag.Pos{File: dir}, "%v", err) }
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fail(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".upcycle-*")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fail(err)
	}
	if err := safetensors.Write(filepath.Join(tmp, "model.safetensors"), made.All(), map[string]string{"format": "mlx"}); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"config.json": config, "tokenizer.json": tokenizer, "tokenizer_config.json": tokenizerConfig, stampName: stamp} {
		if err := os.WriteFile(filepath.Join(tmp, name), text, 0o644); err != nil {
			return fail(err)
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return fmt.Errorf("%s: %w", dir, fs.ErrExist)
		}
		return fail(err)
	}
	return nil
}

// configOf is the config.json of the mixture.
func configOf(dense, quantization map[string]any, layers int) map[string]any {
	c, q := map[string]any{}, map[string]any{}
	for k, v := range dense {
		c[k] = v
	}
	for k, v := range quantization {
		q[k] = v
	}
	if embed, ok := q["model.embed_tokens"]; ok {
		q["lm_head"] = embed
	}
	for i := range layers {
		q[fmt.Sprintf("model.layers.%d.block_sparse_moe.gate", i)] = false
	}
	c["model_type"], c["architectures"] = "mixtral", []string{"MixtralForCausalLM"}
	c["num_local_experts"], c["num_experts_per_tok"] = experts, perToken
	c["num_hidden_layers"], c["tie_word_embeddings"] = layers, false
	c["quantization"], c["torch_dtype"] = q, "float16"
	return c
}

// mixture returns the tensors of the mixture; their bytes are made when they are read.
func mixture(dense *weights.Store, layers int) (*weights.Store, error) {
	w := weights.NewStore()
	var width int
	for t := range dense.All() {
		layer := -1
		if rest, ok := strings.CutPrefix(t.Name, "model.layers."); ok {
			if _, err := fmt.Sscanf(rest, "%d.", &layer); err != nil {
				return nil, err
			}
		}
		if layer >= layers {
			continue
		}
		name, err := t.Name, error(nil)
		switch before, after, isMLP := strings.Cut(name, ".mlp."); {
		case isMLP:
			t, err = split(t, before+".block_sparse_moe.switch_mlp."+after)
		case strings.HasPrefix(name, "model.embed_tokens."):
			err = w.Add(t.Renamed("lm_head" + strings.TrimPrefix(name, "model.embed_tokens")))
		case name == "model.norm.weight":
			width = t.Shape[0]
		}
		if err == nil {
			err = w.Add(t)
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range layers {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		var data []byte
		for range experts * width {
			data = graph.AppendElem(data, graph.Float16, 0.05*r.NormFloat64())
		}
		gate, err := weights.New(fmt.Sprintf("model.layers.%d.block_sparse_moe.gate.weight", i), graph.Float16, []int{experts, width}, weights.Raw(data))
		if err == nil {
			err = w.Add(gate)
		}
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// split makes all experts' matrices of one: packed weights are the same, scales and
// biases are multiplied by 0.994, 0.998, 1.002 and 1.006.
func split(t *weights.Tensor, name string) (*weights.Tensor, error) {
	parts := make([]*weights.Tensor, experts)
	for e := range parts {
		parts[e] = t
		if !t.DType.IsFloat() {
			continue
		}
		scale, dtype := float32(1+0.004*(float64(e)-1.5)), t.DType
		var err error
		parts[e], err = weights.Map(t, dtype, func(dst, src []byte) {
			for i := 0; i < len(src); i += dtype.Size() {
				graph.AppendElem(dst[i:i], dtype, float64(float32(graph.DecodeElem(dtype, src[i:]))*scale))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return weights.Stack(name, -3, parts...)
}

// tokenizerFiles are tokenizer.json and tokenizer_config.json of a file's metadata, as
// transformers writes them.
func tokenizerFiles(source string, f *gguf.File) (tokenizer, config []byte, err error) {
	m, err := f.Tokenizer()
	if err != nil {
		return nil, nil, err
	}
	if m.Model != "gpt2" || m.Pre != "smollm" || len(m.Types) != len(m.Tokens) {
		return nil, nil, diag.Errorf("upcycle/source", diag.Pos{File: source}, "has tokenizer %s, %s, not SmolLM's", m.Model, m.Pre).WithHint("upcycling is for SmolLM2 in Q4_1")
	}
	type object = map[string]any
	vocab, added, merges := map[string]int{}, []object{}, [][]string{}
	for id, text := range m.Tokens {
		vocab[text] = id
		if m.Types[id] == 3 { // control
			added = append(added, object{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
		}
	}
	for _, text := range m.Merges {
		left, right, _ := strings.Cut(text, " ")
		merges = append(merges, []string{left, right})
	}
	byteLevel := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	tokenizer, err = marshal(object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "post_processor": nil,
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": []object{{"type": "Digits", "individual_digits": true}, byteLevel}},
		"decoder":       byteLevel,
		"model": object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges},
	})
	if err != nil {
		return nil, nil, err
	}
	c := object{"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": m.ChatTemplate, "clean_up_tokenization_spaces": false}
	for key, id := range map[string]int{"bos_token": m.BOS, "eos_token": m.EOS, "unk_token": m.Unknown, "pad_token": m.Padding} {
		if id >= 0 {
			c[key] = m.Tokens[id]
		}
	}
	config, err = marshal(c)
	return tokenizer, config, err
}

// marshal writes JSON with < > & as they are; keys are sorted.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

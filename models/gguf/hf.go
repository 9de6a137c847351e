package gguf

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/weights"
)

// HF is a GGUF file seen as a Hugging Face checkpoint.
type HF struct {
	// Config is the content of a config.json: strings, bools, int64, float64, lists
	// and mappings of those. Where the weights are quantized it has MLX's
	// "quantization" mapping, with the modules that differ from the most common
	// width by name.
	Config map[string]any
	// Weights has the tensors under the names that mlx-lm gives them, experts of a
	// layer stacked. Closing it closes the file.
	Weights *weights.Store
}

// arch is how the tensors of one GGUF architecture are called by mlx-lm.
type arch struct {
	modelType string
	class     string // "architectures" of config.json
	modules   map[string]string
	// rope says that the rows of the query and key projections are in GGUF's order
	// of pairs: llama.cpp's converter permutes them for this architecture only.
	rope bool
	moe  bool
	// embeddingNorm says that the last norm is called embedding_norm, and in GGUF
	// token_embd_norm: LFM2.
	embeddingNorm bool
	// plusOne says that 1 was added to the weights of norms.
	plusOne bool
}

var archs = func() map[string]arch {
	attention := map[string]string{
		"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
		"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	}
	dense := map[string]string{"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
	qkNorm := map[string]string{"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
	experts := func(block string) map[string]string {
		return map[string]string{
			"ffn_gate_inp":  block + ".gate",
			"ffn_gate_exps": block + ".switch_mlp.gate_proj", "ffn_up_exps": block + ".switch_mlp.up_proj", "ffn_down_exps": block + ".switch_mlp.down_proj",
		}
	}
	join := func(ms ...map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range ms {
			maps.Copy(all, m)
		}
		return all
	}
	all := map[string]arch{
		"llama":    {modelType: "llama", class: "LlamaForCausalLM", modules: join(attention, dense), rope: true},
		"qwen2":    {modelType: "qwen2", class: "Qwen2ForCausalLM", modules: join(attention, dense)},
		"qwen3":    {modelType: "qwen3", class: "Qwen3ForCausalLM", modules: join(attention, dense, qkNorm)},
		"qwen3moe": {modelType: "qwen3_moe", class: "Qwen3MoeForCausalLM", modules: join(attention, qkNorm, experts("mlp")), moe: true},
		// A file of it says llama.
		mixtral: {modelType: "mixtral", class: "MixtralForCausalLM", modules: join(attention, experts("block_sparse_moe")), rope: true, moe: true},
	}
	maps.Copy(all, gptOSSArchs(join(attention)))
	maps.Copy(all, lfm2Archs())
	maps.Copy(all, gemmaArchs(attention, dense, qkNorm, map[string]string{
		"post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
	}, join))
	return all
}()

// mixtral is the key of a llama that has experts, which is no name in a file.
const mixtral = "llama with experts"

// Metadata that changes what a model computes and that no supported model_type
// can say. The value in the table is the one that changes nothing.
var neutral = map[string]float64{
	"attention.scale": 0, "attention.sliding_window": 0, "attention.clamp_kqv": 0, "attention.max_alibi_bias": 0,
	"logit_scale": 0, "embedding_scale": 0, "residual_scale": 0,
	"expert_shared_count": 0, "leading_dense_block_count": 0, "rope.scaling.attn_factor": 1,
	"rope.scaling.yarn_ext_factor": 1, "rope.scaling.yarn_attn_factor": 1, "rope.scaling.yarn_log_multiplier": 0,
}

// hf collects what HF needs; the first error sticks.
type hf struct {
	f      *File
	prefix string // of the architecture's metadata keys
	err    *diag.Issue
}

func (h *hf) fail(at int, code, format string, args ...any) *diag.Issue {
	i := diag.Errorf("gguf/"+code, diag.At(h.f.Name(), int64(at)), format, args...)
	if h.err == nil {
		h.err = i
	}
	return i
}

// integer returns a required positive integer that fits an int32, as all of a
// model's dimensions do.
func (h *hf) integer(key string) int64 {
	v, ok := h.f.Get(h.prefix + key)
	if !ok {
		h.fail(0, "metadata", "the file does not say %s%s", h.prefix, key)
		return 1
	}
	n, ok := v.Int()
	if !ok || n <= 0 || n > 1<<31-1 {
		h.fail(v.At, "metadata", "%s%s is %v of type %v; it must be a whole number above 0", h.prefix, key, v, v.Type)
		return 1
	}
	return n
}

// integerOr returns an optional positive integer.
func (h *hf) integerOr(key string, otherwise int64) int64 {
	if _, ok := h.f.Get(h.prefix + key); !ok {
		return otherwise
	}
	return h.integer(key)
}

func (h *hf) float(key string) float64 {
	v, ok := h.f.Get(h.prefix + key)
	if !ok {
		h.fail(0, "metadata", "the file does not say %s%s", h.prefix, key)
		return 1
	}
	x, ok := v.Float()
	if !ok || !(x > 0) || x > 1e30 {
		h.fail(v.At, "metadata", "%s%s is %v of type %v; it must be a float above 0", h.prefix, key, v, v.Type)
		return 1
	}
	return x
}

// HF gives the file the configuration and the names of a Hugging Face
// checkpoint. Architectures, tensors and metadata that it cannot say exactly are
// errors: a model that runs but computes something else is worse than none.
func (f *File) HF() (*HF, error) {
	h := &hf{f: f}
	v, ok := f.Get("general.architecture")
	name, isText := v.Data.(string)
	if !ok || !isText {
		return nil, h.fail(v.At, "metadata", "the file does not say general.architecture").
			WithHint("it may hold no language model: adapters and tokenizers are GGUF files too")
	}
	a, ok := archs[name]
	if !ok || name == mixtral {
		known := slices.DeleteFunc(slices.Sorted(maps.Keys(archs)), func(s string) bool { return s == mixtral })
		return nil, h.fail(v.At, "architecture", "architecture %q is not supported", name).
			WithHint("supported: %s", strings.Join(known, ", "))
	}
	h.prefix = name + "."
	if name == "llama" && h.count("expert_count") > 0 {
		a = archs[mixtral]
	}
	config := h.config(a)
	if h.err != nil {
		return nil, h.err
	}
	store, err := h.store(a, config)
	if err != nil {
		return nil, err
	}
	if q := a.quantization(f); q != nil {
		config["quantization"] = q
	}
	return &HF{Config: config, Weights: store}, nil
}

func (h *hf) config(a arch) map[string]any {
	hidden, heads := h.integer("embedding_length"), h.integer("attention.head_count")
	headDim := h.integerOr("attention.key_length", hidden/heads)
	kvHeads, layerTypes := int64(0), []any(nil)
	if a.embeddingNorm {
		kvHeads, layerTypes = h.lfm2Heads(h.integer("block_count"))
	} else {
		kvHeads = h.integerOr("attention.head_count_kv", heads)
	}
	c := map[string]any{
		"model_type":              a.modelType,
		"architectures":           []any{a.class},
		"hidden_size":             hidden,
		"num_hidden_layers":       h.integer("block_count"),
		"intermediate_size":       h.integer("feed_forward_length"),
		"num_attention_heads":     heads,
		"num_key_value_heads":     kvHeads,
		"head_dim":                headDim,
		"rms_norm_eps":            h.float("attention.layer_norm_rms_epsilon"),
		"rope_theta":              10000.0, // llama.cpp's default
		"max_position_embeddings": h.integer("context_length"),
		"tie_word_embeddings":     h.tensor("output.weight") == nil,
	}
	if _, ok := h.f.Get(h.prefix + "rope.freq_base"); ok {
		c["rope_theta"] = h.float("rope.freq_base")
	}
	if headDim <= 0 || h.err == nil && !h.has("attention.key_length") && hidden%heads != 0 {
		h.fail(0, "metadata", "%d heads do not divide a hidden size of %d", heads, hidden)
	}
	if d := h.integerOr("attention.value_length", headDim); d != headDim {
		h.fail(0, "metadata", "values have %d elements a head and keys %d; they must be the same", d, headDim)
	}
	if d := h.integerOr("rope.dimension_count", headDim); d != headDim {
		h.fail(0, "metadata", "%srope.dimension_count is %d and a head has %d elements: rotating a part is not supported", h.prefix, d, headDim)
	}
	h.vocabulary(c)
	h.ropeScaling(c)
	if a.modelType != "qwen2" { // which always has these
		c["attention_bias"] = h.tensor("blk.0.attn_q.bias") != nil
	}
	if layerTypes != nil {
		c["layer_types"] = layerTypes
	}
	if a.plusOne {
		h.gemma(c)
	}
	switch {
	case a.modelType == gptOSS:
		h.gptOSS(c)
	case a.embeddingNorm:
		h.lfm2(c, a.moe)
	case a.modelType == "mixtral":
		// llama.cpp weighs all experts, takes the best and lets their weights add up to
		// 1: the softmax over the best.
		c["num_local_experts"] = h.integer("expert_count")
		c["num_experts_per_tok"] = h.integer("expert_used_count")
	case a.moe:
		c["num_experts"] = h.integer("expert_count")
		c["num_experts_per_tok"] = h.integer("expert_used_count")
		c["moe_intermediate_size"] = h.integer("expert_feed_forward_length")
		// What llama.cpp computes for this architecture, and the file does not say.
		c["norm_topk_prob"] = true
		c["decoder_sparse_step"] = int64(1)
		c["mlp_only_layers"] = []any{}
	case h.count("expert_count") != 0:
		v, _ := h.f.Get(h.prefix + "expert_count")
		h.fail(v.At, "metadata", "a %s with experts is not supported", a.modelType)
	}
	for _, key := range slices.Sorted(maps.Keys(neutral)) {
		if key == "attention.sliding_window" && c["sliding_window"] != nil {
			continue
		}
		if key == "leading_dense_block_count" && c["num_dense_layers"] != nil {
			continue
		}
		if v, ok := h.f.Get(h.prefix + key); ok {
			x, isFloat := v.Float()
			if n, isInt := v.Int(); isInt {
				x, isFloat = float64(n), true
			}
			if !isFloat || x != neutral[key] {
				h.fail(v.At, "metadata", "%s%s = %v is not supported", h.prefix, key, v)
			}
		}
	}
	return c
}

// count returns an optional whole number, 0 if it is not there, -1 if it is none.
func (h *hf) count(key string) int64 {
	v, ok := h.f.Get(h.prefix + key)
	if !ok {
		return 0
	}
	if n, ok := v.Int(); ok {
		return n
	}
	return -1
}

func (h *hf) has(key string) bool { _, ok := h.f.Get(h.prefix + key); return ok }

func (h *hf) tensor(name string) *Tensor {
	for i := range h.f.Tensors {
		if h.f.Tensors[i].Name == name {
			return &h.f.Tensors[i]
		}
	}
	return nil
}

func (h *hf) vocabulary(c map[string]any) {
	embed := h.tensor("token_embd.weight")
	if embed == nil || len(embed.Shape) != 2 {
		h.fail(0, "metadata", "the file has no matrix token_embd.weight").
			WithHint("it may hold a vocabulary only, or one part of a split model: join the parts with llama-gguf-split")
		return
	}
	n := int64(embed.Shape[0])
	if got := h.integerOr("vocab_size", n); got != n {
		h.fail(embed.at, "metadata", "%svocab_size is %d and token_embd.weight has %d rows", h.prefix, got, n)
	}
	c["vocab_size"] = n
	for _, key := range []string{"bos_token_id", "eos_token_id"} {
		if v, ok := h.f.Get("tokenizer.ggml." + key); ok {
			if id, ok := v.Int(); ok && id >= 0 && id < n {
				c[key] = id
			}
		}
	}
}

// ropeScaling maps the two kinds that mlx-lm reads from config.json by the same
// formula. The llama3 kind is a tensor of factors in GGUF, see store.
func (h *hf) ropeScaling(c map[string]any) {
	v, ok := h.f.Get(h.prefix + "rope.scaling.type")
	if !ok {
		return
	}
	kind, _ := v.Data.(string)
	switch kind {
	case "none":
	case "linear":
		c["rope_scaling"] = map[string]any{"type": kind, "factor": h.float("rope.scaling.factor")}
	case "yarn":
		scaling := map[string]any{"type": kind, "factor": h.float("rope.scaling.factor"),
			"original_max_position_embeddings": h.integer("rope.scaling.original_context_length")}
		for _, key := range []string{"beta_fast", "beta_slow"} {
			if h.has("rope.scaling.yarn_" + key) {
				scaling[key] = h.float("rope.scaling.yarn_" + key)
			}
		}
		c["rope_scaling"] = scaling
	default:
		h.fail(v.At, "metadata", "%srope.scaling.type %v is not supported", h.prefix, v)
	}
}

// hfPath translates the name of a tensor: blk.3.attn_q.weight is the weight of
// model.layers.3.self_attn.q_proj, in block 3, where it is called attn_q. Outside
// of the blocks, layer is -1. ok is false for a name that the architecture does
// not have.
func (a arch) hfPath(name string) (path, suffix, module string, layer int, ok bool) {
	base, rest, _ := strings.Cut(name, ".")
	if base != "blk" {
		path = map[string]string{"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[base]
		if a.embeddingNorm {
			path = map[string]string{"token_embd": "model.embed_tokens", "token_embd_norm": "model.embedding_norm", "output": "lm_head"}[base]
		}
		return path, rest, base, -1, path != "" && (rest == "weight" || rest == "bias")
	}
	number, rest, _ := strings.Cut(rest, ".")
	if i := strings.LastIndexByte(rest, '.'); i >= 0 {
		module, suffix = rest[:i], rest[i+1:]
	}
	layer, err := strconv.Atoi(number)
	path = a.modules[module]
	if err != nil || number != strconv.Itoa(layer) || layer < 0 || path == "" || suffix != "weight" && suffix != "bias" {
		return "", "", "", 0, false
	}
	return fmt.Sprintf("model.layers.%d.%s", layer, path), suffix, module, layer, true
}

func (h *hf) store(a arch, config map[string]any) (*weights.Store, error) {
	heads := map[string]int{"attn_q": int(config["num_attention_heads"].(int64)), "attn_k": int(config["num_key_value_heads"].(int64))}
	layers := int(config["num_hidden_layers"].(int64))
	out := weights.NewStore(h.f.file)
	for i := range h.f.Tensors {
		t := &h.f.Tensors[i]
		path, suffix, module, layer, ok := a.hfPath(t.Name)
		switch {
		case t.Name == "rope_freqs.weight":
			return nil, h.fail(t.at, "unknown-tensor", "tensor %q: rotary frequencies of the llama3 kind are not supported from GGUF", t.Name).
				WithHint("convert the Hugging Face model with mlx_lm.convert instead")
		case !ok:
			return nil, h.fail(t.at, "unknown-tensor", "tensor %q is not one of a %s model", t.Name, a.modelType)
		case layer >= layers:
			return nil, h.fail(t.at, "unknown-tensor", "tensor %q belongs to layer %d, and the model has %d", t.Name, layer, layers)
		}
		parts, err := h.f.arrays(t)
		if err != nil {
			return nil, err
		}
		if a.plusOne && isNorm(module) {
			if parts, err = h.minusOne(t, parts); err != nil {
				return nil, err
			}
		}
		for _, p := range parts {
			if n, isProj := heads[module]; isProj && a.rope {
				if p, err = weights.SplitRope(p, n); err != nil {
					return nil, h.fail(t.at, "dimensions", "tensor %q of shape %v has no rows for %d heads", t.Name, t.Shape, n)
				}
			}
			name := path + "." + suffix
			if len(parts) > 1 {
				name = path + p.Name[strings.LastIndexByte(p.Name, '.'):]
			}
			if a.modelType == gptOSS && module == sinks && suffix == "weight" && len(parts) == 1 {
				name = path // no module in mlx-lm
			}
			if a.embeddingNorm {
				if p, err = h.lfm2Tensor(t, module, name, p); err != nil {
					return nil, err
				}
				name = p.Name
			}
			if err := out.Add(p.Renamed(name)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// quantization returns MLX's "quantization" mapping: the most common width as the
// default, and by module path the ones that differ, in mode mxfp4 too. It is nil for a
// model without quantized weights.
func (a arch) quantization(f *File) map[string]any {
	bits := map[string]int{}
	count := map[int]int{}
	q := map[string]any{}
	mxfp4 := map[string]any{"group_size": int64(groupSize), "bits": int64(4), "mode": "mxfp4"}
	for _, t := range f.Tensors {
		path, _, _, _, _ := a.hfPath(t.Name)
		if t.Type == MXFP4 {
			q[path] = mxfp4
		} else if b := layouts[t.Type].bits; b > 0 {
			bits[path] = b
			count[b]++
		}
	}
	if len(bits) == 0 {
		if len(q) > 0 {
			return mxfp4
		}
		return nil
	}
	common := 4
	if count[8] > count[4] {
		common = 8
	}
	q["group_size"], q["bits"] = int64(groupSize), int64(common)
	for path, b := range bits {
		if b != common {
			q[path] = map[string]any{"group_size": int64(groupSize), "bits": int64(b)}
		}
	}
	return q
}

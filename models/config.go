package models

import (
	"maps"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// maxConfigBytes bounds config.json. Published ones reach 100 KB where hundreds
// of layers have a quantization of their own.
const maxConfigBytes = 4 << 20

// Config is a config.json: what all architectures share, and the network that the
// architecture's own keys describe.
type Config struct {
	File      string      // for messages
	ModelType string      // "qwen3_moe"
	DType     graph.DType // of unquantized weights, where there are no weights to ask

	// Quantization is the block of that name; nil if there is none.
	Quantization *Quantization
	// EOS are the tokens that end a generation, as far as config.json says.
	EOS []int
	// MaxPositions is max_position_embeddings, 0 if absent.
	MaxPositions int

	net network
	// adapter is there if the model was loaded with one, and not if that replaces weights.
	adapter *adapter
}

// network is an architecture with its sizes: what its file makes of config.json.
type network interface {
	// forward adds the model's operations to the graph of one case and returns the
	// logits [batch, seq_len, vocab].
	forward(m module, tokens value) value
	// expertsPerToken is how many experts are chosen for each token, 0 for a dense
	// model. It decides where mlx-lm begins to sort tokens by expert.
	expertsPerToken() int
	// drops reports whether mlx-lm drops a weight of that name at load.
	drops(name string) bool
}

// sanitizer is a network whose checkpoints may have tensors under other names, or in
// another layout, than mlx-lm's classes: the part of Model.sanitize that looks at one
// tensor.
type sanitizer interface {
	// sanitize returns what mlx-lm makes of the tensor: the one that it is given if there
	// is nothing to do.
	sanitize(t *weights.Tensor) ([]*weights.Tensor, error)
}

// slider is a network with layers that see a window of the last rows only.
type slider interface {
	// window returns the number of rows, 0 if no layer has one.
	window() int
}

// splitter is a network whose graph is another one once the caches hold many rows.
type splitter interface {
	// splitAt returns the number of rows from which on one more makes the difference.
	splitAt() int
}

// architectures is the registry: model_type to the reader of its configuration.
var architectures = map[string]func(*fields) network{
	"deepseek_v3":   newDeepseekV3,
	"deepseek_v32":  newDeepseekV32,
	"glm4_moe_lite": newGlm4MoeLite,
	"gpt_oss":       newGPTOSS,
	"kimi_k2":       newDeepseekV3, // as mlx_lm.utils maps it
	"kimi_k25":      newKimiK25,
	"lfm2":          newLFM2,
	"lfm2_moe":      newLFM2MoE,
	"llama":         newLlama,
	"mixtral":       newMixtral,
	"qwen3":         newQwen3,
	"qwen3_moe":     newQwen3MoE,
	"gemma":         newGemma,
	"gemma2":        newGemma2,
	"gemma3":        newGemma3,
	"gemma3_text":   newGemma3Text,
	"qwen3_next":    newQwen3Next,
}

// ModelTypes returns every model_type that can be built, sorted.
func ModelTypes() []string { return slices.Sorted(maps.Keys(architectures)) }

// Limits of configurations. They leave room for anything published, and keep a
// hostile file from asking for a graph without end.
const (
	maxLayers  = 1000
	maxExperts = 4096
	maxHeads   = 4096
	maxHeadDim = 8192
	maxSize    = 1 << 20 // hidden and intermediate sizes
	maxVocab   = 1 << 24
	maxModules = 64 * maxLayers
)

// ParseConfig reads the text of a config.json; file is for messages. It reports
// all problems at once, as a diag.List.
func ParseConfig(file string, text []byte) (*Config, error) {
	var issues diag.List
	if len(text) > maxConfigBytes {
		issues.Add(diag.Errorf("config/too-big", diag.Pos{File: file}, "file is larger than %d bytes", maxConfigBytes))
		return nil, issues
	}
	f := readJSON(file, text, &issues)
	if issues.HasErrors() {
		return nil, issues
	}
	c := &Config{File: file, ModelType: f.textOr("model_type", "")}
	build, known := architectures[c.ModelType]
	switch {
	case known:
		c.net = build(f)
	case f.missing("model_type"):
	default:
		f.fail("model_type", "unknown-model", "%q is not supported", c.ModelType).
			WithHint("supported: %s", strings.Join(ModelTypes(), ", "))
	}
	c.DType = f.dtype()
	c.Quantization = readQuantization(f)
	c.EOS = f.ints("eos_token_id")
	c.MaxPositions = f.intOr("max_position_embeddings", 0, 1, 1<<31-1)
	if f.boolOr("quantize_activations", false) {
		f.fail("quantize_activations", "unsupported", "quantized activations are not supported")
	}
	if f.has("model_file") {
		f.fail("model_file", "unsupported", "a model that brings its own Python code cannot be built")
	}
	if err := issues.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// dtype returns the type of unquantized weights: "dtype" in new files, "torch_dtype"
// in old ones.
func (f *fields) dtype() graph.DType {
	key := "dtype"
	if !f.has(key) {
		key = "torch_dtype"
	}
	name := f.textOr(key, "bfloat16")
	switch name {
	case "bfloat16", "float16", "float32":
		t, _ := graph.ParseDType(name)
		return t
	}
	f.fail(key, "unsupported", "element type %q is not supported", name).WithHint("supported: bfloat16, float16, float32")
	return graph.BFloat16
}

// fullAttention refuses a model whose layers do not all see the whole context.
func (f *fields) fullAttention(layers int) {
	types := f.texts("layer_types")
	if types != nil && len(types) != layers {
		f.fail("layer_types", "invalid", "has %d entries for %d layers", len(types), layers)
	}
	for i, t := range types {
		if t != "full_attention" {
			f.fail("layer_types", "unsupported", "layer %d has %q; only full_attention is supported", i, t)
			break
		}
	}
	if f.boolOr("use_sliding_window", false) {
		f.fail("use_sliding_window", "unsupported", "sliding-window attention is not supported")
	}
}

package proof

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/kvquant"
	"zmlx-rewrite/models"
)

// Configurations of small models of every family, those that scripts/oracle/tiny_models.py
// makes weights for: the graphs that rules are looked for in. Lengths are small, and most
// differ from each other. scripts/oracle/tiny_proof_configs.py makes the file.
//
//go:embed models.json
var smallModels []byte

// quantizedCaches are the models that are there with a quantized cache as well, and its
// bits: in all element types, with a head of the cache for one query and for several.
var quantizedCaches = map[string]int{"gemma-bf16": 8, "gemma-f32": 4, "llama-bf16": 4, "llama-f16": 8, "llama-f32": 4, "qwen3_moe-f32": 8}

// Programs builds the small models of every family, in order of their names, and what package
// decode runs behind them.
func Programs() ([]*Model, error) {
	var configs map[string]json.RawMessage
	if err := json.Unmarshal(smallModels, &configs); err != nil {
		return nil, err
	}
	var all []*Model
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		c, err := models.ParseConfig(name, configs[name])
		if err != nil {
			return nil, err
		}
		p, err := models.Build(c, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, &Model{name, p})
		if bits := quantizedCaches[name]; bits > 0 {
			q, err := kvquant.Program(p, kvquant.Options{Bits: bits, GroupSize: 32})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, &Model{fmt.Sprintf("%s-kv%d", name, bits), q})
		}
	}
	for _, t := range []graph.DType{graph.BFloat16, graph.Float16, graph.Float32} {
		p, err := decode.HeadProgram(t, 48)
		if err != nil {
			return nil, err
		}
		all = append(all, &Model{"head-" + t.String(), p})
	}
	return all, nil
}

// Model is a program to look for matches in.
type Model struct {
	Name    string
	Program *graph.Program
}

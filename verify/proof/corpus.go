package proof

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
)

// Configurations of small models of every family, those that scripts/oracle/tiny_models.py
// makes weights for: the graphs that rules are looked for in. Lengths are small, and most
// differ from each other.
//
//go:embed models.json
var smallModels []byte

// Programs builds the small models of every family, in order of their names.
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
	}
	return all, nil
}

// Model is a program to look for matches in.
type Model struct {
	Name    string
	Program *graph.Program
}

package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The symbols that models use. A graph may use others, such as the capacity of a
// cache; they are bound by the shapes of a call's inputs.
const (
	SymBatch  = "batch"   // sequences decoded together
	SymSeqLen = "seq_len" // tokens of each sequence in this call
	SymKVLen  = "kv_len"  // rows that attention sees: offset + seq_len
	// The same where attention sees a window of the last rows (Program.Window): its
	// cache is a ring, or holds what the window needs and the new rows.
	SymWindowLen = "window_len"
	// Rows that the caches have room for, of both kinds.
	SymKVCap     = "kv_cap"
	SymWindowCap = "window_cap"
)

// callSymbols are bound by a call, whatever the shapes of its inputs.
var callSymbols = []string{SymBatch, SymSeqLen, SymKVLen, SymWindowLen}

// Program is a model as a function: an ordered list of cases over one signature
// and one table of parameters.
type Program struct {
	Name string // Hugging Face model_type, or where the program came from
	// Window is the number of rows that layers with a sliding window see, 0 if there
	// are none. Their caches are kept accordingly, between calls.
	Window int
	Params []*Param
	Cases  []Case
}

// Case is a graph and the condition under which it applies. The first case whose
// condition holds runs.
type Case struct {
	Name  string // for people: "decode"
	When  Cond
	Graph *Graph
}

// Param is a parameter: a name, a type, and how it came about. Its bytes live
// elsewhere. The packed weights, scales and biases of one quantized matrix are
// three Params that share one Quant.
type Param struct {
	Name  string
	Type  Type
	Quant *Quant   // nil if not part of a quantized matrix
	Part  string   // "weight", "scales" or "biases", if Quant is set
	From  *Derived // nil if read from the model's files
}

// Quant is the record of one quantized matrix.
type Quant struct {
	Module    string // "model.layers.0.mlp.gate_proj"
	Mode      string // one of QuantModes
	Bits      int
	GroupSize int // elements that share a scale
}

// Derived says how a parameter is made from others at load. Only increment computes: one
// more than each element, rounded to its type, which any engine's add gives.
type Derived struct {
	Op    string   // concat, split, stack, transpose, permute, reshape or increment
	Args  []string // names of parameters
	Axis  int      // negative; of concat, split, stack
	Start int      // of split: the rows [Start, Stop) along Axis
	Stop  int
	Perm  []int // of transpose: the axes; of permute: the rows along Axis
	Shape []int // of reshape
}

// Param returns the parameter of that name, or nil.
func (p *Program) Param(name string) *Param {
	i, ok := p.find(name)
	if !ok {
		return nil
	}
	return p.Params[i]
}

// find returns where a parameter of that name is, or would be.
func (p *Program) find(name string) (int, bool) {
	return slices.BinarySearchFunc(p.Params, name, func(q *Param, name string) int { return strings.Compare(q.Name, name) })
}

// AddParam adds a parameter in its place by name, or returns the one that is
// there; the same name with another type is an error.
func (p *Program) AddParam(q *Param) (*Param, error) {
	i, ok := p.find(q.Name)
	if ok {
		if !p.Params[i].Type.Equal(q.Type) {
			return nil, fmt.Errorf("parameter %s is there with type %s, not %s", q.Name, p.Params[i].Type, q.Type)
		}
		return p.Params[i], nil
	}
	p.Params = slices.Insert(p.Params, i, q)
	return q, nil
}

// Select returns the first case that applies for the given symbols, which are lengths
// of at least 1: conditions are decided by that.
func (p *Program) Select(env map[string]int64) (*Case, error) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if env[name] < 1 {
			return nil, fmt.Errorf("%s is %d; it must be at least 1", name, env[name])
		}
	}
	env = p.WithWindow(env)
	for i := range p.Cases {
		ok, err := p.Cases[i].When.Eval(env)
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", p.Cases[i].Name, err)
		}
		if ok {
			return &p.Cases[i], nil
		}
	}
	return nil, fmt.Errorf("no case of program %s applies for %v", p.Name, env)
}

// WithWindow adds how many rows layers with a window see, which follows from kv_len where a
// caller that has no cache does not say it: those of the window for the first of the tokens, and
// the other tokens' own.
func (p *Program) WithWindow(env map[string]int64) map[string]int64 {
	rows, known := env[SymKVLen]
	if _, given := env[SymWindowLen]; given || !known || p.Window == 0 {
		return env
	}
	env = maps.Clone(env)
	env[SymWindowLen] = min(rows, int64(p.Window)-1+max(1, env[SymSeqLen]))
	return env
}

// NumNodes returns the number of nodes of all cases.
func (p *Program) NumNodes() int {
	n := 0
	for _, c := range p.Cases {
		n += c.Graph.NumNodes()
	}
	return n
}

// BindShapes binds the symbols of a graph's input types to the shapes of a call.
// A dimension that is a single symbol binds it, to at least 1; every other must then
// agree. Symbols already in env are kept and checked.
func (g *Graph) BindShapes(env map[string]int64, shapes map[string][]int) error {
	for pass := range 2 {
		for _, id := range g.inputs {
			name := g.InputName(id)
			shape, ok := shapes[name]
			if !ok {
				continue
			}
			want := g.values[id].Type().Shape
			if len(want) != len(shape) {
				return fmt.Errorf("input %s has %d dimensions, not %d", name, len(shape), len(want))
			}
			for i, d := range want {
				if sym, ok := d.Symbol(); ok && pass == 0 {
					if shape[i] < 1 {
						return fmt.Errorf("input %s: dimension %d (%s) is %d; it must be at least 1", name, i, sym, shape[i])
					}
					if _, bound := env[sym]; !bound {
						env[sym] = int64(shape[i])
					}
					continue
				}
				if got, err := d.Eval(env); err == nil && pass == 1 && got != int64(shape[i]) {
					return fmt.Errorf("input %s: dimension %d is %d, not %d (%s)", name, i, shape[i], got, d)
				}
			}
		}
	}
	return nil
}

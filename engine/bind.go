package engine

import (
	"maps"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// Select finds the case of p for a call and the values of all symbols, and checks
// the inputs against its signature. It is for engines.
func Select(p *graph.Program, in map[string]Tensor, dims map[string]int64) (*graph.Case, map[string]int64, error) {
	env := maps.Clone(dims)
	if env == nil {
		env = map[string]int64{}
	}
	shapes := make(map[string][]int, len(in))
	for name, t := range in {
		if t == nil {
			return nil, nil, inputError("input %q is nil", name)
		}
		shapes[name] = t.Shape()
	}
	// A case for one length may have that number where another has the symbol, so
	// symbols are bound by what any case says of an input.
	for i := range p.Cases {
		bindSymbols(p.Cases[i].Graph, env, shapes)
	}
	c, err := p.Select(env)
	if err != nil {
		return nil, nil, inputError("%v", err)
	}
	g := c.Graph
	for _, id := range g.Inputs() {
		name, want := g.InputName(id), g.Type(id)
		t, ok := in[name]
		if !ok {
			return nil, nil, inputError("case %q: input %q is missing", c.Name, name)
		}
		if t.DType() != want.DType {
			return nil, nil, inputError("case %q: input %q is %s, not %s", c.Name, name, t.DType(), want.DType)
		}
	}
	if len(in) != len(g.Inputs()) {
		return nil, nil, inputError("case %q takes %s, got %s", c.Name, names(g), strings.Join(slices.Sorted(maps.Keys(in)), ", "))
	}
	if err := g.BindShapes(env, shapes); err != nil {
		return nil, nil, inputError("case %q: %v", c.Name, err)
	}
	return c, env, nil
}

func inputError(format string, args ...any) error {
	return diag.Errorf("engine/input", diag.Pos{}, format, args...)
}

func names(g *graph.Graph) string {
	var list []string
	for _, id := range g.Inputs() {
		list = append(list, g.InputName(id))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// bindSymbols binds each symbol that is a whole dimension of an input.
func bindSymbols(g *graph.Graph, env map[string]int64, shapes map[string][]int) {
	for _, id := range g.Inputs() {
		shape, ok := shapes[g.InputName(id)]
		want := g.Type(id).Shape
		if !ok || len(shape) != len(want) {
			continue
		}
		for i, d := range want {
			if sym, ok := d.Symbol(); ok {
				if _, bound := env[sym]; !bound {
					env[sym] = int64(shape[i])
				}
			}
		}
	}
}

// Param finds a parameter in the weights and checks its type. It is for engines.
func Param(p *graph.Param, w *weights.Store) (*weights.Tensor, error) {
	var t *weights.Tensor
	if w != nil {
		t = w.Get(p.Name)
	}
	if t == nil {
		return nil, diag.Errorf("engine/param", diag.Pos{}, "the weights have no parameter %q", p.Name)
	}
	shape, err := Shape(p.Type.Shape, nil)
	if err != nil {
		return nil, diag.Errorf("engine/param", diag.Pos{}, "parameter %q: %v", p.Name, err)
	}
	if t.DType != p.Type.DType || !slices.Equal(t.Shape, shape) {
		return nil, diag.Errorf("engine/param", diag.Pos{}, "parameter %q is %s%v in the weights, but the program reads %s", p.Name, t.DType, t.Shape, p.Type)
	}
	return t, nil
}

// Shape evaluates dimensions. A negative one is an error.
func Shape(dims []graph.Dim, env map[string]int64) ([]int, error) {
	out := make([]int, len(dims))
	for i, d := range dims {
		n, err := d.Eval(env)
		if err != nil {
			return nil, err
		}
		if n < 0 {
			return nil, inputError("dimension %s is %d", d, n)
		}
		out[i] = int(n)
	}
	return out, nil
}

// NumBytes is how many bytes a tensor takes. An unknown element type, or a shape of which they cannot be
// counted, is an error.
func NumBytes(t graph.DType, shape []int) (int, error) {
	if !t.Valid() {
		return 0, diag.Errorf("engine/tensor", diag.Pos{}, "unknown element type %s", t)
	}
	n, ok := weights.NumBytes(t, shape)
	if !ok {
		return 0, diag.Errorf("engine/tensor", diag.Pos{}, "there is no tensor %s%v: a dimension is negative, or its bytes cannot be counted", t, shape)
	}
	return n, nil
}

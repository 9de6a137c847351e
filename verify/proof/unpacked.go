package proof

import (
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
)

// MLX unpacks a matrix in a product of many rows on CUDA, in the type of the product, with a rounding of
// the weight times its scale and one of the sum with its bias (mlx/backend/cuda/device/cute_dequant.cuh,
// cute_vectorized_dequant): what dequantize makes. engine/ref multiplies by weights that are not
// rounded, as MLX does on Metal and in a product of few rows. A rule that unpacks first is held
// against what MLX does where the rule is used.
var unpackedForms = map[string]string{
	"quantized_matmul": "matmul(x, transpose(dequantize(w, s, b, bits=$bits, group_size=$gs, mode=$mode), axes=[1, 0]))",
	"gather_qmm":       "gather_mm(x, transpose(dequantize(w, s, b, bits=$bits, group_size=$gs, mode=$mode), axes=[0, 2, 1]), l, r, sorted_indices=$sorted)",
}

// asOnCUDA returns the pattern as MLX computes it on CUDA, if the replacement unpacks matrices there that
// the pattern has packed; else the pattern.
func (p *pair) asOnCUDA() (*graph.Graph, error) {
	if p.target != "cuda" || howMany(p.after, "dequantize") <= howMany(p.before, "dequantize") {
		return p.before, nil
	}
	g := p.before.Clone()
	for id := range graph.NodeID(p.before.NumNodes()) {
		n := p.before.Node(id)
		out := g.Type(n.Out[0]).DType
		if !n.Op.Packed || n.Attr("transpose") != graph.Flag(true) || n.Attr("mode") == graph.Str("affine") && g.Type(n.In[2]).DType != out {
			continue
		}
		e, err := syntax.Parse(unpackedForms[n.Op.Name])
		if err != nil {
			return nil, err
		}
		values := map[string]graph.ValueID{}
		for k, name := range []string{"x", "w", "s", "b", "l", "r"} {
			values[name] = graph.None
			if k < len(n.In) {
				values[name] = n.In[k]
			}
		}
		made, err := g.Build(e, &graph.Bindings{Values: values, Scope: n.Scope, Vars: map[string]graph.Attr{
			"bits": n.Attr("bits"), "gs": n.Attr("group_size"), "mode": n.Attr("mode"), "sorted": n.Attr("sorted_indices")}})
		if err != nil {
			return nil, err
		}
		if err := g.Replace(n.Out[0], made[0]); err != nil {
			return nil, err
		}
	}
	return g, g.Compact()
}

// howMany is how many calls of an op a graph has.
func howMany(g *graph.Graph, op string) int {
	n := 0
	for id := range graph.NodeID(g.NumNodes()) {
		if g.Node(id).Op.Name == op {
			n++
		}
	}
	return n
}

package bridge

import (
	"fmt"
	"math/bits"
	"slices"

	"zmlx-rewrite/graph"
)

// Tiles names the modules of MLX for CUDA that multiply packed weights in a graph without symbols, so
// far as MLX compiles them at their first launch, which takes it half a minute each: those of
// eight rows and more. MLX keeps what it compiled in files of these names.
//
// Source: QuantizedMatmul::eval_gpu and GatherQMM::eval_gpu in mlx/backend/cuda/quantized/quantized.cpp, and
// qmm/qmm.cu, qmm_sm80.cu and qmm_naive.cu beside it, of MLX 0.32.1, for a GPU of sm_80 or later and weights in
// rows. What only sm_90 has (groups as wide as a row) is left out.
func Tiles(g *graph.Graph) []string {
	var found []string
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		if n.Op.Name != "quantized_matmul" && n.Op.Name != "gather_qmm" {
			continue
		}
		out, ok1 := numbers(g.Type(n.Out[0]).Shape)
		in, ok2 := numbers(g.Type(n.In[0]).Shape)
		if !ok1 || !ok2 || len(out) < 2 {
			continue
		}
		if name := tileOf(n, g.Type(n.In[0]).DType, out, in[len(in)-1]); name != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// tileOf is the module of one product of rows of k numbers, or "" if MLX compiles none for it.
func tileOf(n *graph.Node, t graph.DType, out []int, k int) string {
	rows := 1
	for _, d := range out[:len(out)-1] {
		rows *= d
	}
	width, group := n.Attr("bits").(graph.Dim).Int(), n.Attr("group_size").(graph.Dim).Int()
	tile, transposed := max(64, group), bool(n.Attr("transpose").(graph.Flag))
	if rows < 8 || transposed && k%tile != 0 {
		return ""
	}
	// A product's own rows count for its tile, not those of other sequences.
	last := fmt.Sprintf("%s_m%d_b%d_g%d_%s", t, min(64, max(16, 1<<bits.Len(uint(out[len(out)-2]-1)))), width, group, string(n.Attr("mode").(graph.Str)))
	switch {
	case !transposed && k%tile != 0:
		return "qmm_naive_tt_residue_" + last
	case !transposed:
		return "qmm_naive_tt_aligned_" + last
	case out[len(out)-1]%128 == 0 && (t == graph.Float16 || t == graph.BFloat16) && (width == 4 || width == 8):
		return "qmm_sm80_tn_" + last
	}
	return "qmm_naive_tn_aligned_" + last
}

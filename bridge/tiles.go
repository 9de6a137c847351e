package bridge

import (
	"fmt"
	"math/bits"
	"slices"

	"zmlx-rewrite/graph"
)

// Tiles names the kernels that MLX for CUDA multiplies packed weights with in a graph without
// symbols, so far as it compiles them at their first launch, which takes it half a minute each: those of eight
// rows and more. A name is the end of MLX's own: the type of the rows, how many a tile has, bits, group size and mode,
// "bfloat16_m16_b4_g64_affine" (mlx/backend/cuda/quantized/qmm/qmm_sm80.cu).
func Tiles(g *graph.Graph) []string {
	var found []string
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		if n.Op.Name != "quantized_matmul" && n.Op.Name != "gather_qmm" {
			continue
		}
		shape := g.Type(n.Out[0]).Shape
		rows, one := int64(1), int64(1)
		for i, d := range shape[:len(shape)-1] {
			size, ok := d.Const()
			if !ok {
				return nil
			}
			rows *= size
			if i == len(shape)-2 {
				one = size
			}
		}
		if rows < 8 {
			continue
		}
		tile := min(64, max(16, 1<<bits.Len64(uint64(one-1))))
		name := fmt.Sprintf("%s_m%d_b%s_g%s_%s", g.Type(n.In[0]).DType, tile, n.Attr("bits"), n.Attr("group_size"), string(n.Attr("mode").(graph.Str)))
		if !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

package weights

// SplitRope undoes the row order that GGUF files of the llama architecture have
// in their query and key projections. There, rows 2i and 2i+1 of a head are the
// pair that rotary embedding turns; Hugging Face and MLX keep row i and row
// i+rows/2 as that pair. The rows, counted by the first axis, are those of heads
// heads. It moves whole rows, so it is as right for packed weights, scales and
// biases of a quantized projection, and for a bias vector, as for plain weights.
func SplitRope(t *Tensor, heads int) (*Tensor, error) {
	if len(t.Shape) == 0 || heads <= 0 || t.Shape[0]%heads != 0 || t.Shape[0]/heads%2 != 0 {
		return nil, invalid("rope", "rows of %q of shape %v do not make pairs in %d heads", t.Name, t.Shape, heads)
	}
	half, row := t.Shape[0]/heads/2, 1
	for _, d := range t.Shape[1:] {
		row *= d
	}
	// Row (head, which half, i) of the result is row (head, i, which half) of t.
	src := newStrided(t, 0, []int{heads, 2, half, row}, []int{2 * half * row, row, 2 * row, 1})
	return derived(t.Name, t.Shape, src, origin{kind: scattered, parts: []*Tensor{t}})
}

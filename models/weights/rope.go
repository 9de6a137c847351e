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
	shape := append([]int{heads, t.Shape[0] / heads / 2, 2}, t.Shape[1:]...)
	pairs, err := Reshape(t.Name, t, shape...)
	if err != nil {
		return nil, err
	}
	halves, err := Transpose(t.Name, pairs, 1, 2)
	if err != nil {
		return nil, err
	}
	return Reshape(t.Name, halves, t.Shape...)
}

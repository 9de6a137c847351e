package decode

import "zmlx-rewrite/graph"

// HeadProgram is what a generator runs behind the model: from logits [1, seq_len, vocab] of
// type t the next token, and the logits and log-probabilities of the last position. Rules
// may be applied to it as to a model.
func HeadProgram(t graph.DType, vocab int64) (*graph.Program, error) {
	return headProgram(t, graph.N(vocab))
}

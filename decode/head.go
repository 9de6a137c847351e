package decode

import (
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// HeadProgram is what a generator runs behind the model: from logits [1, seq_len, vocab] of
// type t the next token, and the logits and log-probabilities of the last position. Rules
// may be applied to it as to a model.
func HeadProgram(t graph.DType, vocab int64) (*graph.Program, error) {
	return headProgram(t, 1, graph.N(vocab), "next", "row", "logprobs")
}

// GreedyProgram is the part of HeadProgram that makes the next token, of so many sequences.
func GreedyProgram(t graph.DType, batch int, vocab int64) (*graph.Program, error) {
	return headProgram(t, batch, graph.N(vocab), "next")
}

// Greedy makes a generator use a session of GreedyProgram, rewritten perhaps, where nothing
// but the most likely token is wanted. The session stays the caller's.
func (g *Generator) Greedy(s engine.Session) { g.greedy = s }

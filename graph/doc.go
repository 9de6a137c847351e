// Package graph is the intermediate representation that everything else works
// on: programs, their cases, and SSA graphs of MLX operations.
//
// # Vocabulary
//
// A [Program] is an ordered list of cases. A [Case] is a condition over symbols
// (batch, seq_len, kv_len) and a whole [Graph]; the first case whose condition
// holds for the dimensions of a call is the one that runs. There are no choice
// nodes inside a graph: prefill and decode are two graphs.
//
// A [Graph] is a list of nodes in topological order. A [Node] has an [Op], its
// operands, typed attributes, outputs, and a scope ("model.layers.3.mlp") that
// tells a person where in the model it stands. A [Value] is an output of a node;
// its [Type] is an element type and a shape. A dimension ([Dim]) is a polynomial
// over symbols with integer coefficients; a plain number is the common case.
// Graph inputs, parameters and constants are values too, made by the ops
// "input", "param" and "constant".
//
// Ops are MLX's own under the names of mlx.core. One table (ops.go) holds all
// there is to know about each: operands, attributes, commutativity, type
// inference, the MLX primitive, launches and numerics.
//
// # What this package refuses to do
//
// It evaluates nothing, knows no rules and no kernels' sources, and opens no
// files. A graph is never changed behind a reader's back: changes go through
// [Graph.Add] and [Graph.Replace] and become visible with [Graph.Compact], and
// whoever changes a graph has it checked by [Graph.Verify]. A graph that does not
// verify is a bug in this project, not a message for a user.
package graph

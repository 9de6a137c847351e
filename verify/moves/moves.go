// Package moves tells where the elements of a result come from, for ops that move elements
// and compute nothing: views, gathers, concatenations, cache writes. It asks engine/ref, by
// letting it move numbers that count the elements, so that no op is written down twice.
package moves

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// Operand is an operand of an op. Index holds the elements of one that says where others
// go; it is nil for the others.
type Operand struct {
	DType graph.DType
	Shape []int
	Index []int64
}

// indexOperands are those that say where elements go.
var indexOperands = []string{"indices", "start", "offset"}

// IsIndex reports whether operand i of an op says where the elements of others go.
func IsIndex(op *graph.Op, i int) bool {
	return !op.Variadic && slices.Contains(indexOperands, op.Operands[i].Name)
}

// Moves reports whether a node only moves elements. view does not: it cuts them up.
func Moves(op *graph.Op) bool {
	return op.Numerics == graph.Moves && op.Name != "view" && len(op.Operands) > 0
}

// Sources returns, for each element of a node's result, which element of its operands it
// is. Elements are counted through all operands that are no index, in order; in is beside
// the node's operands, nil for absent ones.
func Sources(ctx context.Context, n *graph.Node, in []*Operand) ([]int, error) {
	g, given := graph.New(), map[string]engine.Tensor{}
	e := ref.New()
	defer e.Close()
	operands := make([]graph.ValueID, len(in))
	first := uint64(0)
	for i, a := range in {
		operands[i] = graph.None
		if a == nil {
			continue
		}
		t := graph.Type{DType: graph.Int64}
		for _, d := range a.Shape {
			t.Shape = append(t.Shape, graph.N(int64(d)))
		}
		var data []byte
		if IsIndex(n.Op, i) {
			t.DType = a.DType
			for _, x := range a.Index {
				data = graph.AppendElem(data, a.DType, float64(x))
			}
		} else {
			for range Size(a.Shape) {
				data = binary.LittleEndian.AppendUint64(data, first)
				first++
			}
		}
		name := fmt.Sprint("x", i)
		operands[i] = g.Input(name, t)
		x, err := e.NewTensor(t.DType, a.Shape, data)
		if err != nil {
			return nil, err
		}
		defer x.Release()
		given[name] = x
	}
	out, err := g.Add(n.Op, "", operands, n.Attrs...)
	if err != nil {
		return nil, err
	}
	g.Output("y", out[0])
	return ids(ctx, e, g, given)
}

// Broadcast returns, for each element of a shape, which element of an operand of shape from
// stands there.
func Broadcast(from, shape []int) []int {
	at := make([]int, Size(shape))
	strides := make([]int, len(shape))
	n := 1
	for i := len(from) - 1; i >= 0; i-- {
		if from[i] != 1 {
			strides[len(shape)-len(from)+i] = n
		}
		n *= from[i]
	}
	for i := range at {
		rest := i
		for d := len(shape) - 1; d >= 0; d-- {
			at[i] += rest % shape[d] * strides[d]
			rest /= shape[d]
		}
	}
	return at
}

// Size is the number of elements of a shape.
func Size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

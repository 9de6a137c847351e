package author

import (
	"fmt"
	"strconv"
	"strings"
)

// line is one line of a graph in the rule language.
type line struct{ name, expr string }

// naming gives every node of a formula the name of its line in the reference, which is
// also that of its variable in the source.
type naming struct {
	taken names
	of    map[*node]string
	count *node // some input, of whose last axis "count" is the length
}

func newNaming(b *builder) *naming {
	n := &naming{names{}, map[*node]string{}, nil}
	for _, x := range b.inputs {
		n.of[x] = n.taken.take(x.name)
		if n.count == nil || n.count.shape != full {
			n.count = x
		}
	}
	for _, x := range b.params {
		n.taken.take(x.name)
	}
	n.taken["out"] = true
	return n
}

// name returns the name of a node's line, and gives it one first if it has none.
func (n *naming) name(x *node, prefix string) string {
	if got := n.of[x]; got != "" {
		return got
	}
	switch {
	case x.op == countOp:
		n.of[x] = n.taken.take("count")
	case x.hint != "":
		n.of[x] = n.taken.take(x.hint)
	default:
		n.of[x] = n.taken.number(prefix)
	}
	return n.of[x]
}

// operand is a node inside of an expression.
func (n *naming) operand(x *node) string {
	switch x.op {
	case numberOp:
		return numberText(x.value)
	case paramOp:
		return "$" + x.name
	}
	return n.of[x]
}

func numberText(v float64) string {
	if v == float64(int64(v)) && v < 1e6 && v > -1e6 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// expr is the right-hand side of a node's line.
func (n *naming) expr(x *node) string {
	in := make([]string, len(x.in))
	for i, y := range x.in {
		in[i] = n.operand(y)
	}
	switch {
	case x.op == countOp: // an int32 takes the element type of what it is divided into
		return fmt.Sprintf("arange(start=dim(%[1]s, -1), stop=dim(%[1]s, -1)+1)", n.of[n.count])
	case x.op == columnOp: // rows(x) is known, the number of leading axes is not
		return fmt.Sprintf("sum(reshape(%[1]s, shape=[rows(%[1]s), dim(%[1]s, -1)]), axis=0)", in[0])
	case x.op == cotangentOp:
		return fmt.Sprintf("expand_dims(%s, axis=-1)", x.name)
	case isReduction(x.op):
		return fmt.Sprintf("%s(%s, axis=-1, keepdims=true)", x.op, in[0])
	}
	return x.op + "(" + strings.Join(in, ", ") + ")"
}

// isLine reports whether a node has a line of its own.
func isLine(x *node) bool {
	switch x.op {
	case inputOp, paramOp, numberOp:
		return false
	case cotangentOp:
		return x.shape == perRow
	}
	return true
}

// reference writes the graph that defines the kernel; its result is "out".
func (n *naming) reference(result *node) []line {
	var lines []line
	for _, x := range reachable(result) {
		if !isLine(x) || x == result {
			continue
		}
		name := n.name(x, "t")
		lines = append(lines, line{name, n.expr(x)})
	}
	expr := n.expr(result)
	switch {
	case isReduction(result.op):
		expr = strings.Replace(expr, ", keepdims=true", "", 1)
	case result.shape == perRow: // a function of reductions
		name := n.name(result, "t")
		lines = append(lines, line{name, expr})
		expr = fmt.Sprintf("squeeze(%s, axis=-1)", name)
	default:
		n.of[result] = "out"
	}
	return append(lines, line{"out", expr})
}

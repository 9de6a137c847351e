package author

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/graph"
)

// coder writes nodes as statements of the subset of MSL. Variables are floats that hold
// values of the element type, as each op rounds to it; with once, floats as they come.
type coder struct {
	*naming
	out     strings.Builder
	once    bool
	typ     string           // the element type
	dim     string           // the length of a row
	store   string           // the result
	fused   map[*node]bool   // products that a compiler might make part of a fused multiply-add
	element map[*node]string // variables that hold an element of an input
	uses    map[string]bool  // headers
	wrote   map[*node]bool   // variables in scope
}

func newCoder(n *naming, nodes []*node, once bool) *coder {
	c := &coder{naming: n, once: once, typ: "T", dim: "n", store: "out", fused: map[*node]bool{}, element: map[*node]string{}, uses: map[string]bool{}, wrote: map[*node]bool{}}
	if !once {
		for _, x := range nodes {
			for _, y := range x.in {
				product := y.op == "multiply" || y.op == "square"
				switch x.op {
				case "multiply", "square", "divide":
				default:
					c.fused[y] = c.fused[y] || product
				}
			}
		}
	}
	return c
}

func (c *coder) printf(format string, args ...any) { fmt.Fprintf(&c.out, format, args...) }

// value is a node inside of an expression. plain says that all it stands beside are numbers
// and parameters, which MLX then compares in float32.
func (c *coder) value(x *node, plain bool) string {
	switch x.op {
	case numberOp:
		if x.truth {
			return strconv.FormatBool(x.value != 0)
		}
		text := floatText(x.value)
		if c.once || plain || graph.Round(graph.Float16, x.value) == x.value && graph.Round(graph.BFloat16, x.value) == x.value {
			return text
		}
		return "float(" + c.typ + "(" + text + "))"
	case paramOp:
		if c.once || plain {
			return x.name
		}
		return "float(" + c.typ + "(" + x.name + "))"
	case countOp:
		if c.once {
			return "float(" + c.dim + ")"
		}
		return "float(" + c.typ + "(float(" + c.dim + ")))"
	case inputOp:
		return c.element[x]
	}
	return c.of[x]
}

// floatText writes a number so that it reads back to the same float32.
func floatText(v float64) string {
	text := strconv.FormatFloat(float64(float32(v)), 'g', -1, 32)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text + "f"
}

// headers are those that declare what ops call.
var headers = []struct{ call, file string }{
	{"mlx_sigmoid(", "mlx_ops.h"},
	{"mlx_erf(", "maths.h"}, {"mlx_expm1(", "maths.h"}, {"mlx_log1p(", "maths.h"}, {"mlx_logaddexp(", "maths.h"}, {"mlx_rsqrt(", "maths.h"},
	{"group_sum(", "reduce.h"},
	{"group_nan_m", "extremes.h"},
}

// apply writes a node's op; typed says that the text is of type T, not float, and rounded
// that nothing is left to round.
func (c *coder) apply(x *node) (text string, typed, rounded bool) {
	o := ops[x.op]
	plain := !slices.ContainsFunc(x.in, func(y *node) bool { return !y.weak() })
	in := make([]string, len(x.in))
	for i, y := range x.in {
		in[i] = c.value(y, plain)
		if o.typed && !c.once {
			in[i] = c.typ + "(" + in[i] + ")"
		}
	}
	text = o.express(in...)
	for _, h := range headers {
		if strings.Contains(text, h.call) {
			c.uses[h.file] = true
		}
	}
	if c.fused[x] {
		text = "ZMLX_ROUND(" + text + ")"
	}
	return text, o.typed && !c.once, o.typed || o.exact || c.once
}

// define writes the variable of a node, if there is none yet.
func (c *coder) define(x *node, indent string) {
	if !isLine(x) || x.op == countOp || c.wrote[x] {
		return
	}
	c.wrote[x] = true
	name := c.name(x, "t")
	text, typed, rounded := c.apply(x)
	switch {
	case x.truth:
		c.printf("%sconst bool %s = %s;\n", indent, name, text)
	case typed:
		c.printf("%sconst float %s = float(%s);\n", indent, name, text)
	case rounded:
		c.printf("%sconst float %s = %s;\n", indent, name, text)
	default:
		c.printf("%sconst float %s = float(%s(%s));\n", indent, name, c.typ, text)
	}
}

// result is the text that is stored in out.
func (c *coder) result(x *node) string {
	if len(x.in) == 0 || c.wrote[x] {
		return c.typ + "(" + c.value(x, false) + ")"
	}
	text, typed, _ := c.apply(x)
	if typed {
		return text
	}
	return c.typ + "(" + text + ")"
}

// load writes the variable of an input's element; index is where it is in a full input.
func (c *coder) load(x *node, suffix, index, column, indent string) {
	name := c.element[x]
	if name == "" {
		name = c.taken.take(x.name + suffix)
		c.element[x] = name
	}
	if x.shape == vector {
		index = column
	}
	c.printf("%sconst float %s = float(%s[%s]);\n", indent, name, x.name, index)
}

// file puts the parts of a source together.
func (c *coder) file(name string, about []string) string {
	var b strings.Builder
	for _, a := range about {
		b.WriteString(strings.TrimRight("// "+a, " ") + "\n")
	}
	for _, h := range []string{"extremes.h", "maths.h", "mlx_ops.h", "reduce.h"} {
		if c.uses[h] {
			fmt.Fprintf(&b, "#include %q\n", h)
		}
	}
	fmt.Fprintf(&b, "\nkernel void %s() {\n%s}\n", name, c.out.String())
	return b.String()
}

// elementwiseSource is one thread an element.
func elementwiseSource(c *coder, result *node) {
	c.printf("  const int i = int(thread_position_in_grid.x);\n  if (i >= rows * %s) return;\n", c.dim)
	nodes := reachable(result)
	for _, x := range nodes {
		if x.op == inputOp {
			c.load(x, "_i", "i", "i % "+c.dim, "  ")
		}
	}
	for _, x := range nodes {
		if x != result {
			c.define(x, "  ")
		}
	}
	c.printf("  %s[i] = %s;\n", c.store, c.result(result))
}

package enginetest

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// Run runs the table on an engine. If the engine is MLX of the goldens' version,
// on the kind of machine that made them, its results must have the same bits;
// any other engine may be off by each case's bound.
func Run(t *testing.T, e engine.Engine) {
	t.Run("ops", func(t *testing.T) { runOps(t, e) })
	t.Run("symbols", func(t *testing.T) { runSymbols(t, e) })
	t.Run("ownership", func(t *testing.T) { runOwnership(t, e) })
	t.Run("inputs", func(t *testing.T) { runInputs(t, e) })
}

func exact(e engine.Engine, c *Case) bool {
	return e.Name() == "mlx" && e.Device() == "cpu" && e.Version() == MLX && runtime.GOARCH == "amd64" && !c.Machine
}

func runOps(t *testing.T, e engine.Engine) {
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int{}
	symbolic := map[string]bool{}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			g, err := c.Graph(false)
			if err != nil {
				t.Fatal(err)
			}
			got := c.run(t, e, g)
			if err := c.Compare(got, exact(e, c)); err != nil {
				t.Errorf("%s: %v", c.describe(), err)
			}
			done[c.Op.Name]++
			// The same with symbols for dimensions must give the same bits, where
			// inference can do without the numbers.
			if g, err := c.Graph(true); err == nil {
				symbolic[c.Op.Name] = true
				if again := c.run(t, e, g); !bytes.Equal(got, again) {
					t.Errorf("%s: another result with symbolic dimensions", c.describe())
				}
			}
		})
	}
	for _, op := range graph.Ops() {
		if op.IsLeaf() {
			continue
		}
		if done[op.Name] == 0 {
			t.Errorf("no case for op %s: add one to scripts/oracle/op_goldens.py and run that", op.Name)
		}
		if !symbolic[op.Name] && !slices.Contains(numbersOnly, op.Name) {
			t.Errorf("op %s was never run with symbolic dimensions", op.Name)
		}
	}
}

// numbersOnly are the ops whose inference wants numbers where the table's cases
// have them: packed columns, and lengths written out in an attribute (runSymbols
// has cases for those).
var numbersOnly = []string{"arange", "reshape", "quantize", "dequantize", "quantized_matmul", "gather_qmm"}

func (c *Case) describe() string {
	g, err := c.Graph(false)
	if err != nil {
		return c.Name
	}
	text := c.Op.Name + "("
	for _, id := range g.Inputs() {
		text += g.Type(id).String() + ", "
	}
	for i, a := range c.Attrs {
		if a != nil {
			text += c.Op.Attrs[i].Name + "=" + a.String() + ", "
		}
	}
	return text + ")"
}

func (c *Case) run(t *testing.T, e engine.Engine, g *graph.Graph) []byte {
	t.Helper()
	in := map[string]engine.Tensor{}
	for i, l := range c.In {
		if l != nil {
			in[operandName(i)] = newTensor(t, e, l)
		}
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		t.Fatalf("%s: %v", c.describe(), err)
	}
	defer out["out"].Release()
	if x := out["out"]; x.DType() != c.Want.DType || !slices.Equal(x.Shape(), c.Want.Shape) {
		t.Fatalf("%s: result is %s%v, not %s%v", c.describe(), x.DType(), x.Shape(), c.Want.DType, c.Want.Shape)
	}
	got, err := out["out"].Read()
	if err != nil {
		t.Fatalf("%s: %v", c.describe(), err)
	}
	for i, l := range c.In {
		if l == nil {
			continue
		}
		if b, err := in[operandName(i)].Read(); err != nil || !bytes.Equal(b, l.Data) {
			t.Errorf("%s: operand %d was changed (%v)", c.describe(), i, err)
		}
		in[operandName(i)].Release()
	}
	return got
}

func newTensor(t *testing.T, e engine.Engine, l *graph.Literal) engine.Tensor {
	t.Helper()
	x, err := e.NewTensor(l.DType, l.Shape, l.Data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

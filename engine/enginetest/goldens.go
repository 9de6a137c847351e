package enginetest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
)

//go:embed testdata/ops.jsonl.gz
var goldens []byte

// MLX is the version whose results the goldens are.
const MLX = "0.32.2"

// Case is one call of an op and MLX's result.
type Case struct {
	Name  string // "softmax/12"
	Op    *graph.Op
	Attrs []graph.Attr
	In    []*graph.Literal // nil for an absent operand
	Want  *graph.Literal
	// Result is which of the op's results Want is.
	Result int

	// Another correct engine may be off by Abs + (Rel + Ulp*eps)*|want|.
	Abs, Rel, Ulp float64
	// Machine says that MLX's own bits depend on the machine (libm, BLAS).
	Machine bool
	// Partition says that the order before and behind position kth is free.
	Partition bool
}

type jsonArray struct {
	DType string
	Shape []int
	Data  []byte
}

func (a *jsonArray) literal() (*graph.Literal, error) {
	t, ok := graph.ParseDType(a.DType)
	if !ok {
		return nil, fmt.Errorf("unknown element type %q", a.DType)
	}
	return &graph.Literal{DType: t, Shape: a.Shape, Data: a.Data}, nil
}

// Cases reads the goldens.
func Cases() ([]*Case, error) {
	z, err := gzip.NewReader(bytes.NewReader(goldens))
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var head struct {
		MLX   string
		Cases int
	}
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		return nil, err
	}
	if head.MLX != MLX {
		return nil, fmt.Errorf("goldens are of MLX %s, not %s", head.MLX, MLX)
	}
	var list []*Case
	for lines.Scan() {
		c, err := parse(lines.Bytes(), len(list))
		if err != nil {
			return nil, fmt.Errorf("case %d: %w", len(list), err)
		}
		list = append(list, c)
	}
	if len(list) != head.Cases {
		return nil, fmt.Errorf("%d cases, not %d", len(list), head.Cases)
	}
	return list, lines.Err()
}

func parse(line []byte, n int) (*Case, error) {
	var j struct {
		Op            string
		In            []*jsonArray
		Out           *jsonArray
		Attrs         map[string]json.RawMessage
		Abs, Rel, Ulp float64
		Machine       bool
		Compare       string
		Result        int
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return nil, err
	}
	op := graph.LookupOp(j.Op)
	if op == nil {
		return nil, fmt.Errorf("unknown op %q", j.Op)
	}
	c := &Case{Name: fmt.Sprintf("%s/%d", j.Op, n), Op: op, Abs: j.Abs, Rel: j.Rel, Ulp: j.Ulp, Machine: j.Machine, Partition: j.Compare == "partition", Result: j.Result,
		Attrs: make([]graph.Attr, len(op.Attrs)), In: make([]*graph.Literal, len(j.In))}
	var err error
	for i, a := range j.In {
		if a != nil {
			if c.In[i], err = a.literal(); err != nil {
				return nil, err
			}
		}
	}
	if c.Want, err = j.Out.literal(); err != nil {
		return nil, err
	}
	for name, text := range j.Attrs {
		i := op.AttrIndex(name)
		if i < 0 {
			return nil, fmt.Errorf("%s has no attribute %q", op.Name, name)
		}
		if c.Attrs[i], err = parseAttr(op.Attrs[i].Kind, text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

func parseAttr(kind graph.AttrKind, text []byte) (graph.Attr, error) {
	switch kind {
	case graph.KindInt, graph.KindAxis, graph.KindPos:
		var n int64
		err := json.Unmarshal(text, &n)
		return graph.N(n), err
	case graph.KindInts, graph.KindAxes, graph.KindPosList:
		if text[0] != '[' {
			text = slices.Concat([]byte("["), text, []byte("]"))
		}
		var list []int64
		err := json.Unmarshal(text, &list)
		dims := make(graph.Dims, len(list))
		for i, n := range list {
			dims[i] = graph.N(n)
		}
		return dims, err
	case graph.KindFloat:
		var f float64
		err := json.Unmarshal(text, &f)
		return graph.Float(f), err
	case graph.KindFlag:
		var b bool
		err := json.Unmarshal(text, &b)
		return graph.Flag(b), err
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	if kind == graph.KindDType {
		if t, ok := graph.ParseDType(s); ok {
			return t, nil
		}
		return nil, fmt.Errorf("unknown element type %q", s)
	}
	return graph.Str(s), nil
}

// operandName names the graph input that holds operand i.
func operandName(i int) string { return fmt.Sprintf("in%d", i) }

// Graph is the case as a graph: its operands are the inputs in0, in1, ..., its
// result (Result, if it has several) is "out". With symbols, each dimension but 1 becomes a symbol, the same
// for equal numbers; attributes stay as they are.
func (c *Case) Graph(symbols bool) (*graph.Graph, error) {
	g := graph.New()
	in := make([]graph.ValueID, len(c.In))
	for i, l := range c.In {
		in[i] = graph.None
		if l == nil {
			continue
		}
		t := l.Type()
		if symbols {
			for k, n := range l.Shape {
				if n > 1 {
					t.Shape[k] = graph.Sym(fmt.Sprintf("n%d", n))
				}
			}
		}
		in[i] = g.Input(operandName(i), t)
	}
	out, err := g.Add(c.Op, "", in, c.Attrs...)
	if err != nil {
		return nil, err
	}
	g.Output("out", out[c.Result])
	return g, nil
}

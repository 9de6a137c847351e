package convert

import (
	"fmt"
	"math"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/normal"
)

// Spec says what to write as one trace: a case of the program for given symbols.
type Spec struct {
	Case int
	Env  map[string]int64 // every symbol of the case's types and attributes but kv_len
}

// ExportOptions are the choices of an export.
type ExportOptions struct {
	Version  string // of MLX: one of mlxfn.Releases
	Metadata string // free text; from MLX 0.32.1 on
	// Specs are the traces in their order; nil for all cases of a program without
	// symbols. MLX tells traces apart by the types of their inputs.
	Specs []Spec
}

// Export writes a program as a function that MLX runs on the CPU. Inputs are
// positional arguments in the order of the signature, all parameters of the program
// keyword arguments, used or not.
func Export(p *graph.Program, opts ExportOptions) (*mlxfn.File, error) {
	f := &mlxfn.File{Version: opts.Version, Metadata: opts.Metadata}
	specs := opts.Specs
	if specs == nil {
		for i := range p.Cases {
			specs = append(specs, Spec{Case: i})
		}
	}
	ids := &idSource{constants: map[string]uint64{}}
	for _, s := range specs {
		c := &p.Cases[s.Case]
		fn, err := exportCase(p, c, s.Env, opts.Version, ids)
		if err != nil {
			var issue *diag.Issue
			if is, ok := err.(*diag.Issue); ok {
				issue = is
			} else {
				issue = diag.Errorf("mlxfn/export", diag.Pos{}, "%v", err)
			}
			issue.Message = fmt.Sprintf("case %s: %s", c.Name, issue.Message)
			return nil, issue
		}
		f.Functions = append(f.Functions, *fn)
	}
	return f, nil
}

func exportCase(p *graph.Program, c *graph.Case, env map[string]int64, version string, ids *idSource) (*mlxfn.Function, error) {
	g, err := normal.Specialize(c.Graph, env)
	if err != nil {
		return nil, err
	}
	if err := normal.Lower(g, normal.CPU); err != nil {
		return nil, err
	}
	e := &exporter{
		g: g, values: make(map[graph.ValueID]array, g.NumValues()),
		tracer: tracer{fn: &mlxfn.Function{}, ids: ids, made: map[string]array{}, entries: map[uint64]*mlxfn.Entry{}, version: version},
	}
	return e.run(p, env)
}

type exporter struct {
	tracer
	g      *graph.Graph
	values map[graph.ValueID]array

	// Of the node at hand.
	n     *graph.Node
	call  *graph.Call
	in    []array // converted as MLX converts operands
	there []bool  // which of them are there
	out   array   // its type only
}

func (e *exporter) run(p *graph.Program, env map[string]int64) (fn *mlxfn.Function, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			issue := diag.Errorf("mlxfn/export", diag.Pos{}, "%s", f.message)
			if e.n != nil {
				issue.Scope = e.n.Scope
			}
			fn, err = nil, issue
		}
	}()
	fn = e.fn
	add := func(t graph.Type) array {
		a := array{e.ids.next(), t.DType, ints(t.Shape)}
		fn.Inputs = append(fn.Inputs, mlxfn.Value{ID: a.id, Type: mlxfn.TypeInfo{Shape: a.shape, DType: a.dtype}})
		return a
	}
	for _, v := range e.g.Inputs() {
		e.values[v] = add(e.g.Type(v))
	}
	params := e.g.Params()
	symbols := make(map[string]graph.Dim, len(env))
	for name, n := range env {
		symbols[name] = graph.N(n)
	}
	rearranged := map[string]bool{} // parameters that others are made of, and those
	for _, q := range p.Params {
		if q.From != nil {
			rearranged[q.Name] = true
			for _, from := range q.From.Args {
				rearranged[from] = true
			}
		}
	}
	for _, q := range p.Params {
		// A signature keeps what the function does not read, as MLX's own does. But weights
		// that rules rearranged are there in two forms, of which this case has one.
		if _, read := params[q.Name]; !read && rearranged[q.Name] {
			continue
		}
		a := add(q.Type.Subst(symbols))
		fn.Kwargs = append(fn.Kwargs, q.Name)
		if v, ok := params[q.Name]; ok {
			e.values[v] = a
		}
	}
	for id := range e.g.NumNodes() {
		n := e.g.Node(graph.NodeID(id))
		switch n.Op.Name {
		case "input":
			continue
		case "param":
			if _, ok := e.values[n.Out[0]]; !ok {
				fail("the graph reads parameter %s, which the program does not list", e.g.InputName(n.Out[0]))
			}
			continue
		case "constant":
			e.values[n.Out[0]] = e.literal(e.g.Literal(n.Out[0]))
			continue
		}
		e.node(n)
	}
	for _, o := range e.g.Outputs() {
		fn.Outputs = append(fn.Outputs, e.values[o.Value].id)
	}
	e.order()
	return fn, nil
}

// node records the primitives of one node.
func (e *exporter) node(n *graph.Node) {
	t := e.g.Type(n.Out[0])
	e.n, e.out = n, array{dtype: t.DType, shape: ints(t.Shape)}
	e.call = &graph.Call{Op: n.Op, Attrs: n.Attrs, In: make([]graph.Type, len(n.In))}
	for i, v := range n.In {
		e.call.In[i].DType = graph.NoDType
		if v != graph.None {
			e.call.In[i] = e.g.Type(v)
		}
	}
	e.in, e.there = make([]array, len(n.In)), make([]bool, len(n.In))
	for i, want := range normal.OperandTypes(e.call, t.DType) {
		if v := n.In[i]; v != graph.None {
			e.in[i], e.there[i] = e.values[v], true
			if want != graph.NoDType {
				e.in[i] = e.astype(e.in[i], want)
			}
		}
	}
	a := e.emit()
	if a.dtype != e.out.dtype || fmt.Sprint(a.shape) != fmt.Sprint(e.out.shape) {
		fail("%s: MLX gives %v%v for %s", n.Op.Name, a.dtype, a.shape, t)
	}
	e.values[n.Out[0]] = a
}

func (e *exporter) emit() array {
	op, in, dtype := e.n.Op, e.in, e.out.dtype
	switch op.Name {
	case "arange":
		return e.arange(e.int("start"), e.int("stop"), e.int("step"), dtype, e.out.shape[0])
	case "astype":
		return e.astype(in[0], dtype)
	case "abs":
		return e.astype(e.elementwise("Abs", in[0].dtype, in[0]), dtype)
	case "sqrt", "rsqrt":
		return e.elementwise("Sqrt", dtype, in[0], field("reciprocal", op.Name == "rsqrt"))
	case "log", "log2", "log10":
		return e.elementwise("Log", dtype, in[0], field("base", map[string]string{"log": "e", "log2": "two", "log10": "ten"}[op.Name]))
	case "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift":
		for prim, name := range bitOps {
			if name == op.Name {
				return e.binary("BitwiseBinary", dtype, in, field("op", prim))
			}
		}
	case "equal":
		return e.binary("Equal", dtype, in, field("equal_nan", false))
	case "floor_divide":
		return e.floorDivide(in[0], in[1], dtype)
	case "where":
		return e.binary("Select", dtype, in)
	case "matmul":
		return e.matmul(in[0], in[1], dtype)
	case "addmm":
		return e.addmm(in[0], in[1], in[2], e.float("alpha"), e.float("beta"), dtype)
	case "conv1d":
		return e.conv1d(in[0], in[1], e.int("stride"), e.int("padding"), e.int("dilation"), e.int("groups"), e.out)
	case "quantized_matmul":
		return e.quantizedMatmul(in, e.out.dim(-1), dtype, append(e.quant(), field("transpose", e.call.Flag("transpose"))))
	case "gather_qmm", "gather_mm":
		return e.gathered()
	case "sum", "prod", "max", "min", "all", "any", "logsumexp":
		return e.reduce(op.Name, in[0], e.axes("axis"), e.call.Flag("keepdims"), dtype)
	case "argmax", "argmin":
		return e.reduce(op.Name, in[0], []int{e.axis("axis")}, e.call.Flag("keepdims"), dtype)
	case "softmax":
		return e.softmax(in[0], e.axis("axis"), e.call.Flag("precise"), dtype)
	case "cumsum":
		return e.elementwise("Scan", dtype, in[0], field("type", "Sum"), field("axis", e.axis("axis")),
			field("reverse", e.call.Flag("reverse")), field("inclusive", e.call.Flag("inclusive")))
	case "sort", "argsort":
		return e.elementwise(map[string]string{"sort": "Sort", "argsort": "ArgSort"}[op.Name], dtype, in[0], field("axis", e.axis("axis")))
	case "partition", "argpartition":
		return e.elementwise(map[string]string{"partition": "Partition", "argpartition": "ArgPartition"}[op.Name], dtype, in[0],
			field("kth", e.int("kth")), field("axis", e.axis("axis")))
	case "take":
		return e.take(in[0], in[1], e.axis("axis"))
	case "take_along_axis":
		return e.takeAlongAxis(in[0], in[1], e.axis("axis"))
	case "put_along_axis":
		return e.putAlongAxis(in[0], in[1], in[2], e.axis("axis"))
	case "slice":
		return e.slice(e.positions())
	case "slice_update":
		a, start, stop, strides := e.positions()
		return e.sliceUpdate(a, in[1], start, stop, strides)
	case "slice_update_dynamic":
		return e.sliceUpdateDynamic(in[0], in[1], in[2], e.axes("axis"))
	case "reshape":
		return e.reshape(in[0], e.out.shape)
	case "flatten":
		return e.flatten(in[0], e.axis("start_axis"), e.axis("end_axis"))
	case "unflatten":
		return e.unflatten(in[0], e.axis("axis"), ints(e.call.Dims("shape")))
	case "transpose":
		return e.transpose(in[0], ints(e.call.Dims("axes")))
	case "expand_dims":
		axes := ints(e.call.Dims("axis"))
		for i := range axes {
			axes[i] += e.out.ndim()
		}
		return e.expandDims(in[0], axes...)
	case "squeeze":
		return e.squeeze(in[0], e.axes("axis")...)
	case "broadcast_to":
		return e.broadcastTo(in[0], e.out.shape)
	case "concatenate":
		return e.concatenate(in, e.axis("axis"), dtype)
	case "view":
		if in[0].dtype == dtype {
			return in[0]
		}
		return e.op("View", dtype, e.out.shape, in, field("dtype", dtype))
	case "quantize":
		fail("a program with a quantized cache is not exported: quantize has three results")
		return array{}
	case "contiguous": // the same values; MLX cannot write the primitive
		return in[0]
	}
	if len(op.Attrs) == 0 && len(op.Prims) == 1 && op.Results == 1 && !op.Variadic {
		switch len(op.Operands) {
		case 1:
			return e.elementwise(op.Prims[0], dtype, in[0])
		case 2:
			return e.binary(op.Prims[0], dtype, in)
		}
	}
	fail("MLX on the CPU has nothing for %s", op.Name)
	return array{}
}

func (e *exporter) gathered() array {
	lhs := len(e.n.Op.Operands) - 2
	at := func(i int) *array {
		if i < len(e.in) && e.there[i] {
			return &e.in[i]
		}
		return nil
	}
	sorted := e.call.Flag("sorted_indices")
	if e.n.Op.Name == "gather_mm" {
		if at(lhs) == nil && at(lhs+1) == nil {
			return e.matmul(e.in[0], e.in[1], e.out.dtype)
		}
		return e.gatherMatrices("GatherMM", e.in[:2], at(lhs), at(lhs+1), e.out.dim(-1), sorted, e.out.dtype, nil)
	}
	operands := e.in[:min(lhs, len(e.in))]
	if at(3) == nil {
		operands = e.in[:3]
	}
	state := append(e.quant(), field("transpose", e.call.Flag("transpose")))
	if at(lhs) == nil && at(lhs+1) == nil {
		return e.quantizedMatmul(operands, e.out.dim(-1), e.out.dtype, state)
	}
	return e.gatherMatrices("GatherQMM", operands, at(lhs), at(lhs+1), e.out.dim(-1), sorted, e.out.dtype, state)
}

// Attributes of the node at hand.

func (e *exporter) quant() []mlxfn.Field {
	return []mlxfn.Field{field("group_size", e.int("group_size")), field("bits", e.int("bits")), field("mode", e.call.Str("mode"))}
}

func (e *exporter) int(name string) int { return number(e.call.Dim(name)) }

func (e *exporter) float(name string) float32 { return float32(e.call.Attr(name).(graph.Float)) }

func (e *exporter) axis(name string) int { return e.int(name) + e.in[0].ndim() }

func (e *exporter) axes(name string) []int {
	axes := ints(e.call.Dims(name))
	for i := range axes {
		axes[i] += e.in[0].ndim()
	}
	return axes
}

// positions returns the operand and the start, stop and stride of every axis.
func (e *exporter) positions() (a array, start, stop, strides []int) {
	a = e.in[0]
	spans, err := e.call.Spans()
	if err != nil {
		fail("%v", err)
	}
	start, strides = make([]int, a.ndim()), ones(a.ndim())
	stop = append([]int{}, a.shape...)
	for _, s := range spans {
		start[s.Axis], stop[s.Axis], strides[s.Axis] = number(s.Start), number(s.Stop), int(s.Stride)
	}
	return a, start, stop, strides
}

// number is a dimension that has to be a number by now, and one that MLX can hold.
func number(d graph.Dim) int {
	n, ok := d.Const()
	if !ok {
		fail("%s has no value; a trace needs a number for each symbol", d)
	}
	if n > math.MaxInt32 || n < math.MinInt32 {
		fail("%d does not fit into 32 bits", n)
	}
	return int(n)
}

func ints(dims []graph.Dim) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = number(d)
	}
	return out
}

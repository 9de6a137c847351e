// Package convert turns .mlxfn files into programs and back.
//
// [Import] gives one case per trace, in ops of package graph, as close to the file as
// ops allow: conversions, broadcasts and decompositions stay (package normal folds
// them). [Export] writes, for each case, the primitives that mlx.core would have
// recorded for its ops (trace.go mirrors mlx/ops.cpp), so that the file runs in any
// MLX of the chosen release.
//
// The package refuses to guess: a primitive without an op, a shapeless trace or a
// type that MLX recorded differently is an error with the offset in the file.
package convert

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
)

// ImportOptions are what a file does not say.
type ImportOptions struct {
	// Name of the program; "" for the file's.
	Name string
	// Dims names dimensions of positional inputs: Dims["in0"] = ["batch", "seq_len"].
	// The numbers of the trace become the condition of its case (batch == 1). "" and
	// plain numbers name nothing. If Dims is empty, a 2-D integer input, the tokens,
	// says batch and seq_len. The capacity of caches is kv_cap in any case.
	Dims map[string][]string
}

// Import makes a program of a file: a case for each trace, keyword inputs as
// parameters, positional ones as inputs. The file's constants are shared, not copied.
func Import(name string, f *mlxfn.File, opts ImportOptions) (*graph.Program, error) {
	p, _, err := importTraces(name, f, opts)
	return p, err
}

// importTraces is Import that also says, for each case, what its symbols are.
func importTraces(name string, f *mlxfn.File, opts ImportOptions) (*graph.Program, []binding, error) {
	if f.Shapeless {
		return nil, nil, diag.Errorf("mlxfn/shapeless", diag.Pos{File: name}, "the function was exported with shapeless=True").
			WithHint("export one trace per shape instead: shapes that MLX leaves open are not in the file")
	}
	own, err := readCapture(name, f)
	if err != nil {
		return nil, nil, err
	}
	p := &graph.Program{Name: cmp.Or(own.Config.ModelType, opts.Name, name), Window: own.Window}
	var bindings []binding
	for k := range f.Functions {
		im := &importer{file: name, fn: &f.Functions[k], program: p, g: graph.New()}
		b, err := im.run(opts, own)
		if err != nil {
			return nil, nil, err
		}
		p.Cases = append(p.Cases, graph.Case{Name: fmt.Sprintf("trace%d", k), When: b.when(), Graph: im.g})
		bindings = append(bindings, b)
	}
	NameQuants(p)
	return p, bindings, nil
}

type importer struct {
	file    string
	fn      *mlxfn.Function
	program *graph.Program
	g       *graph.Graph
	values  map[uint64]graph.ValueID
	scopes  map[graph.ValueID]string // where the node of a value stands
	modules map[graph.ValueID]string // of parameters and views of them: where they belong

	// Of the entry at hand.
	e     *mlxfn.Entry
	scope string
	in    []graph.ValueID
	out   []graph.ValueID
	err   error
}

func (im *importer) errorf(code string, format string, args ...any) *diag.Issue {
	pos := diag.Pos{File: im.file}
	if im.e != nil {
		pos = diag.At(im.file, im.e.Offset)
	}
	return diag.Errorf("mlxfn/"+code, pos, format, args...).WithScope(im.scope)
}

func (im *importer) run(opts ImportOptions, own *captureInfo) (binding, error) {
	fn, g := im.fn, im.g
	im.values = make(map[uint64]graph.ValueID, len(fn.Inputs)+len(fn.Tape))
	im.scopes, im.modules = map[graph.ValueID]string{}, map[graph.ValueID]string{}
	names, err := own.names(im)
	if err != nil {
		return binding{}, err
	}
	for i, v := range fn.Inputs {
		t := typeOf(v.Type)
		if n := i - fn.Positional(); n >= 0 {
			name := fn.Kwargs[n]
			if !writable(name) {
				return binding{}, im.errorf("name", "keyword %q is no name that can be written", name).WithHint("export it with printable names")
			}
			if _, err := im.program.AddParam(&graph.Param{Name: name, Type: t}); err != nil {
				return binding{}, im.errorf("param", "%v", err).WithHint("traces of one file must agree on their weights")
			}
			im.values[v.ID] = g.Param(name, t)
			if module, _, ok := cutLast(name); ok {
				im.modules[im.values[v.ID]] = module
			}
			continue
		}
		im.values[v.ID] = g.Input(names.inputs[i], t)
	}
	b, err := im.bind(opts, own)
	if err != nil {
		return b, err
	}
	for k := range fn.Tape {
		if err := im.entry(&fn.Tape[k]); err != nil {
			return b, err
		}
	}
	for k, id := range fn.Outputs {
		g.Output(names.outputs[k], im.values[id])
	}
	return b, nil
}

// writable reports whether graph's text form can write a name.
func writable(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r == '`' || !unicode.IsPrint(r) })
}

func typeOf(t mlxfn.TypeInfo) graph.Type {
	return graph.Type{DType: t.DType, Shape: graph.DimsOf(t.Shape)}
}

// binding is what the symbols of one trace are.
type binding struct {
	env   map[string]int64
	named []string            // those that its condition is about, in order
	dims  map[string][]string // of inputs, by name: the symbol of each dimension
}

// when is the condition of a case that is this trace only.
func (b binding) when() graph.Cond {
	var conds []graph.Cond
	for _, name := range b.named {
		conds = append(conds, graph.Compare(graph.Sym(name), graph.EQ, graph.N(b.env[name])))
	}
	return graph.And(conds...)
}

// bind reads the symbols off the shapes of the inputs.
func (im *importer) bind(opts ImportOptions, own *captureInfo) (binding, error) {
	dims := opts.Dims
	if len(dims) == 0 {
		for _, v := range im.g.Inputs() {
			if name := im.g.InputName(v); name == tokensName {
				dims = map[string][]string{name: {graph.SymBatch, graph.SymSeqLen}}
			}
		}
	}
	b := binding{env: map[string]int64{}, dims: map[string][]string{}}
	found := 0
	for i, v := range im.g.Inputs() {
		name := im.g.InputName(v)
		list, ok := dims[name]
		if position := fmt.Sprintf("in%d", i); !ok {
			list, ok = dims[position]
		}
		if !ok {
			continue
		}
		found++
		shape := im.fn.Inputs[i].Type.Shape
		if len(list) > len(shape) {
			return b, im.errorf("dims", "input %s has %d dimensions, but %d are named", name, len(shape), len(list))
		}
		for d, sym := range list {
			if sym == "" || sym[0] >= '0' && sym[0] <= '9' {
				continue
			}
			b.name(name, d, sym)
			n := int64(shape[d])
			if old, ok := b.env[sym]; ok && old != n {
				return b, im.errorf("dims", "%s is %d and %d in this trace", sym, old, n)
			} else if !ok {
				b.env[sym] = n
				b.named = append(b.named, sym)
			}
		}
	}
	if found < len(dims) {
		return b, im.errorf("dims", "dimensions are named of an input that the trace does not have").
			WithHint("its inputs are %s", strings.Join(im.inputList(), ", "))
	}
	im.bindCapacity(&b, graph.SymKVCap, func(name string) bool { return isCache(name) && !slices.Contains(own.Rings, name) })
	im.bindCapacity(&b, graph.SymWindowCap, func(name string) bool { return slices.Contains(own.Rings, name) })
	return b, nil
}

// name says which symbol a dimension of an input is.
func (b *binding) name(input string, dim int, sym string) {
	for len(b.dims[input]) <= dim {
		b.dims[input] = append(b.dims[input], "")
	}
	b.dims[input][dim] = sym
}

// bindCapacity reads a capacity off the caches of a kind, if all have the same. No
// condition of a case is about it, since a step takes caches of any capacity.
func (im *importer) bindCapacity(b *binding, sym string, of func(name string) bool) {
	const rows = 2 // of [batch, heads, rows, head_dim]
	if _, ok := b.env[sym]; ok {
		return // --dims says it
	}
	var caches []string
	var all []int64
	for i, v := range im.g.Inputs() {
		if shape, name := im.fn.Inputs[i].Type.Shape, im.g.InputName(v); len(shape) == 4 && of(name) {
			caches, all = append(caches, name), append(all, int64(shape[rows]))
		}
	}
	if len(all) == 0 || slices.Max(all) != slices.Min(all) {
		return
	}
	b.env[sym] = all[0]
	for _, name := range caches {
		b.name(name, rows, sym)
	}
}

func (im *importer) inputList() []string {
	var list []string
	for _, v := range im.g.Inputs() {
		list = append(list, im.g.InputName(v)+" "+im.g.Type(v).String())
	}
	return list
}

// entry adds one step of the tape.
func (im *importer) entry(e *mlxfn.Entry) error {
	im.e = e
	switch e.Kind {
	case mlxfn.Input:
		return nil
	case mlxfn.Constant:
		t := e.Outputs[0].Type
		im.values[e.ID] = im.g.Constant(&graph.Literal{DType: t.DType, Shape: t.Shape, Data: e.Data})
		return nil
	}
	im.in = make([]graph.ValueID, len(e.Inputs))
	for i, id := range e.Inputs {
		im.in[i] = im.values[id]
	}
	im.scope = im.scopeOf(im.in)
	im.out, im.err = im.out[:0], nil
	row, ok := imports[e.Primitive]
	if !ok {
		return im.errorf("unsupported", "primitive %s has no op", e.Primitive).
			WithHint("capture the model without it; package graph has an op for each primitive that can be imported")
	}
	row(im)
	if im.err != nil {
		if issue, ok := im.err.(*diag.Issue); ok {
			return issue
		}
		return im.errorf("invalid", "%s: %v", e.Primitive, im.err)
	}
	if len(im.out) != len(e.Outputs) {
		return im.errorf("invalid", "%s has %d outputs, not %d", e.Primitive, len(e.Outputs), len(im.out))
	}
	for i, v := range e.Outputs {
		if got := im.g.Type(im.out[i]); !got.Equal(typeOf(v.Type)) {
			return im.errorf("type", "%s gives %s, but the file says %s", e.Primitive, got, v.Type)
		}
		im.values[v.ID] = im.out[i]
	}
	return nil
}

// add adds a node for the entry at hand. After a failure it returns None.
func (im *importer) add(op string, in []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
	if im.err != nil {
		return graph.None
	}
	out, err := im.g.Add(graph.LookupOp(op), im.scope, in, attrs...)
	if err != nil {
		im.err = err
		return graph.None
	}
	im.scopes[out[0]] = im.scope
	if n := im.g.Def(out[0]); len(in) == 1 && (n.Op.IsView() || op == "astype") {
		if module, ok := im.modules[in[0]]; ok {
			im.modules[out[0]] = module
		}
	}
	return out[0]
}

// result is add for the value that the entry stands for.
func (im *importer) result(op string, in []graph.ValueID, attrs ...graph.Attr) {
	im.out = append(im.out, im.add(op, in, attrs...))
}

// refuse says that no op means what the primitive does with this state.
func (im *importer) refuse(format string, args ...any) {
	if im.err == nil {
		im.err = im.errorf("unsupported", "%s: %s", im.e.Primitive, fmt.Sprintf(format, args...)).WithHint("capture the model without it")
	}
}

func (im *importer) rank(i int) int         { return im.g.Type(im.in[i]).Rank() }
func (im *importer) shape(i int) []int      { return im.shapeOf(im.in[i]) }
func (im *importer) int(name string) int    { return mlxfn.Get[int](im.e, name) }
func (im *importer) str(name string) string { return mlxfn.Get[string](im.e, name) }
func (im *importer) flag(name string) bool  { return mlxfn.Get[bool](im.e, name) }
func (im *importer) ints(name string) []int {
	return mlxfn.Get[[]int](im.e, name)
}

func (im *importer) shapeOf(v graph.ValueID) []int {
	t := im.g.Type(v)
	shape := make([]int, t.Rank())
	for i, d := range t.Shape {
		shape[i] = d.Int() // traces are concrete
	}
	return shape
}

func num(n int) graph.Dim { return graph.N(int64(n)) }

func nums(list []int) graph.Dims {
	d := make(graph.Dims, len(list))
	for i, n := range list {
		d[i] = num(n)
	}
	return d
}

// imports says, for each primitive, which op it is.
var imports = func() map[string]func(*importer) {
	m := map[string]func(*importer){
		"Arange": importArange,
		"AddMM": func(im *importer) {
			im.result("addmm", []graph.ValueID{im.in[2], im.in[0], im.in[1]}, im.float("alpha"), im.float("beta"))
		},
		"ArgPartition":       func(im *importer) { im.result("argpartition", im.in, num(im.int("kth")), num(im.int("axis"))) },
		"ArgReduce":          importArgReduce,
		"ArgSort":            func(im *importer) { im.result("argsort", im.in, num(im.int("axis"))) },
		"AsType":             func(im *importer) { im.result("astype", im.in, mlxfn.Get[graph.DType](im.e, "dtype")) },
		"BitwiseBinary":      func(im *importer) { im.result(bitOps[im.str("op")], im.in) },
		"Broadcast":          importBroadcast,
		"Concatenate":        func(im *importer) { im.result("concatenate", im.in, num(im.int("axis"))) },
		"Convolution":        importConvolution,
		"Copy":               importSame,
		"Depends":            importSame,
		"Divide":             importDivide,
		"DynamicSliceUpdate": func(im *importer) { im.result("slice_update_dynamic", im.in, nums(im.ints("axes"))) },
		"Equal": func(im *importer) {
			if im.flag("equal_nan") {
				im.refuse("with equal_nan=True")
			}
			im.result("equal", im.in)
		},
		"ExpandDims": func(im *importer) { im.result("expand_dims", im.in, nums(im.ints("axes"))) },
		"Flatten":    func(im *importer) { im.result("flatten", im.in, num(im.int("start_axis")), num(im.int("end_axis"))) },
		"Full":       importSame,
		"Gather":     importGather,
		"GatherAxis": func(im *importer) { im.result("take_along_axis", im.in, num(im.int("axis"))) },
		"GatherMM":   func(im *importer) { im.gatherMatrices("gather_mm", im.in[:2]) },
		"GatherQMM":  importGatherQMM,
		"LayerNorm":  func(im *importer) { im.result("layer_norm", im.weights(1), im.float("eps")) },
		"Log": func(im *importer) {
			im.result(map[string]string{"two": "log2", "ten": "log10", "e": "log"}[im.str("base")], im.in)
		},
		"LogSumExp":       func(im *importer) { im.result("logsumexp", im.in, graph.Dims{num(-1)}, graph.Flag(true)) },
		"Partition":       func(im *importer) { im.result("partition", im.in, num(im.int("kth")), num(im.int("axis"))) },
		"Quantize":        importQuantize,
		"QuantizedMatmul": importQuantizedMatmul,
		"Reduce": func(im *importer) {
			ops := map[string]string{"And": "all", "Or": "any", "Sum": "sum", "Prod": "prod", "Min": "min", "Max": "max"}
			im.result(ops[im.str("type")], im.in, nums(im.ints("axes")), graph.Flag(true))
		},
		"Reshape": importReshape,
		"RMSNorm": func(im *importer) { im.result("rms_norm", im.weights(1), im.float("eps")) },
		"RoPE":    importRoPE,
		"Scan": func(im *importer) {
			if im.str("type") != "Sum" {
				im.refuse("of type %s", im.str("type"))
			}
			im.result("cumsum", im.in, num(im.int("axis")), graph.Flag(im.flag("reverse")), graph.Flag(im.flag("inclusive")))
		},
		"ScaledDotProductAttention": importSDPA,
		"ScatterAxis": func(im *importer) {
			if im.str("type") != "None" {
				im.refuse("of type %s", im.str("type"))
			}
			im.result("put_along_axis", im.in, num(im.int("axis")))
		},
		"Slice": func(im *importer) { im.sliced("slice", im.in, im.e.Outputs[0].Type.Shape) },
		"SliceUpdate": func(im *importer) {
			if im.str("type") != "None" {
				im.refuse("of type %s", im.str("type"))
			}
			im.sliced("slice_update", im.in, im.shape(1))
		},
		"Softmax": func(im *importer) { im.result("softmax", im.in, num(-1), graph.Flag(im.flag("precise"))) },
		"Sort":    func(im *importer) { im.result("sort", im.in, num(im.int("axis"))) },
		"Split":   importSplit,
		"Sqrt": func(im *importer) {
			if im.flag("reciprocal") {
				im.result("rsqrt", im.in)
			} else {
				im.result("sqrt", im.in)
			}
		},
		"Squeeze":      func(im *importer) { im.result("squeeze", im.in, nums(im.ints("axes"))) },
		"StopGradient": importSame,
		"Transpose":    func(im *importer) { im.result("transpose", im.in, nums(im.ints("axes"))) },
		"Unflatten":    func(im *importer) { im.result("unflatten", im.in, num(im.int("axis")), nums(im.ints("shape"))) },
		"View":         func(im *importer) { im.result("view", im.in, mlxfn.Get[graph.DType](im.e, "dtype")) },
	}
	// Primitives without state that are one op.
	for _, op := range graph.Ops() {
		for _, prim := range op.Prims {
			if m[prim] == nil && len(op.Attrs) == 0 && !strings.Contains(prim, ":") {
				m[prim] = func(im *importer) { im.result(op.Name, im.in) }
			}
		}
	}
	return m
}()

var bitOps = map[string]string{"And": "bitwise_and", "Or": "bitwise_or", "Xor": "bitwise_xor", "LeftShift": "left_shift", "RightShift": "right_shift"}

// importReshape: the shape of the result is recorded, the state may leave one dimension
// open.
func importReshape(im *importer) {
	want, shape, open := im.ints("shape"), im.e.Outputs[0].Type.Shape, 0
	for i, n := range want {
		if n == -1 {
			open++
		} else if len(want) == len(shape) && n != shape[i] {
			open = 2
		}
	}
	if len(want) != len(shape) || open > 1 {
		im.refuse("to %v, but the file says %v", want, shape)
		return
	}
	im.result("reshape", im.in, nums(shape))
}

func (im *importer) float(name string) graph.Float {
	return graph.Float(mlxfn.Get[float32](im.e, name))
}

// importSame is for primitives whose results are their first operands.
func importSame(im *importer) { im.out = append(im.out, im.in[:min(len(im.in), len(im.e.Outputs))]...) }

func importArange(im *importer) {
	var v [3]int
	for i, name := range []string{"start", "stop", "step"} {
		f := mlxfn.Get[float64](im.e, name)
		if f != math.Trunc(f) || math.Abs(f) > 1<<31 {
			im.refuse("%s is %g, not a whole number", name, f)
			return
		}
		v[i] = int(f)
	}
	im.result("arange", nil, num(v[0]), num(v[1]), num(v[2]), im.e.Outputs[0].Type.DType)
}

// importArgReduce: the primitive keeps the axis, a Squeeze follows.
func importArgReduce(im *importer) {
	op := map[string]string{"ArgMin": "argmin", "ArgMax": "argmax"}[im.str("type")]
	im.result(op, im.in, num(im.int("axis")), graph.Flag(true))
}

func importBroadcast(im *importer) {
	if len(im.in) > 1 {
		im.refuse("to the shape of another operand")
		return
	}
	im.result("broadcast_to", im.in, nums(im.ints("shape")))
}

// importDivide: floor_divide of integers is the same primitive.
func importDivide(im *importer) {
	if im.g.Type(im.in[0]).DType.IsInteger() {
		im.result("floor_divide", im.in)
	} else {
		im.result("divide", im.in)
	}
}

// importGather makes take of a Gather with one index array and whole slices. Gather
// puts the indices' axes first and keeps the indexed one; the views that mlx.core
// adds behind it to move them fold with those added here.
func importGather(im *importer) {
	axes, sizes := im.ints("axes"), im.ints("slice_sizes")
	a := im.shape(0)
	if len(axes) != 1 || len(im.in) != 2 {
		im.refuse("with %d index arrays", len(im.in)-1)
		return
	}
	ax := axes[0]
	if ax < 0 || ax >= len(a) || len(sizes) != len(a) {
		im.refuse("axis %d of %d dimensions", ax, len(a))
		return
	}
	for i, n := range sizes {
		if i == ax && n != 1 || i != ax && n != a[i] {
			im.refuse("of slices %v of %v", sizes, a)
			return
		}
	}
	k := im.rank(1)
	v := im.add("take", im.in, num(ax))
	v = im.add("expand_dims", []graph.ValueID{v}, graph.Dims{num(ax + k)})
	if ax > 0 { // a[:ax], indices, 1, a[ax+1:]  to  indices, a[:ax], 1, a[ax+1:]
		perm := make([]int, 0, len(a)+k)
		for i := range k {
			perm = append(perm, ax+i)
		}
		for i := range ax {
			perm = append(perm, i)
		}
		for i := ax + k; i < len(a)+k; i++ {
			perm = append(perm, i)
		}
		v = im.add("transpose", []graph.ValueID{v}, nums(perm))
	}
	im.out = append(im.out, v)
}

// importConvolution makes conv1d of a Convolution over one axis with as many zeros at
// its end as at its beginning.
func importConvolution(im *importer) {
	stride, lo, hi := im.ints("stride"), im.ints("padding_lo"), im.ints("padding_hi")
	dilation, input := im.ints("kernel_dilation"), im.ints("input_dilation")
	switch {
	case len(stride) != 1 || len(lo) != 1 || len(hi) != 1 || len(dilation) != 1 || len(input) != 1:
		im.refuse("over %d axes", im.rank(0)-2)
	case lo[0] != hi[0]:
		im.refuse("with padding of %d and %d", lo[0], hi[0])
	case input[0] != 1 || im.flag("flip"):
		im.refuse("with input_dilation %d and flip %t", input[0], im.flag("flip"))
	default:
		im.result("conv1d", im.in, num(stride[0]), num(lo[0]), num(dilation[0]), num(im.int("groups")))
	}
}

func (im *importer) quantAttrs() []graph.Attr {
	return []graph.Attr{num(im.int("group_size")), num(im.int("bits")), graph.Str(im.str("mode"))}
}

func importQuantizedMatmul(im *importer) {
	if len(im.in) != 3 && (len(im.in) != 4 || im.str("mode") != "affine") {
		im.refuse("with a global scale")
		return
	}
	im.result("quantized_matmul", im.in, append([]graph.Attr{graph.Flag(im.flag("transpose"))}, im.quantAttrs()...)...)
}

func importGatherQMM(im *importer) {
	in := slices.Clone(im.in)
	switch {
	case im.str("mode") == "affine" && len(in) == 6:
	case im.str("mode") != "affine" && len(in) == 5:
		in = slices.Insert(in, 3, graph.None)
	default:
		im.refuse("with a global scale")
		return
	}
	attrs := append([]graph.Attr{graph.Flag(im.flag("transpose")), graph.Flag(false)}, im.quantAttrs()...)
	im.gatherMatrices("gather_qmm", in[:4], attrs...)
}

// gatherMatrices adds gather_mm or gather_qmm. The primitive says of either index
// whether it is sorted, which MLX only says if the other one is the default; our op
// has one flag for the one that is given.
func (im *importer) gatherMatrices(op string, operands []graph.ValueID, attrs ...graph.Attr) {
	lhs, rhs := im.in[len(im.in)-2], im.in[len(im.in)-1]
	sorted := false
	if left, right := im.flag("left_sorted"), im.flag("right_sorted"); left || right {
		sorted = true
		other, of := &lhs, operands[0]
		if left {
			other, of = &rhs, operands[1]
		}
		if left && right || !im.countsMatrices(*other, of) {
			im.refuse("with sorted indices for an operand whose other indices are given")
			return
		}
		*other = graph.None
	}
	if op == "gather_mm" {
		attrs = []graph.Attr{graph.Flag(sorted)}
	} else {
		attrs[1] = graph.Flag(sorted)
	}
	im.result(op, append(slices.Clone(operands), lhs, rhs), attrs...)
}

// countsMatrices reports whether indices v are those that MLX makes for the matrices
// of a: arange, reshaped, repeated.
func (im *importer) countsMatrices(v, a graph.ValueID) bool {
	n := im.g.Def(v)
	if n.Op.Name == "broadcast_to" {
		v, n = n.In[0], im.g.Def(n.In[0])
	}
	batch := im.g.Type(a).Shape[:max(0, im.g.Type(a).Rank()-2)]
	if !slices.Equal(im.g.Type(v).Shape, batch) {
		return false
	}
	if n.Op.Name == "reshape" {
		n = im.g.Def(n.In[0])
	}
	return n.Op.Name == "arange" && n.Attr("start").Equal(num(0)) && n.Attr("step").Equal(num(1)) && n.Attr("stop").Equal(graph.Product(batch))
}

func importQuantize(im *importer) {
	affine := im.str("mode") == "affine"
	if !im.flag("dequantize") || affine && len(im.in) != 3 || !affine && len(im.in) != 2 {
		im.refuse("other than dequantize without a global scale")
		return
	}
	im.result("dequantize", im.in, im.quantAttrs()...)
}

// weights returns the operands, without those that stand for absent weights: MLX
// passes a number, 1 or 0, for them.
func (im *importer) weights(from int) []graph.ValueID {
	in := slices.Clone(im.in)
	for i := from; i < len(in); i++ {
		if im.rank(i) == 0 {
			in[i] = graph.None
		}
	}
	return in
}

func importRoPE(im *importer) {
	if !im.flag("forward") {
		im.refuse("backwards")
		return
	}
	var base graph.Attr
	if len(im.in) == 2 {
		base = im.float("base")
	}
	im.result("rope", im.in, num(im.int("dims")), graph.Flag(im.flag("traditional")), base, im.float("scale"))
}

func importSDPA(im *importer) {
	if im.flag("output_logsumexp") {
		im.refuse("with logsumexp")
		return
	}
	in, mask := slices.Clone(im.in[:3]), "none"
	rest := im.in[3:]
	in = append(in, graph.None, graph.None)
	if im.flag("has_sinks") && len(rest) > 0 {
		in[4], rest = rest[len(rest)-1], rest[:len(rest)-1]
	}
	switch {
	case im.flag("do_causal") && len(rest) == 0:
		mask = "causal"
	case len(rest) == 1:
		in[3], mask = rest[0], "array"
	case len(rest) > 1:
		im.refuse("with %d operands", len(im.in))
	}
	im.result("sdpa", in, im.float("scale"), graph.Str(mask))
}

func importSplit(im *importer) {
	at, ax := im.ints("indices"), im.int("axis")
	a := im.shape(0)
	if ax < 0 || ax >= len(a) || len(at) >= len(im.e.Outputs) {
		im.refuse("axis %d of %d dimensions", ax, len(a))
		return
	}
	start := 0
	for i := range im.e.Outputs {
		stop := a[ax]
		if i < len(at) {
			stop = at[i]
		}
		im.result("slice", im.in, graph.Dims{num(ax)}, graph.Dims{num(start)}, graph.Dims{num(stop)})
		start = stop
	}
}

// sliced adds slice or slice_update with the primitive's positions, which are
// counted and cut as in Python. part is the shape of the slice: MLX forgets the stride
// of an axis of which one element is taken, and leaves the end where it was.
func (im *importer) sliced(op string, in []graph.ValueID, part []int) {
	starts, ends, strides := im.ints("start"), im.ints("end"), im.ints("strides")
	a := im.shape(0)
	if len(starts) != len(a) || len(ends) != len(a) || len(strides) != len(a) || len(part) != len(a) {
		im.refuse("with %d positions for %d dimensions", len(starts), len(a))
		return
	}
	axes, from, to := make(graph.Dims, len(a)), make(graph.Dims, len(a)), make(graph.Dims, len(a))
	for i, n := range a {
		if strides[i] <= 0 {
			im.refuse("with stride %d", strides[i])
			return
		}
		at := func(k int) int {
			if k < 0 {
				k += n
			}
			return min(max(k, 0), n)
		}
		start, end := at(starts[i]), at(ends[i])
		count := (max(end-start, 0) + strides[i] - 1) / strides[i]
		if count != part[i] && (part[i] != 1 || strides[i] != 1 || count == 0) {
			im.refuse("takes %d of axis %d, but the file says %d", count, i, part[i])
			return
		}
		stop := start
		if part[i] > 0 {
			stop += (part[i]-1)*strides[i] + 1
		}
		axes[i], from[i], to[i] = num(i), num(start), num(stop)
	}
	im.result(op, in, axes, from, to, nums(strides))
}

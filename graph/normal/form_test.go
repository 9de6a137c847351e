package normal

import (
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
)

// build makes a graph of "x float32[2, n]; y ..." and one expression over them.
func build(t testing.TB, inputs, expr string) *graph.Graph {
	t.Helper()
	g := graph.New()
	b := &graph.Bindings{Values: map[string]graph.ValueID{}}
	for _, in := range strings.Split(inputs, ";") {
		name, rest, _ := strings.Cut(strings.TrimSpace(in), " ")
		dtype, dims, _ := strings.Cut(strings.TrimSuffix(rest, "]"), "[")
		typ, ok := graph.ParseDType(dtype)
		if !ok {
			t.Fatalf("no element type %q", dtype)
		}
		var shape []graph.Dim
		for _, d := range strings.Split(dims, ",") {
			d = strings.TrimSpace(d)
			if n, err := strconv.Atoi(d); err == nil {
				shape = append(shape, graph.N(int64(n)))
			} else if d != "" {
				shape = append(shape, graph.Sym(d))
			}
		}
		b.Values[name] = g.Input(name, graph.T(typ, shape...))
	}
	// "a = ...; b = ...; result"
	lines := strings.Split(expr, ";")
	for i, line := range lines {
		name := "out"
		if before, after, ok := strings.Cut(line, " = "); ok && i < len(lines)-1 {
			name, line = strings.TrimSpace(before), after
		}
		e, err := syntax.Parse(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		v, err := g.Build(e, b)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		b.Values[name] = v[0]
		if i == len(lines)-1 || strings.HasPrefix(name, "also") {
			g.Output(name, v[0])
		}
	}
	if err := g.Compact(); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	return g
}

// formTests show what each pass does, and right beside it what it must leave alone:
// those have no after.
var formTests = []struct{ pass, inputs, before, after string }{
	{"constants", "x float16[3]", "add(x, astype(2.5, float16))", "add(x, 2.5)"},
	{"constants", "x int32[3]", "add(x, astype(2.5, int32))", ""}, // how MLX rounds it is C's affair
	{"constants", "x int32[3]", "add(x, arange(0, 3))", ""},

	{"identity", "x float32[2, n]", "reshape(x, [2, n])", "x"},
	{"identity", "x float32[2, n]", "astype(x, float32)", "x"},
	{"identity", "x float32[2, 2]", "transpose(x, [0, 1])", "x"},
	{"identity", "x float32[2, 2]", "transpose(x, [1, 0])", ""},
	{"identity", "x float32[2, n]", "slice(x, axis=-1, start=0, stop=n)", "x"},
	{"identity", "x float32[1, 4]", "slice(x, axis=-2, start=0, stop=1)", "x"},
	{"identity", "x float32[2, n]", "broadcast_to(x, [2, n])", "x"},
	{"identity", "x float32[2, n]", "concatenate(x, axis=0)", "x"},
	{"identity", "x float32[2, n]", "contiguous(x)", ""}, // its layout is the point
	{"identity", "x int32[4]", "astype(view(x, int32), int32)", "x"},

	{"positions", "x float32[7, n]", "slice(x, axis=0, start=1, stop=6, strides=[2])", "slice(x, axis=0, start=1, strides=[2])"},
	{"positions", "x float32[9, n]", "slice(x, axis=0, start=1, stop=6, strides=[2])", "slice(x, axis=0, start=1, stop=7, strides=[2])"},
	{"positions", "x float32[9, n]", "slice(x, axis=0, start=1, stop=3, strides=[2])", "slice(x, axis=0, start=1, stop=2)"},
	{"positions", "x float32[9, n]", "slice(x, axis=0, start=1, stop=5, strides=[2])", ""},
	{"positions", "x float32[9, 4]; y float32[3, 4]", "slice_update(x, y, axis=0, start=1, stop=6, strides=[2])", "slice_update(x, y, axis=0, start=1, stop=7, strides=[2])"},

	{"views", "x float32[2, 3, n]", "transpose(transpose(x, [2, 0, 1]), [2, 0, 1])", "transpose(x, [1, 2, 0])"},
	{"views", "x float32[2, 3, n]", "transpose(transpose(x, [0, 2, 1]), [0, 2, 1])", "x"},
	{"views", "x float32[6, n]", "reshape(reshape(x, [n, 6]), [3, 2 * n])", "reshape(x, [3, 2 * n])"},
	{"views", "x float32[6, n]", "reshape(transpose(x, [1, 0]), [6, n])", ""},
	{"views", "x float32[6, n]", "reshape(flatten(x, 0, 1), [3, 2 * n])", "reshape(x, [3, 2 * n])"},
	{"views", "x float32[6, n]", "flatten(unflatten(x, 0, [2, 3]), 0, 1)", "x"},
	{"views", "x float32[6, n]", "squeeze(expand_dims(x, 0), 0)", "x"},
	{"views", "x float32[6, n]", "squeeze(expand_dims(x, [0, 2]), 0)", "expand_dims(x, 1)"},
	{"views", "x float32[6, 1, n]", "squeeze(expand_dims(x, 0), [0, 2])", "squeeze(x, 1)"},
	{"views", "x float32[6, 1, n]", "expand_dims(squeeze(x, 1), 0)", ""},
	{"views", "x float32[1, 6, 1]", "squeeze(squeeze(x, 0), 1)", "squeeze(x, [0, 2])"},
	{"views", "x float32[6]", "expand_dims(expand_dims(x, 0), 2)", "expand_dims(x, [0, 2])"},
	{"views", "x int32[]", "reshape(x, [1])", "expand_dims(x, 0)"},
	{"views", "x float32[8, n]", "slice(slice(x, axis=0, start=2, stop=7), axis=0, start=1, stop=3)", "slice(x, axis=0, start=3, stop=5)"},
	{"views", "x float32[16]", "slice(slice(x, axis=0, start=1, strides=[2]), axis=0, start=1, stop=8, strides=[3])", "slice(x, axis=0, start=3, strides=[6])"},
	{"views", "x float32[8, n]", "slice(slice(x, axis=0, start=2), axis=1, stop=3)", ""}, // one axis each, as rules write them
	{"views", "x float32[1, n]", "softmax(broadcast_to(broadcast_to(x, [4, n]), [2, 4, n]))", "softmax(broadcast_to(x, [2, 4, n]))"},

	{"matmul", "x float32[2, 3, 4]; w float32[4, 5]", "unflatten(matmul(flatten(x, 0, 1), w), 0, [2, 3])", "matmul(x, w)"},
	{"matmul", "x float32[b, l, 4]; w float32[4, 5]", "reshape(matmul(reshape(x, [b * l, 4]), w), [b, l, 5])", "matmul(x, w)"},
	{"matmul", "x float32[2, 3, 4]; w float32[4, 5]; c float32[5]", "unflatten(addmm(c, flatten(x, 0, 1), w), 0, [2, 3])", "addmm(c, x, w)"},
	{"matmul", "x float32[2, 3, 4]; w float32[4, 5]; c float32[6, 5]", "unflatten(addmm(c, flatten(x, 0, 1), w), 0, [2, 3])", ""},
	{"matmul", "x float32[2, 3, 4]; w float32[4, 5]", "unflatten(matmul(flatten(x, 0, 1), w), 0, [3, 2])", ""},              // other rows together
	{"matmul", "x float32[2, 3, 4]; w float32[4, 5]", "also = matmul(flatten(x, 0, 1), w); unflatten(also, 0, [2, 3])", ""}, // read elsewhere, too
	{"matmul", "x float32[2, 3, 4]; w float32[12, 5]", "reshape(matmul(reshape(x, [2, 12]), w), [2, 1, 5])", ""},            // flattens columns
	{"keepdims", "x float32[2, n]", "squeeze(sum(x, -1, keepdims=true), -1)", "sum(x, -1)"},
	{"keepdims", "x float32[2, n]", "squeeze(argmax(x, -1, keepdims=true), -1)", "argmax(x, -1)"},
	{"keepdims", "x float32[2, n]", "expand_dims(max(x, -1), -1)", "max(x, -1, keepdims=true)"},
	{"keepdims", "x float32[2, n]", "expand_dims(max(x, -1), 0)", ""},
	{"keepdims", "x float32[1, 2, n]", "squeeze(sum(x, -1, keepdims=true), 0)", ""},
	{"keepdims", "x float32[2, n]", "also = sum(x, -1, keepdims=true); squeeze(also, -1)", ""},
	{"keepdims", "x float32[2, 6, n]", "reshape(sum(x, -1, keepdims=true), [3, 4])", "reshape(sum(x, -1), [3, 4])"},

	{"reduce-one", "x float32[2, 1, n]", "sum(x, 1)", "squeeze(x, 1)"},
	{"reduce-one", "x bool[2, 1]", "sum(x, 1, keepdims=true)", "astype(x, int32)"},
	{"reduce-one", "x float32[2, n]", "sum(x, 1)", ""},

	{"promote", "x float16[2]; y bfloat16[2]", "add(astype(x, float32), astype(y, float32))", "add(x, y)"},
	{"promote", "x float16[2]; y float16[2]", "add(astype(x, float32), astype(y, float32))", "add(astype(x, float32), y)"},
	{"promote", "x float16[2]; y float32[2]", "multiply(astype(x, float32), y)", "multiply(x, y)"},
	{"promote", "x float16[2]; y float16[2]", "multiply(astype(x, float32), y)", ""},
	{"promote", "x float16[2]; y float16[2]", "subtract(x, astype(y, float32))", "subtract(astype(x, float32), y)"},
	{"promote", "x int32[2]; y int64[2]", "less(astype(x, int64), y)", "less(x, y)"},
	{"promote", "x int32[2]; y int64[2]", "less(astype(x, float32), y)", ""},
	{"promote", "x int32[2]", "exp(astype(x, float32))", "exp(x)"},
	{"promote", "x float16[2]", "exp(astype(x, float32))", ""},
	{"promote", "x int32[2]; y float32[2]", "where(astype(x, bool), y, y)", "where(x, y, y)"},
	{"promote", "x float16[2]; y bool[2]", "where(y, x, x)", ""},

	{"broadcast", "x float32[2, n]; y float32[n]", "add(x, broadcast_to(y, [2, n]))", "add(x, y)"},
	{"broadcast", "x float32[2, 1]; y float32[n]", "add(broadcast_to(x, [2, n]), broadcast_to(y, [2, n]))", "add(x, y)"},
	{"broadcast", "x float32[2, n]", "add(x, broadcast_to(exp(sum(x, [0, 1])), [2, n]))", "add(x, exp(sum(x, [0, 1])))"},
	{"broadcast", "x float32[1, n]; y float32[n]", "add(broadcast_to(x, [2, n]), y)", ""}, // it says the shape
	{"broadcast", "x float32[1, n]; y float32[n]", "add(broadcast_to(x, [2, n]), broadcast_to(y, [2, n]))", "add(x, broadcast_to(y, [2, n]))"},
	{"broadcast", "x float32[1, n]", "softmax(broadcast_to(x, [2, n]))", ""},
	{"broadcast", "c bool[n]; x float32[2, n]; y float32[1]", "where(broadcast_to(c, [2, n]), x, broadcast_to(y, [2, n]))", "where(c, x, y)"},
	{"broadcast", "q float32[1, 2, 3, 4, 8]; k float32[1, 2, 1, 8, 6]", "matmul(q, broadcast_to(k, [1, 2, 3, 8, 6]))", "matmul(q, k)"},
	{"broadcast", "x float32[2, 3, 4]; w float32[4, 5]", "matmul(x, broadcast_to(w, [2, 4, 5]))", ""}, // one matrix is another product
	{"broadcast", "x float32[3, 4]; w float32[2, 4, 5]", "matmul(broadcast_to(x, [2, 3, 4]), w)", "matmul(x, w)"},
	{"broadcast", "a float32[2, 8]; i int32[1, 3]", "take_along_axis(a, broadcast_to(i, [2, 3]), -1)", "take_along_axis(a, i, -1)"},
	{"broadcast", "a float32[2, 8]; i int32[2, 1]", "take_along_axis(a, broadcast_to(i, [2, 3]), -1)", ""},

	{"indices", "x float32[b, l, 1, 1, 32]; w uint32[8, 4, 4]; s float32[8, 4, 1]; i uint32[b, l, 2]",
		"gather_qmm(x, w, s, s, broadcast_to(reshape(arange(0, b * l, 1, uint32), [b, l, 1]), [b, l, 2]), i, group_size=32)",
		"gather_qmm(x, w, s, s, none, i, group_size=32)"},
	{"indices", "x float32[6, 1, 32]; w uint32[8, 4, 4]; s float32[8, 4, 1]; i uint32[6]",
		"gather_qmm(x, w, s, s, arange(0, 6, 1, uint32), i, group_size=32, sorted_indices=true)",
		"gather_qmm(x, w, s, s, none, i, group_size=32)"},
	{"indices", "x float32[6, 1, 4]; w float32[8, 4, 5]; i uint32[8]", "gather_mm(x, w, i, arange(0, 8, 1, uint32))", "gather_mm(x, w, i, none)"},
	{"indices", "x float32[8, 1, 4]; w float32[8, 4, 5]; i uint32[6]", "gather_mm(x, w, arange(0, 6, 1, uint32), i)", ""}, // the first 6 of 8
	{"indices", "x float32[6, 1, 4]; w float32[8, 4, 5]; i uint32[6]", "gather_mm(x, w, arange(1, 7, 1, uint32), i)", ""},
	{"indices", "x float32[2, 3, 1, 4]; w float32[8, 4, 5]; i uint32[3, 2]", "gather_mm(x, w, reshape(arange(0, 6, 1, uint32), [3, 2]), i)", ""}, // another order

	{"units", "x float16[2, n]", "multiply(x, 1.0)", "x"},
	{"units", "x float16[2, n]", "multiply(1.0, x)", "x"},
	{"units", "x float16[2, n]", "divide(x, 1.0)", "x"},
	{"units", "x float16[2, n]", "divide(1.0, x)", ""},
	{"units", "x float16[2, n]", "subtract(x, 0.0)", "x"},
	{"units", "x float16[2, n]", "subtract(0.0, x)", ""},
	{"units", "x float16[2, n]", "add(x, 0.0)", ""}, // -0.0 + 0.0 is 0.0
	{"units", "x float16[2, n]", "add(x, -0.0)", "x"},
	{"units", "x float16[2, n]", "subtract(x, -0.0)", ""},
	{"units", "x int32[2, n]", "add(x, 0)", "x"},
	{"units", "x int32[2, n]", "multiply(x, 1.0)", "astype(x, float32)"},
	{"units", "x float16[2, n]", "multiply(x, astype(1.0, float32))", "astype(x, float32)"},
	{"units", "x float16[2, n]", "multiply(x, 1.001)", ""},

	{"sdpa-mask", "q float16[1, 2, 1, 8]; k float16[1, 2, 9, 8]", `sdpa(q, k, k, scale=0.5, mask="causal")`, `sdpa(q, k, k, scale=0.5)`},
	{"sdpa-mask", "q float16[1, 2, 2, 8]; k float16[1, 2, 9, 8]", `sdpa(q, k, k, scale=0.5, mask="causal")`, ""},

	{passShare, "x float16[2, n]", "add(exp(x), exp(x))", "e = exp(x); add(e, e)"},
	{passShare, "x float16[2, n]", "add(multiply(x, 2.0), multiply(x, 3.0))", ""},
}

func TestPasses(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range formTests {
		g := build(t, c.inputs, c.before)
		counts, err := Form(g)
		if err != nil {
			t.Errorf("%s: %v", c.before, err)
			continue
		}
		if err := g.Verify(); err != nil {
			t.Errorf("%s: %v", c.before, err)
		}
		want := build(t, c.inputs, c.before)
		if c.after != "" {
			want = build(t, c.inputs, c.after)
			tested[c.pass] = true
			if counts[c.pass] == 0 {
				t.Errorf("%s: changed by %v, not by %s", c.before, counts, c.pass)
			}
		} else if counts[c.pass] != 0 {
			t.Errorf("%s: %s fired", c.before, c.pass)
		}
		if g.Hash() != want.Hash() {
			t.Errorf("%s: in normal form\n%s\nwant\n%s", c.before, g, want)
		}
		if again, err := Form(g); err != nil || again.Total() != 0 {
			t.Errorf("%s: a second time changes %v, %v", c.before, again, err)
		}
	}
	for _, p := range Passes() {
		if !tested[p.Name] {
			t.Errorf("pass %s has no test", p.Name)
		}
	}
}

// Sharing a node that two ways of writing made does not depend on which is met first.
func TestFormDoesNotDependOnOrder(t *testing.T) {
	a := build(t, "x float16[2, 4]", "add(exp(squeeze(expand_dims(x, 0), 0)), sum(x, -1, keepdims=true))")
	b := build(t, "x float16[2, 4]", "s = expand_dims(sum(reshape(x, [2, 4]), -1), -1); e = exp(x); add(e, broadcast_to(s, [2, 4]))")
	for _, g := range []*graph.Graph{a, b} {
		if _, err := Form(g); err != nil {
			t.Fatal(err)
		}
	}
	if a.Hash() != b.Hash() {
		t.Errorf("%s\n%s", a, b)
	}
}

// Views of constants, element by element.
func TestConstants(t *testing.T) {
	g := graph.New()
	iota := func(shape ...int) graph.ValueID {
		l := &graph.Literal{DType: graph.Int16, Shape: shape}
		n := 1
		for _, d := range shape {
			n *= d
		}
		for i := range n {
			l.Data = graph.AppendElem(l.Data, l.DType, float64(i))
		}
		return g.Constant(l)
	}
	nums := func(list ...int64) graph.Dims {
		var d graph.Dims
		for _, n := range list {
			d = append(d, graph.N(n))
		}
		return d
	}
	tests := []struct {
		op    string
		attrs []graph.Attr
		want  []float64
	}{
		{"transpose", []graph.Attr{nums(1, 0)}, []float64{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}},
		{"slice", []graph.Attr{nums(-2, -1), nums(1, 1), nums(3, 4), nums(1, 2)}, []float64{5, 7, 9, 11}},
		{"reshape", []graph.Attr{nums(12)}, []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"astype", []graph.Attr{graph.BFloat16}, []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
	}
	for _, c := range tests {
		out, err := g.Add(graph.LookupOp(c.op), "", []graph.ValueID{iota(3, 4)}, c.attrs...)
		if err != nil {
			t.Fatal(err)
		}
		g.Output(c.op, out[0])
	}
	if _, err := Form(g); err != nil {
		t.Fatal(err)
	}
	for k, o := range g.Outputs() {
		l := g.Literal(o.Value)
		if l == nil {
			t.Errorf("%s is not folded", o.Name)
			continue
		}
		for i, want := range tests[k].want {
			if got := graph.DecodeElem(l.DType, l.Data[i*l.DType.Size():]); got != want {
				t.Errorf("%s: element %d is %g, not %g", o.Name, i, got, want)
			}
		}
	}
}

// A chain of n operations takes time linear in n.
func BenchmarkForm(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			g := graph.New()
			v := g.Input("x", graph.T(graph.Float32, graph.N(2), graph.N(3)))
			add := func(op string, attrs ...graph.Attr) {
				out, err := g.Add(graph.LookupOp(op), "", []graph.ValueID{v}, attrs...)
				if err != nil {
					b.Fatal(err)
				}
				v = out[0]
			}
			for range n / 4 {
				add("expand_dims", graph.Dims{graph.N(0)})
				add("transpose", graph.Dims{graph.N(0), graph.N(2), graph.N(1)})
				add("transpose", graph.Dims{graph.N(0), graph.N(2), graph.N(1)})
				add("squeeze", graph.Dims{graph.N(0)})
				add("exp")
			}
			g.Output("out", v)
			for b.Loop() {
				if _, err := Form(g.Clone()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package rewrite

import (
	"fmt"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// Parameters that are made in two ways have two names.
func TestDerivedNames(t *testing.T) {
	concat := func(args ...string) string { return derivedName(&graph.Derived{Op: "concat", Args: args, Axis: -2}) }
	a, b, c := "m.a.weight", "m.b.weight", "m.c.weight"
	names := []string{concat(a, b, c), concat(concat(a, b), c), concat(a, concat(b, c)), concat(c, b, a)}
	for i, x := range names {
		for _, y := range names[:i] {
			if x == y {
				t.Errorf("%s has two meanings", x)
			}
		}
	}
}

// TestWeights gives lines of weights whose options are counted from either end, or out of
// range. What is made is what Verify says, under one name however it is written; what
// cannot be made refuses the site, and the rest goes on.
func TestWeights(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"concat(u, v, axis=0)", "w : m.a+b float32[4, 3] concat axis=-2 0:0 []"},
		{"concat(u, v)", "w : m.a+b float32[4, 3] concat axis=-2 0:0 []"},
		{"concat(u, v, axis=-1)", "w : m.a+b:axis-1 float32[2, 6] concat axis=-1 0:0 []"},
		{"concat(u, v, axis=2)", "concat: axis 0 is not one of -2 to -1"},
		{"stack(u, v, axis=0)", "w : m.a+b:stack:axis-3 float32[2, 2, 3] stack axis=-3 0:0 []"},
		{"stack(u, v, axis=2)", "w : m.a+b:stack:axis-1 float32[2, 3, 2] stack axis=-1 0:0 []"},
		{"split(u, axis=1, start=-2)", "w : m.a[1:3]:axis-1 float32[2, 2] split axis=-1 1:3 []"},
		{"split(u, axis=-1, stop=-1)", "w : m.a[0:2]:axis-1 float32[2, 2] split axis=-1 0:2 []"},
		{"split(u, axis=-1, start=-4)", "split: rows -1 to 3 of 3"},
		{"split(u, axis=-1, stop=4)", "split: rows 0 to 4 of 3"},
		{"split(u, axis=-1, start=2, stop=2)", "split: rows 2 to 2 of 3"},
		{"split(u)", "w : m.a[0:2] float32[2, 3] split axis=-2 0:2 []"},
		{"split(u, start=1)", "w : m.a[1:2] float32[1, 3] split axis=-2 1:2 []"},
		{"split(u, stop=0)", "split: rows 0 to 0 of 2"},
		{"split(u, axis=dim(v, 0)-2)", "w : m.a[0:2] float32[2, 3] split axis=-2 0:2 []"},
		{"split(u, stop=dim(v, 2))", "v has no dimension 2"},
		{"split(u, axis=5)", "split: axis 3 is not one of -2 to -1"},
		{"transpose(u, axes=[-1, -2])", "w : m.a:transpose[1,0] float32[3, 2] transpose axis=0 0:0 [1 0]"},
		{"transpose(u, axes=[2, 0, 1])", "transpose: perm is not a permutation of 2 axes"},
		{"permute(u, axis=-2, rows=[-1, 0])", "w : m.a:permute-0301012d0ce37e5c float32[2, 3] permute axis=-2 0:0 [1 0]"},
		{"permute(u, axis=-1, rows=[-1, 0])", "permute: perm is not a permutation of 3 rows"},
		{"permute(u, axis=-2, rows=[dim(u, -2)-1, 1])", "permute: perm is not a permutation of 2 rows"},
		{"increment(u)", "w : m.a:increment float32[2, 3] increment axis=0 0:0 []"},
		{"split(u, axis=-2, stop=dim(u, -2)-1)", "w : m.a[0:1] float32[1, 3] split axis=-2 0:1 []"},
		{"split(v, axis=-2, stop=1)", "the name of what it makes, m.b[0:1], is taken"},
		{"split(v, axis=-2, start=1)", "the name of what it makes, m.b[1:2], is taken"},
	} {
		t.Run(c.line, func(t *testing.T) {
			set, err := setOf(t, `
zmlx: 1
family: test
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact
    match: {a: "multiply(x, u)", b: "multiply(a, v)", y: negative(b)}
    weights: {w: '`+c.line+`'}
    replace: {y: "kernel.made(x, w)"}
  - name: other
    doc: A rule that goes on.
    numerics: exact
    match: {n: negative(x), e: exp(n)}
    replace: {e: exp(x)}
`, map[string]string{"made": `
zmlx: 1
kernel: made
doc: Of this test.
inputs: {x: "float32[a, b]", w: "float32[..., n]"}
reference: {y: "exp(x)"}
results: [y]
numerics: exact
`})
			if err != nil {
				t.Fatal(err)
			}
			p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\nparam m.a : float32[2, 3]\nparam m.b : float32[2, 3]\nparam `m.b[0:1]` : float32[2]"+`
case all
  input x : float32[2, 3]
`+"  input `m.b[1:2]` : float32[2]"+`
  a = multiply(x, m.a) : float32[2, 3]
  b = multiply(a, m.b) : float32[2, 3]
  y = negative(b) : float32[2, 3]
  n = negative(y) : float32[2, 3]
  e = exp(n) : float32[2, 3]
  output e = e
`), set.Kernels.Op)
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			res, err := Run(p, &Config{Set: set, Rules: set.Rules()})
			if err != nil {
				t.Fatal(err)
			}
			if err := res.Program.Verify(); err != nil {
				t.Fatal(err)
			}
			got := "nothing"
			for _, s := range res.Cases[0].Sites {
				for _, q := range s.Params {
					got = fmt.Sprintf("w : %s %s %s axis=%d %d:%d %v", q.Name, q.Type, q.From.Op, q.From.Axis, q.From.Start, q.From.Stop, q.From.Perm)
				}
			}
			for _, r := range allRefusals(&res.Cases[0]) {
				if _, why := r.Detail(); r.Code == CodeWeights {
					got = strings.TrimPrefix(why, "w: ")
				}
			}
			if got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			if last := res.Cases[0].Sites; last[len(last)-1].Rule.Short() != "other" {
				t.Error("the other rule did not apply")
			}
		})
	}
}

// TestWeightNumbers: an option is a number at each site, or the site is refused.
func TestWeightNumbers(t *testing.T) {
	spec := kernelSpec("with", "", "y: 'exp(x)'")
	spec["with"] = strings.Replace(spec["with"], "{x: 'float32[n]'}", "{x: 'float32[r, n]', w: 'float32[..., m]'}", 1)
	for _, c := range []struct{ line, want string }{
		{"split(u, stop=dim(x, 1)-1)", "m.a[0:2]"},
		{"split(u, stop=dim(x, 0))", "batch is not a number"},
		{"split(u, stop=dim(x, 2))", "x has no dimension 2"},
		{"transpose(u, axes=[dim(x, 1)-2, 0])", "m.a:transpose[1,0]"},
		{"transpose(u, axes=[0, dim(x, 0)])", "batch is not a number"},
	} {
		cfg := configOf(t, rule("r", `
    match: {a: "matmul(x, u)", y: negative(a)}
    weights: {w: "`+c.line+`"}
    replace: {y: "kernel.with(x, w)"}`), spec)
		k := &rewritten(t, cfg, programOf(t, cfg, `
param m.a : float32[3, 3]
case all
  input x : float32[batch, 3]
  a = matmul(x, m.a) : float32[batch, 3]
  y = negative(a) : float32[batch, 3]
  output y = y
`)).Cases[0]
		got := ""
		for _, s := range k.Sites {
			got += s.Params[0].Name
		}
		for _, f := range k.Whole(cfg.Rules[0]) {
			_, found := f.Detail()
			got += strings.TrimPrefix(found, "w: ")
		}
		equal(t, c.line, got, c.want)
	}
}

// TestRowsOfExperts: without an axis, rows are meant: of matrices of experts, those of each.
func TestRowsOfExperts(t *testing.T) {
	spec := kernelSpec("with", "", "y: 'exp(x)'")
	spec["with"] = strings.Replace(spec["with"], "{x: 'float32[n]'}", "{x: 'float32[e, r, n]', w: 'float32[..., m]'}", 1)
	for line, want := range map[string]string{
		"split(u, stop=1)": "m.a[0:1] float32[2, 1, 3]",
		"concat(u, u)":     "m.a+a float32[2, 6, 3]",
		"stack(u, u)":      "m.a+a:stack float32[2, 3, 2, 3]",
	} {
		cfg := configOf(t, rule("r", `
    match: {a: "matmul(x, u)", y: negative(a)}
    weights: {w: "`+line+`"}
    replace: {y: "kernel.with(x, w)"}`), spec)
		k := &rewritten(t, cfg, programOf(t, cfg, `
param m.a : float32[2, 3, 3]
case all
  input x : float32[2, 1, 3]
  a = matmul(x, m.a) : float32[2, 1, 3]
  y = negative(a) : float32[2, 1, 3]
  output y = y
`)).Cases[0]
		if len(k.Sites) != 1 {
			t.Fatalf("%s: refused %q", line, refused(t, k, "r"))
		}
		q := k.Sites[0].Params[0]
		equal(t, line, q.Name+" "+q.Type.String(), want)
	}
}

// TestNames: what is made is called after what it is made of, with what their names share
// written once, and after all that tells it from others.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		d    graph.Derived
		want string
	}{
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.0.gate.weight", "m.0.up.weight"}}, "m.0.gate+up.weight"},
		{graph.Derived{Op: "concat", Axis: -1, Args: []string{"m.0.gate.weight", "m.0.up.weight"}}, "m.0.gate+up.weight:axis-1"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.gate_proj.weight", "m.up_proj.weight"}}, "m.gate_proj+up_proj.weight"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.0.q.w.s", "m.0.k.w.s", "m.0.v.w.s"}}, "m.0.q+k+v.w.s"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.0.a", "m.1.a"}}, "m.0+1.a"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.x.ab", "m.y.ac"}}, "m.x.ab+y.ac"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.10.a", "m.1.a"}}, "m.10+1.a"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.1.a", "m.10.a"}}, "m.1+10.a"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"a", "b"}}, "a+b"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"wa", "wb"}}, "wa+wb"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"aw", "bw"}}, "aw+bw"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"a.w", "b.w"}}, "a+b.w"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.a", "m.a.b"}}, "m.a+a.b"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.a", "n.x.a"}}, "m+n.x.a"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.a.b", "m.b"}}, "m.a.b+b"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.a", "m.a"}}, "m.a+a"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.a"}}, "m.a"},
		{graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.a+b.w", "m.c.w"}}, "m.(a+b)+c.w"},
		{graph.Derived{Op: "stack", Axis: -3, Args: []string{"m.a.w", "m.b.w"}}, "m.a+b.w:stack:axis-3"},
		{graph.Derived{Op: "stack", Axis: -2, Args: []string{"m.a.w", "m.b.w"}}, "m.a+b.w:stack"},
		{graph.Derived{Op: "split", Axis: -2, Start: 1, Stop: 3, Args: []string{"m.a.w"}}, "m.a.w[1:3]"},
		{graph.Derived{Op: "split", Axis: -1, Start: 1, Stop: 3, Args: []string{"m.a.w"}}, "m.a.w[1:3]:axis-1"},
		{graph.Derived{Op: "transpose", Perm: []int{2, 0, 1}, Args: []string{"m.a.w"}}, "m.a.w:transpose[2,0,1]"},
		{graph.Derived{Op: "permute", Axis: -2, Perm: []int{1, 0}, Args: []string{"m.a.w"}}, "m.a.w:permute-0301012d0ce37e5c"},
		{graph.Derived{Op: "permute", Axis: -1, Perm: []int{1, 0}, Args: []string{"m.a.w"}}, "m.a.w:permute-0301012d0ce37e5c:axis-1"},
		{graph.Derived{Op: "increment", Args: []string{"m.a.w"}}, "m.a.w:increment"},
	} {
		equal(t, fmt.Sprint(c.d.Op, c.d.Args), derivedName(&c.d), c.want)
	}
}

// TestNormalOptions: axes are counted from the end; positions, rows and the axes of a
// transposition from the start.
func TestNormalOptions(t *testing.T) {
	for _, c := range []struct {
		d     graph.Derived
		toEnd bool
		want  string
	}{ // of float32[5, 3, 7]
		{graph.Derived{Op: "concat", Axis: 0}, true, "concat -3 0:0 []"},
		{graph.Derived{Op: "concat", Axis: 2}, true, "concat -1 0:0 []"},
		{graph.Derived{Op: "concat", Axis: -2}, true, "concat -2 0:0 []"},
		{graph.Derived{Op: "concat", Axis: 3}, true, "concat 0 0:0 []"},
		{graph.Derived{Op: "stack", Axis: 0}, true, "stack -4 0:0 []"},
		{graph.Derived{Op: "stack", Axis: 3}, true, "stack -1 0:0 []"},
		{graph.Derived{Op: "split", Axis: 0, Start: -2}, true, "split -3 3:5 []"},
		{graph.Derived{Op: "split", Axis: -1, Start: 2}, true, "split -1 2:7 []"},
		{graph.Derived{Op: "split", Axis: -2, Stop: -1}, false, "split -2 0:2 []"},
		{graph.Derived{Op: "split", Axis: -2, Stop: 2}, false, "split -2 0:2 []"},
		{graph.Derived{Op: "split", Axis: -2, Stop: 0}, false, "split -2 0:0 []"},
		{graph.Derived{Op: "transpose", Perm: []int{-1, 0, 1}}, true, "transpose 0 0:0 [2 0 1]"},
		{graph.Derived{Op: "permute", Axis: 1, Perm: []int{-1, -3, 1}}, true, "permute -2 0:0 [2 0 1]"},
		{graph.Derived{Op: "permute", Axis: 0, Perm: []int{-1, 0, 1, 2, 3}}, true, "permute -3 0:0 [4 0 1 2 3]"},
		{graph.Derived{Op: "increment"}, true, "increment 0 0:0 []"},
	} {
		was := fmt.Sprint(c.d)
		normalOptions(&c.d, graph.T(graph.Float32, graph.N(5), graph.N(3), graph.N(7)), c.toEnd)
		equal(t, was, fmt.Sprintf("%s %d %d:%d %v", c.d.Op, c.d.Axis, c.d.Start, c.d.Stop, c.d.Perm), c.want)
	}
}

// TestWholeTriplets: a quantized matrix is rearranged as a whole: its weight, its scales and,
// if it has them, its biases, all in the same way.
func TestWholeTriplets(t *testing.T) {
	var table []*graph.Param
	for _, module := range []string{"m.u", "m.v", "bare.u", "bare.v"} {
		q := &graph.Quant{Module: module, Mode: "affine", Bits: 4, GroupSize: 32}
		for _, part := range []string{"biases", "scales", "weight"} {
			if module[0] == 'm' || part != "biases" {
				table = append(table, &graph.Param{Name: module + "." + part, Type: graph.T(graph.Uint32, graph.N(4), graph.N(2)), Part: part, Quant: q})
			}
		}
	}
	table = append(table, rows("m.norm"))
	columns, half := graph.Derived{Op: "concat", Axis: -1}, graph.Derived{Op: "split", Axis: -2, Stop: 2}
	type line struct {
		d    graph.Derived
		part string
		of   []string
	}
	both := []string{"m.u", "m.v"}
	w, s, b := line{concat, "weight", both}, line{concat, "scales", both}, line{concat, "biases", both}
	bare := []string{"bare.u", "bare.v"}
	for _, c := range []struct {
		name  string
		lines []line
		want  string
	}{
		{"nothing", nil, ""},
		{"all three", []line{w, s, b}, ""},
		{"in another order", []line{b, w, s}, ""},
		{"two, of matrices without biases", []line{{concat, "weight", bare}, {concat, "scales", bare}}, ""},
		{"one, of matrices without biases", []line{{concat, "weight", bare}}, "bare.u+v.weight is rearranged without its scales"},
		{"rows of all three", []line{{half, "weight", both[:1]}, {half, "scales", both[:1]}, {half, "biases", both[:1]}}, ""},
		{"without biases", []line{w, s}, "m.u+v.weight is rearranged without its biases"},
		{"without scales", []line{w, b}, "m.u+v.weight is rearranged without its scales"},
		{"without the weight", []line{s, b}, "m.u+v.scales is rearranged without its weight"},
		{"with the biases in another order", []line{w, s, {concat, "biases", []string{"m.v", "m.u"}}}, "m.u+v.weight is rearranged in another way than its biases, m.v+u.biases"},
		{"with the scales along another axis", []line{w, {columns, "scales", both}, b}, "m.u+v.weight is rearranged in another way than its scales, m.u+v.scales:axis-1"},
		{"with the scales in another way", []line{w, {stack, "scales", both}, b}, "m.u+v.weight is rearranged in another way than its scales, m.u+v.scales:stack"},
		{"with the scales of one matrix only", []line{w, {half, "scales", both[:1]}, b}, "m.u+v.weight is rearranged in another way than its scales, m.u.scales[0:2]"},
		{"all three along another axis", []line{{columns, "weight", both}, {columns, "scales", both}, {columns, "biases", both}}, ""},
		{"what is not quantized", []line{w, s, b, {graph.Derived{Op: "increment"}, "norm", []string{"m"}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParams(makerOf(table...))
			made := []*madeParam{nil} // a line whose operands are absent
			for _, l := range c.lines {
				var from []*graph.Param
				for _, module := range l.of {
					from = append(from, p.get(module+"."+l.part))
				}
				q, err := p.maker.param(l.d, from)
				if err != nil {
					t.Fatal(err)
				}
				made = append(made, q)
			}
			got := ""
			if err := wholeTriplets(p, made); err != nil {
				got = err.Error()
			}
			equal(t, "refused", got, c.want)
		})
	}
}

package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// rows is a parameter of 4 rows and 2 columns.
func rows(name string) *graph.Param {
	return &graph.Param{Name: name, Type: graph.T(graph.Float32, graph.N(4), graph.N(2))}
}

// made is a parameter as a rule makes it.
func made(name string, t graph.Type, d graph.Derived, args ...string) *graph.Param {
	d.Args = args
	return &graph.Param{Name: name, Type: t, From: &d}
}

func makerOf(table ...*graph.Param) *maker {
	g := graph.New()
	g.Input("m.a:increment", graph.T(graph.Float32))
	slices.SortFunc(table, func(a, b *graph.Param) int { return strings.Compare(a.Name, b.Name) })
	return &maker{base: &graph.Program{Params: table, Cases: []graph.Case{{Graph: g}}}}
}

var (
	long   = graph.T(graph.Float32, graph.N(8), graph.N(2)) // two of them
	concat = graph.Derived{Op: "concat", Axis: -2}
	stack  = graph.Derived{Op: "stack", Axis: -2}
)

// TestMadeOnce: what is made of the same parameters in the same way is made once; what
// differs in one thing is another parameter, under another name.
func TestMadeOnce(t *testing.T) {
	a, b, c := rows("m.a"), rows("m.b"), rows("m.c")
	m := makerOf(a, b, c)
	all := map[*madeParam]string{}
	names := map[string]bool{}
	for _, way := range []struct {
		d    graph.Derived
		from []*graph.Param
	}{
		{concat, []*graph.Param{a, b}},
		{concat, []*graph.Param{b, a}},
		{concat, []*graph.Param{a, c}},
		{concat, []*graph.Param{a, b, c}},
		{graph.Derived{Op: "concat", Axis: -1}, []*graph.Param{a, b}},
		{stack, []*graph.Param{a, b}},
		{graph.Derived{Op: "stack", Axis: -1}, []*graph.Param{a, b}},
		{graph.Derived{Op: "split", Axis: -2, Stop: 2}, []*graph.Param{a}},
		{graph.Derived{Op: "split", Axis: -2, Stop: 2}, []*graph.Param{b}},
		{graph.Derived{Op: "split", Axis: -2, Stop: 3}, []*graph.Param{a}},
		{graph.Derived{Op: "split", Axis: -2, Start: 1, Stop: 3}, []*graph.Param{a}},
		{graph.Derived{Op: "split", Axis: -1, Start: 1, Stop: 2}, []*graph.Param{a}},
		{graph.Derived{Op: "split", Axis: -2, Start: 1, Stop: 2}, []*graph.Param{a}},
		{graph.Derived{Op: "transpose", Perm: []int{1, 0}}, []*graph.Param{a}},
		{graph.Derived{Op: "transpose", Perm: []int{0, 1}}, []*graph.Param{a}},
		{graph.Derived{Op: "permute", Axis: -2, Perm: []int{1, 0, 2, 3}}, []*graph.Param{a}},
		{graph.Derived{Op: "permute", Axis: -2, Perm: []int{1, 0, 3, 2}}, []*graph.Param{a}},
		{graph.Derived{Op: "permute", Axis: -1, Perm: []int{1, 0}}, []*graph.Param{a}},
		{graph.Derived{Op: "increment"}, []*graph.Param{b}},
	} {
		q, err := m.param(way.d, way.from)
		if err != nil {
			t.Fatal(err)
		}
		if all[q] != "" || names[q.Name] {
			t.Errorf("%+v is %s, as is %s", way, q.Name, all[q])
		}
		all[q], names[q.Name] = fmt.Sprintf("%+v", way), true
		if again, err := m.param(way.d, way.from); err != nil || again != q {
			t.Errorf("%s is made twice: %v, %v", q.Name, again, err)
		}
	}
}

// TestNamesTaken: what a rule makes may be in the program already, made in the same way.
// If its name is that of anything else, the rule does not get it.
func TestNamesTaken(t *testing.T) {
	for _, c := range []struct {
		name  string
		there *graph.Param
		taken bool
	}{
		{"the same", made("m.a+b", long, concat, "m.a", "m.b"), false},
		{"read from a file", &graph.Param{Name: "m.a+b", Type: long}, true},
		{"of another type", made("m.a+b", graph.T(graph.Float16, graph.N(8), graph.N(2)), concat, "m.a", "m.b"), true},
		{"of others", made("m.a+b", long, concat, "m.b", "m.a"), true},
		{"along another axis", made("m.a+b", long, graph.Derived{Op: "concat", Axis: -1}, "m.a", "m.b"), true},
		{"by another op", made("m.a+b", long, stack, "m.a", "m.b"), true},
		{"other rows", made("m.a+b", long, graph.Derived{Op: "concat", Axis: -2, Start: 1}, "m.a", "m.b"), true},
		{"fewer rows", made("m.a+b", long, graph.Derived{Op: "concat", Axis: -2, Stop: 1}, "m.a", "m.b"), true},
		{"in another order", made("m.a+b", long, graph.Derived{Op: "concat", Axis: -2, Perm: []int{1, 0}}, "m.a", "m.b"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := rows("m.a"), rows("m.b")
			m := makerOf(a, c.there, b)
			q, err := m.param(concat, []*graph.Param{a, b})
			if c.taken {
				fails(t, "made", err, "the name of what it makes, m.a+b, is taken")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "in the program as loaded", q.there, c.there)
			table := newParams(m)
			if err := table.add(q); err != nil {
				t.Error(err)
			}
			equal(t, "parameters", len(table.all()), 3)
		})
	}
	a := rows("m.a")
	_, err := makerOf(a).param(graph.Derived{Op: "increment"}, []*graph.Param{a})
	fails(t, "named as an input is", err, "the name of what it makes, m.a:increment, is taken")
}

// TestTable: the table of a rewritten program has what was there and what was made, each
// once, in order.
func TestTable(t *testing.T) {
	a, b := rows("m.a"), rows("m.b")
	m := makerOf(a, b)
	table := newParams(m)
	for _, from := range [][]*graph.Param{{b, a}, {a, b}} {
		q, err := m.param(concat, from)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, q.Name+" before it is added", table.get(q.Name), nil)
		for range 2 {
			if err := table.add(q); err != nil {
				t.Error(err)
			}
		}
		equal(t, q.Name, table.get(q.Name), q.Param)
	}
	equal(t, "one of the program", table.get("m.b"), b)
	equal(t, "none", table.get("m.c"), nil)
	var names []string
	for _, q := range table.all() {
		names = append(names, q.Name)
	}
	equalList(t, "table", names, "m.a", "m.a+b", "m.b", "m.b+a")

	for _, wrong := range []*graph.Param{
		made("m.a+b", long, concat, "m.b", "m.a"),
		made("m.a+b", graph.T(graph.Float16), concat, "m.a", "m.b"),
	} {
		fails(t, "one name for two", table.add(&madeParam{Param: wrong}), "parameter m.a+b is there, made in another way")
	}
	if err := table.add(&madeParam{Param: made("m.a+b", long, concat, "m.a", "m.b")}); err != nil {
		t.Error("the same parameter, made by another rewrite:", err)
	}
}

// TestQuantizedAlike: parts of quantized matrices are put together only if they are the same
// part of matrices that are quantized in the same way. What is made is a part of a matrix
// that is named like it.
func TestQuantizedAlike(t *testing.T) {
	quant := graph.Quant{Mode: "affine", Bits: 4, GroupSize: 32}
	part := func(module, part string, change func(*graph.Quant)) *graph.Param {
		q := quant
		q.Module = module
		if change != nil {
			change(&q)
		}
		return &graph.Param{Name: module + "." + part, Type: graph.T(graph.Uint32, graph.N(4), graph.N(2)), Part: part, Quant: &q}
	}
	a, b := part("m.a", "weight", nil), part("m.b", "weight", nil)
	for _, c := range []struct {
		d    graph.Derived
		from []*graph.Param
		want string
	}{
		{concat, []*graph.Param{a, b}, "m.a+b.weight, weight of m.a+b affine 4 32"},
		{graph.Derived{Op: "concat", Axis: -1}, []*graph.Param{a, b}, "m.a+b.weight:axis-1, weight of m.a+b:axis-1 affine 4 32"},
		{stack, []*graph.Param{a, b}, "m.a+b.weight:stack, weight of m.a+b:stack affine 4 32"},
		{graph.Derived{Op: "split", Axis: -2, Start: 1, Stop: 3}, []*graph.Param{a}, "m.a.weight[1:3], weight of m.a[1:3] affine 4 32"},
		{graph.Derived{Op: "transpose", Perm: []int{1, 0}}, []*graph.Param{a}, "m.a.weight:transpose[1,0], weight of m.a:transpose[1,0] affine 4 32"},
		{concat, []*graph.Param{a, part("m.b", "weight", func(q *graph.Quant) { q.Mode = "mxfp4" })}, "m.a.weight and m.b.weight are not quantized alike"},
		{concat, []*graph.Param{a, part("m.b", "weight", func(q *graph.Quant) { q.Bits = 8 })}, "m.a.weight and m.b.weight are not quantized alike"},
		{concat, []*graph.Param{a, part("m.b", "weight", func(q *graph.Quant) { q.GroupSize = 64 })}, "m.a.weight and m.b.weight are not quantized alike"},
		{concat, []*graph.Param{a, part("m.b", "scales", nil)}, "m.a.weight and m.b.scales are not quantized alike"},
		{concat, []*graph.Param{a, {Name: "m.b.weight", Type: a.Type, Part: "weight"}}, "m.a.weight and m.b.weight are not quantized alike"},
		{graph.Derived{Op: "increment"}, []*graph.Param{{Name: "m.a.scales", Type: graph.T(graph.Float32), Part: "scales", Quant: a.Quant}}, "m.a.scales is a part of a quantized matrix"},
		{concat, []*graph.Param{rows("m.a"), rows("m.b")}, "m.a+b, no part"},
	} {
		q, err := makeParam(c.d, c.from)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case q.Quant == nil:
			got = q.Name + ", no part" + q.Part
		default:
			got = fmt.Sprintf("%s, %s of %s %s %d %d", q.Name, q.Part, q.Quant.Module, q.Quant.Mode, q.Quant.Bits, q.Quant.GroupSize)
		}
		equal(t, fmt.Sprint(c.d.Op), got, c.want)
	}
	if !slices.Equal([]string{a.Quant.Module, b.Quant.Module}, []string{"m.a", "m.b"}) {
		t.Error("the matrices themselves have changed")
	}
}

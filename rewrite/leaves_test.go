package rewrite

import (
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// TestLeaves: leaves of a pair have the names that the rule gives them, numbered where two
// would be alike; with own names, parameters have theirs.
func TestLeaves(t *testing.T) {
	set, err := setOf(t, `
zmlx: 1
family: test
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact
    match: {a: "multiply(x, u)", b: "multiply(a, v)", y: negative(b)}
    replace: {y: "multiply(x, u)"}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, issues := graph.ParseText("test.zg", []byte(`zmlx 1
program test
param m.a : float32[4]
param m.b : float32[4]
case all
  input tokens : float32[4]
  a = multiply(tokens, m.a) : float32[4]
  b = multiply(a, m.b) : float32[4]
  y = negative(b) : float32[4]
  output out = y
`), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	res, err := Run(p, &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	for own, want := range map[bool]string{false: "u=m.a v=m.b x=", true: "m.a=m.a m.b=m.b x="} {
		pair, err := res.Cases[0].Sites[0].Pair(own)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range pair.Leaves {
			got = append(got, l.Name+"="+l.Param)
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("own %t: leaves %s, not %s", own, s, want)
		}
	}
}

// TestMadeOnce: what is made of the same parameters in the same way is made once, and no
// name stands for two things.
func TestMadeOnce(t *testing.T) {
	rows := func(name string) *graph.Param {
		return &graph.Param{Name: name, Type: graph.T(graph.Float32, graph.N(4), graph.N(2))}
	}
	a, b, odd := rows("m.a"), rows("m.b"), rows("m.a[0:1]")
	p := &graph.Program{Params: []*graph.Param{a, odd, b}, Cases: []graph.Case{{Graph: graph.New()}}}
	m := &maker{base: p}
	concat := graph.Derived{Op: "concat", Axis: -2}
	first, err := m.param(concat, []*graph.Param{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.param(concat, []*graph.Param{a, b}); err != nil || again != first {
		t.Errorf("made twice: %v, %v", again, err)
	}
	if other, err := m.param(concat, []*graph.Param{b, a}); err != nil || other == first || other.Name == first.Name {
		t.Errorf("in the other order: %v, %v", other, err)
	}
	if _, err := m.param(graph.Derived{Op: "split", Axis: -2, Stop: 1}, []*graph.Param{a}); err == nil {
		t.Error("a name that is there in another way is taken")
	}
	table := newParams(m)
	for range 2 {
		if err := table.add(first); err != nil {
			t.Error(err)
		}
	}
	if table.get(first.Name) != first.Param || table.get("m.b") != b || table.get("none") != nil {
		t.Error("the table has other parameters than were put there")
	}
	wrong := &madeParam{Param: &graph.Param{Name: first.Name, Type: first.Type, From: &graph.Derived{Op: "concat", Axis: -2, Args: []string{"m.b", "m.a"}}}}
	if table.add(wrong) == nil {
		t.Error("one name stands for two parameters")
	}
	var names []string
	for _, q := range table.all() {
		names = append(names, q.Name)
	}
	if len(names) != 4 || !slices.IsSorted(names) {
		t.Errorf("the table is %q", names)
	}
}

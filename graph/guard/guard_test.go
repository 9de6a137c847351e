package guard

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

var scope = Scope{Values: []string{"x", "b"}, Vars: map[string]Kind{"bits": Int, "eps": Number, "mode": Word, "sorted": Bool, "each": Number, "half": Number}}

// site is where guards are tried: x is bfloat16[batch, seq_len, 64], b is absent.
func site(given graph.Cond) *Env {
	x := graph.Type{DType: graph.BFloat16, Shape: []graph.Dim{graph.Sym("batch"), graph.Sym("seq_len"), graph.N(64)}}
	return &Env{
		Setting: Setting{Target: "cpu", TPSize: 1},
		Type:    func(name string) (graph.Type, bool) { return x, name == "x" },
		Var: func(name string) graph.Attr {
			return map[string]graph.Attr{"bits": graph.N(4), "eps": graph.Float(1e-6), "mode": graph.Str("affine"), "sorted": graph.Flag(true),
				"each": &graph.Literal{DType: graph.Uint32, Data: []byte{8, 0, 0, 0}}, "half": &graph.Literal{DType: graph.Float32, Data: []byte{0, 0, 0, 0x3f}}}[name]
		},
		Symbols: map[string]graph.Dim{"batch": graph.Sym("batch"), "seq_len": graph.Sym("seq_len")},
		Given:   given,
	}
}

func TestEval(t *testing.T) {
	step := graph.Compare(graph.Sym("seq_len"), graph.EQ, graph.N(1))
	for _, x := range []struct{ text, want, unknown string }{
		{"bits in [4, 8]", "true", ""},
		{"bits in [2, 3]", "false", ""},
		{"bits == 4 and not (mode == 'mxfp4')", "true", ""},
		{"eps < 1e-5", "true", ""},
		{"sorted", "true", ""},
		{"!sorted || training", "false", ""},
		{"target in ['metal', 'cuda']", "false", ""},
		{"dtype(x) == 'bfloat16'", "true", ""},
		{"rank(x) == 3", "true", ""},
		{"dim(x, -1) % 32 == 0", "true", ""},
		{"has(b)", "false", ""},
		{"seq_len <= 1", "true", ""}, // it is 1 where this is tried
		{"rows(x) <= 8", "batch*seq_len <= 8", ""},
		{"size(x) <= 64 * 8", "batch*seq_len <= 8", ""},
		{"batch > 4 || bits == 4", "true", ""},
		{"kv_len <= 1024", "false", "kv_len"},
		{"dim(b, 0) == 1", "false", "b"},
		{"dim(x, 5) == 1", "false", "dim(x, 5)"},
		{"rows(x) % 0 == 1", "false", "the remainder by 0"},
		// Attributes are float32, and numbers beside them, too.
		{"eps == 1e-6", "true", ""},
		{"eps != 1e-6", "false", ""},
		{"eps in [1e-5, 1e-6]", "true", ""},
		{"eps <= 1e-6 && eps >= 1e-6", "true", ""},
		{"-eps == -1e-6", "true", ""},
		{"dim(x, -1) * 262145 == 16777280", "true", ""}, // whole numbers are not
		{"dim(x, -1) * 262145 == 16777281.0", "false", ""},
		// A constant of the graph is an integer if its type is one.
		{"each * dim(x, 0) == 8 * batch", "true", ""},
		{"each == 8.0", "true", ""},
		{"half * dim(x, 0) == batch", "false", "0.5 * batch"},
		// A condition as a value, where it is decided and where it is not.
		{"has(x) == (bits == 4)", "true", ""},
		{"has(b) == !(seq_len <= 1)", "true", ""}, // seq_len is 1
		{"has(x) == !(batch <= 1)", "false", "batch > 1, used as a value,"},
		{"has(b) == !(batch <= 1)", "false", "batch > 1, used as a value,"},
		{"has(b) == (batch <= 1)", "false", "batch <= 1, used as a value,"},
		{"dim(x, batch) == 64", "false", "dim(x, batch)"},
		{"dim(x, bits - 5) == 64", "true", ""},
		// Neither these nor their opposites can be decided: both are false.
		{"rows(x) > 8.0", "false", "batch*seq_len > 8"},
		{"not (rows(x) > 8.0)", "false", "batch*seq_len > 8"},
		{"rows(x) != 8.0", "false", "batch*seq_len != 8"},
		{"not (rows(x) * 0.5 > 4.0)", "false", "batch*seq_len * 0.5"},
	} {
		g, err := Compile(x.text, scope)
		if err != nil {
			t.Errorf("%s: %v", x.text, err)
			continue
		}
		v := g.Eval(site(step))
		if got := v.Cond.String(); got != x.want || v.Unknown != x.unknown {
			t.Errorf("%s is %s, unknown %q; want %s, %q", x.text, got, v.Unknown, x.want, x.unknown)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, x := range []struct {
		text string
		at   int
		want string
	}{
		{"rows(x) / 2 == 1", 8, "integer / gives a fraction"},
		{"rows(y) == 1", 5, "unknown name y"},
		{"rows(x)", 0, "expected bool"},
		{"dtype(x) == 1", 9, "mismatched types"},
		{"x == x.y", 0, "access to a member"},
		{"all(1..9, # > 0)", 0, "function all"},
		{"let s='aaaaaaaaaaaaaaaaaaaa'; reduce(1..500, #acc+#acc, s)", 0, "a loop or a variable"},
		{"bits ? true : false", 0, "a ? b : c"},
		{"bits in 1..3", 0, "in needs a list"},
		{"'a' + mode == 'b'", 0, ""},
		{"bits ** 9 > 1", 0, "operator **"},
		{"mode matches '(a*)*b'", 0, "operator matches"},
		{"mode contains 'a'", 0, "operator contains"},
		{"env('HOME') == ''", 0, "unknown name env"},
		{"x.f(1) == 1", 0, "this call"},
		{strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60), 0, "nested more than 50 deep"},
		{strings.Repeat("!", 990) + "true", 0, ""},
		{strings.Repeat("true && ", 200) + "true", 0, "longer than 1000 bytes"},
		{"", 0, ""},
	} {
		_, err := Compile(x.text, scope)
		var ge *Error
		switch {
		case err == nil:
			if x.want != "" {
				t.Errorf("%s compiles", x.text)
			}
		case !errors.As(err, &ge):
			t.Errorf("%s: %T is no *Error", x.text, err)
		case !strings.Contains(ge.Message, x.want):
			t.Errorf("%s: %q, want %q", x.text, ge.Message, x.want)
		case ge.At < 0 || ge.At > len(x.text):
			t.Errorf("%s: offset %d", x.text, ge.At)
		}
	}
}

// A value that has a function's name hides it, which the error says.
func TestFunctionIsValue(t *testing.T) {
	_, err := Compile("bits == 4 && rows(x) == 1", Scope{Values: []string{"x", "rows"}, Vars: map[string]Kind{"bits": Int}})
	var ge *Error
	if !errors.As(err, &ge) || ge.At != 13 || !strings.Contains(ge.Message, "rows is the name of a value of the rule, too") {
		t.Errorf("%v", err)
	}
}

// No text makes a guard crash, hang or take memory that its length does not explain.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"rows(x) <= 8 && bits in [4, 8]", "dim(x, -1) % 32 == 0", "not has(b) or dtype(b) == 'float16'",
		"let s='aaaaaaaaaaaaaaaaaaaa'; reduce(1..500, #acc+#acc, s)", "batch * seq_len * 64 <= 512", "-eps < 1e308 * 1e308",
		"bits - 9223372036854775807 * 9223372036854775807 < 0", "mode matches '((a*)*)*b'", "rows(x) % (batch - batch) == 0", "dim(x, 99999999999) == 1", "1..999999999 == nil"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if g, err := Compile(text, scope); err == nil {
			env := site(graph.True)
			v := g.Eval(env)
			if again := g.Eval(env); v.Cond.String() != again.Cond.String() || v.Unknown != again.Unknown {
				t.Errorf("%s then %s", v.Cond, again.Cond)
			}
			g.Values(env)
			g.Names()
		}
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(text)+16<<20); got > limit {
			t.Errorf("%d bytes of memory for a text of %d", got, len(text))
		}
	})
}

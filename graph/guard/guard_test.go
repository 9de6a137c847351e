package guard

import (
	"errors"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

var scope = Scope{Values: []string{"x", "b"}, Vars: map[string]Kind{"bits": Int, "eps": Number, "mode": Word, "wide": Bool}}

func env(given graph.Cond) *Env {
	types := map[string]graph.Type{"x": graph.T(graph.BFloat16, graph.Sym("batch"), graph.N(1), graph.N(96))}
	vars := map[string]graph.Attr{"bits": graph.N(4), "eps": graph.Float(1e-5), "mode": graph.Str("affine"), "wide": graph.Flag(true)}
	return &Env{
		Setting: Setting{Target: "cpu", TPSize: 2},
		Type:    func(name string) (graph.Type, bool) { t, ok := types[name]; return t, ok },
		Var:     func(name string) graph.Attr { return vars[name] },
		Symbols: map[string]graph.Dim{"batch": graph.Sym("batch"), "seq_len": graph.N(1)},
		Given:   given,
	}
}

func TestEval(t *testing.T) {
	small := graph.Compare(graph.Sym("batch"), graph.LE, graph.N(4))
	for _, c := range []struct {
		text  string
		given graph.Cond
		want  string // the condition that is left
	}{
		{"seq_len <= 1", graph.True, "true"},
		{"seq_len > 1", graph.True, "false"},
		{"bits in [4, 8]", graph.True, "true"},
		{"bits in [2, 8]", graph.True, "false"},
		{"not (bits == 4)", graph.True, "false"},
		{`mode == "affine" && dtype(x) != "float32"`, graph.True, "true"},
		{`dtype(x) in ["float16", "bfloat16"]`, graph.True, "true"},
		{"rows(x) <= 8", graph.True, "batch <= 8"},
		{"rows(x) <= 8", small, "true"},
		{"rows(x) > 4", small, "false"},
		{"rows(x) * 2 + 1 <= 9 || bits == 8", graph.True, "2*batch + 1 <= 9"},
		{"dim(x, -1) % 32 == 0", graph.True, "true"},
		{"dim(x, -1) % 64 == 0", graph.True, "false"},
		{"size(x) % 96 == 0", graph.True, "true"},
		{"rank(x) == 3 and dim(x, 1) == 1", graph.True, "true"},
		{"eps < 1e-4", graph.True, "true"},
		{"wide", graph.True, "true"},
		{"!wide", graph.True, "false"},
		{"has(b)", graph.True, "false"},
		{"!training && tp_size == 2 && target == \"cpu\"", graph.True, "true"},
	} {
		g, err := Compile(c.text, scope)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		v := g.Eval(env(c.given))
		if v.Unknown != "" || v.Cond.String() != c.want {
			t.Errorf("%s given %s: %s, unknown %q; want %s", c.text, c.given, v.Cond, v.Unknown, c.want)
		}
	}
}

// A name that the site does not define makes a guard false, whatever else it says.
func TestUnknown(t *testing.T) {
	for text, want := range map[string]string{
		"kv_len <= 5":               "kv_len",
		"kv_len <= 5 || bits == 4":  "kv_len",
		"rows(b) <= 8":              "b",
		"dim(x, 5) == 1":            "dim(x, 5)",
		"bits % (bits - 4) == 0":    "the remainder by 0",
		"(bits == 4) == (eps == 0)": "a condition used as a value",
	} {
		g, err := Compile(text, scope)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v := g.Eval(env(graph.True)); !v.Cond.IsFalse() || v.Unknown != want {
			t.Errorf("%s: %s, unknown %q; want %q", text, v.Cond, v.Unknown, want)
		}
	}
}

// What is let through always ends and needs no memory of its own.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"seqlen <= 1":              "unknown name seqlen",
		"bits":                     "expected bool",
		"bits / 2 == 2":            "integer / gives a fraction",
		"bits ** 2 == 16":          "operator **",
		"bits in 1..9":             "in needs a list",
		"bits in [bits]":           "a list may hold only",
		"rows(3) == 1":             "takes the name of a value",
		`mode matches "a.*"`:       "operator matches",
		"bits == 4 ? true : false": "a ? b : c",
		"len(mode) == 6":           "function len",
		"all([1], # > 0)":          "not allowed",
		"x.y == 1":                 "access to a member",
		"let s='aaaaaaaaaaaaaaaaaaaa'; reduce(1..500, #acc+#acc, s) == s": "not allowed",
		"bits ==":                 "unexpected token",
		"":                        "unexpected token",
		strings.Repeat("(", 60):   "nested",
		strings.Repeat("a", 2000): "longer than",
	} {
		_, err := Compile(text, scope)
		var ge *Error
		if !errors.As(err, &ge) || !strings.Contains(ge.Message, want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		} else if ge.At < 0 || ge.At > len(text) {
			t.Errorf("%.60s: error at %d", text, ge.At)
		}
	}
}

func TestValues(t *testing.T) {
	g, err := Compile("seq_len <= 1 && rows(x) <= 8 && bits in [4, 8] && has(b)", scope)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.Values(env(graph.True)), "seq_len = 1, rows(x) = batch, bits = 4, has(b) = false"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"seq_len <= 1 && rows(x) <= 8", "bits in [4, 8]", `mode == "affine"`, "not (bits == 4) || eps < 1e-4", "dim(x, -1) % 32 == 0",
		"let s='aaaaaaaaaaaaaaaaaaaa'; reduce(1..500, #acc+#acc, s)", "map(1..1000000, {#})", "!wide"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Compile(text, scope)
		if err != nil {
			return
		}
		g.Eval(env(graph.True))
		g.Values(env(graph.True))
	})
}

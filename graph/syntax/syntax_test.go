package syntax

import (
	"errors"
	"strings"
	"testing"
)

func TestPrintAndParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"x", "x"},
		{"model.layers.0.mlp.gate_proj", "model.layers.0.mlp.gate_proj"},
		{"`a b`", "`a b`"},
		{"`x`", "x"},
		{"`true`", "`true`"},
		{"` x`", "` x`"},
		{"b?", "b?"},
		{"`a b`?", "`a b`?"},
		{"$gs", "$gs"},
		{"12", "12"},
		{"-12", "-12"},
		{"- 12", "-(12)"},
		{"-x", "-x"},
		{"--3", "--3"},
		{"1e-05", "1e-05"},
		{"1.5e+3", "1.5e+3"},
		{".5", ".5"},
		{"0x1p-2", "0x1p-2"},
		{`"a\"b\n"`, `"a\"b\n"`},
		{"true", "true"},
		{"none", "none"},
		{"...", "..."},
		{"[]", "[]"},
		{"[1, x, [2]]", "[1, x, [2]]"},
		{"f()", "f()"},
		{"kernel.swiglu(x, wg, bits=$bits, ...)", "kernel.swiglu(x, wg, bits=$bits, ...)"},
		{"slice(x, stop=dim(p,-1)-$k)", "slice(x, stop=dim(p, -1) - $k)"},
		{"a+b*c", "a + b * c"},
		{"(a+b)*c", "(a + b) * c"},
		{"a-(b-c)", "a - (b - c)"},
		{"(a-b)-c", "a - b - c"},
		{"a and b or not c", "a && b || !c"},
		{"a && (b || c)", "a && (b || c)"},
		{"!(a == b)", "!(a == b)"},
		{"(a == b) == c", "(a == b) == c"},
		{"bits in [4, 8] && rows(x) <= 8", "bits in [4, 8] && rows(x) <= 8"},
		{"f(a == b)", "f(a == b)"},
		{"f(a=-1)", "f(a=-1)"},
		{"a -1", "a - 1"},
		{"((x))", "x"},
	} {
		e, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := e.String(); got != c.want {
			t.Errorf("%s prints as %s, want %s", c.text, got, c.want)
		}
		checkRoundTrip(t, e)
	}
}

// checkRoundTrip parses what e prints, and compares trees by printing them with
// all parentheses and kinds.
func checkRoundTrip(t *testing.T, e Expr) {
	t.Helper()
	text := e.String()
	back, err := Parse(text)
	if err != nil {
		t.Errorf("%s does not parse: %v", text, err)
	} else if got, want := shape(back), shape(e); got != want {
		t.Errorf("%s parses as %s, was %s", text, got, want)
	}
}

func shape(e Expr) string {
	list := func(head string, parts ...string) string { return "(" + head + " " + strings.Join(parts, " ") + ")" }
	switch e := e.(type) {
	case *Name:
		if e.Optional {
			return list("optional", QuoteName(e.Name))
		}
		return list("name", QuoteName(e.Name))
	case *Unary:
		return list(e.Op, shape(e.X))
	case *Binary:
		return list(e.Op, shape(e.X), shape(e.Y))
	case *List:
		var parts []string
		for _, x := range e.Items {
			parts = append(parts, shape(x))
		}
		return list("list", parts...)
	case *Call:
		parts := []string{QuoteName(e.Fun)}
		for _, a := range e.Args {
			parts = append(parts, a.Name+"="+shape(a.Value))
		}
		return list("call", parts...)
	case *Number:
		if e.IsInt {
			return list("int", e.Text)
		}
		return list("float", e.Text)
	}
	return e.String()
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		at   int
		want string
	}{
		{"", 0, "expected an expression, found the end of the text"},
		{"a +", 3, "expected an expression, found the end of the text"},
		{"f(a, ", 5, "expected an expression, found the end of the text"},
		{"f(a b)", 4, `expected ",", found "b"`},
		{"f(,)", 2, `expected an expression, found ","`},
		{"[1 2]", 3, `expected ",", found "2"`},
		{"(a", 2, `expected ")", found the end of the text`},
		{"a b", 2, `expected the end, found "b"`},
		{"a == b == c", 7, `expected the end, found "=="`},
		{"a in", 4, "expected an expression, found the end of the text"},
		{"in", 0, `expected an expression, found "in"`},
		{`f("abc)`, 2, "a quote that is not closed"},
		{`"\q"`, 0, "a quoted text with an escape that is not known"},
		{"`abc", 0, "a backquote that is not closed"},
		{"``", 0, "a backquote that is not closed"},
		{"a & b", 2, `character '&' is not part of the language`},
		{"a # b", 2, `character '#' is not part of the language`},
		{"a / b", 2, `character '/' is not part of the language`},
		{"ä", 0, `character 'ä' is not part of the language`},
		{"$ x", 2, `expected a variable's name right after $, found "x"`},
		{"$a.b", 1, `expected a variable's name right after $, found "a.b"`},
		{"1.2.3", 0, "1.2.3 is not a number that fits"},
		{"x + 12abc", 4, "12abc is not a number that fits"},
		{"1e999", 0, "1e999 is not a number that fits"},
		{"a.", 1, `character '.' is not part of the language`},
		{"f(a=)", 4, `expected an expression, found ")"`},
		{strings.Repeat("(", 101) + "x", 100, "nested more than 100 deep"},
		{strings.Repeat("-", 101) + "x", 100, "nested more than 100 deep"},
		{"[" + strings.Repeat("1,", 1<<16) + "1]", 131071, "more than 65536 parts"},
	} {
		e, err := Parse(c.text)
		var se *Error
		if !errors.As(err, &se) {
			t.Errorf("%.40s: parses as %.40s, error %v", c.text, e, err)
		} else if se.At != c.at || se.Message != c.want {
			t.Errorf("%.40s: at %d: %s\nwant at %d: %s", c.text, se.At, se.Message, c.at, c.want)
		}
	}
}

func TestOffsets(t *testing.T) {
	e, err := Parse("  f(x,  y + $k, z=[1])")
	if err != nil {
		t.Fatal(err)
	}
	call := e.(*Call)
	sum := call.Args[1].Value.(*Binary)
	for _, c := range []struct {
		what string
		got  int
		want int
	}{
		{"call", call.Offset(), 2}, {"argument", call.Args[0].At, 4}, {"sum", sum.Offset(), 8}, {"plus", sum.At, 10},
		{"variable", sum.Y.Offset(), 12}, {"named argument", call.Args[2].At, 16}, {"list", call.Args[2].Value.Offset(), 18},
	} {
		if c.got != c.want {
			t.Errorf("%s is at %d, not %d", c.what, c.got, c.want)
		}
	}
}

func TestParserByParts(t *testing.T) {
	p := NewParser("when x == 1 : [2] @ `a b` end")
	if p.Accept("if") || !p.Accept("when") {
		t.Fatal("Accept")
	}
	if e, err := p.Expr(); err != nil || e.String() != "x == 1" {
		t.Fatal(e, err)
	}
	if err := p.Expect("@"); err == nil || err.Error() != `expected "@", found ":"` {
		t.Fatal(err)
	}
	if err := p.Expect(":"); err != nil {
		t.Fatal(err)
	}
	if l, err := p.List(); err != nil || l.String() != "[2]" {
		t.Fatal(l, err)
	}
	if _, err := p.Args(); err == nil {
		t.Fatal("arguments without a parenthesis")
	}
	if !p.Accept("@") || p.Accept("a b") {
		t.Fatal("a quoted name is no keyword")
	}
	if name, err := p.Ident(); err != nil || name != "a b" {
		t.Fatal(name, err)
	}
	if p.AtEnd() || p.End() == nil || p.Offset() != 26 {
		t.Fatal("the rest is lost", p.Offset())
	}
}

func TestQuoteName(t *testing.T) {
	for name, want := range map[string]string{
		"x": "x", "model.layers.0.mlp": "model.layers.0.mlp", "0.weight": "`0.weight`", "a-b": "`a-b`", "a.": "`a.`", "": "``",
		" x": "` x`", "x ": "`x `", "none": "`none`", "`x`": "`'x'`", "a`b": "`a'b`", "ä": "`ä`",
	} {
		if got := QuoteName(name); got != want {
			t.Errorf("%q is written %s, want %s", name, got, want)
		}
	}
}

func FuzzParseExpr(f *testing.F) {
	for _, s := range []string{
		"gather_qmm(x, wg, sg, bg?, rhs_indices=idx, bits=$bits, mode=\"affine\", ...)", "multiply(gate, sigmoid(gate))", "kth=-$k", "-(3) - -4",
		"seq_len <= 1 && rows(x) <= 8 || !(bits in [4, 8])", "`a b`.c", "1e-05 + .5 * 0x1p-2", "not not a", "[[[]]]", "\"\\x00\"", "a and or", "$ x ... ?",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			var se *Error
			if !errors.As(err, &se) || se.At < 0 || se.At > len(text) || se.Message == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		if e.Offset() < 0 || e.Offset() >= len(text) {
			t.Fatalf("%q: offset %d", text, e.Offset())
		}
		checkRoundTrip(t, e)
	})
}

func BenchmarkParse(b *testing.B) {
	const text = `gather_qmm(x, model.layers.0.mlp.weight, sg, bg?, rhs_indices=idx, bits=$bits, group_size=$gs, mode="affine", transpose=true)`
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func TestArithmetic(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a/b*c", "a / b * c"},
		{"a/(b*c)", "a / (b * c)"},
		{"1 / -x", "1 / -x"},
		{"x**2", "x ** 2"},
		{"-x**2", "-x ** 2"},
		{"(-x)**2", "(-x) ** 2"},
		{"-2**2", "-2 ** 2"},
		{"a**b**c", "a ** b ** c"},
		{"(a**b)**c", "(a ** b) ** c"},
		{"a**-1", "a ** -(1)"},
		{"2*x**3 + f(x/2)", "2 * x ** 3 + f(x / 2)"},
	} {
		e, err := ParseArithmetic(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := e.String(); got != c.want {
			t.Errorf("%s prints as %s, want %s", c.text, got, c.want)
		}
		again, err := ParseArithmetic(e.String())
		if err != nil || again.String() != c.want {
			t.Errorf("%s does not read back: %v %v", c.want, again, err)
		}
		// The rule language has neither operator.
		if _, err := Parse(c.text); err == nil {
			t.Errorf("Parse takes %s", c.text)
		}
	}
	e, err := ParseArithmetic("-2 ** 2")
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := e.(*Unary); !ok || u.X.String() != "2 ** 2" {
		t.Errorf("-2 ** 2 is read as %#v", e)
	}
}

func TestWalk(t *testing.T) {
	e, err := Parse(`f(a, g(b), k=-c + dim(d, -1) * 2, l=[e, "w"], ...)`)
	if err != nil {
		t.Fatal(err)
	}
	var all, top []string
	Walk(e, func(e Expr) bool {
		all = append(all, e.String())
		return true
	})
	Walk(e, func(x Expr) bool {
		top = append(top, x.String())
		return x == e
	})
	want := "f(a, g(b), k=-c + dim(d, -1) * 2, l=[e, \"w\"], ...)|a|g(b)|b|-c + dim(d, -1) * 2|-c|c|dim(d, -1) * 2|dim(d, -1)|d|-1|2|[e, \"w\"]|e|\"w\"|..."
	if got := strings.Join(all, "|"); got != want {
		t.Errorf("walked %s\n  want %s", got, want)
	}
	if got, want := strings.Join(top, "|"), all[0]+`|a|g(b)|-c + dim(d, -1) * 2|[e, "w"]|...`; got != want {
		t.Errorf("without parts %s, want %s", got, want)
	}
}

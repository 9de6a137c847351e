package graph

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Each text has one mistake in a line that is marked by where it is expected.
func TestParseErrors(t *testing.T) {
	const head = "zmlx 1\nprogram p\nparam w : float16[8]\n"
	const body = head + "case\n  input x : float16[batch, 8]\n"
	for _, c := range []struct {
		text string
		want string // line:col code: start of the message
	}{
		{"", ": zg/version: the file is empty"},
		{"program p\n", "1:1 zg/version: the file does not begin with a version"},
		{"zmlx x\n", "1:6 zg/version: the file does not begin with a version"},
		{"zmlx 2\n", "1:6 zg/version: version 2 of the text form; this program reads up to 1"},
		{"zmlx 1\n", ": zg/program: program : has no cases"},
		{"zmlx 1\nprogram a\nprogram b\n", "3:1 zg/duplicate: the program's line comes once"},
		{"zmlx 1\nprogram a b\n", `2:11 zg/syntax: expected the end, found "b"`},
		{"zmlx 1\ninput x : int32[]\n", "2:1 zg/syntax: expected program, window, param or case"},
		{"zmlx 1\nwindow 0\n", "2:8 zg/syntax: a window is a whole number"},
		{"zmlx 1\nwindow 2\nwindow 2\n", "3:1 zg/duplicate: the window's line comes once"},
		{head + "window 2\n", "4:1 zg/duplicate: the window's line comes once"},
		{head + "param w : float16[8]\n", "4:7 zg/duplicate: parameter w is there twice"},
		{head + "param v : half[8]\n", "4:11 zg/syntax: half is not an element type"},
		{head + "param v : float16[-8]\n", "4:11 zg/syntax: dimension -8 of float16[-8] is negative"},
		{head + "param v : float16[9223372036854775807]\n", "4:11 zg/syntax: float16[9223372036854775807] is too large"},
		{head + "param v float16[8]\n", `4:9 zg/syntax: expected ":", found "float16"`},
		{head + "param v : float16 8\n", `4:19 zg/syntax: expected "[", found "8"`},
		{head + `param v : float16[8] quant("m", part="weight", mode="affine", bits=4)` + "\n", "4:22 zg/syntax: group_size= is missing"},
		{head + `param v : float16[8] quant("m", part="weight", mode="affine", bits=7, group_size=32)` + "\n", "4:22 zg/attribute: quant: bits must be"},
		{head + `param v : float16[8] quant("m", part="w", mode="affine", bits=4, group_size=32)` + "\n", "4:22 zg/attribute: quant: part"},
		{head + `param v : float16[8] quant(m, part="w", mode="affine", bits=4, group_size=32)` + "\n", "4:28 zg/syntax: expected a word in quotes"},
		{head + `param v : float16[8] quant("m", part="weight", mode="affine", bits=4, group_size=32, x=1)` + "\n", "4:86 zg/syntax: an argument too many"},
		{head + "param a : uint8[1] quant(\"m\", part=\"weight\", mode=\"affine\", bits=4, group_size=32)\nparam b : uint8[1] quant(\"m\", part=\"scales\", mode=\"affine\", bits=8, group_size=32)\n", "5:20 zg/program: m is quantized with"},
		{head + "param v : float16[16] = concat(w, u, axis=-1)\ncase\n", "4:1 zg/unknown-param: v is made from \"u\""},
		{head + "param v : float16[15] = concat(w, w, axis=-1)\ncase\n", "4:1 zg/type: parameter v: has type float16[15], but is made with float16[16]"},
		{head + "param v : float16[16] = concat(w, w, axis=0)\ncase\n", "4:1 zg/type: parameter v: concat: axis 0 is not"},
		{head + "param v : float16[8] = increment(w, axis=-1)\ncase\n", "4:37 zg/syntax: an argument too many"},
		{head + "param v : float16[8] = increment(w, w)\ncase\n", "4:1 zg/type: parameter v: increment: 2 arguments"},
		{head + "param u : int32[8]\nparam v : int32[8] = increment(u)\ncase\n", "5:1 zg/type: parameter v: increment: int32[8] has no floating-point numbers"},
		{head + "param v : float16[16] = glue(w, w)\n", "4:25 zg/unknown-op: glue makes no parameters"},
		{head + "param v : float16[2, 3] = reshape(w, shape=[2, 3])\ncase\n", "4:1 zg/type: parameter v: reshape: float16[8] as [2 3]"},
		{head + "param v : float16[2, 4] = reshape(w, shape=8)\n", "4:44 zg/syntax: expected a list of integers"},
		{head + "param v : float16[2, 4] = reshape(w, shape=[2, 4], axis=-1)\n", "4:52 zg/syntax: an argument too many"},
		{head + "param v : float16[4] = split(w, axis=-1, start=4)\n", "4:24 zg/syntax: stop= is missing"},
		{head + "param v : float16[4] = split(w, axis=-1, start=4, stop=9)\ncase\n", "4:1 zg/type: parameter v: split: rows 4 to 9 of 8"},
		{head + "param a : float16[8] = transpose(b, perm=[0])\nparam b : float16[8] = transpose(a, perm=[0])\ncase\n", ": zg/program: parameter a is made from itself"},
		{head + "case a b\n", `4:8 zg/syntax: expected the end, found "b"`},
		{head + "case when seq_len\n", "4:11 zg/syntax: expected a comparison"},
		{head + "case when rank == 1\n", ": zg/program: case 0 (): the condition mentions rank"},
		{body + "param q : float16[8]\n", "6:1 zg/syntax: parameters come before the first case"},
		{body + "  input x : float16[8]\n", "6:9 zg/duplicate: the name x is taken"},
		{body + "  input w : float16[8]\n", "6:9 zg/duplicate: the name w is taken"},
		{body + "  w = exp(x) : float16[batch, 8]\n", "6:3 zg/duplicate: the name w is taken"},
		{body + "  v0, v0 = exp(x) : float16[batch, 8], float16[batch, 8]\n", "6:7 zg/duplicate: the name v0 is taken"},
		{body + "  v0 = exp(y) : float16[batch, 8]\n", "6:12 zg/unknown-value: y is not defined above"},
		{body + "  v0 = exp(v0) : float16[batch, 8]\n  output y = v0\n", "6:12 zg/unknown-value: v0 is not defined above"},
		{body + "  v0 = exq(x) : float16[batch, 8]\n", "6:8 zg/unknown-op: no op is called exq"},
		{body + "  v0 = kernel.nope(x) : float16[batch, 8]\n", "6:8 zg/unknown-op: no op is called kernel.nope"},
		{body + "  v0 = input(x) : float16[batch, 8]\n", "6:8 zg/unknown-op: no op is called input"},
		{body + "  v0 = x : float16[batch, 8]\n", "6:8 zg/syntax: expected a call of an op"},
		{body + "  v0 = exp(x)\n", `6:14 zg/syntax: expected ":", found the end of the text`},
		{body + "  v0 = exp(x) : float32[batch, 8]\n", "6:15 zg/type: result 0 has type float16[batch, 8], not float32[batch, 8]"},
		{body + "  v0 = exp(x, x) : float16[batch, 8]\n", "6:8 zg/type: exp takes 1 operands, got 2"},
		{body + "  v0 = exp() : float16[batch, 8]\n", "6:8 zg/type: exp: operand a is missing"},
		{body + "  v0 = exp(none) : float16[batch, 8]\n", "6:8 zg/type: exp: operand a is missing"},
		{body + "  v0 = exp(1.5) : float16[batch, 8]\n", "6:12 zg/syntax: an operand is the name of a value, or none"},
		{body + "  v0 = exp(x?) : float16[batch, 8]\n", "6:12 zg/syntax: an operand is the name of a value, or none"},
		{body + "  v0 = exp(x, base=2) : float16[batch, 8]\n", "6:15 zg/attribute: exp has no attribute base"},
		{body + "  v0 = take(x, indices=x, axis=0) : float16[batch, 8]\n", "6:16 zg/attribute: operand indices is written without its name"},
		{body + "  v0 = rms_norm(x, w, eps=1e-5, eps=1e-5) : float16[batch, 8]\n", "6:33 zg/duplicate: attribute eps is there twice"},
		{body + "  v0 = rms_norm(x, w, eps=small) : float16[batch, 8]\n", "6:27 zg/attribute: eps: expected a number"},
		{body + "  v0 = rms_norm(x, w) : float16[batch, 8]\n", "6:8 zg/type: rms_norm: attribute eps is missing"},
		{body + "  v0 = sum(x, axis=[0, 0]) : float16[]\n", "6:8 zg/type: sum: attribute axis: axis -2 is there twice"},
		{body + "  v0 = sum(x, axis=1.5) : float16[]\n", "6:20 zg/attribute: axis: 1.5 is not an integer"},
		{body + "  v0 = sum(x, axis=0, keepdims=1) : float16[]\n", "6:32 zg/attribute: keepdims: expected true or false"},
		{body + "  v0 = astype(x, dtype=half) : float16[]\n", "6:24 zg/attribute: dtype: expected an element type"},
		{body + "  v0 = reshape(x, shape=8) : float16[8]\n", "6:25 zg/attribute: shape: expected a list"},
		{body + "  v0 = reshape(x, shape=[9]) : float16[9]\n", "6:8 zg/type: reshape: cannot reshape"},
		{body + "  v0 = softmax(x, axis=-1, precise=true) : float16[batch, 8] @ a @ b\n", `6:66 zg/syntax: expected the end, found "@"`},
		{body + "  v0, v1 = exp(x) : float16[batch, 8], float16[batch, 8]\n", "6:3 zg/type: exp has 1 results, not 2"},
		{body + "  v0 = constant(300) : uint8[]\n", "6:17 zg/attribute: 300 does not fit into uint8"},
		{body + "  v0 = constant(-1) : uint64[]\n", "6:17 zg/attribute: -1 does not fit into uint64"},
		{body + "  v0 = constant(128) : int8[]\n", "6:17 zg/attribute: 128 does not fit into int8"},
		{body + "  v0 = constant(1.5) : int32[]\n", "6:17 zg/attribute: expected an integer"},
		{body + "  v0 = constant(1) : bool[]\n", "6:17 zg/attribute: expected true or false"},
		{body + "  v0 = constant(x) : float32[]\n", "6:17 zg/attribute: expected a number"},
		{body + "  v0 = constant(1) : float32[2]\n", "6:17 zg/attribute: a constant of type float32[2] is written in base64"},
		{body + "  v0 = constant(1) : float32[batch]\n", "6:17 zg/attribute: a constant of symbolic type"},
		{body + "  v0 = constant(\"base64:AAAA\") : float32[]\n", "6:17 zg/attribute: 3 bytes for float32[], which has 4"},
		{body + "  v0 = constant(\"AAAAAA==\") : float32[]\n", "6:17 zg/attribute: expected \"base64:\" and base64 text"},
		{body + "  v0 = constant(\"base64:AAAAAB==\") : float32[]\n", "6:17 zg/attribute: expected \"base64:\" and base64 text"},
		{body + "  output y = q\n", "6:14 zg/unknown-value: q is not defined above"},
		{body + "  output y = x\n  output y = x\n", "7:10 zg/duplicate: output y is there twice"},
		{body + "  output y = exp(x)\n", `6:17 zg/syntax: expected the end, found "("`},
		{body + "  output y = x\ncase\n  input x : float16[batch, 8]\n", ": zg/program: case 1 (): 1 inputs and 0 outputs"},
		{body + "  output y = x\ncase\n  input x : float16[batch]\n  output y = x\n", ": zg/program: case 1 (): input x"},
		{body + "  v0 = ex\x00p(x)\n", "6:8 zg/syntax: expected a call of an op"},
		{body + "  input `a\x01` : int32[]\n", "6:9 zg/syntax: the name holds control characters"},
		{body + "  output \xff = x\n", ": zg/utf8: file is not UTF-8 text"},
	} {
		p, issues := ParseText("f.zg", []byte(c.text), testResolve)
		if p != nil || len(issues) != 1 {
			t.Errorf("%q: %d issues:\n%v", c.text, len(issues), issues)
			continue
		}
		i := issues[0]
		pos := ""
		if i.Pos.Line > 0 {
			pos = fmt.Sprintf("%d:%d", i.Pos.Line, i.Pos.Col)
		}
		got := fmt.Sprintf("%s %s: %s", pos, i.Code, i.Message)
		if pos == "" {
			got = fmt.Sprintf(": %s: %s", i.Code, i.Message)
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
		if i.Pos.File != "f.zg" {
			t.Errorf("%q: file %q", c.text, i.Pos.File)
		}
	}
}

// All mistakes are reported in one run, and a line that only uses the result of
// a wrong one is not reported.
func TestParseManyErrors(t *testing.T) {
	_, issues := ParseText("f.zg", []byte(`zmlx 1
param w : float16
case when seq_len
  input x : float16[batch, 8]
  v0 = exq(x) : float16[batch, 8]
  v1 = add(v0, w) : float16[batch, 8]
  v2 = add(v1, v9) : float16[batch, 8]
  v3 = exp(x : float16[batch, 8]
  v4 = exp(x) : float32[batch, 8]
  v5 = exp(v4) : float16[batch, 8]
  output y = v3
  output z = v8
`), nil)
	var got []string
	for _, i := range issues {
		got = append(got, fmt.Sprintf("%d %s", i.Pos.Line, i.Code))
	}
	want := "2 zg/syntax, 3 zg/syntax, 5 zg/unknown-op, 8 zg/syntax, 9 zg/type, 12 zg/unknown-value"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s\n%v", s, want, issues)
	}
	if h := issues[2].Hint; h != "did you mean exp?" {
		t.Errorf("hint %q", h)
	}
	if s := issues[3].Snippet(); s != "\t  v3 = exp(x : float16[batch, 8]\n\t             ^" {
		t.Errorf("snippet %q", s)
	}
}

func TestParseLenient(t *testing.T) {
	p := mustParse(t, "\n# a comment\nzmlx 1 # version\r\n\nprogram `a # b` # name\n\tparam w : float16[ 8 ]\ncase\ninput x:float16[8]#c\n  sum = add( x , w ):float16[8] @ a.b\noutput y = sum\n\n")
	want := "zmlx 1\nprogram `a # b`\nparam w : float16[8]\ncase\n  input x : float16[8]\n  v0 = add(x, w) : float16[8] @ a.b\n  output y = v0\n"
	if got := string(p.Text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Hostile texts are refused within time and memory in proportion to their size.
func TestParseBounds(t *testing.T) {
	const head = "zmlx 1\ncase\n  input x : float16[n, 8]\n"
	symbols := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "s%d + ", i)
		}
		return b.String() + "1"
	}
	var growing, dims, deep strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&growing, "  v%d = concatenate(v%d, v%d, axis=0) : int8[1]\n", i+1, i, i)
		fmt.Fprintf(&dims, "  input d%d : int8[%d*n, m]\n", i, i+2)
		fmt.Fprintf(&deep, "  v%d = expand_dims(v%d, axis=0) : int8[1]\n", i+1, i)
	}
	for _, c := range []struct{ name, text, code string }{
		{"one symbol too many", head + "  input y : int8[" + symbols(40) + "]\n", "zg/syntax"},
		{"thousands of symbols", head + "  input y : int8[" + symbols(20000) + "]\n", "zg/syntax"},
		{"product of sums", head + "  input y : int8[(a+b+c+d)*(e+f+g+h)*(i+j+k+l)*(m+n+o+p)*(q+r+s+t)]\n", "zg/syntax"},
		{"size of a shape of sums", head + "  input y : int8[a+b+c+d, e+f+g+h, i+j+k+l, m+n+o+p]\n", "zg/syntax"},
		{"rank", head + "  input y : int8[" + strings.Repeat("1, ", 60000) + "1]\n", "zg/syntax"},
		{"rank by inference", head + "  v0 = constant(1) : int8[]\n" + deep.String(), "zg/type"},
		{"list of axes", head + "  v0 = sum(x, axis=[" + strings.Repeat("0, ", 60000) + "0]) : int8[1]\n", "zg/type"},
		{"operands", head + "  v0 = concatenate(" + strings.Repeat("x, ", 60000) + "x, axis=0) : int8[1]\n", "zg/type"},
		{"doubling", head + "  v0 = constant(\"base64:AA==\") : int8[1]\n" + growing.String(), "zg/type"},
		{"brackets", head + "  v0 = exp(" + strings.Repeat("(", 1<<20) + "\n", "zg/syntax"},
		{"names", head + "  " + strings.Repeat("v, ", 1<<18) + "\n", "zg/syntax"},
		{"condition", "zmlx 1\ncase when " + strings.Repeat("n == 1 || ", 20000) + "n == 1\n", "zg/syntax"},
		{"different conditions", "zmlx 1\ncase when n in [" + strings.ReplaceAll(symbols(20000), "+", ",") + "]\n", "zg/syntax"},
		{"error on each line", head + strings.Repeat("!\n", 100000), "zg/syntax"},
		{"dimensions", head + dims.String() + strings.ReplaceAll(strings.ReplaceAll(dims.String(), "  input d", "  input e"), "*n", "*k"), "zg/limit"},
		{"huge constant type", head + "  v0 = constant(\"base64:\") : int8[1099511627776]\n", "zg/attribute"},
		{"no end of a quote", head + "  v0 = exp(\"" + strings.Repeat("\\", 1<<20) + "\n", "zg/syntax"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, issues := ParseText("f.zg", []byte(c.text), nil)
			runtime.ReadMemStats(&after)
			if p != nil || len(issues) == 0 || len(issues) > maxTextIssues+1 || issues[0].Code != c.code {
				t.Errorf("%d issues, want %s: %.300v", len(issues), c.code, issues)
			}
			if used, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(c.text)+16<<20); used > limit {
				t.Errorf("%d bytes allocated for a text of %d, limit %d", used, len(c.text), limit)
			}
		})
	}
	if _, issues := ParseText("f.zg", make([]byte, maxTextBytes+1), nil); len(issues) != 1 || issues[0].Code != "zg/limit" {
		t.Error("oversize:", issues)
	}
}

func FuzzParseGraphText(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(picturedText))
	f.Add(layers(f, 1).Text())
	f.Add([]byte("zmlx 1\ncase `when` when n - 9223372036854775800 in [1, m] || !(2*n*n > 3)\n  input v0 : bfloat16[n, -n + 2*m]\n  v1 = constant(-0.0) : float64[]\n  output o = v0\n"))
	f.Add([]byte("zmlx 1\nparam a : uint8[4, 2] = split(b, axis=-2, start=0, stop=4)\nparam b : uint8[8, 2] = transpose(c, perm=[1, 0])\nparam c : uint8[2, 8]\ncase\n  v = slice(a, axis=0, start=-3, stop=-1) : uint8[2, 2]\n  output o = v\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, issues := ParseText("f.zg", data, testResolve)
		if p == nil {
			if len(issues) == 0 {
				t.Fatal("neither a program nor an issue")
			}
			for _, i := range issues {
				if i.Code == "" || i.Message == "" || i.Pos.Col < 0 || i.Pos.Line > 0 && i.Source != "" && i.Pos.Col > len(i.Source)+1 {
					t.Fatalf("issue %#v", i)
				}
			}
			return
		}
		if err := p.Verify(); err != nil {
			t.Fatal(err)
		}
		text := p.Text()
		q, issues := ParseText("f.zg", text, testResolve)
		if q == nil {
			t.Fatalf("%v\nin\n%s", issues, text)
		}
		if again := q.Text(); string(again) != string(text) {
			t.Fatalf("printed\n%s\nthen\n%s", text, again)
		}
		if q.Hash() != p.Hash() {
			t.Fatalf("the hash of\n%s\nchanges", text)
		}
		for i := range p.Cases {
			g := p.Cases[i].Graph
			h := g.Hash()
			if err := g.Compact(); err != nil {
				t.Fatal(err)
			}
			if err := g.Verify(); err != nil {
				t.Fatal(err)
			}
			if g.Hash() != h {
				t.Fatalf("Compact changes the hash of\n%s", text)
			}
			g.DOT("")
			g.Mermaid("a")
		}
	})
}

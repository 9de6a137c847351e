package rewrite

import (
	"strings"
	"testing"
)

// kernelSpec is a kernel of this name over vectors.
func kernelSpec(name, domain, reference string) map[string]string {
	return map[string]string{name: "zmlx: 1\nkernel: " + name + "\ndoc: Of this test.\ninputs: {x: 'float32[n]'}\n" + domain + "reference: {" + reference + "}\nresults: [y]\nnumerics: exact\n"}
}

// TestWhole: a whole match is taken if its guards hold, its replacement can be built of the
// right types, its kernels take the operands, and it starts fewer launches, or as many and
// fewer that are MLX's own. Else the first of these that is not so is told.
func TestWhole(t *testing.T) {
	fast := kernelSpec("fast", "domain: {short: n <= 4}\n", "y: 'exp(x)'")
	for _, c := range []struct {
		name, rule string
		want       string // "" if it is taken
	}{
		{"fewer launches", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: sin(x)}`, ""},
		{"no launch", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: x}`, ""},
		{"as many", `
    match: {m: exp(x), y: negative(m)}
    replace: {n: negative(x), y: exp(n)}`, "replace/cost: fewer than 2 launches; 2"},
		{"more", `
    match: {m: exp(x), y: negative(m)}
    replace: {n: negative(x), m: exp(n), y: exp(m)}`, "replace/cost: fewer than 2 launches; 3"},
		{"as many, one of them a kernel's", `
    match: {m: exp(x), y: negative(m)}
    replace: {n: kernel.fast(x), y: negative(n)}`, ""},
		{"a kernel for one op", `
    match: {y: exp(x)}
    replace: {y: kernel.fast(x)}`, ""},
		{"more, all of them kernels'", `
    match: {y: exp(x)}
    replace: {n: kernel.fast(x), y: kernel.fast(n)}`, "replace/cost: fewer than 1 launches; 2"},
		{"more, and the rule says so", `
    match: {y: exp(x)}
    cost: {always: {when: 'dim(x, 0) >= 1', source: a test, launches: 1}}
    replace: {n: kernel.fast(x), y: kernel.fast(n)}`, ""},
		{"more than the rule says", `
    match: {y: exp(x)}
    cost: {always: {when: 'dim(x, 0) >= 1', source: a test, launches: 1}}
    replace: {n: kernel.fast(x), m: kernel.fast(n), y: kernel.fast(m)}`, "replace/cost: fewer than 1 launches; 3"},
		{"more of MLX's own, though the rule says so", `
    match: {y: exp(x)}
    cost: {always: {when: 'dim(x, 0) >= 1', source: a test, launches: 1}}
    replace: {n: negative(x), y: exp(n)}`, "replace/cost: fewer than 1 launches; 2"},
		{"as many of MLX's own, and a kernel, though the rule says so", `
    match: {y: exp(x)}
    cost: {always: {when: 'dim(x, 0) >= 1', source: a test, launches: 1}}
    replace: {n: kernel.fast(x), y: exp(n)}`, "replace/cost: fewer than 1 launches; 2"},
		{"a guard", `
    match: {m: exp(x), y: negative(m)}
    guards: {float: 'dtype(x) == "float32"', long: "dim(x, 0) > 4"}
    replace: {y: sin(x)}`, "guard/false: long: dim(x, 0) > 4; dim(x, 0) = 4"},
		{"a guard that asks for what the program does not say", `
    match: {m: exp(x), y: negative(m)}
    guards: {few: batch <= 4}
    replace: {y: sin(x)}`, "symbol-unknown: few: batch <= 4; batch is not known"},
		{"another element type", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: "astype(x, dtype=float16)"}`, "replace/type: y of type float32[4]; float16[4]"},
		{"another shape", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: "sum(x, axis=-1)"}`, "replace/type: y of type float32[4]; float32[]"},
		{"what cannot be built", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: "sum(x, axis=2)"}`, "replace/build: a replacement that can be built; y: sum: attribute axis: axis 2 is out of range for 1 dimensions"},
		{"outside of a kernel's domain", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: kernel.one(x)}`, "kernel/domain: kernel.one.short: operands in the kernel's domain; n <= 1 does not hold: n = 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			specs := kernelSpec("one", "domain: {short: n <= 1}\n", "y: 'exp(x)'")
			specs["fast"] = fast["fast"]
			cfg := configOf(t, rule("r", c.rule), specs)
			k := &rewritten(t, cfg, programOf(t, cfg, chain("exp negative"))).Cases[0]
			got := ""
			for _, f := range k.Whole(cfg.Rules[0]) {
				wanted, found := f.Detail()
				got += f.Code + ": "
				if f.Guard != "" {
					got += f.Guard + ": "
				}
				got += wanted + "; " + found
			}
			equal(t, "refused", got, c.want)
			equal(t, "sites", len(k.Sites), map[bool]int{true: 1, false: 0}[c.want == ""])
			for _, s := range k.Sites {
				equal(t, "launches saved", s.Saved, k.Before.Launches()-k.After.Launches())
				equal(t, "nodes replaced", s.Size, len(s.Match.Nodes))
			}
		})
	}
}

// TestPacked: a product of a packed matrix may become more of MLX's launches, if a cost says so, and
// nothing else may become one, whatever it saves: that is what rewriting ends on.
func TestPacked(t *testing.T) {
	const cost = "\n    cost: {always: {when: 'dim(x, 0) >= 1', source: a test, launches: 1}}"
	const unpack = "\n    match: {y: 'quantized_matmul(x, w, s, b)'}\n    replace: {d: 'dequantize(w, s, b)', y: 'matmul(x, transpose(d, axes=[1, 0]))'}"
	const product = `
  input x : float32[4, 64]
  input w : uint32[8, 8]
  input s : float32[8, 1]
  input b : float32[8, 1]
  y = quantized_matmul(x, w, s, b) : float32[4, 8] @ Y
  output out = y
`
	const unpacked = `
  input x : float32[4, 64]
  input w : uint32[8, 8]
  input s : float32[8, 1]
  input b : float32[8, 1]
  d = dequantize(w, s, b) : float32[8, 64] @ D
  t = transpose(d, axes=[1, 0]) : float32[64, 8] @ D
  y = matmul(x, t) : float32[4, 8] @ Y
  output out = y
`
	for _, c := range []struct{ name, rule, program, want string }{
		{"unpacked first", unpack + cost, product, "r@Y"},
		{"without a cost that says so", unpack, product, ""},
		{"packed again", "\n    match: {y: 'matmul(x, transpose(dequantize(w, s, b), axes=[1, 0]))'}\n    replace: {y: 'quantized_matmul(x, w, s, b)'}", unpacked, ""},
		{"there and back", unpack + cost + "\n    numerics: reordered\n  - name: back\n    doc: Back.\n    match: {y: 'matmul(x, transpose(dequantize(w, s, b), axes=[1, 0]))'}\n    replace: {y: 'quantized_matmul(x, w, s, b)'}\n    numerics: reordered", product, "r@Y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := configOf(t, rule("r", c.rule), nil)
			equal(t, "applied", applied(&rewritten(t, cfg, programOf(t, cfg, c.program)).Cases[0]), c.want)
		})
	}
}

// TestRowsFit: that attention sees no more rows than a cache has holds in every call; no case
// is split by it. That a kernel takes so many is asked.
func TestRowsFit(t *testing.T) {
	spec := func(domain string) map[string]string {
		return map[string]string{"att": `
zmlx: 1
kernel: att
doc: Attention and its opposite.
inputs: {q: "float32[a, b, c, d]", k: "float32[a, b, cap, d]"}
attrs: {len: {kind: int}}
reference: {y: "negative(sdpa(q, k, k, scale=1, kv_len=$len))"}
results: [y]
numerics: exact
domain: {filled: ` + domain + `}
`}
	}
	for _, c := range []struct{ cap, rows, domain, want string }{
		{"kv_cap", "kv_len", "len <= cap", "all: r@Y"},
		{"window_cap", "window_len", "len <= cap", "all: r@Y"},
		{"kv_cap", "kv_len", "len <= 9", "all_kv_len_le_9: r@Y, all: "},
		{"kv_cap", "kv_len", "len < cap", "all_kv_len_lt_kv_cap: r@Y, all: "},
	} {
		cfg := configOf(t, rule("r", `
    match: {a: "sdpa(q, k, k, scale=1, kv_len=$n)", y: negative(a)}
    replace: {y: "kernel.att(q, k, len=$n)"}`), spec(c.domain))
		res := rewritten(t, cfg, programOf(t, cfg, `
  input q : float32[1, 2, 1, 4]
  input k : float32[1, 2, `+c.cap+`, 4]
  a = sdpa(q, k, k, scale=1.0, kv_len=`+c.rows+`) : float32[1, 2, 1, 4]
  y = negative(a) : float32[1, 2, 1, 4] @ Y
  output y = y
`))
		var got []string
		for i := range res.Cases {
			got = append(got, res.Cases[i].Name+": "+applied(&res.Cases[i]))
		}
		equal(t, c.rows+", "+c.domain, strings.Join(got, ", "), c.want)
		if c.domain != "len <= cap" {
			g := res.Cases[0].Sites[0].Guards
			equal(t, "conditions of the site", len(g), 1)
			equal(t, "condition of the site", g[0].Name+": "+g[0].Values(), "kernel.att: decided when it runs")
			equal(t, "its text", g[0].Cond.String(), g[0].Text)
		}
	}
}

// TestJudgedOnce: matches whose operands have the same types are judged once, and each is
// put in its own place.
func TestJudgedOnce(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: sin(x)}"), nil)
	c := &rewritten(t, cfg, programOf(t, cfg, strings.Replace(chain("exp negative abs exp negative"), "output", `
  input long : float32[8]
  p = exp(long) : float32[8]
  q = negative(p) : float32[8] @ Q
  output q = q
  output`, 1))).Cases[0]
	equal(t, "sites", applied(c), "r@Q r@B r@E")
	if s := c.Sites; s[1].cand.shape != s[2].cand.shape || s[0].cand.shape == s[1].cand.shape {
		t.Error("one layer's match is judged as often as there are layers, or another's as this one's")
	}
}

// TestMadeParameters: a parameter that several sites ask for is made once and read by all of
// them, be it in one round, in two, or there before.
func TestMadeParameters(t *testing.T) {
	spec := kernelSpec("with", "", "y: 'exp(x)'")
	spec["with"] = strings.Replace(spec["with"], "float32[n]'}", "float32[n]', w: 'float32[m]'}", 1)
	match := `match: {a: "OP(x, u)", b: "OP(a, v)", y: negative(b)}
    weights: {w: "concat(u, v, axis=0)"}
    replace: {y: "kernel.with(x, w)"}`
	cfg := configOf(t, rule("product", strings.ReplaceAll(match, "OP", "multiply"))+rule("sum", strings.ReplaceAll(match, "OP", "add"))+
		rule("cosine", "match: {e: exp(x), y: abs(e)}\n    replace: {y: cos(x)}")+rule("late", `
    match: {e: cos(x), a: "divide(e, u)", b: "divide(a, v)", y: negative(b)}
    weights: {w: "concat(u, v, axis=0)"}
    replace: {y: "kernel.with(x, w)"}`), spec)
	place := func(op, from, to string) string {
		a, b := to+"a", to+"b"
		return "  " + a + " = " + op + "(" + from + ", m.a) : float32[4]\n  " + b + " = " + op + "(" + a + ", m.b) : float32[4]\n  " + to + " = negative(" + b + ") : float32[4] @ " + to + "\n"
	}
	const head = "\nparam m.a : float32[4]\nparam m.b : float32[4]\n"
	const there = "\nparam m.a : float32[4]\nparam `m.a+b:axis-1` : float32[8] = concat(m.a, m.b, axis=-1)\nparam m.b : float32[4]\n"
	for _, c := range []struct{ name, program, sites string }{
		{"one site", head + "case all\n  input x : float32[4]\n" + place("multiply", "x", "y") + "  output y = y\n", "product@y"},
		{"two sites", head + "case all\n  input x : float32[4]\n" + place("multiply", "x", "y") + place("add", "y", "z") + "  output z = z\n", "product@y sum@z"},
		{"two rounds", head + "case all\n  input x : float32[4]\n" + place("add", "x", "y") + place("multiply", "y", "w") + "  e1 = exp(w) : float32[4]\n  e = abs(e1) : float32[4] @ e\n" + place("divide", "e", "z") + "  output z = z\n", "product@w sum@y cosine@e late@z"},
		{"there, and not read", there + "case all\n  input x : float32[4]\n" + place("multiply", "x", "y") + "  output y = y\n", "product@y"},
		{"there, and read", there + "case all\n  input x : float32[4]\n" + place("multiply", "x", "y") + "  z = kernel.with(y, `m.a+b:axis-1`) : float32[4]\n  output z = z\n", "product@y"},
		{"two cases", head + "case one when batch <= 1\n  input tokens : int32[batch]\n  input x : float32[4]\n" + place("multiply", "x", "y") + "  output y = y\n  output tokens = tokens\n" +
			"case all\n  input tokens : int32[batch]\n  input x : float32[4]\n" + place("add", "x", "y") + "  output y = y\n  output tokens = tokens\n", "product@y, sum@y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := rewritten(t, cfg, programOf(t, cfg, c.program))
			var sites []string
			for i := range res.Cases {
				sites = append(sites, applied(&res.Cases[i]))
				for _, s := range res.Cases[i].Sites {
					if len(s.Rule.Weights) != len(s.Params) || len(s.Params) > 0 && s.Params[0].Name != "m.a+b:axis-1" {
						t.Errorf("%s makes %v", s.Rule.Name, s.Params)
					}
				}
			}
			equal(t, "sites", strings.Join(sites, ", "), c.sites)
			var names []string
			for _, q := range res.Program.Params {
				names = append(names, q.Name)
			}
			equalList(t, "parameters", names, "m.a", "m.a+b:axis-1", "m.b")
		})
	}
}

// TestAbsentWeights: what is made of operands that are absent is absent.
func TestAbsentWeights(t *testing.T) {
	spec := map[string]string{"norms": `
zmlx: 1
kernel: norms
doc: Of this test.
inputs: {x: "float32[n]", "w?": "float32[m]", "b?": "float32[m]"}
reference: {y: "exp(x)"}
results: [y]
numerics: exact
`}
	cfg := configOf(t, rule("r", `
    match: {a: "layer_norm(x, u?, b?, eps=$e)", y: "layer_norm(a, v?, c?, eps=$e)"}
    weights: {w: "concat(u, v, axis=0)", d: "concat(b, c, axis=0)"}
    replace: {y: "kernel.norms(x, w, d)"}`), spec)
	for _, c := range []struct{ first, second, params, want string }{
		{"m.a, m.b", "m.c, m.d", "m.a+c:axis-1 m.b+d:axis-1", ""},
		{"m.a", "m.c", "m.a+c:axis-1", ""},
		{"none, m.b", "none, m.d", "m.b+d:axis-1", ""},
		{"m.a", "none, m.d", "", "w: some of the operands are absent, some are not"},
		{"m.a, m.b", "m.c", "", "d: some of the operands are absent, some are not"},
		{"none, m.b", "m.c, m.d", "", "w: some of the operands are absent, some are not"},
		{"x", "m.c", "", "w: u is made by input; it must be a parameter"},
		{"m.a", "s", "", "w: v is made by sin; it must be a parameter"},
	} {
		res := rewritten(t, cfg, programOf(t, cfg, `
param m.a : float32[4]
param m.b : float32[4]
param m.c : float32[4]
param m.d : float32[4]
case all
  input x : float32[4]
  s = sin(x) : float32[4]
  a = layer_norm(x, `+c.first+`, eps=1) : float32[4]
  y = layer_norm(a, `+c.second+`, eps=1) : float32[4] @ Y
  output s = s
  output y = y
`))
		k := &res.Cases[0]
		var params []string
		for _, s := range k.Sites {
			for _, q := range s.Params {
				params = append(params, q.Name)
			}
		}
		equal(t, c.first+" and "+c.second, strings.Join(params, " "), c.params)
		why := ""
		for _, f := range k.Whole(cfg.Rules[0]) {
			wanted, found := f.Detail()
			equal(t, "code", f.Code, CodeWeights)
			equal(t, "wanted", wanted, "parameters that can be rearranged")
			why = found
		}
		equal(t, c.first+" and "+c.second, why, c.want)
	}
}

// TestWeightsOfEach: of matches that are judged together each has its own weights. One whose
// weights cannot be made is refused, and no other.
func TestWeightsOfEach(t *testing.T) {
	spec := kernelSpec("with", "", "y: 'exp(x)'")
	spec["with"] = strings.Replace(spec["with"], "float32[n]'}", "float32[n]', w: 'float32[m]'}", 1)
	cfg := configOf(t, rule("r", `
    match: {a: "multiply(x, u)", y: negative(a)}
    weights: {w: "concat(u, u, axis=0)"}
    replace: {y: "kernel.with(x, w)"}`), spec)
	place := func(u, from, to string) string {
		return "  " + to + "a = multiply(" + from + ", " + u + ") : float32[4]\n  " + to + " = negative(" + to + "a) : float32[4] @ " + to + "\n"
	}
	for _, c := range []struct{ name, places, sites, refused string }{
		{"all of parameters", place("m.a", "x", "p") + place("m.b", "p", "q") + place("m.a", "q", "y"), "r@p m.a+a:axis-1 r@q m.b+b:axis-1 r@y m.a+a:axis-1", ""},
		{"the first is none", place("s", "x", "p") + place("m.b", "p", "q") + place("m.a", "q", "y"), "r@q m.b+b:axis-1 r@y m.a+a:axis-1", "p weights/parameter 2/2"},
		{"the second is none", place("m.a", "x", "p") + place("s", "p", "q") + place("m.b", "q", "y"), "r@p m.a+a:axis-1 r@y m.b+b:axis-1", "q weights/parameter 2/2"},
	} {
		k := &rewritten(t, cfg, programOf(t, cfg, "\nparam m.a : float32[4]\nparam m.b : float32[4]\ncase all\n  input x : float32[4]\n  input s : float32[4]\n"+c.places+"  output y = y\n")).Cases[0]
		var got []string
		for _, s := range k.Sites {
			got = append(got, "r@"+s.Scope+" "+s.Params[0].Name)
		}
		equal(t, c.name, strings.Join(got, " "), c.sites)
		equal(t, c.name, strings.Join(refused(t, k, "r"), " "), c.refused)
	}
}

package matcher

import (
	"strings"
	"testing"
)

// TestPatterns shows what rules become: each expansion, in the order in which they are
// tried.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		name, rule string
		want       []string
	}{
		{"a line that is named before it stands",
			`match: {y: "slice(p, axis=-1, start=dim(q, -1)-$k)", q: exp(x), p: "multiply(x, q)"}` + "\n    replace: {y: x}",
			[]string{`
q = exp(x)
p = multiply(x, q)
y = slice(p, axis=-1, start=(dim(q, -1) - $k))
results y`}},
		{"open and closed attributes, optional operands, constants",
			`match: {n: "rms_norm(x, w?, eps=$eps)", s: "softmax(n, ...)", y: "add(multiply(s, -0.5), 2)"}` + "\n    replace: {y: x}",
			[]string{`
n = rms_norm(x, w?, eps=$eps)
s = softmax(n, ...)
_2 = multiply(s, -0.5)
y = add(_2, 2)
results y`}},
		{"what a fragment is given",
			`match: {a: 'bend(silu(x), 2)', y: row(a)}` + "\n    replace: {y: x}",
			[]string{`
_0 = sigmoid(x)
_1 = multiply(x, _0)
a = cos(_1)
y = exp(a)
when rank(x) == 1
results y`}},
		{"spellings that go together",
			`match: {a: 'bend(x, $w)', b: 'bend(a, $w)', y: 'bend(b, $v)'}` + "\n    replace: {y: x}",
			[]string{`
a = sin(x)
b = sin(a)
y = sin(b)
$w = 1
$w = 1
$v = 1
results y`, `
a = sin(x)
b = sin(a)
y = cos(b)
$w = 1
$w = 1
$v = 2
results y`, `
a = cos(x)
b = cos(a)
y = sin(b)
$w = 2
$w = 2
$v = 1
results y`, `
a = cos(x)
b = cos(a)
y = cos(b)
$w = 2
$w = 2
$v = 2
results y`}},
		{"alternatives, the larger first",
			`match: {a: 'exp(any(x, negative(x)))', y: 'sin(optional(power(b=2, a=a)))'}` + "\n    replace: {y: x}",
			[]string{`
_0 = negative(x)
a = exp(_0)
_2 = power(a, 2)
y = sin(_2)
results y`, `
a = exp(x)
_1 = power(a, 2)
y = sin(_1)
results y`, `
_0 = negative(x)
a = exp(_0)
y = sin(a)
results y`, `
a = exp(x)
y = sin(a)
results y`}},
		{"axes in order, with their positions",
			`match: {a: 'slice(x, axis=[-1, -3, -2], start=[$i, 2, $j], stop=[4, 5, 6])', y: exp(a)}` + "\n    replace: {y: x}",
			[]string{`
a = slice(x, axis=[-3, -2, -1], start=[2, $j, $i], stop=[5, 6, 4])
y = exp(a)
results y`}},
		{"axes whose order is not known",
			`match: {a: 'slice(x, axis=[-1, 0], start=[1, 2])', y: exp(a)}` + "\n    replace: {y: x}",
			[]string{`
a = slice(x, axis=[-1, 0], start=[1, 2])
y = exp(a)
results y`}},
		{"twins",
			`match: {q: 'silu(matmul(x, u))', k: 'silu(matmul(x, v))', p: 'silu(matmul(z, x))'}` + "\n    replace: {q: x, k: x, p: x}",
			[]string{`
_0 = matmul(x, u)
_1 = sigmoid(_0)
q = multiply(_0, _1)
_3 = matmul(x, v)
_4 = sigmoid(_3)
k = multiply(_3, _4)
_6 = matmul(z, x)
_7 = sigmoid(_6)
p = multiply(_6, _7)
results q, k, p
twins q, k`}},
		{"no twins: another line reads one of them, or a part of one",
			`match: {q: 'exp(x)', k: 'exp(z)', d: 'subtract(q, k)', h: 'sin(d)', a: 'cos(h)', b: 'cos(sin(w))', e: 'tan(h)', f: 'add(w, d)'}` +
				"\n    results: [q, k]\n    replace: {q: x, k: x, a: x, b: x, e: x, f: x}",
			[]string{`
q = exp(x)
k = exp(z)
d = subtract(q, k)
h = sin(d)
a = cos(h)
_5 = sin(w)
b = cos(_5)
e = tan(h)
f = add(w, d)
results q, k, a, b, e, f`}},
		{"no twins: a part of one may be used outside",
			`match: {h: 'maximum(x, z)', a: 'negative(h)', i: 'maximum(x, w)', b: 'negative(i)'}` + "\n    results: [a, b, i]\n    replace: {a: x, b: x, i: x}",
			[]string{`
h = maximum(x, z)
a = negative(h)
i = maximum(x, w)
b = negative(i)
results a, b, i`}},
		{"no twins: what both read is made of the operand of one",
			`match: {h: 'exp(x)', a: 'maximum(x, h)', b: 'maximum(z, h)'}` + "\n    results: [a, b, h]\n    replace: {a: x, b: x, h: x}",
			[]string{`
h = exp(x)
a = maximum(x, h)
b = maximum(z, h)
results a, b, h`}},
		{"axes that are none, and one that is 0",
			`match: {a: 'slice(x, axis=[], start=[])', b: 'slice(a, axis=[1, 0], start=[2, 3])', c: 'slice(b, axis=[-1, 0, 1], start=[2, 3, 4])', y: 'slice_update(c, x, axis=[-1, -2], start=[1, 2])'}` + "\n    replace: {y: x}",
			[]string{`
a = slice(x, axis=[], start=[])
b = slice(a, axis=[0, 1], start=[3, 2])
c = slice(b, axis=[-1, 0, 1], start=[2, 3, 4])
y = slice_update(c, x, axis=[-2, -1], start=[2, 1])
results y`}},
		{"an op left out whose operand is no line: nothing is there to replace",
			`match: {a: 'exp(x)', y: 'optional(sin(x))'}` + "\n    replace: {a: x, y: x}",
			[]string{`
a = exp(x)
y = sin(x)
results a, y`}},
		{"ranges, and ops of several results",
			`match: {r: 'arange(stop=4)', 'q, s, b': 'quantize(x, group_size=$g)', 'h, o': 'kernel.add_rms_norm(s, b, w, eps=$e)', y: 'add(r, h)'}` +
				"\n    results: [q, o, y]\n    replace: {q: x, o: x, y: x}",
			[]string{`
r = arange(stop=4)
q.0, q.1, q.2 = quantize(x, group_size=$g)
h.0, h.1 = kernel.add_rms_norm(q.1, q.2, w, eps=$e)
y = add(r, h.0)
results q.0, h.1, y`}},
		{"twins of several results, and of lengths of their own",
			`match: {'q, s, b': 'quantize(add(x, u))', 'p, t, c': 'quantize(add(x, v))', m: 'slice(matmul(x, i), axis=-1, start=dim(i, 0))', n: 'slice(matmul(x, j), axis=-1, start=dim(j, 0))'}` +
				"\n    replace: {q: x, s: x, b: x, p: x, t: x, c: x, m: x, n: x}",
			[]string{`
_0 = add(x, u)
q.0, q.1, q.2 = quantize(_0)
_2 = add(x, v)
p.0, p.1, p.2 = quantize(_2)
_4 = matmul(x, i)
m = slice(_4, axis=-1, start=dim(i, 0))
_6 = matmul(x, j)
n = slice(_6, axis=-1, start=dim(j, 0))
results q.0, q.1, q.2, p.0, p.1, p.2, m, n
twins q.0, p.0
twins m, n`}},
		{"twins of variadic ops: the same operands at the same places",
			`match: {a: 'concatenate(concatenate(x, s, axis=-1), t, axis=-1)', b: 'concatenate(concatenate(x, u, axis=-1), v, axis=-1)', c: 'concatenate(concatenate(x, w, z, axis=-1), axis=-1)', d: 'concatenate(x, r, axis=-1)', e: 'concatenate(x, r, q, axis=-1)'}` +
				"\n    replace: {a: x, b: x, c: x, d: x, e: x}",
			[]string{`
_0 = concatenate(x, s, axis=-1)
a = concatenate(_0, t, axis=-1)
_2 = concatenate(x, u, axis=-1)
b = concatenate(_2, v, axis=-1)
_4 = concatenate(x, w, z, axis=-1)
c = concatenate(_4, axis=-1)
d = concatenate(x, r, axis=-1)
e = concatenate(x, r, q, axis=-1)
results a, b, c, d, e
twins a, b`}},
		{"no twins: an attribute differs, its variable, or of what a length is",
			`match: {a: 'softmax(x)', b: 'softmax(x, precise=true)', c: 'softmax(x, axis=$i)', d: 'softmax(x, axis=$j)', e: 'slice(matmul(x, u), axis=-1, start=dim(u, 0))', f: 'slice(matmul(x, v), axis=-1, start=dim(x, 0))'}` +
				"\n    replace: {a: x, b: x, c: x, d: x, e: x, f: x}",
			[]string{`
a = softmax(x)
b = softmax(x, precise=true)
c = softmax(x, axis=$i)
d = softmax(x, axis=$j)
_4 = matmul(x, u)
e = slice(_4, axis=-1, start=dim(u, 0))
_6 = matmul(x, v)
f = slice(_6, axis=-1, start=dim(x, 0))
results a, b, c, d, e, f`}},
		{"no twins: a length at the end of an expression is of what both have",
			`match: {a: 'slice(matmul(x, u), axis=-1, start=1+dim(u, 0))', b: 'slice(matmul(x, v), axis=-1, start=1+dim(v, 0))', y: 'slice(x, axis=-1, start=2+dim(v, 0))'}` +
				"\n    replace: {a: x, b: x, y: x}",
			[]string{`
_0 = matmul(x, u)
a = slice(_0, axis=-1, start=(1 + dim(u, 0)))
_2 = matmul(x, v)
b = slice(_2, axis=-1, start=(1 + dim(v, 0)))
y = slice(x, axis=-1, start=(2 + dim(v, 0)))
results a, b, y`}},
		{"no twins: a condition asks about a part of one",
			`match: {a: 'row(subtract(x, u))', b: 'exp(subtract(x, v))'}` + "\n    replace: {a: x, b: x}",
			[]string{`
_0 = subtract(x, u)
a = exp(_0)
_2 = subtract(x, v)
b = exp(_2)
when rank(x) == 1
results a, b`}},
		{"no twins: they differ inside an expression, or one is measured",
			`match: {a: 'slice(x, axis=-1, start=$k+1)', b: 'slice(x, axis=-1, start=$k+2)', c: 'matmul(x, u)', d: 'matmul(x, v)', e: 'slice(x, axis=-1, stop=dim(u, -1))'}` +
				"\n    replace: {a: x, b: x, c: x, d: x, e: x}",
			[]string{`
a = slice(x, axis=-1, start=($k + 1))
b = slice(x, axis=-1, start=($k + 2))
c = matmul(x, u)
d = matmul(x, v)
e = slice(x, axis=-1, stop=dim(u, -1))
results a, b, c, d, e`}},
		{"two optional ops: the first is left out last",
			`match: {a: 'sin(optional(exp(x)))', y: 'cos(optional(tan(a)))'}` + "\n    replace: {y: x}",
			[]string{`
_0 = exp(x)
a = sin(_0)
_2 = tan(a)
y = cos(_2)
results y`, `
_0 = exp(x)
a = sin(_0)
y = cos(a)
results y`, `
a = sin(x)
_1 = tan(a)
y = cos(_1)
results y`, `
a = sin(x)
y = cos(a)
results y`}},
		{"operands that are none, and differences",
			`match: {a: 'sdpa(q, k, v, none, s, scale=$c)', b: 'rms_norm(a, none, eps=$e)', y: 'slice(b, axis=-1, start=-$i, stop=$j-1)'}` + "\n    replace: {y: q}",
			[]string{`
a = sdpa(q, k, v, none, s, scale=$c)
b = rms_norm(a, eps=$e)
y = slice(b, axis=-1, start=-$i, stop=($j - 1))
results y`}},
		{"no twins: a number, one value twice, an operand that may be absent, a length differ",
			`match: {a: 'add(x, 1.0)', b: 'add(x, 2.0)', c: 'tan(multiply(x, multiply(u, u)))', d: 'tan(multiply(x, multiply(v, w)))', ` +
				`e: 'rms_norm(x, g?, eps=1.0)', f: 'rms_norm(x, h, eps=1.0)', i: 'slice(x, axis=-1, start=1+$k)', j: 'slice(x, axis=-1, start=2+$k)', ` +
				`m: 'matmul(x, p)', n: 'matmul(x, q)', o: 'reshape(x, shape=[dim(p, -1)+1, 2])'}` +
				"\n    replace: {a: x, b: x, c: x, d: x, e: x, f: x, i: x, j: x, m: x, n: x, o: x}",
			[]string{`
a = add(x, 1.0)
b = add(x, 2.0)
_2 = multiply(u, u)
_3 = multiply(x, _2)
c = tan(_3)
_5 = multiply(v, w)
_6 = multiply(x, _5)
d = tan(_6)
e = rms_norm(x, g?, eps=1.0)
f = rms_norm(x, h, eps=1.0)
i = slice(x, axis=-1, start=(1 + $k))
j = slice(x, axis=-1, start=(2 + $k))
m = matmul(x, p)
n = matmul(x, q)
o = reshape(x, shape=[(dim(p, -1) + 1), 2])
results a, b, c, d, e, f, i, j, m, n, o`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range compile(t, c.rule) {
				got = append(got, "\n"+strings.TrimSpace(p.String()))
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got%s\nwant%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

package author

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Every op that gives a number has a derivative, and it is what finite differences of this
// package's evaluator say.
func TestDerivatives(t *testing.T) {
	cases := map[string][]string{
		"add": {"x + y"}, "subtract": {"x - y", "3 - x"}, "multiply": {"x * y", "x * x"}, "divide": {"x / y", "2 / y"},
		"power":   {"x ** 5", "x ** 2.5", "x ** -3", "x ** 0.5", "x ** -0.5", "x ** -1", "x ** -2", "x ** 3", "x ** 4"},
		"maximum": {"maximum(x, y)", "maximum(x, 1)"}, "minimum": {"minimum(x, y)", "minimum(1, x)"},
		"logaddexp": {"logaddexp(x, y)", "logaddexp(x, 0)"},
		"where":     {"where(x > y, x * y, y)", "where(x > 1 || y < 1, 2, -3) * x"},
		"sum":       {"sum(x * y) * x", "sum(x) * sum(y)", "x * sum(w) + w"},
		"max":       {"max(x * y)", "x * max(y)"}, "min": {"min(x) + y"},
		"logsumexp": {"logsumexp(x * y)", "x - logsumexp(x)"},
		"ceil":      {"x * ceil(x)"}, "floor": {"x * floor(y * 3)"}, "sign": {"sign(x - 1) * x"},
	}
	named := []string{"mean(x) * x", "var(x) * w", "x / (1 + sum(abs(x)))", "w * w * x", "sum(x) + w * y"}
	for name, o := range ops {
		switch {
		case o.truth:
			if derivatives[name] != nil {
				t.Errorf("%s gives a condition and has a derivative", name)
			}
			continue
		case derivatives[name] == nil:
			t.Errorf("%s has no derivative", name)
		case cases[name] == nil && o.operands == 1:
			cases[name] = []string{name + "(x)", name + "(x * y)"}
		case cases[name] == nil:
			t.Errorf("%s is not tested", name)
		}
	}
	for name := range derivatives {
		if cases[name] == nil {
			t.Errorf("derivative of %s, which is not an op", name)
		}
	}
	for _, list := range cases {
		for _, text := range list {
			differentiate(t, text)
		}
	}
	for _, text := range named {
		differentiate(t, text)
	}
}

func differentiate(t *testing.T, text string) {
	t.Helper()
	b := newBuilder()
	r := &reader{builder: b, options: &Options{Vectors: []string{"w"}}, lines: map[string]*node{}, results: true}
	result, err := r.formula(text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	b.simplify = true
	cot, err := b.leaf(cotangentOp, "d_out", result.shape)
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.pullBack(result, cot)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	v := &values{rows: 2, n: 3, of: map[string][]float64{}, round: func(x float64) float64 { return x }}
	draw := func(n *node) {
		list := make([]float64, v.size(n.shape))
		for i := range list {
			list[i] = 0.3 + 1.5*rnd.Float64()
		}
		v.of[n.name] = list
	}
	for _, x := range b.inputs {
		draw(x)
	}
	draw(cot)
	total := func() float64 {
		sum := 0.0
		for i, y := range v.eval(result) {
			sum += y * v.of["d_out"][i]
		}
		return sum
	}
	for _, x := range b.inputs {
		var got []float64
		if d[x] != nil {
			got = v.eval(d[x])
		}
		data := v.of[x.name]
		if got != nil && len(got) != len(data) {
			t.Errorf("%s: d_%s has %d elements of %d", text, x.name, len(got), len(data))
			continue
		}
		for i, at := range data {
			const h = 1e-5
			data[i] = at + h
			up := total()
			data[i] = at - h
			down := total()
			data[i] = at
			want, found := (up-down)/(2*h), 0.0
			if got != nil {
				found = got[i]
			}
			if math.Abs(found-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("%s: d_%s[%d] = %v, finite differences %v", text, x.name, i, found, want)
			}
		}
	}
}

func TestNoGradient(t *testing.T) {
	for text, want := range map[string]string{
		"floor(x)":    "it is 0 everywhere",
		"x ** abs(y)": "power has one only where the exponent is a number",
	} {
		k, err := Elementwise("f", text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if k.NoGradient != want {
			t.Errorf("%s: no gradient: %q, want %q", text, k.NoGradient, want)
		}
		parse(t, k)
	}
}

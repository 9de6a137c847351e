package graph

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

var testSymbols = []string{"batch", "seq_len", "kv_len"}

// randomDim makes a small polynomial, and the same one by way of a function over
// big integers that knows nothing of Dim.
func randomDim(r *rand.Rand, depth int) (Dim, func(env map[string]int64) *big.Int) {
	if depth == 0 || r.IntN(4) == 0 {
		if r.IntN(2) == 0 {
			n := r.Int64N(9) - 4
			return N(n), func(map[string]int64) *big.Int { return big.NewInt(n) }
		}
		s := testSymbols[r.IntN(len(testSymbols))]
		return Sym(s), func(env map[string]int64) *big.Int { return big.NewInt(env[s]) }
	}
	a, fa := randomDim(r, depth-1)
	b, fb := randomDim(r, depth-1)
	switch r.IntN(3) {
	case 0:
		return a.Add(b), func(e map[string]int64) *big.Int { return new(big.Int).Add(fa(e), fb(e)) }
	case 1:
		return a.Sub(b), func(e map[string]int64) *big.Int { return new(big.Int).Sub(fa(e), fb(e)) }
	}
	return a.Mul(b), func(e map[string]int64) *big.Int { return new(big.Int).Mul(fa(e), fb(e)) }
}

func randomEnv(r *rand.Rand) map[string]int64 {
	env := map[string]int64{}
	for _, s := range testSymbols {
		env[s] = 1 + r.Int64N(7)
	}
	return env
}

func TestDimAgainstBigIntegers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		d, f := randomDim(r, 3)
		env := randomEnv(r)
		got, err := d.Eval(env)
		if want := f(env); err != nil || want.Cmp(big.NewInt(got)) != 0 {
			t.Fatalf("%s at %v is %d (%v), not %s", d, env, got, err, want)
		}
		// Substituting numbers, or numbers for some symbols, changes no value.
		some := map[string]Dim{}
		for s, n := range env {
			if r.IntN(2) == 0 {
				some[s] = N(n)
			}
		}
		if again, err := d.Subst(some).Eval(env); err != nil || again != got {
			t.Fatalf("%s with %v is %d (%v), not %d", d, some, again, err, got)
		}
		back, err := ParseDim(d.String())
		if err != nil || back != d {
			t.Fatalf("%s reads back as %s: %v", d, back, err)
		}
	}
}

func TestDimRing(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		a, _ := randomDim(r, 2)
		b, _ := randomDim(r, 2)
		c, _ := randomDim(r, 2)
		for law, sides := range map[string][2]Dim{
			"a+b = b+a":         {a.Add(b), b.Add(a)},
			"(a+b)+c = a+(b+c)": {a.Add(b).Add(c), a.Add(b.Add(c))},
			"ab = ba":           {a.Mul(b), b.Mul(a)},
			"(ab)c = a(bc)":     {a.Mul(b).Mul(c), a.Mul(b.Mul(c))},
			"a(b+c) = ab+ac":    {a.Mul(b.Add(c)), a.Mul(b).Add(a.Mul(c))},
			"a-a = 0":           {a.Sub(a), N(0)},
			"a*1 = a":           {a.Mul(N(1)), a},
			"a*0 = 0":           {a.Mul(N(0)), Dim{}},
			"sum = fold":        {Sum([]Dim{a, b, c, b}), a.Add(b).Add(c).Add(b)},
			"product = fold":    {Product([]Dim{a, b, c}), a.Mul(b).Mul(c)},
		} {
			if sides[0] != sides[1] {
				t.Fatalf("%s fails for %s, %s, %s: %s and %s", law, a, b, c, sides[0], sides[1])
			}
		}
	}
}

func TestDimDiv(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	b, l := Sym("batch"), Sym("seq_len")
	for range 1000 {
		a, _ := randomDim(r, 2)
		for _, e := range []Dim{N(1), N(-3), N(8), b, b.Mul(l), b.Mul(N(4))} {
			if q, ok := a.Mul(e).Div(e); !ok || q != a {
				t.Fatalf("(%s) * (%s) / (%s) is %s, %v", a, e, e, q, ok)
			}
			if q, ok := a.Div(e); ok && q.Mul(e) != a {
				t.Fatalf("(%s) / (%s) is said to be %s", a, e, q)
			}
		}
	}
	for _, c := range []struct {
		d, e Dim
		q    string // empty: not divisible
	}{
		{N(7), N(2), ""},
		{b, N(2), ""},
		{N(8), N(0), ""},
		{N(0), b, "0"},
		{b.Mul(l).Add(b), b, "seq_len + 1"},
		{b.Mul(l).Add(N(1)), b, ""},
		{b.Add(l), b.Add(l), "1"},
		{b.Add(l).Mul(N(2)), b.Add(l), ""}, // true, but not decided
		{b.Mul(b).Mul(N(6)), b.Mul(N(3)), "2*batch"},
	} {
		q, ok := c.d.Div(c.e)
		if ok != (c.q != "") || ok && q.String() != c.q {
			t.Errorf("(%s) / (%s) is %s, %v, want %q", c.d, c.e, q, ok, c.q)
		}
	}
}

func TestDimText(t *testing.T) {
	b, l := Sym("batch"), Sym("seq_len")
	for _, c := range []struct {
		d    Dim
		want string
	}{
		{Dim{}, "0"},
		{N(-5), "-5"},
		{N(math.MinInt64), "-9223372036854775808"},
		{l.Add(b), "batch + seq_len"},
		{b.Mul(l).Mul(N(8)).Sub(N(1)), "8*batch*seq_len - 1"},
		{l.Mul(l).Add(l), "seq_len*seq_len + seq_len"},
		{N(3).Sub(b), "-batch + 3"},
		{l.Sub(b.Mul(N(2))), "-2*batch + seq_len"},
	} {
		if got := c.d.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if back, err := ParseDim(c.want); err != nil || back != c.d {
			t.Errorf("%q reads as %s: %v", c.want, back, err)
		}
	}
	for text, want := range map[string]Dim{"2 * (batch + 1) - batch": b.Add(N(2)), "-(batch)": b.Mul(N(-1)), "(2)*3": N(6)} {
		if got, err := ParseDim(text); err != nil || got != want {
			t.Errorf("%s reads as %s: %v", text, got, err)
		}
	}
}

// What does not fit saturates, and no text is read as a saturated dimension.
func TestDimBounds(t *testing.T) {
	if d := N(math.MaxInt64).Add(N(1)); d != N(math.MaxInt64) {
		t.Error("sum:", d)
	}
	if d := N(math.MinInt64).Add(N(math.MinInt64)); d != N(math.MinInt64) {
		t.Error("sum:", d)
	}
	if d := N(math.MinInt64).Mul(N(-1)); d != N(math.MaxInt64) {
		t.Error("product:", d)
	}
	many := N(0)
	for i := range maxTerms + 1 {
		many = many.Add(Sym(fmt.Sprintf("s%d", i)))
	}
	if !many.saturated() {
		t.Errorf("%d terms are kept", maxTerms+1)
	}
	if _, err := N(1 << 40).Mul(N(1 << 40)).Eval(nil); err != nil {
		t.Error("a saturated number evaluates to itself:", err)
	}
	if _, err := Sym("n").Mul(N(1 << 40)).Eval(map[string]int64{"n": 1 << 40}); err == nil {
		t.Error("Eval overflows silently")
	}
	if _, err := Sym("n").Mul(Sym("n")).Sub(Sym("n")).Eval(map[string]int64{"n": 1 << 40}); err == nil {
		t.Error("Eval subtracts from an overflow")
	}
	if _, err := Sym("n").Eval(nil); err == nil || err.Error() != "symbol n is not known" {
		t.Error("unbound symbol:", err)
	}
	power := "n"
	for range maxDegree {
		power += "*n"
	}
	for _, text := range []string{"9223372036854775808", "9223372036854775807 + 1", "4611686018427387904*n*2", power, "1.5", "a.b", "`in`", "`a*b`", "n?", "!n", "n == 1", `"n"`, "f(n)", ""} {
		if d, err := ParseDim(text); err == nil {
			t.Errorf("%s is read as %s", text, d)
		}
	}
}

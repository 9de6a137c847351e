package graph

import (
	"math/rand/v2"
	"testing"
)

var testCmps = []Cmp{EQ, NE, LT, LE, GT, GE}

func randomCond(r *rand.Rand, depth int) Cond {
	if depth == 0 || r.IntN(3) == 0 {
		if r.IntN(8) == 0 {
			return boolCond(r.IntN(2) == 0)
		}
		l, _ := randomDim(r, 1+r.IntN(2))
		rhs := N(r.Int64N(12) - 2)
		if r.IntN(3) == 0 {
			rhs, _ = randomDim(r, 1)
		}
		return Compare(l, testCmps[r.IntN(len(testCmps))], rhs)
	}
	list := make([]Cond, 1+r.IntN(3))
	for i := range list {
		list[i] = randomCond(r, depth-1)
	}
	switch r.IntN(3) {
	case 0:
		return And(list...)
	case 1:
		return Or(list...)
	}
	return Not(list[0])
}

// eachEnv runs over all small values of the symbols.
func eachEnv(f func(env map[string]int64)) {
	for b := int64(1); b <= 5; b++ {
		for l := int64(1); l <= 5; l++ {
			for k := int64(1); k <= 5; k++ {
				f(map[string]int64{"batch": b, "seq_len": l, "kv_len": k})
			}
		}
	}
}

func eval(t *testing.T, c Cond, env map[string]int64) bool {
	t.Helper()
	b, err := c.Eval(env)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Simplifying, negating, substituting and printing keep the meaning of a
// condition at every point where the assumption holds.
func TestCondMeaning(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	decided := 0
	for range 1500 {
		a, c := randomCond(r, 2), randomCond(r, 2)
		given, not := c.Given(a), Not(c)
		if given.IsTrue() != given.IsFalse() && !c.IsTrue() && !c.IsFalse() {
			decided++
		}
		back, err := ParseCond(c.String())
		if err != nil || !back.Equal(c) {
			t.Fatalf("%s reads back as %s: %v", c, back, err)
		}
		seq := c.Subst(map[string]Dim{"seq_len": N(2)})
		eachEnv(func(env map[string]int64) {
			want := eval(t, c, env)
			if eval(t, not, env) == want {
				t.Fatalf("not (%s) is %s, wrong at %v", c, not, env)
			}
			if eval(t, a, env) && eval(t, given, env) != want {
				t.Fatalf("(%s) given (%s) is %s, wrong at %v", c, a, given, env)
			}
			if env["seq_len"] == 2 && eval(t, seq, env) != want {
				t.Fatalf("(%s) with seq_len 2 is %s, wrong at %v", c, seq, env)
			}
		})
	}
	if decided < 100 {
		t.Errorf("only %d of 1500 conditions were decided; the test has no teeth", decided)
	}
}

// A comparison says the same of all values as its sides do, also where it is written shorter.
func TestCompare(t *testing.T) {
	for _, c := range []struct{ cond, want string }{
		{"8*batch >= 100", "batch >= 13"},
		{"8*batch > 100", "batch > 12"},
		{"8*batch <= 100", "batch <= 12"},
		{"8*batch < 100", "batch < 13"},
		{"8*batch < 96", "batch < 12"},
		{"100 <= 8*batch", "13 <= batch"},
		{"4*batch + 6*seq_len <= 9", "2*batch + 3*seq_len <= 4"},
		{"4*batch + 6*seq_len <= kv_len", "4*batch + 6*seq_len <= kv_len"},
		{"4*batch + 1 <= 9", "4*batch + 1 <= 9"},
		{"4*batch == 8", "batch == 2"},
		{"4*batch == 9", "4*batch == 9"},
		{"0 - 4*batch >= 0 - 9", "-batch >= -2"},
	} {
		if got, err := ParseCond(c.cond); err != nil || got.String() != c.want {
			t.Errorf("%s is %s, want %s (%v)", c.cond, got, c.want, err)
		}
	}
	r := rand.New(rand.NewPCG(5, 5))
	for range 1500 {
		l, _ := randomDim(r, 1+r.IntN(2))
		l, right := l.Mul(N(r.Int64N(9)-4)), N(r.Int64N(60)-30)
		if r.IntN(2) == 0 {
			l, right = right, l
		}
		op := testCmps[r.IntN(len(testCmps))]
		c := Compare(l, op, right)
		eachEnv(func(env map[string]int64) {
			a, err1 := l.Eval(env)
			b, err2 := right.Eval(env)
			if err1 != nil || err2 != nil || eval(t, c, env) != holds(a-b, op) {
				t.Fatalf("%s %s %s is %s, wrong at %v (%v, %v)", l, op, right, c, env, err1, err2)
			}
		})
	}
}

// Of inequalities of one thing, Or keeps the widest; equal ones that are written otherwise stay.
func TestOrKeepsTheWidest(t *testing.T) {
	for _, c := range []struct{ cond, want string }{
		{"batch <= 1 || batch <= 8", "batch <= 8"},
		{"batch <= 8 || batch < 2", "batch <= 8"},
		{"batch > 3 || batch >= 2 || batch > 5", "batch >= 2"},
		{"batch <= 1 || batch > 4", "batch <= 1 || batch > 4"},
		{"batch <= 1 || seq_len <= 8", "batch <= 1 || seq_len <= 8"},
		{"2*batch <= 8 || batch <= 1", "batch <= 4"},
		{"batch*seq_len <= 1 || batch*seq_len <= 8 || batch == 9", "batch*seq_len <= 8 || batch == 9"},
		{"batch + 1 <= 3 || batch <= 2", "batch + 1 <= 3 || batch <= 2"},
		{"seq_len == 1 && (batch <= 1 || batch <= 8)", "seq_len == 1 && batch <= 8"},
	} {
		got, err := ParseCond(c.cond)
		if err != nil || got.String() != c.want {
			t.Errorf("%s is %s, want %s (%v)", c.cond, got, c.want, err)
		}
	}
}

func TestCondGiven(t *testing.T) {
	for _, c := range []struct{ cond, given, want string }{
		{"seq_len <= 1", "seq_len == 1", "true"},
		{"seq_len == 1", "seq_len <= 1", "true"}, // symbols are at least 1
		{"seq_len > 1", "seq_len == 1", "false"},
		{"batch*seq_len*8 >= 64", "batch*seq_len >= 8", "true"},
		{"batch*seq_len*8 >= 3072", "batch*seq_len <= 8", "false"},
		{"batch*seq_len >= 64", "batch*seq_len >= 64", "true"},
		{"batch*seq_len < 64", "batch*seq_len >= 64", "false"},
		{"batch >= 1", "true", "true"},
		{"batch*seq_len >= 4", "batch >= 2 && seq_len >= 2", "true"},
		{"kv_len - seq_len >= 0", "true", "kv_len - seq_len >= 0"},
		{"seq_len == 1 && batch <= 8", "seq_len == 1", "batch <= 8"},
		{"seq_len == 1 || batch <= 8", "seq_len == 1", "true"},
		{"seq_len in [1, 2]", "seq_len == 2", "true"},
		{"seq_len == 3", "seq_len == 1 && seq_len == 2", "seq_len == 3"}, // never holds
		{"batch > 4", "batch > 2 || batch > 8", "batch > 4"},
	} {
		cond, err := ParseCond(c.cond)
		if err != nil {
			t.Fatal(err)
		}
		given, err := ParseCond(c.given)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ParseCond(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := cond.Given(given); !got.Equal(want) {
			t.Errorf("(%s) given (%s) is %s, want %s", c.cond, c.given, got, want)
		}
	}
}

func TestCondErrors(t *testing.T) {
	if _, err := Compare(Sym("n"), EQ, N(1)).Eval(nil); err == nil {
		t.Error("an unknown symbol is no error")
	}
	for _, text := range []string{"batch", "1", "batch + 1", "batch == 1 == 1", "batch in 3", `batch == "x"`, "$n == 1", "batch < true", "-batch", "not batch", "rows(x) == 1", "batch &&"} {
		if c, err := ParseCond(text); err == nil {
			t.Errorf("%q is read as %s", text, c)
		}
	}
}

package exact

import (
	"context"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"zmlx-rewrite/engine/enginetest"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

func TestFields(t *testing.T) {
	for _, n := range []int64{P, Q} {
		if !big.NewInt(n).ProbablyPrime(30) {
			t.Errorf("%d is not prime", n)
		}
	}
	if (P-1)%Q != 0 || power(root, Q, P) != 1 || root%P == 1 {
		t.Error("root does not have order Q")
	}
}

// TestIdentities are what the fields know, and what they must not take for true.
func TestIdentities(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tr := NewTrace()
	x, y := Random(rng, 0.7), Random(rng, 1.3)
	half, two := Exactly(0.5), Int(2)
	for _, c := range []struct {
		name string
		a, b Number
		same bool
	}{
		{"x+y = y+x", x.add(y), y.add(x), true},
		{"x*x-y*y = (x+y)(x-y)", x.mul(x).sub(y.mul(y)), x.add(y).mul(x.sub(y)), true},
		{"x/2 = 0.5*x", x.div(two), half.mul(x), true},
		{"x/2 = 0.25*x", x.div(two), Exactly(0.25).mul(x), false},
		{"exp(x+y) = exp(x)exp(y)", tr.exp(x.add(y)), tr.exp(x).mul(tr.exp(y)), true},
		{"exp(xy) = exp(x)exp(y)", tr.exp(x.mul(y)), tr.exp(x).mul(tr.exp(y)), false},
		{"exp(log(x)-log(y)) = x/y", tr.exp(tr.log(x).sub(tr.log(y))), x.div(y), true},
		{"exp(x+log(y)) = exp(x)y", tr.exp(x.add(tr.log(y))), tr.exp(x).mul(y), true},
		{"1-sigmoid(x) = sigmoid(-x)", Int(1).sub(tr.sigmoid(x)), tr.sigmoid(x.neg()), true},
		{"tanh(x) = 2*sigmoid(2x)-1", tr.tanh(x), two.mul(tr.sigmoid(two.mul(x))).sub(Int(1)), true},
		{"tanh(x) = sigmoid(x)", tr.tanh(x), tr.sigmoid(x), false},
		{"sqrt(x)*rsqrt(x)*sqrt(x) = sqrt(x)... squared is not known", tr.sqrt(x), x.mul(tr.rsqrt(x)), true},
		{"rsqrt(x+1e-5) = rsqrt(x+1e-6)", tr.rsqrt(x.add(Exactly(1e-5))), tr.rsqrt(x.add(Exactly(1e-6))), false},
		{"erf(x) = erf(x)", tr.unknown("erf", 0, x), tr.unknown("erf", 0, x), true},
		{"erf(x) = cos(x)", tr.unknown("erf", 0, x), tr.unknown("cos", 0, x), false},
		{"x+1e-20 = x", x.add(Exactly(1e-20)), x, false},
		{"x**3 = x*x*x", tr.pow(x, Int(3)), x.mul(x).mul(x), true},
		{"x**-2 = 1/(x*x)", tr.pow(x, Int(-2)), x.mul(x).inv(), true},
	} {
		if got := c.a.Same(c.b); got != c.same {
			t.Errorf("%s: %t", c.name, got)
		}
		if c.same && math.Abs(c.a.Real()-c.b.Real()) > 1e-12 {
			t.Errorf("%s: in the sample %v and %v", c.name, c.a.Real(), c.b.Real())
		}
	}
}

// TestOps compares the samples with MLX's own results, for every op of the engines' table
// that has a meaning here.
func TestOps(t *testing.T) {
	cases, err := enginetest.Cases()
	if err != nil {
		t.Fatal(err)
	}
	done, unsupported := map[string]int{}, map[string]int{}
	for _, c := range cases {
		if !ordinary(c) {
			continue
		}
		g, err := c.Graph(false)
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]*Array{}
		for i, l := range c.In {
			if l != nil {
				in["in"+string(rune('0'+i))] = fromLiteral(l)
			}
		}
		out, err := Run(context.Background(), g, in, NewTrace())
		var no *UnsupportedError
		if errors.As(err, &no) {
			unsupported[c.Op.Name]++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		done[c.Op.Name]++
		if c.Partition {
			var data []byte
			for _, x := range out["out"].V {
				data = graph.AppendElem(data, c.Want.DType, x.Real())
			}
			if err := c.Compare(data, false); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
			continue
		}
		if worst, bound := difference(c, out["out"]); worst > bound {
			t.Errorf("%s: off by %.3g, %.3g is what rounding may do", c.Name, worst, bound)
		}
	}
	for name := range ops {
		if done[name] == 0 {
			t.Errorf("%s has no case", name)
		}
	}
	t.Log(len(done), "ops;", unsupported)
}

// TestEveryOp: an op of the table computes here, moves elements, or is one of those that have
// no meaning in a field, or none yet. Rules that have such an op are compared on engine/ref.
func TestEveryOp(t *testing.T) {
	without := []string{"view", "gated_delta", "quantize"}
	for _, op := range graph.Ops() {
		known := ops[op.Name] != nil || moves.Moves(op) || len(op.Operands) == 0
		if known == slices.Contains(without, op.Name) {
			t.Errorf("%s: can be evaluated: %t", op.Name, known)
		}
	}
}

// difference is how far results are from MLX's, which are rounded to the op's type, in
// places more than once, and for how much of that rounding accounts.
func difference(c *enginetest.Case, got *Array) (worst, bound float64) {
	eps := map[graph.DType]float64{graph.Float16: 0x1p-10, graph.BFloat16: 0x1p-7, graph.Float32: 0x1p-23, graph.Float64: 0x1p-23}[c.Want.DType]
	for _, l := range c.In {
		if l != nil && c.Want.DType.IsFloat() {
			eps = max(eps, map[graph.DType]float64{graph.Float16: 0x1p-10, graph.BFloat16: 0x1p-7}[l.DType])
		}
	}
	want, largest := fromLiteral(c.Want), 0.0
	for _, x := range want.V {
		largest = max(largest, math.Abs(x.Real()))
	}
	for i, x := range got.V {
		worst = max(worst, math.Abs(x.Real()-want.V[i].Real()))
	}
	return worst, 8*eps*max(1, largest) + c.Abs
}

// ordinary leaves out what this package has no notion of: NaN, infinities, negative zero,
// overflow, complex numbers, and integers that a float64 does not hold.
func ordinary(c *enginetest.Case) bool {
	for _, l := range append([]*graph.Literal{c.Want}, c.In...) {
		if l == nil {
			continue
		}
		if half := l.DType == graph.Float16 || l.DType == graph.BFloat16; half && slices.Contains([]string{"floor_divide", "remainder", "arange"}, c.Op.Name) {
			return false // steps as large as the rounding
		}
		if l.DType == graph.Complex64 || len(l.Data) == 0 {
			return false
		}
		for i := 0; i < len(l.Data); i += l.DType.Size() {
			x := graph.DecodeElem(l.DType, l.Data[i:])
			if special(x) || math.Abs(x) > 1<<50 || x == 0 && math.Signbit(x) {
				return false
			}
		}
	}
	return true
}

func fromLiteral(l *graph.Literal) *Array { return FromBytes(l.DType, l.Shape, l.Data) }

// TestExactly compares with fractions of whole numbers: n/d is n times the inverse of d.
func TestExactly(t *testing.T) {
	in := func(x *big.Rat, m int64) uint32 {
		p := big.NewInt(m)
		d := new(big.Int).ModInverse(new(big.Int).Mod(x.Denom(), p), p)
		return uint32(d.Mod(d.Mul(d, x.Num()), p).Int64())
	}
	rng := rand.New(rand.NewPCG(1, 2))
	xs := []float64{0, 1, -1, 0.5, -0.1, 1 << 53, 1<<53 + 2, -1 << 60, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 0x1p-1022}
	for range 1000 {
		if x := math.Float64frombits(rng.Uint64()); !special(x) {
			xs = append(xs, x, float64(float32(rng.NormFloat64())))
		}
	}
	for _, x := range xs {
		got, exact := Exactly(x), new(big.Rat).SetFloat64(x)
		if p, q := in(exact, P), in(exact, Q); got.p != p || got.q != q || got.r != x || got.has != hasQ {
			t.Errorf("Exactly(%g) is %+v, want p %d, q %d", x, got, p, q)
		}
	}
}

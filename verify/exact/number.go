package exact

import (
	"math"
	"math/rand/v2"
)

// P and Q are prime, and Q divides P-1. root has order Q modulo P.
const (
	P    = 2147483579
	Q    = 1073741789
	root = 4
)

// Number is a real number: an element of two fields, and its value in a sample.
type Number struct {
	r    float64
	p, q uint32 // modulo P and Q
	e    uint32 // exp of it modulo P
	has  uint8
}

const (
	hasQ     = 1 << iota // q is known
	hasE                 // e is known
	constant             // written down in a graph: it is rounded when its type changes
)

// Real returns the value of the sample.
func (a Number) Real() float64 { return a.r }

// Same reports whether two numbers are the same in the field. Infinities, which are in
// no field, are compared by value.
func (a Number) Same(b Number) bool {
	if special(a.r) || special(b.r) {
		return a.r == b.r || math.IsNaN(a.r) && math.IsNaN(b.r)
	}
	return a.p == b.p
}

func special(r float64) bool { return math.IsInf(r, 0) || math.IsNaN(r) }

// Int returns a whole number.
func Int(n int64) Number {
	return Number{float64(n), uint32((n%P + P) % P), uint32((n%Q + Q) % Q), 0, hasQ}
}

// Exactly returns the number that a float64 is.
func Exactly(x float64) Number {
	if special(x) {
		return Number{r: x}
	}
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		n := Int(int64(x))
		n.r = x
		return n
	}
	frac, exp := math.Frexp(x)
	n := Int(int64(frac * (1 << 53)))
	n.p, n.q = mulP(n.p, twosP[exp-leastExp]), mulQ(n.q, twosQ[exp-leastExp])
	n.r = x
	return n
}

// leastExp is math.Frexp's exponent of the least positive float64.
const leastExp = -1073

// twosP and twosQ have 2^(i+leastExp-53), for all exponents i+leastExp of math.Frexp.
var twosP, twosQ = powersOfTwo(P), powersOfTwo(Q)

func powersOfTwo(m uint64) (list [1025 - leastExp]uint32) {
	x := uint64(inverse(power(2, 53-leastExp, m), m))
	for i := range list {
		list[i] = uint32(x)
		x = 2 * x % m
	}
	return list
}

// Random returns a variable: a random element of both fields, with a sample's value.
func Random(rng *rand.Rand, sample float64) Number {
	return Number{sample, rng.Uint32N(P), rng.Uint32N(Q), 0, hasQ}
}

func addP(a, b uint32) uint32 { return uint32((uint64(a) + uint64(b)) % P) }
func addQ(a, b uint32) uint32 { return uint32((uint64(a) + uint64(b)) % Q) }
func mulP(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % P) }
func mulQ(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % Q) }

func power(base uint32, n, m uint64) uint32 {
	x, y := uint64(base)%m, uint64(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y = y * x % m
		}
		x = x * x % m
	}
	return uint32(y)
}

// inverse is 0 for 0: a division by zero, which a random point has once in P.
func inverse(a uint32, m uint64) uint32 { return power(a, m-2, m) }

func (a Number) neg() Number {
	a.r = -a.r
	a.p, a.q = (P-a.p)%P, (Q-a.q)%Q
	if a.has&hasE != 0 {
		a.e = inverse(a.e, P)
	}
	return a
}

func (a Number) add(b Number) Number {
	c := Number{r: a.r + b.r, p: addP(a.p, b.p), has: a.has & b.has &^ constant}
	if c.has&hasQ != 0 {
		c.q = addQ(a.q, b.q)
	}
	if (a.has|b.has)&^constant == hasQ { // the common case: nothing that log has made
		return c
	}
	if x, ok := a.exponential(); ok {
		if y, ok := b.exponential(); ok {
			c.e, c.has = mulP(x, y), c.has|hasE
		}
	}
	return c
}

func (a Number) sub(b Number) Number { return a.add(b.neg()) }

func (a Number) mul(b Number) Number {
	c := Number{r: a.r * b.r, p: mulP(a.p, b.p), has: a.has & b.has & hasQ}
	if c.has != 0 {
		c.q = mulQ(a.q, b.q)
	}
	return c
}

func (a Number) inv() Number {
	c := Number{r: 1 / a.r, p: inverse(a.p, P), has: a.has & hasQ}
	if c.has != 0 {
		c.q = inverse(a.q, Q)
	}
	return c
}

func (a Number) div(b Number) Number {
	c := a.mul(b.inv())
	c.r = a.r / b.r
	return c
}

// exponential returns exp of a number modulo P, if it is known.
func (a Number) exponential() (uint32, bool) {
	switch {
	case a.has&hasE != 0:
		return a.e, true
	case a.has&hasQ != 0:
		return power(root, uint64(a.q), P), true
	}
	return 0, false
}

// masked is what attention adds to scores that must not count, or puts in their place.
const masked = -1e30

func (t *Trace) exp(a Number) Number {
	if a.r <= masked || math.IsInf(a.r, -1) {
		return Int(0)
	}
	e, ok := a.exponential()
	if !ok {
		return t.unknown("exp", math.Exp(a.r), a)
	}
	return Number{r: math.Exp(a.r), p: e}
}

func (t *Trace) log(a Number) Number {
	c := t.unknown("log", math.Log(a.r), a)
	c.q, c.e, c.has = 0, a.p, hasE // exp gives a back
	return c
}

// sigmoid is 1/(1+exp(-x)).
func (t *Trace) sigmoid(a Number) Number {
	c := Int(1).div(Int(1).add(t.exp(a.neg())))
	c.r = 1 / (1 + math.Exp(-a.r))
	return c
}

// tanh is 1 - 2/(exp(2x)+1).
func (t *Trace) tanh(a Number) Number {
	c := Int(1).sub(Int(2).div(t.exp(a.add(a)).add(Int(1))))
	c.r = math.Tanh(a.r)
	return c
}

func (t *Trace) rsqrt(a Number) Number { return t.unknown("rsqrt", 1/math.Sqrt(a.r), a) }

// sqrt is x*rsqrt(x).
func (t *Trace) sqrt(a Number) Number {
	c := a.mul(t.rsqrt(a))
	c.r = math.Sqrt(a.r)
	return c
}

// unknown is a function that nothing is known of, but that equal arguments give equal
// values.
func (t *Trace) unknown(name string, r float64, args ...Number) Number {
	t.Functions[name]++
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	for _, a := range args {
		h = mix(h ^ uint64(a.p))
	}
	x, y := mix(h), mix(h+1)
	return Number{r, uint32(x % P), uint32(y % Q), 0, hasQ}
}

// mix is the finalizer of SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// pow is a**b. Small whole exponents are products.
func (t *Trace) pow(a, b Number) Number {
	r := math.Pow(a.r, b.r)
	if n := int64(b.r); b.Same(Int(n)) && float64(n) == b.r && n >= -16 && n <= 16 {
		c := Int(1)
		for range max(n, -n) {
			c = c.mul(a)
		}
		if n < 0 {
			c = c.inv()
		}
		c.r = r
		return c
	}
	switch b.r {
	case 0.5:
		return t.sqrt(a)
	case -0.5:
		return t.rsqrt(a)
	}
	return t.unknown("power", r, a, b)
}

// float64 sums are compared with some slack: see tie.
const slack = 1e-9

// tie reports whether two values of a sample count as equal. What is the same real number
// may be computed in two ways, with float64's rounding.
func tie(x, y float64) bool {
	return x == y || math.Abs(x-y) <= slack*max(math.Abs(x), math.Abs(y))
}

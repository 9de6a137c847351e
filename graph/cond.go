package graph

import (
	"fmt"
	"math"
	"strings"
)

// Cond is a condition over symbols: when a case of a program applies. The zero
// Cond always holds. Conds are values; combining them makes new ones.
type Cond struct {
	kind condKind
	cmp  Cmp // of an atom: left cmp 0, or left and right as written
	l, r Dim
	sub  []Cond
}

type condKind uint8

const (
	condTrue condKind = iota
	condFalse
	condAtom
	condAnd
	condOr
)

// Cmp is a comparison.
type Cmp string

// The comparisons, as people write them.
const (
	EQ Cmp = "=="
	NE Cmp = "!="
	LT Cmp = "<"
	LE Cmp = "<="
	GT Cmp = ">"
	GE Cmp = ">="
)

var negated = map[Cmp]Cmp{EQ: NE, NE: EQ, LT: GE, GE: LT, GT: LE, LE: GT}

// mirrored is how the right side compares with the left one.
var mirrored = map[Cmp]Cmp{EQ: EQ, NE: NE, LT: GT, GT: LT, LE: GE, GE: LE}

// True is the condition that always holds, False the one that never does.
var (
	True  = Cond{}
	False = Cond{kind: condFalse}
)

// Compare returns the condition "l op r"; it is decided at once if both are numbers. A number is
// compared without a common factor: 8*n >= 100 is n >= 13, so that it is seen what else it says of n.
func Compare(l Dim, op Cmp, r Dim) Cond {
	if n, ok := l.Sub(r).Const(); ok {
		return boolCond(holds(n, op))
	}
	if n, ok := r.Const(); ok {
		if p, n, ok := reduced(l, op, n); ok {
			return Compare(p, op, N(n))
		}
	} else if n, ok := l.Const(); ok {
		if p, n, ok := reduced(r, mirrored[op], n); ok {
			return Compare(N(n), op, p)
		}
	}
	return Cond{kind: condAtom, cmp: op, l: l, r: r}
}

// reduced divides "p op n" by the common factor of p's terms, if it has one and no number of its own.
func reduced(p Dim, op Cmp, n int64) (Dim, int64, bool) {
	if p.n != 0 || p.saturated() {
		return Dim{}, 0, false
	}
	factor := int64(0)
	for _, t := range p.p.terms {
		factor = gcd(factor, t.coef)
	}
	if factor <= 1 {
		return Dim{}, 0, false
	}
	low := n / factor
	if n%factor < 0 {
		low--
	}
	up := n%factor != 0 // whether n is between low and low + 1, in factors
	if up && (op == EQ || op == NE) {
		return Dim{}, 0, false
	}
	if up && (op == GE || op == LT) {
		low++
	}
	p, ok := p.Div(N(factor))
	return p, low, ok
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return max(a, -a)
}

func boolCond(b bool) Cond {
	if b {
		return True
	}
	return False
}

func holds(diff int64, op Cmp) bool {
	switch op {
	case EQ:
		return diff == 0
	case NE:
		return diff != 0
	case LT:
		return diff < 0
	case LE:
		return diff <= 0
	case GT:
		return diff > 0
	}
	return diff >= 0
}

// And returns the condition that all hold.
func And(conds ...Cond) Cond { return join(condAnd, condFalse, conds) }

// Or returns the condition that one holds at least. Of comparisons of one thing the widest is
// enough: n <= 1 || n <= 8 is n <= 8.
func Or(conds ...Cond) Cond {
	c := join(condOr, condTrue, conds)
	if c.kind != condOr {
		return c
	}
	below, above := map[Dim]int64{}, map[Dim]int64{} // the widest bounds
	for _, s := range c.sub {
		p, r := s.halfLine()
		if n, ok := below[p]; r.hi < math.MaxInt64 && (!ok || r.hi > n) {
			below[p] = r.hi
		}
		if n, ok := above[p]; r.lo > math.MinInt64 && (!ok || r.lo < n) {
			above[p] = r.lo
		}
	}
	var sub []Cond
	for _, s := range c.sub {
		if p, r := s.halfLine(); r == anything || r.hi < math.MaxInt64 && r.hi == below[p] || r.lo > math.MinInt64 && r.lo == above[p] {
			sub = append(sub, s)
		}
	}
	return Cond{kind: condOr, sub: sub}.single()
}

// halfLine returns what an inequality compares, and where that has to be. All else is anywhere.
func (c Cond) halfLine() (Dim, interval) {
	if c.kind != condAtom || c.cmp == EQ || c.cmp == NE {
		return Dim{}, anything
	}
	return c.interval()
}

// interval returns what an atom compares, and where that has to be: anywhere for !=.
func (c Cond) interval() (Dim, interval) {
	p, n := c.split() // p cmp n
	r := anything
	switch c.cmp {
	case EQ:
		r = interval{n, n}
	case LT:
		r.hi = n - 1
	case LE:
		r.hi = n
	case GT:
		r.lo = n + 1
	case GE:
		r.lo = n
	}
	return p, r
}

func join(kind, absorbing condKind, conds []Cond) Cond {
	neutral := Cond{kind: condTrue + condFalse - absorbing}
	var sub []Cond
	for _, c := range conds {
		switch {
		case c.kind == absorbing:
			return c
		case c.kind == neutral.kind:
		case c.kind == kind:
			for _, s := range c.sub {
				sub = addCond(sub, s)
			}
		default:
			sub = addCond(sub, c)
		}
	}
	if len(sub) == 0 {
		return neutral
	}
	return Cond{kind: kind, sub: sub}.single()
}

// single returns the one condition that c joins, if it is one.
func (c Cond) single() Cond {
	if len(c.sub) == 1 {
		return c.sub[0]
	}
	return c
}

func addCond(list []Cond, c Cond) []Cond {
	for _, x := range list {
		if x.Equal(c) {
			return list
		}
	}
	return append(list, c)
}

// Not returns the opposite condition.
func Not(c Cond) Cond {
	switch c.kind {
	case condTrue:
		return False
	case condFalse:
		return True
	case condAtom:
		return Cond{kind: condAtom, cmp: negated[c.cmp], l: c.l, r: c.r}
	}
	sub := make([]Cond, len(c.sub))
	for i, s := range c.sub {
		sub[i] = Not(s)
	}
	if c.kind == condAnd {
		return Or(sub...)
	}
	return And(sub...)
}

// Equal reports whether both conditions are written the same.
func (c Cond) Equal(d Cond) bool {
	if c.kind != d.kind || c.cmp != d.cmp || c.l != d.l || c.r != d.r || len(c.sub) != len(d.sub) {
		return false
	}
	for i := range c.sub {
		if !c.sub[i].Equal(d.sub[i]) {
			return false
		}
	}
	return true
}

// IsTrue and IsFalse report whether the condition is decided.
func (c Cond) IsTrue() bool  { return c.kind == condTrue }
func (c Cond) IsFalse() bool { return c.kind == condFalse }

// Eval decides the condition for given symbols.
func (c Cond) Eval(env map[string]int64) (bool, error) {
	switch c.kind {
	case condTrue, condFalse:
		return c.kind == condTrue, nil
	case condAtom:
		l, err := c.l.Eval(env)
		if err != nil {
			return false, err
		}
		r, err := c.r.Eval(env)
		if err != nil {
			return false, err
		}
		switch {
		case l < r:
			return holds(-1, c.cmp), nil
		case l > r:
			return holds(1, c.cmp), nil
		}
		return holds(0, c.cmp), nil
	}
	for _, s := range c.sub {
		b, err := s.Eval(env)
		if err != nil || b == (c.kind == condOr) {
			return b, err
		}
	}
	return c.kind == condAnd, nil
}

// Symbols appends the names of all symbols in c to list, without repeats.
func (c Cond) Symbols(list []string) []string {
	list = c.r.Symbols(c.l.Symbols(list))
	for _, s := range c.sub {
		list = s.Symbols(list)
	}
	return list
}

// String prints the condition in the language of guards.
func (c Cond) String() string {
	switch c.kind {
	case condTrue:
		return "true"
	case condFalse:
		return "false"
	case condAtom:
		return fmt.Sprintf("%s %s %s", c.l, c.cmp, c.r)
	}
	parts := make([]string, len(c.sub))
	for i, s := range c.sub {
		parts[i] = s.String()
		if s.kind == condOr && c.kind == condAnd {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	if c.kind == condAnd {
		return strings.Join(parts, " && ")
	}
	return strings.Join(parts, " || ")
}

// Subst replaces symbols and decides what becomes decidable.
func (c Cond) Subst(env map[string]Dim) Cond {
	switch c.kind {
	case condAtom:
		return Compare(c.l.Subst(env), c.cmp, c.r.Subst(env))
	case condAnd, condOr:
		sub := make([]Cond, len(c.sub))
		for i, s := range c.sub {
			sub[i] = s.Subst(env)
		}
		if c.kind == condAnd {
			return And(sub...)
		}
		return Or(sub...)
	}
	return c
}

// Given simplifies c under the assumption that a holds and that every symbol is
// at least 1. The result agrees with c wherever a holds; it is True or False
// where interval arithmetic can decide it.
func (c Cond) Given(a Cond) Cond {
	if c.kind <= condFalse {
		return c
	}
	f := facts{sym: map[string]interval{}, poly: map[Dim]interval{}}
	f.learn(a)
	return f.simplify(c)
}

type interval struct{ lo, hi int64 }

var anything = interval{math.MinInt64, math.MaxInt64}

// facts are ranges of symbols and of whole polynomials without constant term.
type facts struct {
	sym  map[string]interval
	poly map[Dim]interval
}

func (f *facts) learn(a Cond) {
	switch a.kind {
	case condAnd:
		for _, s := range a.sub {
			f.learn(s)
		}
	case condAtom:
		p, r := a.interval()
		if r == anything {
			return
		}
		old, ok := f.poly[p]
		if !ok {
			old = anything
		}
		f.poly[p] = interval{max(old.lo, r.lo), min(old.hi, r.hi)}
		if sym, ok := p.Symbol(); ok {
			f.sym[sym] = f.poly[p]
		}
	}
}

// split writes an atom as polynomial without constant term, compared with a number.
func (c Cond) split() (Dim, int64) {
	d := c.l.Sub(c.r)
	return Dim{p: d.p}, satMul(d.n, -1)
}

func (f *facts) simplify(c Cond) Cond {
	switch c.kind {
	case condAtom:
		p, n := c.split()
		r := f.rangeOf(p)
		switch {
		case r.lo > r.hi: // the assumption never holds; leave c alone
			return c
		case c.cmp == EQ && r.lo == n && r.hi == n, c.cmp == NE && (n < r.lo || n > r.hi),
			c.cmp == LT && r.hi < n, c.cmp == LE && r.hi <= n, c.cmp == GT && r.lo > n, c.cmp == GE && r.lo >= n:
			return True
		case c.cmp == NE && r.lo == n && r.hi == n, c.cmp == EQ && (n < r.lo || n > r.hi),
			c.cmp == LT && r.lo >= n, c.cmp == LE && r.lo > n, c.cmp == GT && r.hi <= n, c.cmp == GE && r.hi < n:
			return False
		}
		return c
	case condAnd, condOr:
		sub := make([]Cond, len(c.sub))
		for i, s := range c.sub {
			sub[i] = f.simplify(s)
		}
		if c.kind == condAnd {
			return And(sub...)
		}
		return Or(sub...)
	}
	return c
}

// rangeOf bounds a polynomial by what is known of it and of its symbols.
func (f *facts) rangeOf(p Dim) interval {
	sum := interval{0, 0}
	for _, t := range p.p.terms {
		prod := interval{1, 1}
		for s := range strings.SplitSeq(t.syms, "*") {
			r, ok := f.sym[s]
			if !ok {
				r = anything
			}
			r.lo = max(r.lo, 1)
			prod = interval{satMul(prod.lo, r.lo), satMul(prod.hi, r.hi)}
		}
		if t.coef < 0 {
			prod = interval{satMul(prod.hi, t.coef), satMul(prod.lo, t.coef)}
		} else {
			prod = interval{satMul(prod.lo, t.coef), satMul(prod.hi, t.coef)}
		}
		sum = interval{openAdd(sum.lo, prod.lo), openAdd(sum.hi, prod.hi)}
	}
	if r, ok := f.poly[p]; ok {
		sum = interval{max(sum.lo, r.lo), min(sum.hi, r.hi)}
	}
	return sum
}

// openAdd adds bounds; an open one stays open.
func openAdd(a, b int64) int64 {
	for _, x := range []int64{a, b} {
		if x == math.MaxInt64 || x == math.MinInt64 {
			return x
		}
	}
	return satAdd(a, b)
}

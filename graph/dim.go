package graph

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Dim is a dimension or an integer attribute: a polynomial with integer
// coefficients over symbols, such as 576, seq_len or 8*batch*seq_len - 1.
// Dims are comparable with ==: equal polynomials are equal Dims. The zero Dim
// is the number 0.
type Dim struct {
	n int64 // the constant term
	p *poly // the other terms, interned; nil for a plain number
}

// poly is a sum of terms without a constant term, never empty, terms in order.
// Two equal polys are the same pointer.
type poly struct {
	terms []term
	text  string
	id    uint64 // from 1 on, in no order that means anything
}

// term is coef * product of symbols; symbols are sorted and may repeat.
type term struct {
	coef int64
	syms string // joined with "*"
}

// polys interns every polynomial of the process, so that Dim is two words and
// comparable. Models use a few dozen of them.
var (
	polys  sync.Map // text -> *poly
	lastID atomic.Uint64
)

// N returns a plain number.
func N(n int64) Dim { return Dim{n: n} }

// Sym returns a symbol.
func Sym(name string) Dim { return intern(0, []term{{1, name}}) }

func intern(n int64, terms []term) Dim {
	if len(terms) == 0 {
		return Dim{n: n}
	}
	var b strings.Builder
	for i, t := range terms {
		c := t.coef
		switch {
		case i > 0 && c < 0:
			b.WriteString(" - ")
			c = -c
		case i > 0:
			b.WriteString(" + ")
		case c == -1:
			b.WriteByte('-')
			c = 1
		}
		if c != 1 {
			fmt.Fprintf(&b, "%d*", c)
		}
		b.WriteString(t.syms)
	}
	text := b.String()
	if p, ok := polys.Load(text); ok {
		return Dim{n, p.(*poly)}
	}
	p, _ := polys.LoadOrStore(text, &poly{slices.Clone(terms), text, lastID.Add(1)})
	return Dim{n, p.(*poly)}
}

// Const returns the number that d is, and whether it is one.
func (d Dim) Const() (int64, bool) { return d.n, d.p == nil }

// Is reports whether d is the plain number n.
func (d Dim) Is(n int64) bool { return d.p == nil && d.n == n }

// Int returns the number that d is; it panics for a symbolic dimension, which
// the caller must have excluded.
func (d Dim) Int() int {
	if d.p != nil {
		panic("graph: Dim.Int of symbolic " + d.String())
	}
	return int(d.n)
}

// Symbol returns the symbol that d is, and whether it is one.
func (d Dim) Symbol() (name string, ok bool) {
	if d.n != 0 || d.p == nil || len(d.p.terms) != 1 || d.p.terms[0].coef != 1 || strings.Contains(d.p.terms[0].syms, "*") {
		return "", false
	}
	return d.p.terms[0].syms, true
}

// String prints d as the text form writes it: "8*batch + seq_len - 1".
func (d Dim) String() string {
	switch {
	case d.p == nil:
		return strconv.FormatInt(d.n, 10)
	case d.n > 0:
		return fmt.Sprintf("%s + %d", d.p.text, d.n)
	case d.n < 0:
		return d.p.text + " - " + strconv.FormatUint(uint64(-d.n), 10)
	}
	return d.p.text
}

// Symbols appends the names of all symbols in d to list, without repeats.
func (d Dim) Symbols(list []string) []string {
	if d.p == nil {
		return list
	}
	for _, t := range d.p.terms {
		for s := range strings.SplitSeq(t.syms, "*") {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}

// The largest polynomials. Models come near neither; a hostile file would else
// make terms without end, and interned ones stay.
const (
	maxTerms  = 32
	maxDegree = 8
)

// bounded interns a sum, or saturates if it is too large.
func bounded(n int64, ts []term) Dim {
	if len(ts) > maxTerms || len(ts) > 0 && degree(ts[0].syms) > maxDegree {
		return N(math.MaxInt64)
	}
	return intern(n, ts)
}

// saturated reports whether d is a result that did not fit.
func (d Dim) saturated() bool {
	for _, t := range d.all() {
		if t.coef == math.MaxInt64 || t.coef == math.MinInt64 {
			return true
		}
	}
	return false
}

// Add returns d + e. Results that leave 64 bits, or have more than 32 terms or a
// degree above 8, saturate; nothing that a model can hold comes near.
func (d Dim) Add(e Dim) Dim {
	n := satAdd(d.n, e.n)
	if d.p == nil {
		return Dim{n, e.p}
	}
	if e.p == nil {
		return Dim{n, d.p}
	}
	return bounded(n, mergeTerms(append(slices.Clone(d.p.terms), e.p.terms...)))
}

// Sum returns the sum of dims, 0 for none. It makes no partial sums, of which a
// concatenation of thousands of operands would leave as many behind.
func Sum(dims []Dim) Dim {
	var n int64
	var ts []term
	for _, d := range dims {
		n = satAdd(n, d.n)
		if d.p == nil {
			continue
		}
		if ts = append(ts, d.p.terms...); len(ts) > 8*maxTerms {
			if ts = mergeTerms(ts); len(ts) > maxTerms {
				break
			}
		}
	}
	return bounded(n, mergeTerms(ts))
}

// Sub returns d - e.
func (d Dim) Sub(e Dim) Dim { return d.Add(e.Mul(N(-1))) }

// Mul returns d * e.
func (d Dim) Mul(e Dim) Dim {
	if d.p == nil && e.p == nil {
		return Dim{n: satMul(d.n, e.n)}
	}
	if e.p == nil {
		d, e = e, d
	}
	if d.p == nil { // number times polynomial, the common case
		if d.n == 0 {
			return Dim{}
		}
		if d.n == 1 {
			return e
		}
		ts := slices.Clone(e.p.terms)
		for i := range ts {
			ts[i].coef = satMul(ts[i].coef, d.n)
		}
		return intern(satMul(e.n, d.n), ts)
	}
	var ts []term
	for _, a := range d.all() {
		for _, b := range e.all() {
			ts = append(ts, term{satMul(a.coef, b.coef), joinSyms(a.syms, b.syms)})
		}
	}
	ts = mergeTerms(ts)
	var n int64
	if len(ts) > 0 && ts[len(ts)-1].syms == "" {
		n, ts = ts[len(ts)-1].coef, ts[:len(ts)-1]
	}
	return bounded(n, ts)
}

// all returns the terms of d with the constant one, if not 0.
func (d Dim) all() []term {
	var ts []term
	if d.p != nil {
		ts = d.p.terms
	}
	if d.n != 0 {
		ts = append(slices.Clone(ts), term{d.n, ""})
	}
	return ts
}

// Div returns d / e if e divides d without remainder for all values of the
// symbols, and whether it does. e must be a single term: a number, a symbol, or
// their product.
func (d Dim) Div(e Dim) (Dim, bool) {
	es := e.all()
	if len(es) != 1 {
		if d == e && d != N(0) {
			return N(1), true
		}
		return Dim{}, false
	}
	var n int64
	var ts []term
	for _, t := range d.all() {
		if t.coef%es[0].coef != 0 {
			return Dim{}, false
		}
		rest, ok := divSyms(t.syms, es[0].syms)
		if !ok {
			return Dim{}, false
		}
		if rest == "" {
			n = t.coef / es[0].coef
		} else {
			ts = append(ts, term{t.coef / es[0].coef, rest})
		}
	}
	return intern(n, mergeTerms(ts)), true
}

// Eval returns the value of d when each symbol has the value env gives it, or
// an error that names the first symbol that env lacks.
func (d Dim) Eval(env map[string]int64) (int64, error) {
	sum := d.n
	if d.p == nil {
		return sum, nil
	}
	for _, t := range d.p.terms {
		v := t.coef
		for s := range strings.SplitSeq(t.syms, "*") {
			x, ok := env[s]
			if !ok {
				return 0, fmt.Errorf("symbol %s is not known", s)
			}
			v = satMul(v, x)
		}
		sum = satAdd(sum, v)
		for _, x := range []int64{v, sum} {
			if x == math.MaxInt64 || x == math.MinInt64 {
				return 0, errors.New("dimension overflows 64 bits")
			}
		}
	}
	return sum, nil
}

// Subst replaces the symbols that env gives a value for.
func (d Dim) Subst(env map[string]Dim) Dim {
	if d.p == nil || len(env) == 0 {
		return d
	}
	out := N(d.n)
	for _, t := range d.p.terms {
		v := N(t.coef)
		for s := range strings.SplitSeq(t.syms, "*") {
			if x, ok := env[s]; ok {
				v = v.Mul(x)
			} else {
				v = v.Mul(Sym(s))
			}
		}
		out = out.Add(v)
	}
	return out
}

// mergeTerms sorts terms (higher degree first, then by name; the constant term
// last) and adds up equal ones.
func mergeTerms(ts []term) []term {
	slices.SortFunc(ts, func(a, b term) int {
		da, db := degree(a.syms), degree(b.syms)
		if da != db {
			return db - da
		}
		return strings.Compare(a.syms, b.syms)
	})
	out := ts[:0]
	for _, t := range ts {
		if len(out) > 0 && out[len(out)-1].syms == t.syms {
			out[len(out)-1].coef = satAdd(out[len(out)-1].coef, t.coef)
		} else {
			out = append(out, t)
		}
	}
	return slices.DeleteFunc(out, func(t term) bool { return t.coef == 0 })
}

func degree(syms string) int {
	if syms == "" {
		return 0
	}
	return 1 + strings.Count(syms, "*")
}

func joinSyms(a, b string) string {
	if a == "" {
		return b
	}
	if b == "" {
		return a
	}
	all := append(strings.Split(a, "*"), strings.Split(b, "*")...)
	slices.Sort(all)
	return strings.Join(all, "*")
}

func divSyms(a, b string) (string, bool) {
	if b == "" {
		return a, true
	}
	if a == "" {
		return "", false
	}
	rest := strings.Split(a, "*")
	for s := range strings.SplitSeq(b, "*") {
		i := slices.Index(rest, s)
		if i < 0 {
			return "", false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return strings.Join(rest, "*"), true
}

func satAdd(a, b int64) int64 {
	c := a + b
	if (a^c)&(b^c) < 0 { // the sum has another sign than both
		if a > 0 {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	return c
}

func satMul(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	hi, lo := bits.Mul64(abs64(a), abs64(b))
	if hi != 0 || lo > math.MaxInt64 {
		if (a > 0) == (b > 0) {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	if (a > 0) == (b > 0) {
		return int64(lo)
	}
	return -int64(lo)
}

func abs64(a int64) uint64 {
	if a < 0 {
		return uint64(-a)
	}
	return uint64(a)
}

// Product returns the product of dims, 1 for none.
func Product(dims []Dim) Dim {
	p := N(1)
	for _, d := range dims {
		p = p.Mul(d)
	}
	return p
}

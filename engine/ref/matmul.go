package ref

import (
	"runtime"
	"slices"
	"sync"

	"zmlx-rewrite/graph"
)

// columns is the second factor of a product: n vectors of length k, made one at a
// time so that a packed or half-precision matrix is never unpacked as a whole.
type columns struct {
	n, k int
	// column fills dst with vector j. It is called by several goroutines.
	column func(j int, dst []float64)
}

// product writes x @ w, x being m rows of length w.k, to out: m rows of w.n.
// Sums are kept in float64 and rounded to t by whoever stores them.
func product(x []float64, m int, w columns, out []float64) {
	parallel(w.n, w.k*(m+2), func(from, to int) {
		cols := make([]float64, together*w.k)
		for j := from; j < to; j += together {
			n := min(together, to-j)
			for c := range n {
				w.column(j+c, cols[c*w.k:(c+1)*w.k])
			}
			for i := range m {
				sums := dots(x[i*w.k:(i+1)*w.k], cols)
				copy(out[i*w.n+j:], sums[:n])
			}
		}
	})
}

func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var sum float64
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

// together is how many columns are multiplied at a time, since each sum waits for its last
// addition.
const together = 4

// dots returns the sums of x times each of four vectors, which lie one behind the other.
func dots(x, cols []float64) [together]float64 {
	n := len(x)
	a, b, c, d := cols[:n], cols[n:2*n], cols[2*n:3*n], cols[3*n:4*n]
	var s, t, u, v float64
	for i, x := range x {
		s += x * a[i]
		t += x * b[i]
		u += x * c[i]
		v += x * d[i]
	}
	return [together]float64{s, t, u, v}
}

// parallel splits 0..n over the processors, if there is work for them: each of the
// n takes about cost steps.
func parallel(n, cost int, f func(from, to int)) {
	p := min(n, runtime.GOMAXPROCS(0), 1+n*cost/50_000)
	if p <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for i := range p {
		wg.Go(func() { f(i*n/p, (i+1)*n/p) })
	}
	wg.Wait()
}

// dense is a matrix [k, n] as columns.
func dense(b *array) columns {
	return columns{b.shape[1], b.shape[0], func(j int, dst []float64) {
		b.line(b.off+j*b.strides[1], b.strides[0], dst)
	}}
}

// pairs calls f with each pair of matrices that broadcasting the leading axes of
// a and b to those of lead makes.
func pairs(a, b *array, lead []int, f func(i int, a, b *array)) {
	n := len(lead)
	a = a.broadcast(slices.Concat(lead, a.shape[len(a.shape)-2:]))
	b = b.broadcast(slices.Concat(lead, b.shape[len(b.shape)-2:]))
	i := 0
	var walk func(a, b *array, depth int)
	walk = func(a, b *array, depth int) {
		if depth == n {
			f(i, a, b)
			i++
			return
		}
		for k := range lead[depth] {
			walk(a.sub(k), b.sub(k), depth+1)
		}
	}
	walk(a, b, 0)
}

// multiply returns a @ b in float64, row-major, for operands of rank 1 and up.
func multiply(op string, t graph.DType, a, b *array) ([]float64, error) {
	if t == graph.Complex64 {
		return nil, unsupported(op, t)
	}
	a, b = convert(a, t), convert(b, t)
	if len(a.shape) == 1 {
		a = &array{a.t, []int{1, a.shape[0]}, []int{0, a.strides[0]}, a.off, a.data}
	}
	if len(b.shape) == 1 {
		b = &array{b.t, []int{b.shape[0], 1}, []int{b.strides[0], 0}, b.off, b.data}
	}
	lead := leading(a.shape[:len(a.shape)-2], b.shape[:len(b.shape)-2])
	m, n := a.shape[len(a.shape)-2], b.shape[len(b.shape)-1]
	out := make([]float64, size(lead)*m*n)
	pairs(a, b, lead, func(i int, a, b *array) {
		product(a.floats(), m, dense(b), out[i*m*n:(i+1)*m*n])
	})
	return out, nil
}

// leading broadcasts two shapes that inference has found to fit.
func leading(a, b []int) []int {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, d := range b {
		if k := len(a) - len(b) + i; out[k] == 1 {
			out[k] = d
		}
	}
	return out
}

func matmul(c *call, in []*array) (*array, error) {
	v, err := multiply(c.Op.Name, c.t, in[0], in[1])
	if err != nil {
		return nil, err
	}
	return fromFloats(c.t, c.shape, v), nil
}

func addmm(c *call, in []*array) (*array, error) {
	v, err := multiply(c.Op.Name, c.t, in[1], in[2])
	if err != nil {
		return nil, err
	}
	alpha, beta := float64(float32(c.float("alpha"))), float64(float32(c.float("beta")))
	for i, x := range convert(in[0], c.t).broadcast(c.shape).floats() {
		v[i] = alpha*v[i] + beta*x
	}
	return fromFloats(c.t, c.shape, v), nil
}

// gathered calls f for each product that indices choose: the i-th result is
// matrix l of a times matrix r of b, counted over the leading axes.
func gathered(c *call, in []*array, at int, a, b []int, f func(i, l, r int) error) error {
	na, nb := size(a[:len(a)-2]), size(b[:len(b)-2])
	lead := c.shape[:len(c.shape)-2]
	pick := func(i int, own []int, n int) ([]int, error) {
		if idx := optional(in, i); idx != nil {
			return indices(idx.broadcast(lead), n)
		}
		all := make([]int64, n) // the default: each matrix in its place
		for k := range all {
			all[k] = int64(k)
		}
		return indices(fromInts(graph.Int64, own, all).broadcast(lead), n)
	}
	l, err := pick(at, a[:len(a)-2], na)
	if err != nil {
		return err
	}
	r, err := pick(at+1, b[:len(b)-2], nb)
	if err != nil {
		return err
	}
	for i := range l {
		if err := f(i, l[i], r[i]); err != nil {
			return err
		}
	}
	return nil
}

func gatherMM(c *call, in []*array) (*array, error) {
	if optional(in, 2) == nil && optional(in, 3) == nil {
		return matmul(c, in)
	}
	a, b := convert(in[0], c.t), convert(in[1], c.t).contiguous()
	m, k, n := c.shape[len(c.shape)-2], a.shape[len(a.shape)-1], c.shape[len(c.shape)-1]
	x := a.floats()
	out := make([]float64, size(c.shape))
	err := gathered(c, in, 2, a.shape, b.shape, func(i, l, r int) error {
		one := &array{b.t, []int{k, n}, []int{n, 1}, b.off + r*k*n, b.data}
		product(x[l*m*k:(l+1)*m*k], m, dense(one), out[i*m*n:(i+1)*m*n])
		return nil
	})
	return fromFloats(c.t, c.shape, out), err
}

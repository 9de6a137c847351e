package kernelcheck

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Call is one call of any graph on a device, and what is known of its results: it holds
// what stands for the graph to the same measure as RunOn holds a kernel.
type Call struct {
	Numerics kernels.Numerics
	Results  []string
	Types    []graph.Type // of the results; dimensions are numbers
	Style    Style        // of the inputs
	Stock    [][]byte     // what MLX's own ops make of them on the device
	// Of a reordered replacement: the same with all floats in float32, and a few times
	// more on inputs that are changed in their last places (Nudge).
	Exact [][]byte
	Moved [][][]byte
	Turn  float64 // how far rounding may turn a rotation: a unit of its largest angle
	// Weights says that real ties among inputs do not survive: they are multiplied by
	// weights first, so that what a lattice makes are near ties.
	Weights bool
	Of      []int64 // among how many each integer result chooses; 0 if that is not known
	// Unordered says of each integer result that the order of what is chosen means nothing:
	// MLX's argpartition gives another one on each backend.
	Unordered []bool
	Tied      *int // counts rows where another one of equals was chosen
}

// Judge says what is wrong with other results for the same call, or nil. The errors of
// both against float32 are added to got and stock.
//
// An exact replacement must have the bits of MLX's own ops. Each element of a reordered
// one may be as far from float32 as twice the farthest element of its row is in what MLX
// itself makes, and four units in its last place; what rounding of the inputs does to the
// row is added once and a half. Integers must be equal, but for near ties: rows where
// float32 chooses otherwise than MLX, or otherwise when its inputs move a little, and rows
// where what was chosen in place of another is worth the same.
func (c *Call) Judge(results [][]byte, got, stock *Error) error {
	x := &Case{Trial: &kernels.Trial{Spec: &kernels.Spec{Results: c.Results, Numerics: c.Numerics}, Results: c.Types}, Style: c.Style}
	if c.Numerics == kernels.Exact {
		return c.first(x, nil, results)
	}
	c, results = c.inOrder(x, results)
	t, err := c.truth(x)
	if err != nil {
		return err
	}
	c.equals(x, t, results)
	got.add(x, t, results)
	stock.add(x, t, c.Stock)
	if err := c.exists(x, t, results); err != nil {
		return err
	}
	return c.first(x, t, results)
}

// Wrong is the first element of a call's results that is other than it may be.
type Wrong struct {
	Result, Element int
	Name            string
	Row, Column     int
	Got, Stock      float64
	Why             string
}

func (w *Wrong) Error() string {
	return fmt.Sprintf("%s, row %d, element %d: got %v, MLX's own ops give %v (%s)", w.Name, w.Row, w.Column, w.Got, w.Stock, w.Why)
}

// first finds the first wrong element, by the rules of Case.equal and Case.compare. t is nil
// for an exact replacement.
func (c *Call) first(x *Case, t *Truth, results [][]byte) error {
	for i, r := range c.Types {
		if bytes.Equal(results[i], c.Stock[i]) {
			continue
		}
		g, w, n := floats(r.DType, results[i]), floats(r.DType, c.Stock[i]), x.row(i)
		choice := c.choice(x, i)
		for k := range g {
			if g[k] == w[k] && math.Signbit(g[k]) == math.Signbit(w[k]) || math.IsNaN(g[k]) && math.IsNaN(w[k]) {
				continue
			}
			why := "it promises every bit"
			if t != nil {
				if t.Loose[0][k/choice] {
					continue
				}
				if !finite(g[k]) && !finite(w[k]) && finite(t.Exact[i][k]) {
					continue // both overflow on the way
				}
				if overflows(r.DType, t.Exact[i][k], t.Bound[i][k], g[k]) {
					continue
				}
				why = x.element(t, i, k, g[k], w[k])
			}
			if why != "" {
				return &Wrong{i, k, c.Results[i], k / n, k % n, g[k], w[k], why}
			}
		}
	}
	return nil
}

// choice is how many elements of result i belong to one row of chosen ones: a result may have a
// row for each element that was chosen.
func (c *Call) choice(x *Case, i int) int {
	for j, t := range c.Types {
		if t.DType.IsInteger() && c.each(j, i) {
			return numel(c.Types[i]) / numel(t) * x.row(j)
		}
	}
	return x.row(i)
}

func numel(t graph.Type) int { return int(t.Size().Int()) }

// each reports whether result j has an element, or as many of them as it takes, for each element
// of result i.
func (c *Call) each(i, j int) bool {
	of, t := c.Types[i].Shape, c.Types[j].Shape
	return len(of) <= len(t) && slices.Equal(of, t[:len(of)])
}

// least is the smallest normal float32: on many devices what is smaller is 0, MLX's own exp
// on a CPU included.
const least = 0x1p-126

func (c *Call) truth(x *Case) (*Truth, error) {
	t := &Truth{Want: c.Stock}
	in32 := func(i int, data []byte) []float64 {
		d := c.Types[i].DType
		if d.IsFloat() {
			d = graph.Float32
		}
		return floats(d, data)
	}
	loose := map[int]bool{}
	for i, r := range c.Types {
		exact := in32(i, c.Exact[i])
		want := floats(r.DType, c.Stock[i])
		if len(exact) != len(want) {
			return nil, fmt.Errorf("%s: %d elements in float32, %d else", c.Results[i], len(exact), len(want))
		}
		t.Exact, t.Bound, t.Loose = append(t.Exact, exact), append(t.Bound, make([]float64, len(exact))), append(t.Loose, nil)
		chosen := func(v []float64) {
			for k := range v {
				if r.DType.IsInteger() && v[k] != exact[k] && (c.Style != Lattice || c.Weights) {
					loose[k/x.row(i)] = true
				}
			}
		}
		chosen(want)
		for _, m := range c.Moved {
			v := in32(i, m[i])
			chosen(v)
			for k := range v {
				t.Bound[i][k] = max(t.Bound[i][k], math.Abs(v[k]-exact[k]))
			}
		}
	}
	x.bounds(t)
	for i, r := range c.Types {
		n, choice := x.row(i), c.choice(x, i)
		for at := 0; at < len(t.Exact[i]) && r.DType.IsFloat(); at += n {
			top := 0.0
			for _, v := range t.Exact[i][at : at+n] {
				top = max(top, math.Abs(finiteOr0(v)))
			}
			for k := at; k < at+n; k++ {
				t.Bound[i][k] += 2*c.Turn*top + least
				if loose[k/choice] { // other elements were chosen: no measure of rounding
					t.Exact[i][k] = math.NaN()
				}
			}
		}
	}
	t.Loose[0] = loose
	return t, nil
}

// overflows reports whether an infinity is what rounding to a type makes of a number as
// near to the exact one as the bound allows.
func overflows(t graph.DType, exact, bound, got float64) bool {
	far := exact + math.Copysign(bound, got)
	return math.IsInf(got, 0) && finite(exact) && graph.DecodeElem(t, graph.AppendElem(nil, t, far)) == got
}

// exists looks at what was chosen in rows that are near ties: it must exist, and each
// element once.
func (c *Call) exists(x *Case, t *Truth, results [][]byte) error {
	for i, r := range c.Types {
		if !r.DType.IsInteger() {
			continue
		}
		v, n := floats(r.DType, results[i]), x.row(i)
		for row := range t.Loose[0] {
			seen := map[float64]bool{}
			for k := row * n; k < min((row+1)*n, len(v)); k++ {
				if v[k] < 0 || c.Of != nil && c.Of[i] > 0 && v[k] >= float64(c.Of[i]) || seen[v[k]] {
					return fmt.Errorf("%s, row %d, element %d: %v is no choice", c.Results[i], row, k%n, v[k])
				}
				seen[v[k]] = true
			}
		}
	}
	return nil
}

// inOrder brings what was chosen without an order into the order of indices, and with it
// all that stands beside it.
func (c *Call) inOrder(x *Case, results [][]byte) (*Call, [][]byte) {
	for i, free := range c.Unordered {
		if !free {
			continue
		}
		n, at := x.row(i), c.Types[i].DType
		sorted := func(list [][]byte, wide bool) [][]byte {
			out := slices.Clone(list)
			order := make([]int, len(list[i])/at.Size())
			chosen := floats(at, list[i])
			for row := 0; row < len(order); row += n {
				for k := range n {
					order[row+k] = row + k
				}
				slices.SortStableFunc(order[row:row+n], func(a, b int) int { return cmp.Compare(chosen[a], chosen[b]) })
			}
			for j, t := range c.Types {
				size := t.DType.Size()
				if wide && t.DType.IsFloat() {
					size = 4
				}
				if !c.each(i, j) {
					continue
				}
				if size *= numel(t) / len(order); len(list[j]) != len(order)*size {
					continue
				}
				out[j] = make([]byte, 0, len(list[j]))
				for _, k := range order {
					out[j] = append(out[j], list[j][k*size:(k+1)*size]...)
				}
			}
			return out
		}
		d := *c
		d.Stock, d.Exact, results = sorted(c.Stock, false), sorted(c.Exact, true), sorted(results, false)
		d.Moved = nil
		for _, m := range c.Moved {
			d.Moved = append(d.Moved, sorted(m, true))
		}
		c = &d
	}
	return c, results
}

// beside reports whether result j has an element for each of result i.
func (c *Call) beside(x *Case, i, j int) bool {
	return x.row(i) == x.row(j) && c.Types[i].Size() == c.Types[j].Size()
}

// equals finds rows where something else was chosen that is worth the same: the numbers
// beside what was chosen are the same ones, in any order if order means nothing. Such a row
// is a tie.
func (c *Call) equals(x *Case, t *Truth, results [][]byte) {
	for i, r := range c.Types {
		if !r.DType.IsInteger() {
			continue
		}
		got, want, n := floats(r.DType, results[i]), floats(r.DType, c.Stock[i]), x.row(i)
		for j, b := range c.Types {
			if !b.DType.IsFloat() || !c.beside(x, i, j) {
				continue
			}
			a, w := floats(b.DType, results[j]), floats(b.DType, c.Stock[j])
			for at := 0; at < len(got); at += n {
				if slices.Equal(got[at:at+n], want[at:at+n]) || t.Loose[0][at/n] {
					continue
				}
				u, v := slices.Clone(a[at:at+n]), slices.Clone(w[at:at+n])
				if c.Unordered != nil && c.Unordered[i] {
					slices.Sort(u)
					slices.Sort(v)
				}
				same := true
				for k := range u {
					same = same && math.Abs(u[k]-v[k]) <= 2*slices.Max(t.Bound[j][at:at+n])
				}
				if same {
					t.Loose[0][at/n] = true
					*c.Tied++
					c.unmeasured(x, t, at/n)
				}
			}
		}
	}
}

// unmeasured takes what belongs to a row of chosen ones out of the errors: other elements were
// chosen, in which there is no measure of rounding.
func (c *Call) unmeasured(x *Case, t *Truth, row int) {
	for i, r := range c.Types {
		if n := c.choice(x, i); r.DType.IsFloat() {
			for k := row * n; k < min((row+1)*n, len(t.Exact[i])); k++ {
				t.Exact[i][k] = math.NaN()
			}
		}
	}
}

// Same compares two runs of one call.
func (c *Call) Same(a, b [][]byte) error {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			size := c.Types[i].DType.Size()
			k := 0
			for k+size <= len(a[i]) && bytes.Equal(a[i][k:k+size], b[i][k:k+size]) {
				k += size
			}
			return fmt.Errorf("%s, element %d: two runs differ", c.Results[i], k/size)
		}
	}
	return nil
}

// Values makes n floats in rows of the given length, in this style.
func (s Style) Values(r *rand.Rand, t graph.DType, n, row int64) []byte {
	b := make([]byte, 0, int(n)*t.Size())
	s.values(r, func(v float64) { b = graph.AppendElem(b, t, v) }, n, max(row, 1))
	return b
}

// ToFloat32 converts floats.
func ToFloat32(t graph.DType, data []byte) []byte {
	if t == graph.Float32 {
		return data
	}
	return convert(t, graph.Float32, data)
}

// Nudge changes each float32 by a few units in its last place.
func Nudge(r *rand.Rand, data []byte) []byte { return nudge(r, data) }

// Add adds what another error is over.
func (e *Error) Add(o *Error) { e.squares, e.n = e.squares+o.squares, e.n+o.n }

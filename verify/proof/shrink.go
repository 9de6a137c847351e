package proof

import (
	"context"
	"maps"
	"math"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
)

// maxTrials bounds how often a counterexample is tried smaller.
const maxTrials = 600

// Shrink makes a counterexample as small as it can while differs says that it is one:
// fewer sequences and tokens, shorter dimensions, then simpler values. What differs is
// given has the old place and values of the difference; whoever asks looks again.
func Shrink(ctx context.Context, c *Counterexample, differs func(*Counterexample) bool) *Counterexample {
	s := &shrinker{ctx: ctx, best: c, differs: differs, left: maxTrials}
	s.unread()
	for range 3 {
		before := s.best
		s.symbols()
		if c.Instance.isPattern() { // the dimensions of a mutant are its own
			s.dims()
		}
		if s.best == before {
			break
		}
	}
	s.values()
	return s.best
}

// Louder returns counterexamples like one, whose difference may be larger: with all numbers
// that are no parameters, or all, smaller or larger than they are. A wrong epsilon counts
// where all else is small.
func Louder(c *Counterexample) []*Counterexample {
	var list []*Counterexample
	for _, factor := range []float64{0x1p-8, 0x1p-16, 0x1p-24, 0x1p5} {
		for _, params := range []bool{false, true} {
			d := *c
			d.Inputs = map[string]Array{}
			for name, a := range c.Inputs {
				t := c.Instance.Sample.Types[name]
				if !t.DType.IsFloat() || c.Instance.Sample.Params[name] && !params {
					d.Inputs[name] = a
					continue
				}
				values := make([]float64, len(a.Values))
				for i, v := range a.Values {
					values[i] = graph.Round(t.DType, v*factor)
				}
				d.Inputs[name] = Array{a.Shape, values}
			}
			list = append(list, &d)
		}
	}
	return list
}

type shrinker struct {
	ctx     context.Context
	best    *Counterexample
	differs func(*Counterexample) bool
	left    int
}

// try takes a smaller counterexample if it is one.
func (s *shrinker) try(c *Counterexample) bool {
	if c == nil || s.left <= 0 || s.ctx.Err() != nil {
		return false
	}
	s.left--
	if !s.differs(c) {
		return false
	}
	s.best = c
	return true
}

// tryResized tries a call with shorter inputs; numbers that count what is shorter now may
// count too far, so that they are 0 in a second try.
func (s *shrinker) tryResized(in *Instance, dims map[string]int64) bool {
	for _, zero := range []bool{false, true} {
		if s.try(s.best.resized(in, dims, zero)) {
			return true
		}
	}
	return false
}

// smaller are lengths to try in place of n, the smallest first.
func smaller(n int64) []int64 {
	var list []int64
	for _, d := range []int64{1, 2, 3, 4, 8, 16, 32, 64, n / 2} {
		if d >= 1 && d < n && !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// unread leaves out inputs that nothing reads, such as tokens.
func (s *shrinker) unread() {
	g := s.best.Instance.Program.Cases[0].Graph
	uses := g.Uses()
	c := *s.best
	c.Inputs = maps.Clone(c.Inputs)
	for _, id := range g.Inputs() {
		if len(uses.Of(id)) == 0 && !uses.IsOutput(id) {
			delete(c.Inputs, g.InputName(id))
		}
	}
	s.try(&c)
}

func (s *shrinker) symbols() {
	names := sortedKeys(s.best.Dims)
	for _, first := range []string{graph.SymSeqLen, graph.SymBatch} {
		if i := slices.Index(names, first); i >= 0 {
			names = slices.Insert(slices.Delete(names, i, i+1), 0, first)
		}
	}
	for _, name := range names {
		for _, n := range smaller(s.best.Dims[name]) {
			dims := maps.Clone(s.best.Dims)
			dims[name] = n
			if s.tryResized(s.best.Instance, dims) {
				break
			}
		}
	}
}

// dims makes the numbers among the lengths of inputs and parameters smaller, each
// everywhere at once; those of one quantized matrix together.
func (s *shrinker) dims() {
	for again := true; again; { // what was two lengths may be one now, and go on together
		again = false
		for _, n := range slices.Backward(slices.Sorted(maps.Keys(s.best.Instance.numbers()))) {
			again = s.shorter(n) || again
		}
	}
}

// shorter makes one length smaller, if it can be.
func (s *shrinker) shorter(n int64) bool {
	tied := s.best.Instance.tied()[n]
	for _, m := range smaller(n) {
		if s.substituted(map[int64]int64{n: m}) {
			return true
		}
		if n%m != 0 {
			continue
		}
		if together, ok := scaled(tied, n/m); ok && s.substituted(together) {
			return true
		}
	}
	return false
}

// substituted tries the instance with other numbers for lengths; $variables are lengths
// in one try, and not in another.
func (s *shrinker) substituted(by map[int64]int64) bool {
	for _, vars := range []bool{true, false} {
		sample := substitute(s.best.Instance.Sample, by, vars)
		if sample == nil {
			continue
		}
		was := s.best.Instance
		in, err := newInstance(was.Pattern, sample, was.When, was.Where, retype(was.Program.Params, sample))
		if err == nil && s.tryResized(in, s.best.Dims) {
			return true
		}
	}
	return false
}

// values makes values simple: 0 wherever it may be, else small whole numbers.
func (s *shrinker) values() {
	for _, name := range sortedKeys(s.best.Inputs) {
		n := len(s.best.Inputs[name].Values)
		whole := func(f func(float64) float64) bool { return s.tryValues(name, 0, n, f) }
		if whole(func(float64) float64 { return 0 }) || whole(func(float64) float64 { return 1 }) {
			continue
		}
		if !whole(math.RoundToEven) {
			whole(func(x float64) float64 { return math.RoundToEven(x*16) / 16 })
		}
		for size := (n + 1) / 2; size >= 1; size /= 2 {
			for from := 0; from < n; from += size {
				s.tryValues(name, from, min(n, from+size), func(float64) float64 { return 0 })
			}
		}
		if n > 64 {
			continue
		}
		for i := range n {
			for _, simple := range []float64{1, -1, 2, 0.5} {
				if x := s.best.Inputs[name].Values[i]; x == 0 || x == simple || s.tryValues(name, i, i+1, func(float64) float64 { return simple }) {
					break
				}
			}
		}
	}
}

// tryValues tries an input with some of its values changed.
func (s *shrinker) tryValues(name string, from, to int, f func(float64) float64) bool {
	a := s.best.Inputs[name]
	values := slices.Clone(a.Values)
	changed := false
	for i := from; i < to; i++ {
		values[i] = f(values[i])
		changed = changed || values[i] != a.Values[i] && !(math.IsNaN(values[i]) && math.IsNaN(a.Values[i]))
	}
	if !changed {
		return false
	}
	c := *s.best
	c.Inputs = maps.Clone(c.Inputs)
	c.Inputs[name] = Array{a.Shape, values}
	return s.try(&c)
}

// resized is the counterexample at another instance of its pattern and for other lengths:
// of each input the first elements along each axis. Nil if something would be longer.
func (c *Counterexample) resized(in *Instance, dims map[string]int64, zero bool) *Counterexample {
	out := *c
	out.Instance, out.Dims, out.Inputs = in, dims, map[string]Array{}
	types := map[string]graph.Type{}
	g := in.Program.Cases[0].Graph
	for _, id := range g.Inputs() {
		types[g.InputName(id)] = g.Type(id)
	}
	for _, q := range in.Program.Params {
		types[q.Name] = q.Type
	}
	changed := false
	for name, a := range c.Inputs {
		t, ok := types[name]
		if !ok || t.Rank() != len(a.Shape) {
			return nil
		}
		shape := make([]int, t.Rank())
		for i, d := range t.Shape {
			n, err := d.Eval(dims)
			if err != nil || n < 1 || int(n) > a.Shape[i] {
				return nil
			}
			shape[i] = int(n)
		}
		if slices.Equal(shape, a.Shape) && !(zero && t.DType.IsInteger()) {
			out.Inputs[name] = a
			continue
		}
		cut := a.cut(shape)
		if zero && t.DType.IsInteger() && t.DType != graph.Uint32 || zero && t.DType == graph.Uint32 && !isPacked(in.Program, name) {
			clear(cut.Values)
		}
		changed = changed || !slices.Equal(cut.Values, a.Values)
		out.Inputs[name] = cut
	}
	if !changed && maps.Equal(dims, c.Dims) {
		return nil
	}
	return &out
}

// isPacked reports whether a parameter holds the codes of a quantized matrix.
func isPacked(p *graph.Program, name string) bool {
	q := p.Param(name)
	return q != nil && q.Quant != nil
}

// cut returns the first elements along each axis.
func (a Array) cut(shape []int) Array {
	out := Array{Shape: shape}
	var walk func(axis, offset int)
	walk = func(axis, offset int) {
		if axis == len(shape) {
			out.Values = append(out.Values, a.Values[offset])
			return
		}
		stride := 1
		for _, n := range a.Shape[axis+1:] {
			stride *= n
		}
		for i := range shape[axis] {
			walk(axis+1, offset+i*stride)
		}
	}
	walk(0, 0)
	return out
}

// substitute returns a sample with other numbers for lengths, nil if that changes nothing.
// With vars, $variables and attributes that are left open change as well.
func substitute(s *matcher.Sample, by map[int64]int64, vars bool) *matcher.Sample {
	out := *s
	changed := false
	length := func(d graph.Dim) graph.Dim {
		if n, ok := d.Const(); ok && by[n] != 0 {
			changed = true
			return graph.N(by[n])
		}
		return d
	}
	attr := func(a graph.Attr) graph.Attr {
		switch x := a.(type) {
		case graph.Dim:
			return length(x)
		case graph.Dims:
			list := slices.Clone(x)
			for i := range list {
				list[i] = length(list[i])
			}
			return list
		}
		return a
	}
	if vars {
		out.Vars, out.Open = maps.Clone(s.Vars), maps.Clone(s.Open)
		for name, a := range s.Vars {
			if name != "bits" && name != "gs" && name != "group_size" {
				out.Vars[name] = attr(a)
			}
		}
		for at, a := range s.Open {
			out.Open[at] = attr(a)
		}
		if !changed {
			return nil // the same as without
		}
	}
	changed = false
	out.Types = map[string]graph.Type{}
	for name, t := range s.Types {
		shape := slices.Clone(t.Shape)
		if s.Literals[name] == nil {
			for i := range shape {
				shape[i] = length(shape[i])
			}
		}
		out.Types[name] = graph.Type{DType: t.DType, Shape: shape}
	}
	if !changed {
		return nil
	}
	return &out
}

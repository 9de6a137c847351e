package kernelcheck

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// Style is what float inputs of a case hold.
type Style int

const (
	Normal  Style = iota // a bell around 0
	Lattice              // few values, so that many are equal: ties
	Heavy                // a few channels a thousand times larger, as in real activations
	Small                // around 1e-3, where an epsilon counts
	Zeros                // half of all elements
	Special              // a NaN, an infinity or a row of minus infinity here and there
	numStyles
)

func (s Style) String() string {
	return [...]string{"normal", "lattice", "heavy", "small", "zeros", "special"}[s]
}

// Case is one call with its inputs.
type Case struct {
	*kernels.Trial
	Style Style
	Seed  uint64
	Data  [][]byte // of inputs, row-major; nil for absent ones
	Alias []int    // an earlier input whose memory this one shares, or -1

	choice int // which combination of types, absent inputs and attributes it is of
}

// String names a case so that it can be made again: "T=float16 k=8 rows=2 ... lattice seed 7".
func (c *Case) String() string {
	text := ""
	for i, x := range c.Spec.Inputs {
		if t := c.Inputs[i]; t.DType != graph.NoDType {
			text += fmt.Sprintf("%s=%s ", x.Name, t)
		}
	}
	for i, a := range c.Spec.Attrs {
		text += fmt.Sprintf("%s=%s ", a.Name, c.Attrs[i])
	}
	return text + fmt.Sprintf("%s seed %d", c.Style, c.Seed)
}

// Plan returns n cases of a kernel's domain for these sets of element types, the same
// ones every time: every combination of types, optional inputs and attributes once
// before any comes twice, with lengths and styles that go round. Leading dimensions are
// one, or two with the same product.
func Plan(s *kernels.Spec, types []kernels.Instance, n int) []*Case {
	cases, _, _ := plan(s, types, n)
	return cases
}

// maxThreads bounds the launch of a case: emulated threads take some nanoseconds each.
const maxThreads = 1 << 22

// plan is Plan, with the number of combinations that there are; the error says why there is
// no case.
func plan(s *kernels.Spec, types []kernels.Instance, n int) (cases []*Case, choices int, err error) {
	var valid []kernels.Choice
	why := errors.New("no set of element types fits")
	for c := range s.Choices() {
		if !slices.ContainsFunc(types, func(in kernels.Instance) bool { return maps.Equal(in.Types, c.Types) }) {
			continue
		}
		t, err := s.Trial(c)
		if err != nil {
			why = err
			if c.Dims = someDims(s, c); c.Dims == nil { // other lengths do not fit either
				continue
			}
			if t, err = s.Trial(c); err != nil {
				continue
			}
		}
		if !slices.ContainsFunc(types, func(in kernels.Instance) bool { return serves(in, t) }) {
			continue // with an optional input left out, the results may be of another type
		}
		valid = append(valid, c)
	}
	none := func() error {
		return fmt.Errorf("%s: no case of check is in the domain of kernel %s: %w", s.Source, s.Name, why)
	}
	if len(valid) == 0 {
		return nil, 0, none()
	}
	h := fnv.New64a()
	h.Write([]byte(s.Name))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	r.Shuffle(len(valid), func(i, j int) { valid[i], valid[j] = valid[j], valid[i] })
	for i := 0; len(cases) < n && i < 4*n; i++ {
		c := valid[i%len(valid)]
		style := Style((i%len(valid) + i/len(valid)) % int(numStyles))
		for try := 0; try <= 20; try++ {
			with := c // with the lengths that are known to fit, at last
			if try < 20 {
				with.Dims = drawDims(s, r)
				with.Lead = drawLead(with.Dims[kernels.RowsName], r)
			}
			t, err := s.Trial(with)
			if err == nil {
				err = small(t)
			}
			if err != nil {
				why = err
				continue
			}
			x := &Case{Trial: t, Style: style, Seed: r.Uint64() >> 32, choice: i % len(valid)}
			x.fill()
			cases = append(cases, x)
			break
		}
	}
	if len(cases) == 0 {
		return nil, 0, none()
	}
	return cases, len(valid), nil
}

// serves reports whether what was compiled for a set of element types runs a call.
func serves(in kernels.Instance, t *kernels.Trial) bool {
	for i, x := range t.Spec.Inputs {
		if d := t.Inputs[i].DType; x.TypeName != "" && d != graph.NoDType && d != in.Types[x.TypeName] {
			return false
		}
	}
	return slices.Equal(in.Results, t.ResultTypes())
}

// small says what of a call is too large for a case.
func small(t *kernels.Trial) error {
	if n := cost(t); n > 3e6 {
		return fmt.Errorf("a case of %.0f elements is too large", n)
	}
	if t.Spec.Launch == nil {
		return nil
	}
	g, err := t.Spec.Geometry(t.Ints)
	if err != nil {
		return nil // which is for the run to report
	}
	if n := float64(g.Grid[0]) * float64(g.Grid[1]) * float64(g.Grid[2]); n > maxThreads {
		return fmt.Errorf("a launch of %.0f threads is too large for a case", n)
	}
	return nil
}

// cost is about how many elements a call touches; huge ones teach nothing more.
func cost(t *kernels.Trial) float64 {
	sum := 0.0
	for _, x := range t.Inputs {
		if x.DType != graph.NoDType {
			n, _ := x.Size().Const()
			sum += float64(n)
		}
	}
	for _, x := range t.Results {
		n, _ := x.Size().Const()
		sum += float64(n)
	}
	return sum
}

func drawDims(s *kernels.Spec, r *rand.Rand) map[string]int64 {
	dims := map[string]int64{}
	for _, d := range s.Trials.Dims {
		dims[d.Name] = d.Values[r.IntN(len(d.Values))]
	}
	return dims
}

// drawLead splits so many rows into two leading dimensions, or returns 0: an axis that is
// counted from the front is another one then.
func drawLead(rows int64, r *rand.Rand) int64 {
	var list []int64
	for a := int64(1); a <= rows && a <= 64; a++ {
		if rows%a == 0 {
			list = append(list, a)
		}
	}
	if len(list) == 0 || r.IntN(2) == 0 {
		return 0
	}
	return list[r.IntN(len(list))]
}

// someDims looks for lengths with which a choice is in the domain.
func someDims(s *kernels.Spec, c kernels.Choice) map[string]int64 {
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		c.Dims = drawDims(s, r)
		if _, err := s.Trial(c); err == nil {
			return c.Dims
		}
	}
	return nil
}

// fill makes the inputs from the case's seed.
func (c *Case) fill() {
	s := c.Spec
	c.Data = make([][]byte, len(s.Inputs))
	c.Alias = make([]int, len(s.Inputs))
	r := rand.New(rand.NewPCG(c.Seed, uint64(c.Style)))
	for i, x := range s.Inputs {
		c.Alias[i] = -1
		if t := c.Inputs[i]; t.DType != graph.NoDType {
			c.Data[i] = c.generate(r, x.Name, t)
		}
	}
	// In some cases two operands of one type are the same memory.
	if c.Seed%5 == 0 {
		for i := range c.Data {
			for j := range i {
				if c.Data[i] != nil && c.Data[j] != nil && c.Alias[j] < 0 && c.Inputs[i].Equal(c.Inputs[j]) && c.Inputs[i].DType.IsFloat() && generator(s, s.Inputs[i].Name) == generator(s, s.Inputs[j].Name) {
					c.Data[i], c.Alias[i] = c.Data[j], j
				}
			}
		}
	}
}

func generator(s *kernels.Spec, input string) string {
	for _, g := range s.Trials.Inputs {
		if g.Name == input {
			return g.Expr.String()
		}
	}
	return "values"
}

func (c *Case) generate(r *rand.Rand, input string, t graph.Type) []byte {
	n, _ := t.Size().Const()
	var e syntax.Expr
	for _, g := range c.Spec.Trials.Inputs {
		if g.Name == input {
			e = g.Expr
		}
	}
	name, limit := "values", int64(0)
	switch x := e.(type) {
	case nil:
		if !t.DType.IsFloat() {
			name = "packed"
		}
	case *syntax.Name:
		name = x.Name
	case *syntax.Call:
		name = x.Fun
		limit, _ = c.Spec.EvalInt(x.Args[0].Value, c.Ints)
	}
	b := make([]byte, 0, int(n)*t.DType.Size())
	add := func(v float64) { b = graph.AppendElem(b, t.DType, v) }
	switch name {
	case "packed":
		for range int(n) * t.DType.Size() {
			b = append(b, byte(r.Uint32()))
		}
	case "index":
		for range n {
			add(float64(r.Int64N(max(limit, 1))))
		}
	case "below":
		for range n {
			add(float64(r.Int64N(limit + 1)))
		}
	case "scales":
		if t.DType == graph.Uint8 { // e8m0: a power of two, 2^(v-127)
			for range n {
				b = append(b, byte(118+r.IntN(6)))
			}
			break
		}
		for range n {
			add((0.2 + r.Float64()) / 64 * sign(r))
		}
	case "weights":
		for range n {
			add(1 + 0.3*r.NormFloat64())
		}
	case "scores":
		for range n {
			add(r.Float64() / 4)
		}
	default:
		row := int64(1)
		if last, ok := t.Dim(-1); ok {
			row, _ = last.Const()
		}
		style := c.Style
		if name == "finite" && style == Special {
			style = Normal
		}
		style.values(r, add, n, row)
	}
	return b
}

func sign(r *rand.Rand) float64 {
	if r.IntN(2) == 0 {
		return -1
	}
	return 1
}

// values makes n floats in rows of the given length, in this style.
func (s Style) values(r *rand.Rand, add func(float64), n, row int64) {
	large := map[int64]bool{r.Int64N(row): true, r.Int64N(row): true}
	var minus int64 = -1
	if s == Special && row > 0 && n/row > 1 {
		minus = r.Int64N(n / row) // a row of minus infinity
	}
	for i := range n {
		v := r.NormFloat64()
		switch s {
		case Lattice:
			v = float64(r.IntN(5)-2) / 4
		case Heavy:
			if large[i%row] {
				v *= 1000
			}
		case Small:
			v *= 1e-3
		case Zeros:
			if r.IntN(2) == 0 {
				v = math.Copysign(0, v)
			}
		case Special:
			switch {
			case i/row == minus:
				v = math.Inf(-1)
			case r.IntN(40) == 0:
				v = []float64{math.NaN(), math.Inf(1), math.Inf(-1), 60000, -60000}[r.IntN(5)]
			}
		}
		add(v)
	}
}

// types returns the codes of a host call: inputs, then results.
func (c *Case) types() []int32 {
	var list []int32
	for _, t := range slices.Concat(c.Inputs, c.Results) {
		list = append(list, kernels.DTypeCode(t.DType))
	}
	return list
}

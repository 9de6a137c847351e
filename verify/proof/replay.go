package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/rules"
)

// Ways of comparing a call with and without a rule.
const (
	// ByBits: no bit may differ, for rules that promise it.
	ByBits = "bits"
	// ByFunction: results may differ as much as sums in another order and other roundings
	// between them make. What differs more is another function.
	ByFunction = "function"
)

// slack is how much a function's values may differ: of the value itself, and of the
// largest of the result, which sums may have been made of.
func slack(t graph.DType) (own, scale float64) {
	switch t {
	case graph.Float16, graph.BFloat16:
		return 4 * epsilon(t), 2 * epsilon(t)
	}
	return 3e-5, 3e-6
}

// Call is a counterexample apart from its rule: a program and what it is called with. Its
// JSON form is a file's.
type Call struct {
	Version int              `json:"version"`
	Rule    string           `json:"rule"`
	Check   string           `json:"check,omitempty"`
	Where   string           `json:"where"`
	Target  string           `json:"target"`
	Compare string           `json:"compare"` // ByBits or ByFunction
	Dims    map[string]int64 `json:"dims"`
	Inputs  map[string]Array `json:"inputs"` // and parameters
	Output  string           `json:"output"`
	Index   []int            `json:"index"`
	Want    number           `json:"want"`
	Got     number           `json:"got"`

	Program *graph.Program `json:"-"`
}

// callVersion is the version of Call's JSON form.
const callVersion = 1

// Bounds of a call that is read from a file.
const (
	maxCallDim    = 1 << 20
	maxCallValues = 1 << 24 // of an input
	maxCallSteps  = 1 << 27 // of all values of a graph
)

// number is a number in JSON, where NaN and infinities are words.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(f, 'g', -1, 64)), nil
	}
	return json.Marshal(float64(n))
}

func (n *number) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if !slices.Contains([]string{"NaN", "+Inf", "-Inf"}, s) {
			return fmt.Errorf("%q is none of NaN, +Inf, -Inf", s)
		}
		f, err := strconv.ParseFloat(s, 64)
		*n = number(f)
		return err
	}
	return json.Unmarshal(b, (*float64)(n))
}

type arrayJSON struct {
	Shape  []int    `json:"shape"`
	Values []number `json:"values"`
}

// MarshalJSON writes an array as its shape and its values.
func (a Array) MarshalJSON() ([]byte, error) {
	x := arrayJSON{Shape: append([]int{}, a.Shape...), Values: make([]number, len(a.Values))}
	for i, v := range a.Values {
		x.Values[i] = number(v)
	}
	return json.Marshal(x)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Array) UnmarshalJSON(b []byte) error {
	var x arrayJSON
	if err := json.Unmarshal(b, &x); err != nil {
		return err
	}
	n := 1
	for _, d := range x.Shape {
		if d < 0 || d > maxCallDim || n*max(d, 1) > maxCallValues {
			return fmt.Errorf("shape %v is too large", x.Shape)
		}
		n *= d
	}
	if n != len(x.Values) {
		return fmt.Errorf("%d values for shape %v", len(x.Values), x.Shape)
	}
	a.Shape, a.Values = x.Shape, make([]float64, n)
	for i, v := range x.Values {
		a.Values[i] = float64(v)
	}
	return nil
}

// ReadCall reads the JSON form of a call of a program.
func ReadCall(data []byte, p *graph.Program) (*Call, error) {
	c := &Call{Program: p}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, err
	}
	switch {
	case c.Version != callVersion:
		return nil, fmt.Errorf("version %d is not known", c.Version)
	case c.Compare != ByBits && c.Compare != ByFunction:
		return nil, fmt.Errorf("compare %q is neither %s nor %s", c.Compare, ByBits, ByFunction)
	}
	for name, n := range c.Dims {
		if n < 1 || n > maxCallDim {
			return nil, fmt.Errorf("%s is %d", name, n)
		}
	}
	return c, nil
}

// Call returns the counterexample as a call that shows the difference: as it is for a rule
// that promises every bit, and else in float32, where that applies as well.
func (c *Counterexample) Call(set *rules.Set) *Call {
	x := &Call{Version: callVersion, Rule: c.Instance.Rule.Name, Where: c.Instance.Where, Target: c.Target, Compare: ByBits, Dims: c.Dims, Inputs: c.Inputs,
		Output: c.Output, Index: c.Index, Want: number(c.Want), Got: number(c.Got), Program: c.Instance.Program}
	if c.Instance.Rule.Numerics == kernels.Exact {
		return x
	}
	x.Compare = ByFunction
	if !c.Instance.isPattern() {
		return x
	}
	s := withFloats(c.Instance.Sample, graph.Float32)
	in, err := newInstance(c.Instance.Pattern, s, c.Instance.When, c.Instance.Where, retype(c.Instance.Program.Params, s))
	if err == nil && in.applies(set) {
		x.Program = in.Program
	}
	return x
}

// isPattern reports whether the program is the pattern as rendered, and not a mutant of it.
func (in *Instance) isPattern() bool {
	same, err := newInstance(in.Pattern, in.Sample, in.When, in.Where, in.Program.Params)
	return err == nil && same.Program.Hash() == in.Program.Hash()
}

// Difference is where a call's results differ with a rule.
type Difference struct {
	Output string
	Index  []int
	Want   float64 // without the rule
	Got    float64 // with it
}

func (d *Difference) String() string {
	return fmt.Sprintf("%s%v is %v, and with the rule %v", d.Output, d.Index, d.Want, d.Got)
}

// Outcome is what came of replaying a call on an engine.
type Outcome struct {
	Applied bool        // the rule was applied in the case that runs
	Differs *Difference // the largest, or nil
}

// Replay computes a call without and with a rule. Kernels that keep does not take run as
// their reference graphs. The error says why it cannot be computed without the rule; what
// only the rule makes impossible is a difference of all results, and an error as well.
func (c *Call) Replay(ctx context.Context, e engine.Engine, set *rules.Set, r *rules.Rule, keep func(*kernels.Spec) bool) (*Outcome, error) {
	res, err := rewriteBy(set, r, c.Program, c.Target)
	if err != nil {
		return nil, err
	}
	after, err := set.Kernels.Expand(res.Program, keep)
	if err != nil {
		return nil, err
	}
	before, err := set.Kernels.Expand(c.Program, keep)
	if err != nil {
		return nil, err
	}
	env, err := c.symbols()
	if err != nil {
		return nil, err
	}
	out := &Outcome{}
	chosen, err := res.Program.Select(env)
	if err != nil {
		return nil, err
	}
	for i := range res.Cases {
		if res.Cases[i].Name == chosen.Name {
			out.Applied = len(res.Cases[i].Sites) > 0
		}
	}
	if !out.Applied {
		return out, nil
	}
	if err := bounded(before, env); err != nil {
		return nil, err
	}
	want, err := c.run(ctx, e, before)
	if err != nil {
		return nil, fmt.Errorf("without the rule: %w", err)
	}
	got, err := c.run(ctx, e, after)
	if err != nil {
		return nil, fmt.Errorf("with the rule: %w", err)
	}
	for _, o := range c.Program.Cases[0].Graph.Outputs() {
		if d := c.compare(o.Name, want[o.Name], got[o.Name]); d != nil && out.Differs == nil {
			out.Differs = d
		}
	}
	return out, nil
}

// bounded refuses a call whose values would not fit, which no counterexample comes near.
func bounded(p *graph.Program, env map[string]int64) error {
	c, err := p.Select(env)
	if err != nil {
		return err
	}
	total := int64(0)
	for v := range graph.ValueID(c.Graph.NumValues()) {
		n, err := c.Graph.Type(v).Size().Eval(env)
		if err != nil {
			return err
		}
		if total += n; n < 0 || n > maxCallSteps || total > maxCallSteps {
			return fmt.Errorf("the call has more than %d numbers", maxCallSteps)
		}
	}
	return nil
}

// symbols are those of the call and of its inputs' shapes.
func (c *Call) symbols() (map[string]int64, error) {
	env := map[string]int64{}
	for name, n := range c.Dims {
		env[name] = n
	}
	g := c.Program.Cases[0].Graph
	for _, id := range g.Inputs() {
		a, ok := c.Inputs[g.InputName(id)]
		for i, d := range g.Type(id).Shape {
			if s, isSym := d.Symbol(); isSym && ok && i < len(a.Shape) {
				if n, known := env[s]; known && n != int64(a.Shape[i]) {
					return nil, fmt.Errorf("%s is %d, and %s has %d", s, n, g.InputName(id), a.Shape[i])
				}
				env[s] = int64(a.Shape[i])
			}
		}
	}
	return env, nil
}

// result is a result that was computed.
type result struct {
	dtype graph.DType
	shape []int
	data  []byte
}

func (c *Call) run(ctx context.Context, e engine.Engine, p *graph.Program) (map[string]*result, error) {
	store := weights.NewStore()
	for _, q := range c.Program.Params {
		a, ok := c.Inputs[q.Name]
		if !ok {
			return nil, fmt.Errorf("parameter %s has no values", q.Name)
		}
		t, err := weights.New(q.Name, q.Type.DType, a.Shape, weights.Raw(bytesOf(q.Type.DType, a.Values)))
		if err != nil {
			return nil, err
		}
		if err := store.Add(t); err != nil {
			return nil, err
		}
	}
	if err := models.Derive(p, store); err != nil {
		return nil, err
	}
	s, err := e.Load(ctx, p, store)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	g := c.Program.Cases[0].Graph
	in := map[string]engine.Tensor{}
	defer func() {
		for _, t := range in {
			t.Release()
		}
	}()
	for _, id := range g.Inputs() {
		name, typ := g.InputName(id), g.Type(id)
		a, ok := c.Inputs[name]
		if !ok { // such as tokens, which nothing reads
			shape, err := engine.Shape(typ.Shape, c.Dims)
			if err != nil {
				return nil, fmt.Errorf("input %s: %w", name, err)
			}
			n, ok := weights.NumBytes(typ.DType, shape)
			if !ok || n > maxCallValues {
				return nil, fmt.Errorf("input %s is too large", name)
			}
			a = Array{shape, make([]float64, n/typ.DType.Size())}
		}
		if in[name], err = e.NewTensor(typ.DType, a.Shape, bytesOf(typ.DType, a.Values)); err != nil {
			delete(in, name)
			return nil, err
		}
	}
	tensors, err := s.Step(ctx, in, c.Dims)
	if err != nil {
		return nil, err
	}
	out := map[string]*result{}
	for name, t := range tensors {
		r := &result{dtype: t.DType(), shape: slices.Clone(t.Shape())}
		if r.data, err = t.Read(); err != nil {
			return nil, err
		}
		out[name] = r
		t.Release()
	}
	return out, nil
}

func bytesOf(t graph.DType, values []float64) []byte {
	var b []byte
	for _, v := range values {
		b = graph.AppendElem(b, t, v)
	}
	return b
}

// compare returns the largest difference of a result, or nil.
func (c *Call) compare(name string, want, got *result) *Difference {
	if want == nil || got == nil || want.dtype != got.dtype || len(want.data) != len(got.data) {
		return &Difference{Output: name, Want: math.NaN(), Got: math.NaN()}
	}
	size := want.dtype.Size()
	at := func(r *result, i int) float64 { return graph.DecodeElem(r.dtype, r.data[i*size:(i+1)*size]) }
	n := len(want.data) / size
	scale := 0.0
	for i := range n {
		if x := math.Abs(at(want, i)); !math.IsInf(x, 0) && x > scale {
			scale = x
		}
	}
	own, of := slack(want.dtype)
	worst, where := 0.0, -1
	for i := range n {
		x, y := at(want, i), at(got, i)
		d := math.Abs(x - y)
		switch {
		case math.IsNaN(x) && math.IsNaN(y):
			continue
		case c.Compare == ByBits && x == y && math.Signbit(x) == math.Signbit(y):
			continue
		case c.Compare == ByBits && x == y: // two zeros
			d = math.SmallestNonzeroFloat64
		case x == y || c.Compare == ByFunction && d <= own*math.Abs(x)+of*scale:
			continue
		case math.IsNaN(d):
			d = math.Inf(1)
		}
		if d > worst {
			worst, where = d, i
		}
	}
	if where < 0 {
		return nil
	}
	out := &Difference{Output: name, Index: make([]int, len(want.shape)), Want: at(want, where), Got: at(got, where)}
	for k, i := len(want.shape)-1, where; k >= 0; k-- {
		out.Index[k] = i % want.shape[k]
		i /= want.shape[k]
	}
	return out
}

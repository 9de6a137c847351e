package proof

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/rules"
)

const swapped = `zmlx: 1
family: wrong
rules:
  - name: swapped
    doc: Gate and up are swapped.
    match:
      g: quantized_matmul(x, wg, sg, bg?, bits=$bits, group_size=$gs, mode=$mode)
      u: quantized_matmul(x, wu, su, bu?, bits=$bits, group_size=$gs, mode=$mode)
      s: sigmoid(g)
      a: multiply(g, s)
      out: multiply(a, u)
    guards:
      few_rows: rows(x) <= 8
    replace:
      out: kernel.qmv_swiglu(x, wu, su, bu, wg, sg, bg, bits=$bits, group_size=$gs, mode=$mode)
    numerics: reordered
`

// wrongCall is a call of a wrong rule with random inputs for which the results differ.
func wrongCall(t testing.TB) (*rules.Set, *Counterexample) {
	t.Helper()
	catalog, issues := author.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	file, issues := rules.Parse("wrong.yaml", []byte(swapped))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	set, issues := rules.Link([]*rules.File{file}, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	models, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rules()[0]
	all, err := NewCorpus(models).Instances(set, r)
	if err != nil || len(all.All) == 0 {
		t.Fatal("no instance", err)
	}
	in := all.All[0]
	c := &Counterexample{Instance: in, Target: "cpu", Dims: map[string]int64{graph.SymBatch: 3, graph.SymSeqLen: 1}, Inputs: map[string]Array{}}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range sortedKeys(in.Sample.Types) {
		typ := in.Sample.Types[name]
		a := Array{}
		n := 1
		for _, d := range typ.Shape {
			x, err := d.Eval(c.Dims)
			if err != nil {
				t.Fatal(err)
			}
			a.Shape = append(a.Shape, int(x))
			n *= int(x)
		}
		for range n {
			v := rng.NormFloat64()
			if typ.DType == graph.Uint32 {
				v = float64(rng.Uint32())
			}
			a.Values = append(a.Values, graph.Round(typ.DType, v))
		}
		c.Inputs[name] = a
	}
	return set, c
}

// TestShrink makes a call of whole quantized matrices small: one row, one output, one
// group, and simple numbers.
func TestShrink(t *testing.T) {
	set, c := wrongCall(t)
	e, trials := ref.New(), 0
	differs := func(c *Counterexample) bool {
		trials++
		out, err := c.Call(set).Replay(context.Background(), e, set, c.Instance.Rule, nil)
		return err == nil && out.Differs != nil
	}
	if !differs(c) {
		t.Fatal("the call does not differ to begin with")
	}
	small := Shrink(context.Background(), c, differs)
	if !differs(small) {
		t.Fatal("what is left does not differ")
	}
	count := func(c *Counterexample) (n int) {
		for _, a := range c.Inputs {
			n += len(a.Values)
		}
		return n
	}
	t.Logf("%d values became %d, in %d trials: %v", count(c), count(small), trials, small.Inputs)
	if n := count(small); n > 60 {
		t.Errorf("%d values are left of %d", n, count(c))
	}
	if trials > maxTrials+5 {
		t.Errorf("%d trials", trials)
	}
	if small.Dims[graph.SymBatch] != 1 {
		t.Errorf("batch is %d", small.Dims[graph.SymBatch])
	}
	for name, a := range small.Inputs {
		for _, v := range a.Values {
			if !slices.Contains([]float64{-2, -1, 0, 0.5, 1, 2}, v) && small.Instance.Sample.Types[name].DType != graph.Uint32 {
				t.Errorf("%s holds %v", name, v)
			}
		}
	}
	// The original is as it was: shrinking may not write into its arrays.
	if out, err := c.Call(set).Replay(context.Background(), e, set, c.Instance.Rule, nil); err != nil || out.Differs == nil {
		t.Errorf("the original has changed: %v", err)
	}
}

// TestShrinkKeepsWhatCounts holds on to the one thing that a difference needs.
func TestShrinkKeepsWhatCounts(t *testing.T) {
	_, c := wrongCall(t)
	c.Inputs["x"].Values[5] = 7
	small := Shrink(context.Background(), c, func(c *Counterexample) bool { return slices.Contains(c.Inputs["x"].Values, 7) })
	left := 0
	for _, a := range small.Inputs {
		for _, v := range a.Values {
			if v != 0 {
				left++
			}
		}
	}
	if left != 1 {
		t.Errorf("%d values are not 0: %v", left, small.Inputs)
	}
}

// TestCallText: a call is read back as it was written.
func TestCallText(t *testing.T) {
	set, c := wrongCall(t)
	call := c.Call(set)
	data, err := json.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadCall(data, call.Program)
	if err != nil {
		t.Fatal(err)
	}
	data2, err := json.Marshal(again)
	if err != nil || string(data) != string(data2) {
		t.Errorf("%v\n%s\n%s", err, data, data2)
	}
}

func FuzzReadCall(f *testing.F) {
	f.Add(`{"version":1,"rule":"a.b","compare":"bits","dims":{"batch":1},"inputs":{"x":{"shape":[2],"values":[1,"NaN"]}},"output":"out","index":[0],"want":"-Inf","got":0}`)
	f.Add(`{"version":1,"compare":"function","inputs":{"x":{"shape":[1000000,1000000],"values":[]}}}`)
	f.Add(`{"version":1,"compare":"bits","dims":{"batch":-1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ReadCall([]byte(text), &graph.Program{})
		if err != nil {
			return
		}
		for name, a := range c.Inputs {
			n := 1
			for _, d := range a.Shape {
				n *= d
			}
			if n != len(a.Values) {
				t.Errorf("%s: %v has %d values", name, a.Shape, len(a.Values))
			}
		}
	})
}

// TestSmaller: an instance of long dimensions becomes short, the rule applies to it still,
// and dimensions that differed still do.
func TestSmaller(t *testing.T) {
	set, c := wrongCall(t)
	in := c.Instance
	by := map[int64]int64{}
	for n := range in.numbers() {
		by[n] = n * 64
	}
	for _, q := range in.Program.Params { // codes and scales of rows that are 64 times as long
		if q.Quant != nil && q.Part == "scales" {
			n, _ := lastDim(q.Type)
			by[n*int64(q.Quant.GroupSize)] = 64 * n * int64(q.Quant.GroupSize)
		}
	}
	s := substitute(in.Sample, by, false)
	long, err := newInstance(in.Pattern, s, in.When, in.Where, retype(in.Program.Params, s))
	if err != nil || !long.applies(set) {
		t.Fatal(err)
	}
	small := Smaller(set, long)
	if !small.applies(set) {
		t.Error("the rule does not apply")
	}
	largest := func(in *Instance) (most int64) {
		for n := range in.numbers() {
			most = max(most, n)
		}
		return most
	}
	t.Log(largest(long), largest(small), len(long.numbers()), len(small.numbers()))
	if largest(small) > 256 {
		t.Errorf("%d of %d is left", largest(small), largest(long))
	}
	if len(small.numbers()) < len(long.numbers())-1 { // lengths of one number are not counted
		t.Errorf("of %d lengths that differ, %d do", len(long.numbers()), len(small.numbers()))
	}
}

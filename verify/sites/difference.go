package sites

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/kernelcheck"
)

// Difference is an element that a replacement makes other than MLX's own ops.
type Difference struct {
	Result        string // the rule's name for it
	Op            string // what MLX's own ops make it with
	Index         []int
	Before, After float64
	Why           string // what its contract allows
}

func (d *Difference) String() string {
	return fmt.Sprintf("%s%v is %v before and %v after (%s)", d.Result, d.Index, d.Before, d.After, d.Why)
}

// Difference compares the two graphs of a use on inputs that a model gave it, those of the
// pair's leaves that are named, and positions. The others are made up. It returns the first
// element in the order of results that differs by more than the rule's contract allows, or
// nil.
func (c *Checker) Difference(ctx context.Context, u *Use, seen map[string]engine.Tensor, positions map[string]int, env map[string]int64) (*Difference, error) {
	p, err := c.load(ctx, u)
	if err != nil {
		return nil, err
	}
	defer p.close()
	full := symbols(c.Program, env[graph.SymBatch], env[graph.SymSeqLen], env[graph.SymKVLen]-env[graph.SymSeqLen])
	shapes := map[string][]int{}
	given := map[string]data{}
	for name, t := range seen {
		bytes, err := t.Read()
		if err != nil {
			return nil, err
		}
		given[name] = data{t.DType(), t.Shape(), bytes}
		shapes[name] = t.Shape()
	}
	bound := map[string]int64{} // by what was seen: caches may have more room than usual
	if err := p.stock.BindShapes(bound, shapes); err != nil {
		return nil, err
	}
	for name, n := range bound {
		full[name] = n
	}
	in, err := inputs(p.stock, p.names, c.Program.Window, full, kernelcheck.Normal, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		return nil, err
	}
	for name := range in {
		if x, ok := given[name]; ok {
			in[name] = x
		} else if at, ok := positions[p.names[name]]; ok {
			x := in[name]
			x.bytes = all(x.dtype, 1, int64(at))
			in[name] = x
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	at := &Place{}
	call, got, err := c.both(ctx, p, trial{env: full, inside: true}, in, r, at)
	if err != nil {
		return nil, err
	}
	wrong := call.Judge(got, &at.Error, &at.Stock)
	if wrong == nil {
		return nil, nil
	}
	return where(p, call, wrong), nil
}

// where says a judgement as a difference.
func where(p *place, call *kernelcheck.Call, wrong error) *Difference {
	var w *kernelcheck.Wrong
	if !errors.As(wrong, &w) {
		return &Difference{Why: wrong.Error()}
	}
	i, k := w.Result, w.Element
	d := &Difference{Result: w.Name, Before: w.Stock, After: w.Got, Why: w.Why}
	for _, o := range p.stock.Outputs() {
		if o.Name == d.Result {
			d.Op = p.stock.Def(o.Value).Op.Name
		}
	}
	for _, n := range slices.Backward(call.Types[i].Shape) {
		d.Index = append(d.Index, k%max(n.Int(), 1))
		k /= max(n.Int(), 1)
	}
	slices.Reverse(d.Index)
	return d
}

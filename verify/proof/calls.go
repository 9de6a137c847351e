package proof

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/verify/exact"
)

// pair is an instance before and after the rewrite, with numbers for symbols: two graphs
// that must compute the same.
type pair struct {
	in     *Instance
	target string
	dims   map[string]int64
	before *graph.Graph
	after  *graph.Graph // kernels are their reference graphs
	made   []*graph.Param
}

// lengths are the values that symbols take, around which guards and kernels change.
var lengths = map[string][]int64{
	graph.SymBatch:     {1, 2, 3, 8, 9},
	graph.SymSeqLen:    {1, 2, 5},
	graph.SymKVLen:     {1, 7, 12},
	graph.SymWindowLen: {1, 7, 12},
	graph.SymKVCap:     {12},
	graph.SymWindowCap: {12},
}

// maxCalls bounds the calls of one instance that are tried.
const maxCalls = 4

// calls returns ways of giving numbers to the symbols of an instance so that a case of the
// rewritten program runs in which the rule was applied: for each such case a few, at the
// edges of its condition.
func calls(p *graph.Program, res *rewrite.Result) []map[string]int64 {
	edges := map[string][]int64{}
	names := symbolsOf(p.Cases[0].Graph, p.Cases[0].When)
	for _, name := range names {
		edges[name] = slices.Clone(lengths[name])
		if edges[name] == nil {
			edges[name] = []int64{1, 4}
		}
	}
	for _, c := range res.Cases { // numbers of conditions, and beside them
		for _, n := range numbers(c.When) {
			for _, name := range c.When.Symbols(nil) {
				if _, ok := edges[name]; ok {
					edges[name] = append(edges[name], n-1, n, n+1)
				}
				if at := rooms[name]; at != "" && edges[at] != nil {
					edges[at] = append(edges[at], n+1)
				}
			}
		}
	}
	g := p.Cases[0].Graph // rows beside the end of a sliding window
	for id := range graph.NodeID(g.NumNodes()) {
		window, ok := g.Node(id).Attr("window").(graph.Dim)
		if n, known := window.Const(); ok && known {
			for at, room := range rooms {
				if edges[at] != nil {
					edges[at] = append(edges[at], n, n+1)
				}
				if edges[room] != nil {
					edges[room] = append(edges[room], n+1)
				}
			}
		}
	}
	found := map[string][]map[string]int64{}
	var order []string
	env := map[string]int64{}
	var walk func(i int)
	walk = func(i int) {
		if i == len(names) {
			if c := selected(p, res, env); c != nil {
				if found[c.Name] == nil {
					order = append(order, c.Name)
				}
				found[c.Name] = append(found[c.Name], maps.Clone(env))
			}
			return
		}
		for _, n := range slices.Compact(slices.Sorted(slices.Values(edges[names[i]]))) {
			if n < 1 {
				continue
			}
			env[names[i]] = n
			walk(i + 1)
		}
		delete(env, names[i])
	}
	walk(0)
	var all []map[string]int64
	for _, name := range order {
		all = append(all, covering(names, found[name])...)
	}
	return all
}

// rooms are the symbols for the room of what another symbol is the number of rows in.
var rooms = map[string]string{graph.SymKVLen: graph.SymKVCap, graph.SymWindowLen: graph.SymWindowCap}

// maxVolume bounds the product of the symbols of a call, but for cases that have no smaller
// one: long caches are as good as short ones, and dear.
const maxVolume = 400

func volume(env map[string]int64) int64 {
	n := int64(1)
	for name, x := range env {
		if name != graph.SymKVCap && name != graph.SymWindowCap {
			n *= x
		}
	}
	return n
}

// covering picks calls that have as many values of each symbol among them as can be, the
// smallest and the largest of each first.
func covering(names []string, all []map[string]int64) []map[string]int64 {
	least := volume(slices.MinFunc(all, func(a, b map[string]int64) int { return cmp.Compare(volume(a), volume(b)) }))
	all = slices.DeleteFunc(all, func(env map[string]int64) bool { return volume(env) > max(maxVolume, least) })
	type value struct {
		name string
		n    int64
	}
	low, high := maps.Clone(all[0]), maps.Clone(all[0])
	for _, env := range all {
		for _, name := range names {
			low[name], high[name] = min(low[name], env[name]), max(high[name], env[name])
		}
	}
	var out []map[string]int64
	seen := map[value]bool{}
	for len(out) < min(maxCalls, len(all)) {
		best, most := -1, 0
		if len(out) == 0 {
			most = -1 // one, even if there are no symbols
		}
		for i, env := range all {
			worth := 0
			for _, name := range names {
				switch n := env[name]; {
				case seen[value{name, n}]:
				case n == low[name] || n == high[name]:
					worth += 3
				default:
					worth++
				}
			}
			if worth > most {
				best, most = i, worth
			}
		}
		if best < 0 {
			break
		}
		out = append(out, all[best])
		for _, name := range names {
			seen[value{name, all[best][name]}] = true
		}
	}
	return out
}

// selected returns the case that runs for a call, if the rule was applied in it and the
// call is one that there is: the caches hold what attention sees, and that the new tokens.
func selected(p *graph.Program, res *rewrite.Result, env map[string]int64) *rewrite.CaseResult {
	for _, pair := range [][2]string{{graph.SymKVLen, graph.SymKVCap}, {graph.SymWindowLen, graph.SymWindowCap}, {graph.SymSeqLen, graph.SymKVLen}, {graph.SymSeqLen, graph.SymWindowLen}} {
		low, okLow := env[pair[0]]
		high, okHigh := env[pair[1]]
		if okLow && okHigh && low > high {
			return nil
		}
	}
	if ok, err := p.Cases[0].When.Eval(env); err != nil || !ok {
		return nil
	}
	for i := range res.Cases {
		c := &res.Cases[i]
		ok, err := c.When.Eval(env)
		if err != nil {
			return nil
		}
		if ok {
			if len(c.Sites) == 0 {
				return nil
			}
			return c
		}
	}
	return nil
}

// symbolsOf returns the symbols of a graph's types and attributes, and of the condition
// that it runs under, sorted.
func symbolsOf(g *graph.Graph, when graph.Cond) []string {
	list := when.Symbols(nil)
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		for _, v := range n.Out {
			for _, d := range g.Type(v).Shape {
				list = d.Symbols(list)
			}
		}
		for _, a := range n.Attrs {
			switch x := a.(type) {
			case graph.Dim:
				list = x.Symbols(list)
			case graph.Dims:
				for _, d := range x {
					list = d.Symbols(list)
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// numbers returns the whole numbers in the text of a condition.
func numbers(c graph.Cond) []int64 {
	var all []int64
	n, in, word := int64(0), false, false
	for _, r := range c.String() + " " {
		switch digit := r >= '0' && r <= '9'; {
		case digit && !word:
			n, in = n*10+int64(r-'0'), true
		case in:
			all = append(all, n)
			n, in = 0, false
		}
		word = r == '_' || r >= 'a' && r <= 'z' || word && r >= '0' && r <= '9'
	}
	return all
}

// newPair gives numbers to the symbols of an instance and of what it was rewritten to.
func newPair(in *Instance, target string, res *rewrite.Result, after *graph.Program, env map[string]int64) (*pair, error) {
	c := selected(in.Program, res, env)
	if c == nil {
		return nil, fmt.Errorf("the rule is not applied for %v", env)
	}
	p := &pair{in: in, target: target, dims: env, made: after.Params}
	var err error
	if p.before, err = normal.Specialize(in.Program.Cases[0].Graph, env); err != nil {
		return nil, err
	}
	for _, k := range after.Cases {
		if k.Name == c.Name {
			if p.after, err = normal.Specialize(k.Graph, env); err != nil {
				return nil, err
			}
			return p, nil
		}
	}
	return nil, fmt.Errorf("no case %s", c.Name)
}

// A style is what the floating-point inputs of a sample hold.
type style int

const (
	normalStyle style = iota // a bell around 0
	lattice                  // few values, so that many are equal
	small                    // so small that an epsilon counts
	tiny                     // likewise, for epsilons like 1e-20
	large                    // far from 0
	heavy                    // a few elements a thousand times larger, as in real activations
	edgeStyle                // a few near the largest number that there is
	deep                     // far below 0, where a sigmoid is next to nothing
	special                  // a few NaN, infinities and zeros of either sign
)

func (s style) String() string {
	return [...]string{"normal", "lattice", "small", "tiny", "large", "heavy-tailed", "near-overflow", "negative", "special"}[s]
}

// measured reports whether errors mean something: all numbers are finite.
func (s style) measured() bool { return s != edgeStyle && s != special }

// draw returns a number for an input of type t.
func (s style) draw(rng *rand.Rand, t graph.DType) float64 {
	x := rng.NormFloat64()
	switch s {
	case lattice:
		return float64(rng.IntN(5)-2) / 2
	case small:
		return x * 0x1p-10
	case tiny:
		return x * 0x1p-40
	case deep:
		return x*2 - 14
	case large:
		return x * 6
	case heavy:
		if rng.IntN(32) == 0 {
			return x * 300
		}
	case edgeStyle:
		if rng.IntN(32) == 0 {
			return graph.Lowest(t) * (rng.Float64() - 0.5)
		}
	case special:
		if rng.IntN(32) == 0 {
			return []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)}[rng.IntN(5)]
		}
	}
	return x
}

// sample draws inputs and parameters for a pair: numbers that their element types have,
// and random elements of the fields beside them.
func (p *pair) sample(ctx context.Context, rng *rand.Rand, s style) (map[string]*exact.Array, error) {
	in := map[string]*exact.Array{}
	limits := p.limits()
	names := map[string]graph.Type{}
	for _, g := range []*graph.Graph{p.before, p.after} {
		for _, id := range g.Inputs() {
			names[g.InputName(id)] = g.Type(id)
		}
		for name, id := range g.Params() {
			names[name] = g.Type(id)
		}
	}
	for _, q := range p.in.Program.Params { // also those that only made parameters read
		names[q.Name] = q.Type
	}
	for _, name := range sortedKeys(names) {
		if !slices.ContainsFunc(p.made, func(q *graph.Param) bool { return q.Name == name && q.From != nil }) {
			in[name] = draw(rng, names[name], s, limits[name])
		}
	}
	return in, p.derive(ctx, in)
}

// derive adds the parameters that are made from others.
func (p *pair) derive(ctx context.Context, in map[string]*exact.Array) error {
	derived := map[string]*graph.Param{}
	for _, q := range p.made {
		if q.From != nil {
			derived[q.Name] = q
		}
	}
	var derive func(name string) error
	derive = func(name string) error {
		q := derived[name]
		if q == nil || in[name] != nil {
			return nil
		}
		args := make([]*exact.Array, len(q.From.Args))
		for i, arg := range q.From.Args {
			if err := derive(arg); err != nil {
				return err
			}
			if args[i] = in[arg]; args[i] == nil {
				return fmt.Errorf("%s is made of %s, which is not there", name, arg)
			}
		}
		var err error
		in[name], err = exact.Derive(ctx, q, args)
		return err
	}
	for _, name := range sortedKeys(derived) {
		if err := derive(name); err != nil {
			return err
		}
	}
	return nil
}

// limit is the whole numbers that an input may hold: from 0 up to n-1.
type limit struct{ n int64 }

func draw(rng *rand.Rand, t graph.Type, s style, l *limit) *exact.Array {
	a := &exact.Array{DType: t.DType}
	n := 1
	for _, d := range t.Shape {
		a.Shape = append(a.Shape, d.Int())
		n *= d.Int()
	}
	a.V = make([]exact.Number, n)
	for i := range a.V {
		switch {
		case t.DType.IsFloat():
			x := graph.Round(t.DType, s.draw(rng, t.DType))
			a.V[i] = exact.Random(rng, x)
		case l != nil:
			a.V[i] = exact.Int(rng.Int64N(max(1, l.n)))
		case t.DType == graph.Bool:
			a.V[i] = exact.Int(rng.Int64N(2))
		case t.DType == graph.Uint32: // packed codes
			a.V[i] = exact.Int(int64(rng.Uint32()))
		case t.DType == graph.Uint8: // exponents of scales
			a.V[i] = exact.Int(124 + rng.Int64N(7))
		default:
			a.V[i] = exact.Int(rng.Int64N(4))
		}
	}
	return a
}

// limits finds what integer inputs count: the matrices, rows or elements that ops look up
// by them, and the rows that a cache has room for.
func (p *pair) limits() map[string]*limit {
	all := map[string]*limit{}
	for _, g := range []*graph.Graph{p.before, p.after} {
		for id := range graph.NodeID(g.NumNodes()) {
			n := g.Node(id)
			put := func(operand int, most int64) {
				if operand >= len(n.In) || n.In[operand] == graph.None {
					return
				}
				name := g.InputName(n.In[operand])
				if name == "" || g.Type(n.In[operand]).DType.IsFloat() {
					return
				}
				if l := all[name]; l == nil || most < l.n {
					all[name] = &limit{most}
				}
			}
			dim := func(operand, axis int) int64 {
				d, _ := g.Type(n.In[operand]).Dim(axis)
				return int64(d.Int())
			}
			axis := func() int { d, _ := n.Attr("axis").(graph.Dim); return d.Int() }
			switch n.Op.Name {
			case "gather_qmm":
				put(4, leadSize(g.Type(n.In[0])))
				put(5, leadSize(g.Type(n.In[1])))
			case "gather_mm":
				put(2, leadSize(g.Type(n.In[0])))
				put(3, leadSize(g.Type(n.In[1])))
			case "take", "take_along_axis", "put_along_axis":
				put(1, dim(0, axis()))
			case "kv_append":
				put(2, dim(0, 2)-dim(1, 2)+1)
			}
		}
	}
	return all
}

// leadSize is how many matrices there are.
func leadSize(t graph.Type) int64 {
	n := int64(1)
	for _, d := range t.Shape[:max(0, t.Rank()-2)] {
		n *= int64(d.Int())
	}
	return n
}

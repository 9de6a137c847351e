// Package normal brings graphs to one spelling, so that rules, hashes and
// explanations need to know one only.
//
// [Form] is the normal form: the passes of [Passes], applied to every node until
// none changes anything. [Raise] recognises fast operations (norms, rope, attention,
// dequantization) and cache writes in their decompositions, which is how MLX records
// them on a CPU. [Lower] goes the other way, to the primitives that MLX itself falls
// back to.
//
// The package refuses to change a result: a pass is in the table only if it keeps
// every bit, and a decomposition is raised only if lowering the result gives back the
// very same nodes and constants. It knows no rules, no kernels and no file formats.
package normal

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
)

// Pass is one kind of spelling that the normal form removes.
type Pass struct {
	Name string // stable: reports show it
	Doc  string // one line: what becomes what

	ops     []string // the ops that it looks at
	rewrite func(*builder, *call) (graph.ValueID, bool)
}

// Counts tells how often each pass changed something, by its name.
type Counts map[string]int

// Total is the number of changes of all passes.
func (c Counts) Total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// passShare is the pass that builder does itself.
const passShare = "share"

// The order matters where two passes look at the same op: what removes a node comes
// before what merges it with another.
var passTable = []*Pass{
	{Name: "constants", Doc: "a view or a conversion of a constant is a constant", ops: foldable, rewrite: foldConstant},
	{Name: "identity", Doc: "a view, conversion or concatenation that changes nothing is gone", ops: identities, rewrite: dropIdentity},
	{Name: "positions", Doc: "slices with strides stop a whole number of strides away, or at the end", ops: []string{"slice", "slice_update"}, rewrite: stopEarly},
	{Name: "views", Doc: "two views in a row are one; views that cancel are gone", ops: viewOps, rewrite: mergeViews},
	{Name: "matmul", Doc: "rows flattened for matmul and unflattened behind it: matmul of the whole", ops: reshapes, rewrite: unflattenMatmul},
	{Name: "keepdims", Doc: "reduce and squeeze: keepdims=false; reduce and expand_dims: keepdims=true", ops: []string{"squeeze", "expand_dims", "reshape"}, rewrite: foldKeepdims},
	{Name: "reduce-one", Doc: "a reduction over axes of length 1 is a conversion and a squeeze", ops: []string{"sum", "prod", "max", "min"}, rewrite: reduceOne},
	writeConversions,
	{Name: "broadcast", Doc: "broadcast_to in front of an op that broadcasts is gone", ops: broadcasting, rewrite: dropBroadcast},
	{Name: "indices", Doc: "indices that count matrices 0, 1, 2, ... are left out of gather_qmm and gather_mm", ops: []string{"gather_qmm", "gather_mm"}, rewrite: dropIndices},
	{Name: "units", Doc: "x*1, x/1, x-0 and, where it is exact, x+0 are x", ops: []string{"multiply", "divide", "add", "subtract"}, rewrite: dropUnits},
	{Name: "sdpa-mask", Doc: "a causal mask over one query that sees all rows is no mask", ops: []string{"sdpa"}, rewrite: dropCausal},
}

// Conversions that MLX makes by itself are implicit in the normal form, as
// broadcasting is: a rule matches whether the types of operands agree or not. While
// the other passes run they are written out, so that these see every value there
// is; writeConversions and dropConversions undo each other, and count as one pass.
var (
	writeConversions = &Pass{Name: passPromote, ops: promoting(), rewrite: promote}
	dropConversions  = &Pass{Name: passPromote, ops: promoting(), rewrite: demote}
)

const passPromote = "promote"

// Passes returns the passes of the normal form in their order.
func Passes() []Pass {
	all := make([]Pass, len(passTable), len(passTable)+1)
	for i, p := range passTable {
		all[i] = *p
		if p == writeConversions {
			all[i].Doc = "conversions that MLX makes for operands of other types are gone"
		}
	}
	return append(all, Pass{Name: passShare, Doc: "nodes of the same op, operands and attributes are one node"})
}

// passesByOp is made at the first use, since passes refer to the table themselves.
var passesByOp, lastPasses map[*graph.Op][]*Pass

func init() {
	passesByOp, lastPasses = byOp(passTable), byOp([]*Pass{dropConversions})
}

func byOp(table []*Pass) map[*graph.Op][]*Pass {
	m := map[*graph.Op][]*Pass{}
	for _, p := range table {
		for _, name := range p.ops {
			op := graph.LookupOp(name)
			if op == nil {
				panic("normal: pass " + p.Name + " names op " + name)
			}
			m[op] = append(m[op], p)
		}
	}
	return m
}

// maxRounds bounds the rounds of Form. Real graphs need two or three: what one pass
// uncovers, another one takes in the next round at the latest.
const maxRounds = 50

// Form brings g to normal form, in place. Its time is linear in the size of g. What
// it returns tells what was changed; putting the result through Form again changes
// nothing.
func Form(g *graph.Graph) (Counts, error) {
	if err := g.Compact(); err != nil {
		return nil, fmt.Errorf("normal form: %w", err)
	}
	before, nodes := g.Hash(), g.NumNodes()
	counts, err := spellOut(g)
	if err != nil {
		return nil, err
	}
	if err := implicit(g, counts); err != nil {
		return nil, err
	}
	if g.Hash() == before && g.NumNodes() == nodes {
		return Counts{}, nil // what was written out and shared is gone again
	}
	if counts.Total() == 0 {
		counts[passPromote] = 1 // a conversion went from one operand to another
	}
	return counts, nil
}

// spellOut brings g to the normal form with all conversions written out.
func spellOut(g *graph.Graph) (Counts, error) {
	counts := Counts{}
	return counts, run(g, passesByOp, func(name string, n int) {
		if name == passPromote {
			n = -n // what implicit takes away again was there before
		}
		counts[name] += n
	})
}

// implicit drops the conversions of a graph that spellOut has made.
func implicit(g *graph.Graph, counts Counts) error {
	err := run(g, lastPasses, func(name string, n int) { counts[name] += n })
	if counts[passPromote] == 0 {
		delete(counts, passPromote)
	}
	return err
}

// run applies passes until nothing changes, and tells how often each did.
func run(g *graph.Graph, passes map[*graph.Op][]*Pass, count func(name string, n int)) error {
	if err := g.Compact(); err != nil {
		return fmt.Errorf("normal form: %w", err)
	}
	for range maxRounds {
		b := newBuilder(g)
		b.passes, b.counts = passes, Counts{}
		if err := b.walk(); err != nil {
			return fmt.Errorf("normal form: %w", err)
		}
		for name, n := range b.counts {
			count(name, n)
		}
		if b.counts.Total() == 0 {
			return nil
		}
	}
	return fmt.Errorf("normal form: %d rounds do not suffice; the passes undo each other", maxRounds)
}

// with returns the call's operands with some replaced.
func (c *call) with(i int, v graph.ValueID) []graph.ValueID {
	in := slices.Clone(c.in)
	in[i] = v
	return in
}

// again adds the call anew with other operands.
func (b *builder) again(c *call, in []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
	if attrs == nil {
		attrs = c.Attrs
	}
	out := b.addOp(c.Op, in, attrs, noNode)
	if len(out) == 0 {
		return graph.None
	}
	return out[0]
}

// fits reports whether the call with other operands has the same result type.
func (b *builder) fits(c *call, in []graph.ValueID) bool {
	types := make([]graph.Type, len(in))
	for i, v := range in {
		types[i].DType = graph.NoDType
		if v != graph.None {
			types[i] = b.g.Type(v)
		}
	}
	for len(types) > 0 && types[len(types)-1].DType == graph.NoDType {
		types = types[:len(types)-1]
	}
	_, out, err := graph.Infer(c.Op, types, c.Attrs)
	return err == nil && out[0].Equal(c.out)
}

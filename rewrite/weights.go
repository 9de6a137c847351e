package rewrite

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// deriveWeights makes the parameters of a rule's weights block for a match in g, one
// for each line; nil where the operands are absent. They join the program when the
// match is taken.
func deriveWeights(p *params, g *graph.Graph, r *rules.Rule, m *matcher.Match) ([]*madeParam, error) {
	w, made := weightsBlock{p, g, r, m}, make([]*madeParam, len(r.Weights))
	for i, line := range r.Weights {
		var err error
		if made[i], err = w.derive(line.Expr.(*syntax.Call)); err != nil {
			return nil, fmt.Errorf("%s: %w", line.Names[0], err)
		}
	}
	return made, wholeTriplets(p, made)
}

// weightsBlock is the weights block of a rule at one match. What it may say rules.Link has
// checked: calls of known operations, of values of the pattern, with their options.
type weightsBlock struct {
	params *params
	g      *graph.Graph
	rule   *rules.Rule
	match  *matcher.Match
}

// param returns the parameter that a name stands for, or nil if the name is that of an
// absent operand.
func (w *weightsBlock) param(name string) (*graph.Param, error) {
	v, ok := w.match.Value(w.g, name)
	if !ok {
		return nil, nil
	}
	if q := w.params.get(w.g.InputName(v)); q != nil { // no input has the name of a parameter
		return q, nil
	}
	return nil, fmt.Errorf("%s is made by %s; it must be a parameter", name, w.g.Def(v).Op.Name)
}

// derive makes the parameter of one line, or nil if all its arguments are absent.
func (w *weightsBlock) derive(c *syntax.Call) (*madeParam, error) {
	d := graph.Derived{Op: c.Fun}
	if hasAxis(c.Fun) {
		d.Axis = -2 // where the rows of a matrix are
	}
	var array [4]*graph.Param
	from := array[:0]
	absent, toEnd := false, true
	for _, a := range c.Args {
		if a.Name != "" {
			if err := w.setOption(&d, a); err != nil {
				return nil, err
			}
			toEnd = toEnd && a.Name != "stop"
			continue
		}
		q, err := w.param(a.Value.(*syntax.Name).Name)
		switch {
		case err != nil:
			return nil, err
		case q == nil:
			absent = true
		default:
			from = append(from, q)
		}
	}
	switch {
	case len(from) == 0:
		return nil, nil
	case absent:
		return nil, fmt.Errorf("some of the operands are absent, some are not")
	}
	normalOptions(&d, from[0].Type, toEnd)
	return w.params.maker.param(d, from)
}

// hasAxis reports whether an operation works along one axis.
func hasAxis(op string) bool { return op != "transpose" && op != "increment" }

// normalOptions counts as graph.Derived does: axes from the end; positions, rows and
// the axes of a transposition from the start. t is the type of the first argument.
func normalOptions(d *graph.Derived, t graph.Type, toEnd bool) {
	rank := t.Rank()
	if d.Op == "stack" {
		rank++
	}
	if d.Axis >= 0 && hasAxis(d.Op) {
		d.Axis -= rank // one that is too large stays so, and is refused
	}
	n := t.Rank() // what positions are counted along
	if along, ok := t.Dim(d.Axis); ok && hasAxis(d.Op) {
		length, _ := along.Const()
		n = int(length)
	}
	fromEnd := func(i *int) {
		if *i < 0 {
			*i += n
		}
	}
	if d.Op == "split" {
		fromEnd(&d.Start)
		if fromEnd(&d.Stop); toEnd {
			d.Stop = n
		}
	}
	for i := range d.Perm {
		fromEnd(&d.Perm[i])
	}
}

// setOption reads axis=, start=, stop=, axes= and rows= of a line of weights.
func (w *weightsBlock) setOption(d *graph.Derived, a syntax.Arg) error {
	if a.Name == "axes" || a.Name == "rows" {
		for _, x := range a.Value.(*syntax.List).Items {
			n, err := w.number(x)
			if err != nil {
				return err
			}
			d.Perm = append(d.Perm, n)
		}
		return nil
	}
	n, err := w.number(a.Value)
	if err != nil {
		return err
	}
	switch a.Name {
	case "axis":
		d.Axis = n
	case "start":
		d.Start = n
	case "stop":
		d.Stop = n
	}
	return nil
}

func (w *weightsBlock) number(e syntax.Expr) (int, error) {
	if n, ok := e.(*syntax.Number); ok && n.IsInt { // needs no names: nearly always -2
		return int(n.Int), nil
	}
	rep, b := operands(w.g, w.rule, w.match, nil)
	d, err := rep.graph.EvalDim(e, b)
	n, ok := d.Const()
	if err == nil && !ok {
		err = fmt.Errorf("%s is not a number", d)
	}
	return int(n), err
}

// derivedName names a parameter after what it is made of, so that two rules that
// make the same one share it: "model.layers.0.mlp.gate_proj+up_proj.weight".
func derivedName(d *graph.Derived) string {
	axis := ""
	if hasAxis(d.Op) && d.Axis != -2 {
		axis = fmt.Sprintf(":axis%d", d.Axis)
	}
	switch d.Op {
	case "split":
		return fmt.Sprintf("%s[%d:%d]%s", d.Args[0], d.Start, d.Stop, axis)
	case "transpose":
		return fmt.Sprintf("%s:transpose%s", d.Args[0], strings.ReplaceAll(fmt.Sprint(d.Perm), " ", ","))
	case "permute": // there may be thousands of rows
		h := fnv.New64a()
		fmt.Fprint(h, d.Perm)
		return fmt.Sprintf("%s:permute-%016x%s", d.Args[0], h.Sum64(), axis)
	case "increment":
		return d.Args[0] + ":increment"
	case "stack":
		axis = ":stack" + axis
	}
	return joinNames(d.Args) + axis
}

// joinNames writes what dotted names share once: "mlp.gate_proj.weight" and
// "mlp.up_proj.weight" give "mlp.gate_proj+up_proj.weight".
func joinNames(names []string) string {
	first := names[0]
	head := len(first)
	for _, n := range names {
		k := 0
		for k < min(head, len(n)) && n[k] == first[k] {
			k++
		}
		head = k
	}
	head = strings.LastIndexByte(first[:head], '.') + 1
	tail := len(first)
	for _, n := range names {
		k := 0
		for k < min(tail, len(n)-head) && n[len(n)-1-k] == first[len(first)-1-k] {
			k++
		}
		tail = k
	}
	if dot := strings.IndexByte(first[len(first)-tail:], '.'); dot >= 0 {
		tail -= dot
	} else {
		tail = 0
	}
	var b strings.Builder
	b.WriteString(first[:head])
	for i, n := range names {
		if i > 0 {
			b.WriteByte('+')
		}
		part := n[head : len(n)-tail]
		if strings.Contains(part, "+") { // a+b and c are not a and b+c
			part = "(" + part + ")"
		}
		b.WriteString(part)
	}
	b.WriteString(first[len(first)-tail:])
	return b.String()
}

// parts are those of a quantized matrix.
var parts = [...]string{"weight", "scales", "biases"}

// wholeTriplets refuses to rearrange packed weights without their scales and biases, or in
// another way than these.
func wholeTriplets(p *params, made []*madeParam) error {
	for _, q := range made {
		if q == nil || q.Quant == nil {
			continue
		}
		for _, part := range parts {
			if part == q.Part || !slices.ContainsFunc(q.from, func(f *graph.Param) bool { return p.has(f.Quant.Module, part) }) {
				continue
			}
			other := ""
			if slices.ContainsFunc(made, func(o *madeParam) bool {
				if o == nil || o.Part != part || o.Quant == nil {
					return false
				}
				other = o.Name
				return q.alike(o)
			}) {
				continue
			}
			if other != "" {
				return fmt.Errorf("%s is rearranged in another way than its %s, %s", q.Name, part, other)
			}
			return fmt.Errorf("%s is rearranged without its %s", q.Name, part)
		}
	}
	return nil
}

// alike reports whether two parts are made of the same matrices in the same way. Their
// modules' names do not tell: they are of a made one as well.
func (q *madeParam) alike(o *madeParam) bool {
	return sameWay(q.From, o.From) && slices.EqualFunc(q.from, o.from, func(a, b *graph.Param) bool { return a.Quant.Module == b.Quant.Module })
}

// readTriplets refuses ops of a replacement that read packed weights which were made in
// one way with scales or biases that were made in another. lines are the parameters among
// the inputs of g, of which the first is number first.
func readTriplets(g *graph.Graph, first int, lines []*madeParam) error {
	at := map[graph.ValueID]*madeParam{}
	for i, q := range lines {
		if q.Quant != nil {
			at[g.Inputs()[first+i]] = q
		}
	}
	if len(at) == 0 {
		return nil
	}
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		var read [len(parts)][]*madeParam
		for _, v := range n.In {
			if q := at[v]; q != nil {
				k := slices.Index(parts[:], q.Part)
				read[k] = append(read[k], q)
			}
		}
		for k, list := range read {
			for i, q := range list {
				if i < len(read[0]) && !read[0][i].alike(q) {
					return fmt.Errorf("%s reads %s with %s, its %s in another order", n.Op.Name, read[0][i].Name, q.Name, parts[k])
				}
			}
		}
	}
	return nil
}

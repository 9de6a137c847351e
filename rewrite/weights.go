package rewrite

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/rules"
)

// deriveWeights binds the names of a rule's weights block to new parameters. The
// parameters are returned; they join the program when the site is taken.
func deriveWeights(p *params, g *graph.Graph, r *rules.Rule, b *graph.Bindings) ([]*graph.Param, error) {
	var made []*graph.Param
	for _, line := range r.Weights {
		c := line.Expr.(*syntax.Call)
		q, err := derive(p, g, c, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(line.Names, ", "), err)
		}
		if q == nil { // made of operands that are absent
			b.Values[line.Names[0]] = graph.None
			continue
		}
		b.Values[line.Names[0]] = g.Param(q.Name, q.Type)
		made = append(made, q)
	}
	return made, wholeTriplets(p, made)
}

// derive makes the parameter of one line, or nil if all its arguments are absent.
func derive(p *params, g *graph.Graph, c *syntax.Call, b *graph.Bindings) (*graph.Param, error) {
	d := &graph.Derived{Op: c.Fun}
	if c.Fun != "transpose" {
		d.Axis = -2 // where the rows of a matrix are
	}
	var from []*graph.Param
	absent := 0
	for _, a := range c.Args {
		if a.Name != "" {
			if err := setOption(d, g, a, b); err != nil {
				return nil, err
			}
			continue
		}
		name, ok := a.Value.(*syntax.Name)
		if !ok {
			return nil, fmt.Errorf("%s is not the name of a value", a.Value)
		}
		v := b.Values[name.Name]
		if v == graph.None {
			absent++
			continue
		}
		q := p.get(g.InputName(v))
		if q == nil || g.Def(v).Op.Name != "param" {
			return nil, fmt.Errorf("%s is made by %s; it must be a parameter", name.Name, g.Def(v).Op.Name)
		}
		from = append(from, q)
		d.Args = append(d.Args, q.Name)
	}
	switch {
	case absent > 0 && len(from) == 0:
		return nil, nil
	case absent > 0:
		return nil, fmt.Errorf("some of the operands are absent, some are not")
	case len(from) == 0:
		return nil, fmt.Errorf("%s of nothing", c.Fun)
	}
	made := derivedName(d)
	if q, ok := p.known.Load(made); ok && sameMaking(q.(*graph.Param).From, d) {
		return q.(*graph.Param), nil
	}
	t, err := derivedType(d, from)
	if err != nil {
		return nil, err
	}
	q := &graph.Param{Name: made, Type: t, From: d, Part: from[0].Part}
	if src := from[0].Quant; src != nil {
		quant := *src
		modules := make([]string, len(from))
		for i, f := range from {
			if f.Quant == nil || f.Part != q.Part || f.Quant.Mode != quant.Mode || f.Quant.Bits != quant.Bits || f.Quant.GroupSize != quant.GroupSize {
				return nil, fmt.Errorf("%s and %s are not quantized alike", from[0].Name, f.Name)
			}
			modules[i] = f.Quant.Module
		}
		quant.Module = derivedName(&graph.Derived{Op: d.Op, Args: modules, Axis: d.Axis, Start: d.Start, Stop: d.Stop, Perm: d.Perm})
		q.Quant = &quant
	}
	p.known.Store(made, q)
	return q, nil
}

// setOption reads axis=, start=, stop=, axes= and rows= of a line of weights.
func setOption(d *graph.Derived, g *graph.Graph, a syntax.Arg, b *graph.Bindings) error {
	if a.Name == "axes" || a.Name == "rows" {
		list, ok := a.Value.(*syntax.List)
		if !ok {
			return fmt.Errorf("%s needs a list", a.Name)
		}
		for _, x := range list.Items {
			n, err := number(g, x, b)
			if err != nil {
				return err
			}
			d.Perm = append(d.Perm, n)
		}
		return nil
	}
	n, err := number(g, a.Value, b)
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
	default:
		return fmt.Errorf("%s has no option %s", d.Op, a.Name)
	}
	return nil
}

func number(g *graph.Graph, e syntax.Expr, b *graph.Bindings) (int, error) {
	d, err := g.EvalDim(e, b)
	if err != nil {
		return 0, err
	}
	n, ok := d.Const()
	if !ok {
		return 0, fmt.Errorf("%s is not a number", d)
	}
	return int(n), nil
}

// derivedType infers the type as the op of the same meaning would.
func derivedType(d *graph.Derived, from []*graph.Param) (graph.Type, error) {
	types := make([]graph.Type, len(from))
	for i, q := range from {
		types[i] = q.Type
		if q.Type.DType != from[0].Type.DType {
			return graph.Type{}, fmt.Errorf("%s has element type %s, %s has %s", from[0].Name, from[0].Type.DType, q.Name, q.Type.DType)
		}
	}
	infer := func(op string, in []graph.Type, attrs ...graph.Attr) (graph.Type, error) {
		_, out, err := graph.Infer(graph.LookupOp(op), in, attrs)
		if err != nil {
			return graph.Type{}, err
		}
		return out[0], nil
	}
	axis := graph.N(int64(d.Axis))
	if d.Op != "concat" && d.Op != "stack" && len(from) != 1 {
		return graph.Type{}, fmt.Errorf("%s takes one parameter", d.Op)
	}
	switch d.Op {
	case "concat":
		return infer("concatenate", types, axis)
	case "stack":
		for i, t := range types {
			u, err := infer("expand_dims", []graph.Type{t}, graph.Dims{axis})
			if err != nil {
				return u, err
			}
			types[i] = u
		}
		return infer("concatenate", types, axis)
	case "split":
		return infer("slice", types, graph.Dims{axis}, graph.Dims{graph.N(int64(d.Start))}, graph.Dims{graph.N(int64(d.Stop))})
	case "transpose":
		axes := make(graph.Dims, len(d.Perm))
		for i, n := range d.Perm {
			axes[i] = graph.N(int64(n))
		}
		return infer("transpose", types, axes)
	}
	n, ok := types[0].Dim(d.Axis)
	if sorted := slices.Sorted(slices.Values(d.Perm)); !ok || !n.Is(int64(len(sorted))) || slices.ContainsFunc(sorted, func(k int) bool { return sorted[k%len(sorted)] != k }) {
		return graph.Type{}, fmt.Errorf("rows are not a permutation of axis %d of %s", d.Axis, types[0])
	}
	return types[0], nil
}

// derivedName names a parameter after what it is made of, so that two rules that
// make the same one share it: "model.layers.0.mlp.gate_proj+up_proj.weight".
func derivedName(d *graph.Derived) string {
	axis := ""
	if d.Op != "transpose" && d.Axis != -2 {
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
	tail := len(first) - head
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

// wholeTriplets refuses to rearrange packed weights without their scales and biases.
func wholeTriplets(p *params, made []*graph.Param) error {
	for _, q := range made {
		if q.Quant == nil {
			continue
		}
		src := p.get(q.From.Args[0])
		for _, part := range [...]string{"weight", "scales", "biases"} {
			found := slices.ContainsFunc(made, func(o *graph.Param) bool {
				return o.Part == part && o.Quant != nil && o.Quant.Module == q.Quant.Module && o.From.Axis == q.From.Axis
			})
			if !found && p.get(src.Quant.Module+"."+part) != nil {
				return fmt.Errorf("%s is rearranged without its %s", q.Name, part)
			}
		}
	}
	return nil
}

// params is a program's table of parameters with those that rules made so far.
type params struct {
	base *graph.Program
	made map[string]*graph.Param
	// known is shared by all cases, which ask for the same parameters.
	known *sync.Map // name -> *graph.Param
}

func newParams(p *graph.Program, known *sync.Map) *params {
	return &params{p, map[string]*graph.Param{}, known}
}

func sameMaking(a, b *graph.Derived) bool {
	return a != nil && b != nil && a.Op == b.Op && a.Axis == b.Axis && a.Start == b.Start && a.Stop == b.Stop && slices.Equal(a.Args, b.Args) && slices.Equal(a.Perm, b.Perm)
}

// get returns the parameter of that name, or nil.
func (t *params) get(name string) *graph.Param {
	if q := t.made[name]; q != nil {
		return q
	}
	return t.base.Param(name)
}

// add adds a parameter that a rule made. One of that name must be made in the same
// way: names are chosen so that this holds, and a wrong weight would be silent.
func (t *params) add(q *graph.Param) error {
	there := t.get(q.Name)
	if there == nil {
		t.made[q.Name] = q
		return nil
	}
	if !there.Type.Equal(q.Type) || !sameMaking(there.From, q.From) {
		return fmt.Errorf("parameter %s is there, made in another way", q.Name)
	}
	return nil
}

// all returns the whole table, by name.
func (t *params) all() []*graph.Param {
	list := slices.AppendSeq(slices.Clone(t.base.Params), maps.Values(t.made))
	slices.SortFunc(list, func(a, b *graph.Param) int { return strings.Compare(a.Name, b.Name) })
	return list
}

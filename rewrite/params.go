package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/graph"
)

// params is a program's table of parameters with those that rules made so far.
type params struct {
	maker *maker
	made  map[string]*madeParam
	parts map[partOf]bool // of those made
}

// partOf names a part of a quantized matrix.
type partOf struct{ module, part string }

func newParams(m *maker) *params {
	return &params{m, map[string]*madeParam{}, map[partOf]bool{}}
}

// has reports whether a quantized matrix has that part.
func (t *params) has(module, part string) bool {
	at := partOf{module, part}
	return t.parts[at] || t.maker.parts()[at]
}

// get returns the parameter of that name, or nil.
func (t *params) get(name string) *graph.Param {
	if q := t.made[name]; q != nil {
		return q.Param
	}
	return t.maker.base.Param(name)
}

// add adds a parameter that a rule made. One of that name must be made in the same
// way: names are chosen so that this holds, and a wrong weight would be silent.
func (t *params) add(q *madeParam) error {
	there := q.there
	if m := t.made[q.Name]; m == q {
		return nil
	} else if m != nil {
		there = m.Param
	}
	if there == nil {
		t.made[q.Name] = q
		if q.Quant != nil {
			t.parts[partOf{q.Quant.Module, q.Part}] = true
		}
		return nil
	}
	if !sameMaking(there, q.Param) {
		return fmt.Errorf("parameter %s is there, made in another way", q.Name)
	}
	return nil
}

// all returns the whole table, by name.
func (t *params) all() []*graph.Param {
	list := slices.Clone(t.maker.base.Params)
	for _, q := range t.made {
		list = append(list, q.Param)
	}
	slices.SortFunc(list, func(a, b *graph.Param) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// maker makes parameters of others, each once. All cases of a program share it, since
// they ask for the same ones.
type maker struct {
	base *graph.Program

	once  sync.Once
	whole map[partOf]bool // of base; asked for by parts

	mu    sync.Mutex
	made  map[*graph.Param][]*madeParam // by the first that they are made of
	names map[string]bool               // of inputs, and of parameters that were made
}

// parts returns the parts of the quantized matrices of the program as loaded.
func (m *maker) parts() map[partOf]bool {
	m.once.Do(func() {
		m.whole = map[partOf]bool{}
		for _, q := range m.base.Params {
			if q.Quant != nil {
				m.whole[partOf{q.Quant.Module, q.Part}] = true
			}
		}
	})
	return m.whole
}

// madeParam is a parameter that a rule made.
type madeParam struct {
	*graph.Param
	from  []*graph.Param
	there *graph.Param // of this name in the program as loaded, if any
}

// param returns the parameter that is made of others in the way of d, which has no
// arguments yet.
func (m *maker) param(d graph.Derived, from []*graph.Param) (*madeParam, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range m.made[from[0]] {
		if slices.Equal(q.from, from) && sameWay(q.From, &d) {
			return q, nil
		}
	}
	q, err := makeParam(d, from)
	if err != nil {
		return nil, err
	}
	if m.made == nil {
		m.made, m.names = map[*graph.Param][]*madeParam{}, map[string]bool{}
		g := m.base.Cases[0].Graph
		for _, v := range g.Inputs() {
			m.names[g.InputName(v)] = true
		}
	}
	there := m.base.Param(q.Name)
	if m.names[q.Name] || there != nil && !sameMaking(there, q) {
		return nil, fmt.Errorf("the name of what it makes, %s, is taken", q.Name)
	}
	x := &madeParam{q, slices.Clone(from), there}
	m.made[from[0]], m.names[q.Name] = append(m.made[from[0]], x), true
	return x, nil
}

// sameMaking reports whether a parameter is what a rule makes: of the same ones, in the same
// way.
func sameMaking(there, made *graph.Param) bool {
	return there.Type.Equal(made.Type) && there.From != nil && sameWay(there.From, made.From) && slices.Equal(there.From.Args, made.From.Args)
}

// sameWay compares the fields that rules set. Shape is not one: no rule reshapes.
func sameWay(a, b *graph.Derived) bool {
	return a.Op == b.Op && a.Axis == b.Axis && a.Start == b.Start && a.Stop == b.Stop && slices.Equal(a.Perm, b.Perm)
}

func makeParam(d graph.Derived, from []*graph.Param) (*graph.Param, error) {
	d.Args = make([]string, len(from))
	types := make([]graph.Type, len(from))
	for i, q := range from {
		d.Args[i], types[i] = q.Name, q.Type
	}
	t, err := d.Infer(types)
	if err != nil {
		return nil, err
	}
	q := &graph.Param{Name: derivedName(&d), Type: t, From: &d, Part: from[0].Part}
	if src := from[0].Quant; src != nil {
		if d.Op == "increment" {
			return nil, fmt.Errorf("%s is a part of a quantized matrix", from[0].Name)
		}
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
	return q, nil
}

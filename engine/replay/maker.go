package replay

import (
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// maker makes a script.
type maker struct {
	*script
	g       *graph.Graph
	uses    *graph.Uses
	env     map[string]int64
	catalog *kernels.Catalog
	places  []place
	alike   map[string]*numbers // by kernel and integers
	sources map[string]*Source  // by all that the text depends on: layers share them
}

// newScript makes the script of a case. env has all symbols; what those of perStep are
// does not matter.
func newScript(c *graph.Case, env map[string]int64, catalog *kernels.Catalog) (*script, error) {
	g := c.Graph
	m := &maker{script: &script{c: c, inputs: map[string]*buffer{}, counts: map[string]int{}}, g: g, uses: g.Uses(), env: env, catalog: catalog,
		places: make([]place, g.NumValues()), alike: map[string]*numbers{}, sources: map[string]*Source{}}
	if err := m.leaves(); err != nil {
		return nil, err
	}
	for i := range g.NumNodes() {
		if n := g.Node(graph.NodeID(i)); !n.Op.IsLeaf() {
			if err := m.node(n); err != nil {
				return nil, err
			}
		}
	}
	if err := m.outputs(); err != nil {
		return nil, err
	}
	m.ahead()
	m.together()
	m.layOut()
	m.inTime()
	return m.script, nil
}

// shape evaluates dimensions, which must stay the same in all steps.
func (m *maker) shape(dims []graph.Dim, n *graph.Node) ([]int64, error) {
	out := make([]int64, len(dims))
	for i, d := range dims {
		if changes(d) {
			return nil, refusal(n, "a dimension is %s, which is another one in each step", d)
		}
		v, err := d.Eval(m.env)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (m *maker) buffer(b *buffer) *buffer {
	m.buffers = append(m.buffers, b)
	return b
}

func (m *maker) define(v graph.ValueID, b *buffer, shape []int64) {
	t := m.g.Type(v).DType
	b.size = product(shape) * int64(t.Size())
	m.places[v] = place{buf: b, shape: shape, strides: rowMajor(shape), dtype: t}
}

// smallest is the size in bytes from which an input has memory of its own.
const smallest = 256

func (m *maker) leaves() error {
	made := map[string]graph.Type{}
	for _, o := range m.g.Outputs() {
		made[o.Name] = m.g.Type(o.Value)
	}
	for _, id := range m.g.Inputs() {
		name, t := m.g.InputName(id), m.g.Type(id)
		shape, err := m.shape(t.Shape, nil)
		if err != nil {
			return err
		}
		b := m.buffer(&buffer{kind: copied, name: name})
		m.define(id, b, shape)
		if out, ok := made[name]; ok && out.Equal(t) {
			b.kind = state
		} else if b.size < smallest {
			b.kind = staged
		}
		m.inputs[name] = b
	}
	for name, id := range m.g.Params() {
		shape, err := m.shape(m.g.Type(id).Shape, nil)
		if err != nil {
			return err
		}
		m.define(id, m.buffer(&buffer{kind: parameter, name: name}), shape)
	}
	for i := range m.g.NumNodes() {
		n := m.g.Node(graph.NodeID(i))
		if !n.Op.IsLeaf() {
			continue
		}
		if l := m.g.Literal(n.Out[0]); l != nil {
			shape, err := m.shape(m.g.Type(n.Out[0]).Shape, n)
			if err != nil {
				return err
			}
			m.define(n.Out[0], m.buffer(&buffer{kind: constant, data: l.Data}), shape)
		}
	}
	return nil
}

// node adds what a node takes.
func (m *maker) node(n *graph.Node) error {
	if n.Op.IsKernel() {
		return m.kernel(n)
	}
	var p place
	if len(n.In) > 0 && n.In[0] != graph.None {
		p = m.places[n.In[0]]
	}
	var shape []int64
	if len(n.Out) == 1 {
		var err error
		if shape, err = m.shape(m.g.Type(n.Out[0]).Shape, n); err != nil {
			return err
		}
	}
	switch n.Op.Name {
	case "reshape", "flatten", "unflatten", "squeeze", "expand_dims":
		q, err := m.view(n, p, shape)
		if err != nil {
			return err
		}
		m.places[n.Out[0]] = q
	case "transpose":
		axes := n.Attr("axes").(graph.Dims)
		list := make([]int64, len(axes))
		for i, a := range axes {
			list[i] = int64(a.Int())
		}
		m.places[n.Out[0]] = p.transpose(list)
	case "broadcast_to":
		m.places[n.Out[0]] = p.broadcast(shape)
	case "contiguous":
		m.places[n.Out[0]] = p
	case "slice":
		spans, err := (&graph.Call{Op: n.Op, In: []graph.Type{m.g.Type(n.In[0])}, Attrs: n.Attrs}).Spans()
		if err != nil {
			return err
		}
		for _, s := range spans {
			at, err := m.shape([]graph.Dim{s.Start, s.Stop}, n)
			if err != nil {
				return err
			}
			if at[0] < 0 || at[1] > p.shape[s.Axis] || at[0] > at[1] {
				return refusal(n, "slice %d:%d of an axis of %d", at[0], at[1], p.shape[s.Axis])
			}
			p = p.slice(int64(s.Axis), at[0], at[1], s.Stride)
		}
		m.places[n.Out[0]] = p
	case "concatenate":
		return m.concatenate(n, shape)
	case "kv_append":
		return m.append(n)
	case "take":
		return m.take(n, shape)
	default:
		return refusal(n, "%s is no kernel of the catalog", n.Op.Name)
	}
	return nil
}

// view is p with another shape of as many elements.
func (m *maker) view(n *graph.Node, p place, shape []int64) (place, error) {
	if p.rows() {
		return p.reshape(shape), nil
	}
	// Axes of length 1 come and go whatever the strides.
	var wide, strides []int64
	for i, d := range p.shape {
		if d != 1 {
			wide, strides = append(wide, d), append(strides, p.strides[i])
		}
	}
	if want := slices.DeleteFunc(slices.Clone(shape), func(d int64) bool { return d == 1 }); slices.Equal(wide, want) {
		q := p
		q.shape, q.strides = shape, make([]int64, len(shape))
		k := 0
		for i, d := range shape {
			if d != 1 {
				q.strides[i] = strides[k]
				k++
			}
		}
		return q, nil
	}
	p, err := m.gather(n, p)
	return p.reshape(shape), err
}

// gather copies a place so that it lies row by row.
func (m *maker) gather(n *graph.Node, p place) (place, error) {
	if p.rows() {
		return p, nil
	}
	q := place{buf: m.buffer(&buffer{kind: temporary, size: p.bytes()}), shape: p.shape, strides: rowMajor(p.shape), dtype: p.dtype}
	return q, m.move(n, q, p, nil, 0)
}

// move adds a copy of a place to another. at is the number by which the other is moved on,
// in steps of atStep bytes; nil for none.
func (m *maker) move(n *graph.Node, to, from place, at *buffer, atStep int64) error {
	x, ok := move(to, from, atStep)
	if !ok {
		return refusal(n, "%s of strides %v is not laid out row by row, and has too many dimensions to be copied", n.Op.Name, from.strides)
	}
	part := n
	if n.Op.Name != "concatenate" {
		part = nil
	}
	m.add(movement{Move: x, node: part, from: from.ref(), to: to.ref(), at: at})
	return nil
}

// add adds a move as a launch of its own.
func (m *maker) add(x movement) {
	s := step{moves: []movement{x}, in: []ref{x.from}, out: []ref{x.to}}
	if x.rows != nil {
		s.in = append(s.in, *x.rows)
	}
	m.steps = append(m.steps, s)
}

func (p place) ref() ref { return ref{p.buf, p.offset * int64(p.dtype.Size())} }

// kernel adds a call of a kernel.
func (m *maker) kernel(n *graph.Node) error {
	spec := m.catalog.SpecOf(n.Op)
	if spec == nil || spec.Code == nil || spec.Launch == nil {
		return refusal(n, "the engine was given no source of %s", n.Op.Name)
	}
	types := make([]graph.Type, len(spec.Inputs))
	var s step
	early := len(spec.Early) > 0
	for i := range types {
		types[i].DType = graph.NoDType
		if i >= len(n.In) || n.In[i] == graph.None {
			continue
		}
		types[i] = m.g.Type(n.In[i])
		p, err := m.gather(n, m.places[n.In[i]])
		if err != nil {
			return err
		}
		s.operands = append(s.operands, p.ref())
		if slices.Contains(spec.Early, spec.Inputs[i].Name) {
			s.first = append(s.first, p.ref())
			early = early && m.still(p.buf)
		}
	}
	v, err := spec.Values(types, n.Attrs)
	if err != nil {
		return refusal(n, "%s: %v", n.Op.Name, err)
	}
	text := *v
	text.Ints = slices.Clone(v.Ints)
	for i, d := range v.Ints {
		if inText(d) {
			k, err := d.Eval(m.env)
			if err != nil {
				return err
			}
			text.Ints[i] = graph.N(k)
		}
	}
	source := &Source{Spec: spec, Values: &text, Early: early}
	for _, id := range n.Out {
		t := m.g.Type(id)
		shape, err := m.shape(t.Shape, n)
		if err != nil {
			return err
		}
		b := m.buffer(&buffer{kind: temporary})
		m.define(id, b, shape)
		source.Results = append(source.Results, t.DType)
		s.made = append(s.made, ref{buffer: b})
	}
	s.in, s.out = s.operands, s.made
	same := source.key()
	if m.sources[same] == nil {
		m.sources[same] = source
	}
	s.source = m.sources[same]
	key := string(appendInts([]byte(spec.Name), v.Ints))
	if m.alike[key] == nil {
		m.alike[key] = &numbers{spec: spec, dims: v.Ints, at: -1}
		m.script.numbers = append(m.script.numbers, m.alike[key])
	}
	s.numbers = m.alike[key]
	m.steps = append(m.steps, s)
	m.counts[spec.Name]++
	return nil
}

// still reports whether a launch that is made now may read a buffer early, if not the launch in front
// of it writes there (inTime): weights, what comes with the step, what launches of the step make, and
// caches so far, which the step before has written. A write behind it waits for it.
func (m *maker) still(b *buffer) bool {
	switch b.kind {
	case parameter, constant, staged, temporary:
		return true
	case state:
		return !slices.ContainsFunc(m.steps, func(s step) bool {
			return slices.ContainsFunc(s.out, func(r ref) bool { return r.buffer == b })
		})
	}
	return false
}

// inTime takes it back that a launch reads early where one that it waits for writes what it would read.
// All others have ended by then: a launch lets the one behind it begin when it has waited itself.
func (m *maker) inTime() {
	plain := map[*Source]*Source{}
	for i := range m.steps {
		s := &m.steps[i]
		late := slices.ContainsFunc(s.after, func(k int) bool { return common(m.steps[k].out, s.first) })
		if s.source == nil || !s.source.Early || !late {
			continue
		}
		if plain[s.source] == nil {
			p := *s.source
			p.Early = false
			plain[s.source] = &p
		}
		s.source = plain[s.source]
	}
}

// append is kv_append, in the cache's own memory. Kernels in front of it may read the cache as it was:
// the write waits for them. A view of it could be read behind the write, and is refused.
func (m *maker) append(n *graph.Node) error {
	cache, rows, at := m.places[n.In[0]], m.places[n.In[1]], m.places[n.In[2]]
	switch {
	case cache.buf.kind != state || !cache.whole():
		return refusal(n, "kv_append writes to what is no cache of the step")
	case m.readBehind(n):
		return refusal(n, "the cache that kv_append writes to is read by others as it was before")
	case at.buf.kind != staged || at.dtype != graph.Int32 || len(at.shape) != 0:
		return refusal(n, "the position of kv_append is no number that comes with the step")
	}
	to := cache
	to.shape = slices.Clone(cache.shape)
	to.shape[2] = rows.shape[2]
	if err := m.move(n, to, rows, at.buf, cache.strides[2]*int64(cache.dtype.Size())); err != nil {
		return err
	}
	m.checks = append(m.checks, check{at.buf.name, rows.shape[2], cache.shape[2], n.Scope})
	m.places[n.Out[0]] = cache
	return nil
}

// readBehind reports whether somebody may read the cache that kv_append writes to as it was before,
// but behind it.
func (m *maker) readBehind(n *graph.Node) bool {
	behind := false
	for _, user := range m.uses.Of(n.In[0]) { // in the graph's order
		if u := m.g.Node(user); u == n {
			behind = true
		} else if behind || !u.Op.IsKernel() {
			return true
		}
	}
	return slices.ContainsFunc(m.g.Outputs(), func(o graph.Output) bool { return o.Value == n.In[0] })
}

// concatenate lays its operands beside each other.
func (m *maker) concatenate(n *graph.Node, shape []int64) error {
	a := axis(int64(n.Attr("axis").(graph.Dim).Int()), len(shape))
	m.define(n.Out[0], m.buffer(&buffer{kind: temporary}), shape)
	whole, at := m.places[n.Out[0]], int64(0)
	for _, id := range n.In {
		p := m.places[id]
		if err := m.move(n, whole.slice(a, at, at+p.shape[a], 1), p, nil, 0); err != nil {
			return err
		}
		at += p.shape[a]
	}
	return nil
}

// take is rows of a table.
func (m *maker) take(n *graph.Node, shape []int64) error {
	table, ids := m.places[n.In[0]], m.places[n.In[1]]
	if n.Attr("axis").(graph.Dim).Int() != -len(table.shape) || !table.rows() || !ids.rows() || ids.dtype != graph.Int32 {
		return refusal(n, "take is of another axis than the first, or of indices that are not int32")
	}
	if ids.buf.kind == staged {
		m.indices = append(m.indices, indices{ids.buf.name, table.shape[0]})
	}
	b := m.buffer(&buffer{kind: temporary})
	m.define(n.Out[0], b, shape)
	row := product(table.shape[1:])
	count := product(ids.shape)
	size := int64(table.dtype.Size())
	x := &Move{MoveShape: MoveShape{size, [4]int64{count, 1, 1, row}}, ToStep: [4]int64{row * size, 0, 0, size}, FromStep: [4]int64{row * size, 0, 0, size}}
	from, chosen := table.ref(), ids.ref()
	x.widen(0, from.offset)
	m.add(movement{Move: x, from: from, to: ref{buffer: b}, rows: &chosen})
	return nil
}

func (m *maker) outputs() error {
	var last []movement // what is read of the inputs has been read by then
	for _, o := range m.g.Outputs() {
		p := m.places[o.Value]
		shape, err := engine.Shape(m.g.Type(o.Value).Shape, m.env)
		if err != nil {
			return err
		}
		r := result{name: o.Name, place: p, shape: shape}
		home := m.inputs[o.Name]
		if home != nil && home.kind == state {
			r.home = home
			if p.buf != home {
				if p.buf.kind == state {
					return refusal(nil, "output %s is the state of another input", o.Name)
				}
				to := place{buf: home, shape: p.shape, strides: rowMajor(p.shape), dtype: p.dtype}
				x, ok := move(to, p, 0)
				if !ok {
					return refusal(nil, "output %s cannot be copied", o.Name)
				}
				last = append(last, movement{Move: x, from: p.ref(), to: to.ref()})
			} else if !p.whole() {
				return refusal(nil, "output %s is a part of an input", o.Name)
			}
		} else if r.place, err = m.gather(m.g.Def(o.Value), p); err != nil {
			return err
		}
		m.results = append(m.results, r)
	}
	for _, x := range last {
		m.add(x)
	}
	return nil
}

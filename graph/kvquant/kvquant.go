// Package kvquant makes of a program one whose attention reads a quantized cache, with
// the very ops of mlx-lm: QuantizedKVCache in mlx_lm/models/cache.py, and
// quantized_scaled_dot_product_attention in mlx_lm/models/base.py.
//
// New rows are quantized before they are written, queries are scaled before they are
// multiplied, and two quantized products with a precise softmax between them take the
// place of sdpa. The result is in normal form: rules see it like any other program.
//
// It refuses, by name, what mlx-lm cannot quantize: rings behind a sliding window,
// attention sinks, and caches that something else than attention reads, as latent
// attention does. It knows no rules, no kernels and no engines; what becomes of the rows
// that a cache holds already is for package engine/cache.
package kvquant

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/graph/syntax"
)

// Options are mlx-lm's kv_bits and kv_group_size.
type Options struct {
	Bits      int // 2, 3, 4, 5, 6 or 8
	GroupSize int // 32, 64 or 128
}

// Parts are what takes the place of a cache, as suffixes of its name: packed rows, and
// their scales and biases in the cache's own element type.
var Parts = [3]string{".weight", ".scales", ".biases"}

// Program returns p with quantized caches. Layers that keep something of one size, such
// as a convolution's last inputs, keep it as they do. The error is a diag.List of all
// that cannot be quantized.
func Program(p *graph.Program, o Options) (*graph.Program, error) {
	out := &graph.Program{Name: p.Name, Window: p.Window, Params: slices.Clone(p.Params)}
	var issues diag.List
	for _, c := range p.Cases {
		w := &writer{Options: o, old: c.Graph, new: graph.New(), caches: map[graph.ValueID]bool{}, rows: map[graph.ValueID][3]graph.ValueID{}}
		if found := w.check(); len(found) > 0 {
			for _, i := range found {
				if !slices.ContainsFunc(issues, func(j *diag.Issue) bool { return i.Code == j.Code }) {
					issues.Add(i) // the other layers and cases would only say it again
				}
			}
			continue
		}
		err := w.write()
		if err == nil {
			_, err = normal.Form(w.new)
		}
		if err != nil {
			return nil, fmt.Errorf("quantizing the cache in case %s: %w", c.Name, err)
		}
		out.Cases = append(out.Cases, graph.Case{Name: c.Name, When: c.When, Graph: w.new})
	}
	if err := issues.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// writer writes the graph of one case anew.
type writer struct {
	Options
	old, new *graph.Graph
	uses     *graph.Uses
	caches   map[graph.ValueID]bool // inputs that grow
	to       []graph.ValueID        // what values of old are in new
	rows     map[graph.ValueID][3]graph.ValueID
}

const without = "leave --kv-bits out"

type refusal func(code, scope, hint, format string, args ...any)

// check finds the caches, and reports why they cannot be quantized.
func (w *writer) check() diag.List {
	var issues diag.List
	refuse := func(code, scope, hint, format string, args ...any) {
		issues.Add(diag.Errorf("kv/"+code, diag.Pos{}, format, args...).WithScope(scope).WithHint("%s", hint))
	}
	w.uses = w.old.Uses()
	for _, id := range w.old.Inputs() {
		name, t := w.old.InputName(id), w.old.Type(id)
		if !strings.HasPrefix(name, "cache.") {
			continue
		}
		grows := slices.IndexFunc(t.Shape, func(d graph.Dim) bool { _, ok := d.Symbol(); return ok && !isBatch(d) })
		if grows < 0 {
			continue // of one size
		}
		if sym, _ := t.Shape[grows].Symbol(); sym == graph.SymWindowCap {
			refuse("window", "", without, "%s is a ring behind a sliding window (RotatingKVCache), which mlx-lm does not quantize either", name)
			continue
		}
		width, ok := t.Shape[len(t.Shape)-1].Const()
		if !ok || width%int64(w.GroupSize) != 0 {
			hint := without
			for g := int64(128); g >= 32; g /= 2 {
				if ok && width%g == 0 {
					hint = fmt.Sprintf("--kv-group-size %d does", g)
					break
				}
			}
			refuse("group", "", hint, "rows of %s have %s elements, which groups of %d do not divide", name, t.Shape[len(t.Shape)-1], w.GroupSize)
			continue
		}
		w.caches[id] = true
		w.appends(id, refuse)
	}
	if len(w.caches) == 0 && len(issues) == 0 {
		refuse("none", "", without, "the model has no cache of keys and values that grows")
	}
	return issues
}

// appends checks what reads a cache: new rows go behind it, and attention reads the whole.
func (w *writer) appends(cache graph.ValueID, refuse refusal) {
	name := w.old.InputName(cache)
	other := func(n *graph.Node) {
		refuse("reader", n.Scope, without+"; mlx-lm fails at such a model, or leaves its cache as it is", "%s is read by %s, not only by attention", name, n.Op.Name)
	}
	for _, id := range w.uses.Of(cache) {
		n := w.old.Node(id)
		if n.Op.Name != "kv_append" || n.In[0] != cache || slices.Contains(n.In[1:], cache) {
			other(n)
			continue
		}
		v := n.Out[0]
		for _, id := range w.uses.Of(v) {
			a := w.old.Node(id)
			mask, _ := a.Attr("mask").(graph.Str)
			switch {
			case a.Op.Name != "sdpa" || a.In[0] == v || slices.Contains(a.In[3:], v) || !w.cached(a.In[1]) || !w.cached(a.In[2]):
				other(a)
			case len(a.In) > 4 && a.In[4] != graph.None:
				refuse("sinks", a.Scope, without, "attention has sinks, which mlx-lm's attention over a quantized cache does not support")
			case mask == "window":
				refuse("window", a.Scope, without, "attention sees a sliding window of %s, which mlx-lm does not quantize either", name)
			}
		}
	}
}

// cached reports whether v is a cache with new rows behind it.
func (w *writer) cached(v graph.ValueID) bool {
	n := w.old.Def(v)
	return n.Op.Name == "kv_append" && w.old.Def(n.In[0]).Op.Name == "input"
}

func isBatch(d graph.Dim) bool { s, _ := d.Symbol(); return s == graph.SymBatch }

// write fills new.
func (w *writer) write() error {
	w.to = make([]graph.ValueID, w.old.NumValues())
	for i := range w.old.NumNodes() {
		n := w.old.Node(graph.NodeID(i))
		if err := w.node(n); err != nil {
			return fmt.Errorf("%s at %q: %w", n.Op.Name, n.Scope, err)
		}
	}
	for _, o := range w.old.Outputs() {
		rows, ok := w.rows[o.Value]
		if !ok {
			w.new.Output(o.Name, w.to[o.Value])
			continue
		}
		for k, part := range Parts {
			w.new.Output(o.Name+part, rows[k])
		}
	}
	return w.new.Compact()
}

func (w *writer) node(n *graph.Node) error {
	out := n.Out[0]
	switch {
	case n.Op.Name == "input" && w.caches[out]:
		t := w.old.Type(out)
		last := len(t.Shape) - 1
		width := int64(t.Shape[last].Int())
		var parts [3]graph.ValueID
		for k, part := range []struct {
			t graph.DType
			n int64
		}{{graph.Uint32, width * int64(w.Bits) / 32}, {t.DType, width / int64(w.GroupSize)}, {t.DType, width / int64(w.GroupSize)}} {
			shape := append(slices.Clone(t.Shape[:last]), graph.N(part.n))
			parts[k] = w.new.Input(w.old.InputName(out)+Parts[k], graph.T(part.t, shape...))
		}
		w.rows[out] = parts
		return nil
	case n.Op.Name == "input":
		w.to[out] = w.new.Input(w.old.InputName(out), w.old.Type(out))
		return nil
	case n.Op.Name == "param":
		w.to[out] = w.new.Param(w.old.InputName(out), w.old.Type(out))
		return nil
	case n.Op.Name == "constant":
		w.to[out] = w.new.Constant(w.old.Literal(out))
		return nil
	case n.Op.Name == "kv_append" && w.caches[n.In[0]]:
		return w.append(n)
	case n.Op.Name == "sdpa":
		if _, ok := w.rows[n.In[1]]; ok {
			return w.attend(n)
		}
	}
	in := make([]graph.ValueID, len(n.In))
	for i, v := range n.In {
		if in[i] = v; v != graph.None {
			in[i] = w.to[v]
		}
	}
	made, err := w.new.Add(n.Op, n.Scope, in, n.Attrs...)
	if err != nil {
		return err
	}
	for i, v := range n.Out {
		w.to[v] = made[i]
	}
	return nil
}

// append is QuantizedKVCache.update_and_fetch: new rows are quantized and written.
func (w *writer) append(n *graph.Node) error {
	cache := w.rows[n.In[0]]
	b := w.bindings(n.Scope)
	b.Values["rows"], b.Values["offset"] = w.to[n.In[1]], w.to[n.In[2]]
	for k, part := range cache {
		b.Values[[]string{"w", "s", "b"}[k]] = part
	}
	err := w.build(b,
		"new_w new_s new_b", "quantize(rows, group_size=$group_size, bits=$bits)",
		"all_w", "kv_append(w, new_w, offset)",
		"all_s", "kv_append(s, new_s, offset)",
		"all_b", "kv_append(b, new_b, offset)",
	)
	w.rows[n.Out[0]] = [3]graph.ValueID{b.Values["all_w"], b.Values["all_s"], b.Values["all_b"]}
	return err
}

// attend is quantized_scaled_dot_product_attention.
func (w *writer) attend(n *graph.Node) error {
	b := w.bindings(n.Scope)
	b.Values["q"] = w.to[n.In[0]]
	q := w.old.Type(n.In[0])
	scale, _ := n.Attr("scale").(graph.Float)
	// A Python number is a float32 before it takes the type of what it meets.
	b.Vars["scale"] = graph.ScalarLiteral(q.DType, float64(float32(scale)))
	for k, name := range []string{"k", "v"} {
		for i, part := range w.rows[n.In[1+k]] {
			b.Values[name+[]string{"w", "s", "b"}[i]] = part
		}
	}
	batch, heads, length, width := q.Shape[0], q.Shape[1], q.Shape[2], q.Shape[3]
	groups := w.old.Type(n.In[1]).Shape[1]
	repeats, ok := heads.Div(groups)
	if !ok {
		return fmt.Errorf("%s heads for %s of the cache", heads, groups)
	}
	rows, ok := n.Attr("kv_len").(graph.Dim)
	if !ok {
		rows = w.old.Type(n.In[1]).Shape[2]
	}
	grouped := !repeats.Is(1)
	b.Vars["rows"], b.Vars["first"] = rows, rows.Sub(length)
	b.Vars["grouped"] = graph.Dims{batch, groups, repeats, length, width}
	values, _ := w.old.Type(n.In[2]).Dim(-1)
	b.Vars["whole"] = graph.Dims{batch, heads, length, values}

	lines := []string{"queries", "multiply(q, $scale)"}
	add := func(pairs ...string) { lines = append(lines, pairs...) }
	if grouped {
		add("queries", "reshape(queries, shape=$grouped)")
	}
	for _, x := range []string{"kw", "ks", "kb", "vw", "vs", "vb"} {
		if n.Attr("kv_len") != nil {
			add(x, "slice("+x+", axis=2, stop=$rows)")
		}
		if grouped {
			add(x, "expand_dims("+x+", axis=-3)")
		}
	}
	add("scores", "quantized_matmul(queries, kw, ks, kb, transpose=true, group_size=$group_size, bits=$bits)")
	switch mask, _ := n.Attr("mask").(graph.Str); mask {
	case "causal":
		b.Vars["lowest"] = graph.ScalarLiteral(q.DType, lowest[q.DType])
		add("linds", "expand_dims(arange(start=$first, stop=$rows), axis=-1)",
			"rinds", "expand_dims(arange(stop=$rows), axis=-2)",
			"scores", "where(greater_equal(linds, rinds), scores, $lowest)")
	case "array":
		t := w.old.Type(n.In[3])
		b.Values["mask"] = w.to[n.In[3]]
		if grouped && t.Rank() > 3 {
			add("mask", "expand_dims(mask, axis=-3)")
		}
		if t.DType == graph.Bool {
			b.Vars["lowest"] = graph.ScalarLiteral(q.DType, lowest[q.DType])
			add("scores", "where(mask, scores, $lowest)")
		} else {
			add("scores", "add(scores, mask)")
		}
	}
	add("p", "softmax(scores, axis=-1, precise=true)",
		"out", "quantized_matmul(p, vw, vs, vb, transpose=false, group_size=$group_size, bits=$bits)")
	if grouped {
		add("out", "reshape(out, shape=$whole)")
	}
	if err := w.build(b, lines...); err != nil {
		return err
	}
	w.to[n.Out[0]] = b.Values["out"]
	return nil
}

// lowest is mx.finfo(dtype).min.
var lowest = map[graph.DType]float64{graph.Float16: -65504, graph.BFloat16: -0x1.fep127, graph.Float32: -math.MaxFloat32}

func (w *writer) bindings(scope string) *graph.Bindings {
	return &graph.Bindings{Values: map[string]graph.ValueID{}, Scope: scope, Vars: map[string]graph.Attr{
		"group_size": graph.N(int64(w.GroupSize)), "bits": graph.N(int64(w.Bits))}}
}

// build adds lines of names and expressions.
func (w *writer) build(b *graph.Bindings, pairs ...string) error {
	var lines []graph.Define
	for i := 0; i < len(pairs); i += 2 {
		e, err := syntax.Parse(pairs[i+1])
		if err != nil {
			return err
		}
		lines = append(lines, graph.Define{Names: strings.Fields(pairs[i]), Expr: e})
	}
	return w.new.BuildAll(lines, b)
}

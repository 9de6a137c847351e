// Package trace adds up where the time of a step goes: by op and kernel, with the bytes
// that each has to move. It reads what an engine tells of single nodes (engine.Tracer) and
// runs nothing itself.
package trace

import (
	"cmp"
	"slices"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Line is one kind of op in a step. Its JSON form is a contract: fields may be added, these
// stay.
type Line struct {
	Op       string  `json:"op" jsonschema:"name"`
	Nodes    int     `json:"nodes" jsonschema:"of this op in a step"`
	Launches int     `json:"launches" jsonschema:"as the op table counts them"`
	Seconds  float64 `json:"seconds" jsonschema:"of all its nodes, each computed alone: medians over steps"`
	Read     int64   `json:"bytes_read" jsonschema:"at least"`
	Written  int64   `json:"bytes_written" jsonschema:"at least"`
}

// Steps are the nodes of several steps of one program, in the order in which they ran.
type Steps [][]engine.Traced

// Lines adds steps up, the slowest op first. Steps of another case than the first one, which
// has other nodes, do not count.
func (s Steps) Lines(catalog *kernels.Catalog) []Line {
	if len(s) == 0 {
		return nil
	}
	byOp := map[string]*Line{}
	for i, t := range s[0] {
		var times []float64
		for _, step := range s {
			if len(step) == len(s[0]) && step[i].Node == t.Node {
				times = append(times, step[i].Time.Seconds())
			}
		}
		l := byOp[t.Node.Op.Name]
		if l == nil {
			l = &Line{Op: t.Node.Op.Name}
			byOp[l.Op] = l
		}
		l.Nodes++
		l.Launches += t.Node.Op.Launches
		l.Seconds += bench.Median(times)
		read, written := Bytes(catalog, t.Graph, t.Node, t.Env)
		l.Read += read
		l.Written += written
	}
	var out []Line
	for _, l := range byOp {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Line) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Op, b.Op))
	})
	return out
}

// Total adds lines up.
func Total(lines []Line) Line {
	t := Line{Op: "all"}
	for _, l := range lines {
		t.Nodes += l.Nodes
		t.Launches += l.Launches
		t.Seconds += l.Seconds
		t.Read += l.Read
		t.Written += l.Written
	}
	return t
}

// Bytes says what a node has to read and write at least. Views move nothing. Of a table of
// which rows are taken, of experts of which some are chosen, of a cache of which a part is
// filled, only that part counts. What a kernel reads its own spec says, if it says so.
func Bytes(catalog *kernels.Catalog, g *graph.Graph, n *graph.Node, env map[string]int64) (read, written int64) {
	if n.Op.Launches == 0 {
		return 0, 0
	}
	for _, v := range n.Out {
		written += size(g, v, env)
	}
	var seen []graph.ValueID
	all := func(skip ...int) (sum int64) {
		for i, v := range n.In {
			if v != graph.None && !slices.Contains(skip, i) && !slices.Contains(seen, v) {
				seen = append(seen, v)
				sum += size(g, v, env)
			}
		}
		return sum
	}
	operand := func(name string) (int, graph.ValueID) {
		if i := n.Op.OperandIndex(name); i >= 0 && i < len(n.In) {
			return i, n.In[i]
		}
		return -1, graph.None
	}
	if s := catalog.SpecOf(n.Op); s != nil {
		if r, ok := kernelReads(s, g, n, env); ok {
			return r, written
		}
		return all(), written
	}
	switch n.Op.Name {
	case "take", "take_along_axis":
		return all(0) + written, written
	case "kv_append":
		_, row := operand("new")
		written = size(g, row, env)
		return all(0), written
	case "slice_update", "slice_update_dynamic":
		if i, v := operand("update"); i >= 0 {
			written = size(g, v, env)
		}
		return all(0), written
	case "gather_qmm", "gather_mm":
		i, indices := operand("rhs_indices")
		if i < 0 || indices == graph.None {
			return all(), written
		}
		// Every chosen matrix is read once, all of them at most.
		chosen := size(g, indices, env) / int64(g.Type(indices).DType.Size())
		stack := []string{"w", "scales", "biases"}
		if n.Op.Name == "gather_mm" {
			stack = []string{"b"}
		}
		var skip []int
		for _, name := range stack {
			k, v := operand(name)
			if k < 0 || v == graph.None || g.Type(v).Rank() < 3 {
				continue
			}
			skip = append(skip, k)
			experts, err := g.Type(v).Shape[0].Eval(env)
			if err != nil || experts < 1 {
				continue
			}
			read += size(g, v, env) / experts * min(chosen, experts)
		}
		return read + all(skip...), written
	case "sdpa":
		length, ok := n.Attr("kv_len").(graph.Dim)
		if !ok {
			return all(), written
		}
		rows, err := length.Eval(env)
		if err != nil {
			return all(), written
		}
		var skip []int
		for _, name := range []string{"k", "v"} {
			k, v := operand(name)
			d, _ := g.Type(v).Dim(-2)
			capacity, err := d.Eval(env)
			if err != nil || capacity < 1 {
				continue
			}
			skip = append(skip, k)
			read += size(g, v, env) / capacity * min(rows, capacity)
		}
		return read + all(skip...), written
	}
	return all(), written
}

// kernelReads evaluates what the spec of a kernel says of a call of real size.
func kernelReads(s *kernels.Spec, g *graph.Graph, n *graph.Node, env map[string]int64) (int64, bool) {
	if len(s.Benches) == 0 || s.Benches[0].Reads == nil {
		return 0, false
	}
	types := make([]graph.Type, len(n.In))
	for i, v := range n.In {
		if v != graph.None {
			types[i] = g.Type(v)
		}
	}
	values, err := s.Values(types, n.Attrs)
	if err != nil {
		return 0, false
	}
	ints, err := values.Numbers(env)
	if err != nil {
		return 0, false
	}
	r, err := s.EvalInt(s.Benches[0].Reads, ints)
	return r, err == nil
}

func size(g *graph.Graph, v graph.ValueID, env map[string]int64) int64 {
	t := g.Type(v)
	n, err := t.Size().Eval(env)
	if err != nil {
		return 0
	}
	return n * int64(t.DType.Size())
}

package convert

import (
	"fmt"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
)

// Names of inputs and outputs that a trace does not name, by their role. They are
// those of models that are built here.
const (
	tokensName = "tokens"
	offsetName = "offset"
	logitsName = "logits"
)

type roleNames struct{ inputs, outputs []string }

// inputNames names positional inputs and the outputs. A 2-D signed integer input is the
// tokens, an integer scalar the offset, a 4-D input that rows are written into a cache;
// caches come in pairs, keys and values. All others are in0, in1, ... by position.
func inputNames(fn *mlxfn.Function) roleNames {
	caches := map[uint64]bool{}
	written := map[uint64]uint64{} // the cache with its new rows: the cache before
	for i := range fn.Tape {
		e := &fn.Tape[i]
		if e.Kind == mlxfn.Operation && (e.Primitive == "DynamicSliceUpdate" || e.Primitive == "SliceUpdate") {
			caches[e.Inputs[0]] = true
			written[e.ID] = e.Inputs[0]
		}
	}
	r := roleNames{make([]string, fn.Positional()), make([]string, len(fn.Outputs))}
	byID := map[uint64]string{} // of caches
	taken := map[string]bool{}
	for _, name := range fn.Kwargs {
		taken[name] = true
	}
	cache, tokens := 0, false
	for i, v := range fn.Inputs[:fn.Positional()] {
		name := fmt.Sprintf("in%d", i)
		role := ""
		switch t := v.Type; {
		case (t.DType == graph.Int32 || t.DType == graph.Int64) && len(t.Shape) == 2:
			role, tokens = tokensName, true
		case t.DType.IsInteger() && (len(t.Shape) == 0 || len(t.Shape) == 1 && t.Shape[0] == 1):
			role = offsetName
		case len(t.Shape) == 4 && caches[v.ID]:
			role = cacheName(cache)
			cache++
		}
		if role != "" && !taken[role] {
			name = role
		}
		for taken[name] { // a keyword has it
			name += "_"
		}
		taken[name] = true
		r.inputs[i] = name
		if len(v.Type.Shape) == 4 && caches[v.ID] {
			byID[v.ID] = name
		}
	}
	given := map[string]bool{}
	for i, id := range fn.Outputs {
		name := fmt.Sprintf("out%d", i)
		if cache, ok := byID[written[id]]; ok && !given[cache] {
			name = cache
		} else if !given[logitsName] && tokens {
			name = logitsName
		}
		r.outputs[i], given[name] = name, true
	}
	return r
}

func cacheName(n int) string {
	return fmt.Sprintf("cache.%d.%s", n/2, [2]string{"keys", "values"}[n%2])
}

// isCache reports whether an input is keys or values, whose third dimension is the
// capacity.
func isCache(name string) bool {
	return strings.HasPrefix(name, "cache.") && (strings.HasSuffix(name, ".keys") || strings.HasSuffix(name, ".values"))
}

// NameQuants finds the parameters that are parts of a quantized matrix by the
// operations that read them, directly or rows of them, and gives them their record.
// Import calls it; it finds embeddings only once their dequantization is raised.
func NameQuants(p *graph.Program) {
	for i := range p.Cases {
		g := p.Cases[i].Graph
		for id := range g.NumNodes() {
			n := g.Node(graph.NodeID(id))
			first := 1
			switch n.Op.Name {
			case "quantized_matmul", "gather_qmm":
			case "dequantize":
				first = 0
			default:
				continue
			}
			w := paramOf(p, g, n.In[first])
			if w == nil || w.Quant != nil {
				continue
			}
			q := &graph.Quant{Module: strings.TrimSuffix(w.Name, ".weight"), Mode: string(n.Attr("mode").(graph.Str)),
				Bits: n.Attr("bits").(graph.Dim).Int(), GroupSize: n.Attr("group_size").(graph.Dim).Int()}
			for k, part := range []string{"weight", "scales", "biases"} {
				if at := first + k; at < len(n.In) && n.In[at] != graph.None {
					if x := paramOf(p, g, n.In[at]); x != nil && x.Quant == nil {
						x.Quant, x.Part = q, part
					}
				}
			}
		}
	}
}

// paramOf returns the parameter that v is, or that v is rows or a conversion of.
func paramOf(p *graph.Program, g *graph.Graph, v graph.ValueID) *graph.Param {
	for {
		n := g.Def(v)
		switch n.Op.Name {
		case "param":
			return p.Param(g.InputName(v))
		case "astype", "broadcast_to", "transpose", "reshape", "expand_dims", "squeeze", "take", "slice":
			v = n.In[0]
		default:
			return nil
		}
	}
}

// scopeOf guesses where in the model a node stands from the parameters around it,
// since a trace does not say. As in programs that are built here, the scope of a
// projection is the block that it is in, that of an embedding itself.
func (im *importer) scopeOf(in []graph.ValueID) string {
	scope := ""
	for _, v := range in {
		if module, ok := im.modules[v]; ok {
			if block, _, ok := cutLast(module); ok && im.e.Primitive != "Gather" {
				return block
			}
			return module
		}
		scope = around(scope, im.scopes[v])
	}
	return scope
}

// around returns the innermost module around two operands, the later layer of two.
func around(a, b string) string {
	if a == "" || a == b {
		return b
	}
	if b == "" {
		return a
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	n := 0
	for n < len(as) && n < len(bs) && as[n] == bs[n] {
		n++
	}
	inLayer := func(s []string) int { // the layer right behind what is common
		if n < len(s) {
			if k := layer(s[n]); k >= 0 { // model.layers | 3
				return k
			}
			if n+1 < len(s) { // model | layers.3
				return layer(s[n+1])
			}
		}
		return -1
	}
	x, y := inLayer(as), inLayer(bs)
	switch {
	case x > y:
		return strings.Join(as[:n+1+btoi(layer(as[n]) < 0)], ".")
	case y > x:
		return strings.Join(bs[:n+1+btoi(layer(bs[n]) < 0)], ".")
	}
	return strings.Join(as[:n], ".")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// layer reads the number of a layer, or returns -1.
func layer(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 1<<20 {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// cutLast splits "model.norm.weight" into "model.norm" and "weight".
func cutLast(name string) (module, last string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

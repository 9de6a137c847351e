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
	byID := map[uint64]string{}
	taken := map[string]bool{}
	cache := 0
	for i, v := range fn.Inputs[:fn.Positional()] {
		name := fmt.Sprintf("in%d", i)
		role := ""
		switch t := v.Type; {
		case (t.DType == graph.Int32 || t.DType == graph.Int64) && len(t.Shape) == 2:
			role = tokensName
		case t.DType.IsInteger() && (len(t.Shape) == 0 || len(t.Shape) == 1 && t.Shape[0] == 1):
			role = offsetName
		case len(t.Shape) == 4 && caches[v.ID]:
			role = cacheName(cache)
			cache++
		}
		if role != "" && !taken[role] {
			name = role
		}
		taken[name] = true
		r.inputs[i], byID[v.ID] = name, name
	}
	logits := false
	for i, id := range fn.Outputs {
		r.outputs[i] = fmt.Sprintf("out%d", i)
		if name, ok := byID[written[id]]; ok {
			r.outputs[i] = name
		} else if !logits && taken[tokensName] {
			r.outputs[i], logits = logitsName, true
		}
	}
	return r
}

func cacheName(n int) string {
	return fmt.Sprintf("cache.%d.%s", n/2, [2]string{"keys", "values"}[n%2])
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
// since a trace does not say: a node that reads a parameter is in its module; what
// uses a module's result is in the module around it.
func (im *importer) scopeOf(in []graph.ValueID) string {
	scope := ""
	for _, v := range in {
		if s, ok := im.modules[v]; ok {
			return s
		}
		s := im.scopes[v]
		if im.readsParam(v) {
			s, _, _ = cutLast(s)
		}
		scope = around(scope, s)
	}
	return scope
}

func (im *importer) readsParam(v graph.ValueID) bool {
	for _, x := range im.g.Def(v).In {
		if _, ok := im.modules[x]; ok {
			return true
		}
	}
	return false
}

// around returns the innermost module around both scopes. Of two layers of a list
// ("model.layers.3", "model.layers.4.mlp") it is the later one.
func around(a, b string) string {
	if a == "" {
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
	if n < len(as) && n < len(bs) {
		if x, y := layer(as[n]), layer(bs[n]); x >= 0 && y >= 0 {
			if x > y {
				return strings.Join(as[:n+1], ".")
			}
			return strings.Join(bs[:n+1], ".")
		}
	}
	switch n {
	case len(as), len(bs): // a residual meets what a module inside made of it
		longer := as
		if n == len(as) {
			longer = bs
		}
		if n < len(longer) && layer(longer[len(longer)-1]) < 0 {
			longer = longer[:len(longer)-1]
		}
		return strings.Join(longer, ".")
	}
	return strings.Join(as[:n], ".")
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

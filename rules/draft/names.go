package draft

import (
	"fmt"
	"regexp"
	"strings"

	"zmlx-rewrite/graph"
)

// Names are short, and plain enough for rules, kernels and their sources.

var plain = regexp.MustCompile(`[^a-z0-9_]+`)

// taken are names that rules, kernels or generated sources have another use for.
var taken = strings.Fields(`true false none in and or not any optional dim rows size rank dtype has batch seq_len kv_len target training
	tp_size out n k i row base from step part lane half float int uint char bool auto do double for if long new short this try union
	kernel constant device thread metal main std e t c concat stack split transpose permute increment`)

// names gives out each name once.
type names map[string]bool

func newNames() names {
	t := names{}
	for _, w := range taken {
		t[w] = true
	}
	for _, o := range graph.Ops() {
		t[o.Name] = true
	}
	return t
}

func (t names) take(name string) string {
	name = strings.Trim(plain.ReplaceAllString(strings.ToLower(name), "_"), "_")
	for strings.Contains(name, "__") {
		name = strings.ReplaceAll(name, "__", "_")
	}
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "v" + name
	}
	for _, kept := range []string{"has_", "d_", "simd_", "group_", "zmlx", "mlx_"} {
		if strings.HasPrefix(name, kept) {
			name = "the_" + name
		}
	}
	name = strings.TrimSuffix(name, "_t")
	got := name
	for i := 2; t[got]; i++ {
		got = fmt.Sprintf("%s_%d", name, i)
	}
	t[got] = true
	return got
}

// kinds are the first letters of the parts of a weight.
var kinds = map[string]string{"weight": "w", "scales": "s", "biases": "b", "bias": "bias"}

// weightName is w_gate for model.layers.0.mlp.gate_proj.weight.
func weightName(name string) string {
	module, part := "", name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		module, part = name[:i], name[i+1:]
	}
	short := moduleName(module)
	if kind := kinds[part]; kind != "" && short != "" {
		return kind + "_" + short
	}
	if short == "" {
		return part
	}
	return short + "_" + part
}

// moduleName is gate for model.layers.0.mlp.gate_proj.
func moduleName(module string) string {
	parts := strings.Split(module, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		if last := parts[i]; last != "" && (last[0] < '0' || last[0] > '9') {
			return strings.ReplaceAll(strings.TrimSuffix(last, "_proj"), "layernorm", "norm")
		}
	}
	return ""
}

// verbs are what the results of ops are called.
var verbs = map[string]string{
	"add": "total", "multiply": "product", "divide": "ratio", "subtract": "difference", "negative": "minus", "sigmoid": "gated", "softmax": "probs",
	"rms_norm": "normed", "layer_norm": "normed", "reshape": "view", "transpose": "turned", "rope": "roped", "argpartition": "order",
	"slice": "cut", "take_along_axis": "picked", "take": "looked_up", "sum": "summed", "squeeze": "flat", "expand_dims": "wide",
	"astype": "cast", "exp": "expd", "tanh": "squashed", "sdpa": "attn", "square": "squared", "power": "powered", "maximum": "larger",
	"minimum": "smaller", "concatenate": "joined", "kv_append": "rows_all", "matmul": "projected", "quantized_matmul": "projected",
	"gather_qmm": "projected", "gather_mm": "projected",
}

// lineName is what the result of a node is called: by its weight, or by what it does.
func (w *writer) lineName(n *graph.Node) string {
	switch n.Op.Name {
	case "matmul", "quantized_matmul", "gather_qmm", "gather_mm", "addmm":
		for _, v := range n.In {
			if v == graph.None {
				continue
			}
			for w.g.Def(v).Op.Name == "transpose" {
				v = w.g.Def(v).In[0]
			}
			if w.isParam(v) {
				name := w.g.InputName(v)
				if i := strings.LastIndexByte(name, '.'); i >= 0 {
					return moduleName(name[:i])
				}
			}
		}
	}
	if verb := verbs[n.Op.Name]; verb != "" {
		return verb
	}
	return n.Op.Name + "_1"
}

// operandName is what a value from outside is called: by its weight, or for what it is.
func (w *writer) operandName(v graph.ValueID) string {
	name := w.g.InputName(v)
	switch t := w.g.Type(v).DType; {
	case w.isParam(v):
		return weightName(name)
	case name != "":
		var parts []string // without numbers of layers
		for _, part := range strings.Split(name, ".") {
			if part != "" && (part[0] < '0' || part[0] > '9') {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, "_")
	case t == graph.Bool:
		return "mask"
	case t.IsInteger():
		return "idx"
	}
	for _, x := range []string{"x", "y", "z"} {
		if !w.used[x] {
			return x
		}
	}
	return "x"
}

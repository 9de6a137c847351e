package draft

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
)

// fewRows is how many sequences a guard allows where one token of each is computed:
// kernels for decoding are written for few rows.
const fewRows = 8

func (w *writer) write(name, from string, exact bool) *Draft {
	d := &Draft{Inner: w.inner}
	numerics := "reordered"
	if exact {
		numerics = "exact"
	}
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	plural := "s"
	if len(w.part.Nodes) == 1 {
		plural = ""
	}
	what := fmt.Sprintf("the %d op%s at %s of %s", len(w.part.Nodes), plural, w.part.Scope, from)

	p("# Begun by `zmlx-rewrite rules new` from %s.", what)
	p("# Every attribute and constant is as it was there. docs/RULES.md is the language reference.")
	p("zmlx: 1")
	p("family: %s", name)
	p("rules:")
	p("  - name: %s", name)
	p("    doc: %s", quoted("In one launch what takes "+fmt.Sprint(w.launches())+", as at "+w.part.Scope+"."))
	p("    match:")
	for _, line := range w.lines {
		p("      %s", line)
	}
	if len(w.listed) > 0 {
		p("    results: [%s]", strings.Join(w.listed, ", "))
	}
	if guards := w.guards(d); len(guards) > 0 {
		p("    guards: # as observed: loosen what need not hold")
		for _, g := range guards {
			p("      %s", g)
		}
	}
	p("    replace:")
	args := make([]string, 0, len(w.in)+len(w.order))
	for _, v := range w.in {
		args = append(args, w.values[v])
	}
	for _, x := range w.order {
		args = append(args, x.name+"=$"+x.name)
	}
	p("      %s: kernel.%s(%s)", strings.Join(w.out, ", "), name, strings.Join(args, ", "))
	p("    numerics: %s", numerics)
	d.Rules = b.String()

	b.Reset()
	p("# What %s compute.", what)
	p("# The reference defines the kernel. Where it is simple, its source is made of it; else write %s.metal", name)
	p("# and `launch` beside it (docs/KERNELS.md). Until then the kernel runs as its reference.")
	p("zmlx: 1")
	p("kernel: %s", name)
	p("doc: %s", quoted("What "+w.part.Scope+" computes, in one pass."))
	types, shapes := w.operands()
	if len(types) > 0 {
		p("types:")
		for _, t := range types {
			p("  %s", t)
		}
	}
	p("inputs:")
	for i, v := range w.in {
		p("  %s: %s", w.values[v], shapes[i])
	}
	if len(w.order) > 0 {
		p("attrs:")
		for _, x := range w.order {
			p("  %s: %s", x.name, x.spec())
		}
	}
	p("reference:")
	for _, line := range w.lines {
		p("  %s", line)
	}
	p("results: [%s]", strings.Join(w.out, ", "))
	p("numerics: %s", numerics)
	d.Kernel = b.String()
	return d
}

// quoted is a sentence as YAML has it.
func quoted(s string) string {
	if strings.ContainsAny(s, "#:{}[]'\"\\`%@&*!|>\n\t") {
		return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "'", "''") + "'"
	}
	return s
}

func (w *writer) launches() int {
	n := 0
	for _, id := range w.part.Nodes {
		n += w.g.Node(id).Op.Launches
	}
	return n
}

// spec is an attribute as a kernel declares it. Those of quantized matrices may have any
// value that MLX knows, since the reference is right for all.
func (x *variable) spec() string {
	switch {
	case x.kind == graph.KindFloat:
		return "{kind: float}"
	case strings.HasPrefix(x.name, "bits"):
		return "{kind: int, in: [2, 3, 4, 5, 6, 8]}"
	case strings.HasPrefix(x.name, "group_size"):
		return "{kind: int, in: [16, 32, 64, 128]}"
	}
	return "{kind: int}"
}

// guards are what was observed at the place, beyond what the pattern says.
func (w *writer) guards(d *Draft) []string {
	var list []string
	data := w.data()
	one := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: 1, graph.SymWindowLen: 1}
	if ok, err := w.part.Case.When.Eval(one); data[0] != graph.None && ok && err == nil {
		first := data[0]
		rows := w.g.Type(first).Rows()
		if syms := rows.Symbols(nil); slices.Contains(syms, graph.SymBatch) && !slices.Contains(syms, graph.SymSeqLen) {
			each := int64(1) // rows of one sequence
			if x, ok := rows.Div(graph.Sym(graph.SymBatch)); ok && !isOpen(x) {
				each = int64(x.Int())
			}
			d.Few = w.values[first]
			list = append(list, fmt.Sprintf("few_rows: rows(%s) <= %d", d.Few, fewRows*each))
		}
	}
	seen := map[graph.DType]bool{}
	var types []string
	for _, v := range w.in {
		if t := w.g.Type(v).DType; t.IsFloat() && !seen[t] {
			seen[t] = true
			types = append(types, fmt.Sprintf("dtype(%s) == %q", w.values[v], t))
		}
	}
	if len(types) > 0 {
		list = append(list, "element_type: "+strings.Join(types, " && "))
	}
	var quant []string
	for _, x := range w.order {
		if strings.HasPrefix(x.name, "bits") || strings.HasPrefix(x.name, "group_size") {
			quant = append(quant, fmt.Sprintf("%s == %s", x.name, x.attr))
		}
	}
	if len(quant) > 0 {
		list = append(list, "quantized: "+strings.Join(quant, " && "))
	}
	return list
}

// data are the operands that are made of a call's inputs; all that are no parameters, if
// no dimension says which these are.
func (w *writer) data() []graph.ValueID {
	var open, rest []graph.ValueID
	for _, v := range w.in {
		if slices.ContainsFunc(w.g.Type(v).Shape, isOpen) {
			open = append(open, v)
		} else if !w.isParam(v) {
			rest = append(rest, v)
		}
	}
	if len(open) > 0 {
		return open
	}
	if len(rest) > 0 {
		return rest
	}
	return []graph.ValueID{graph.None}
}

// operands writes the kernel's element types and its inputs.
func (w *writer) operands() (types, shapes []string) {
	byType := map[graph.DType]string{}
	for _, v := range w.in {
		if t := w.g.Type(v).DType; t.IsFloat() && t != graph.Float64 && byType[t] == "" {
			byType[t] = [...]string{"T", "S", "U"}[len(byType)]
			types = append(types, byType[t]+": [float16, bfloat16, float32]")
		}
	}
	data := w.data()
	lead := 0 // dimensions that all of data begin with
	if first := data[0]; first != graph.None {
		shape := w.g.Type(first).Shape
		for lead = max(0, len(shape)-1); lead > 0; lead-- {
			if !slices.ContainsFunc(data, func(v graph.ValueID) bool {
				s := w.g.Type(v).Shape
				return len(s) <= lead || !slices.Equal(s[:lead], shape[:lead])
			}) {
				break
			}
		}
	}
	dims := map[graph.Dim]string{}
	name := func(d graph.Dim) string {
		if d.Is(1) {
			return "1"
		}
		if dims[d] == "" {
			want := "n"
			switch s, _ := d.Symbol(); {
			case s == graph.SymBatch:
				want = "b"
			case s == graph.SymSeqLen:
				want = "l"
			case s != "":
				want = strings.TrimPrefix(s, "kv_")
			case len(dims) > 0:
				want = [...]string{"m", "g", "h", "j", "r", "u", "q"}[min(len(dims)-1, 6)]
			}
			if want != "n" {
				want = w.used.take(want)
			}
			dims[d] = want
		}
		return dims[d]
	}
	shapes = make([]string, len(w.in))
	write := func(i int) {
		t := w.g.Type(w.in[i])
		var list []string
		shape := t.Shape
		if lead > 0 && slices.Contains(data, w.in[i]) {
			list, shape = []string{"..."}, shape[lead:]
		}
		for j := range shape { // the last first: n is the length of a row
			name(shape[len(shape)-1-j])
		}
		for _, d := range shape {
			list = append(list, name(d))
		}
		typ := byType[t.DType]
		if typ == "" {
			typ = t.DType.String()
		}
		shapes[i] = typ + "[" + strings.Join(list, ", ") + "]"
	}
	for i, v := range w.in {
		if slices.Contains(data, v) {
			write(i)
		}
	}
	for i, v := range w.in {
		if !slices.Contains(data, v) {
			write(i)
		}
	}
	return types, shapes
}

package author

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
)

// write makes the files of a kernel.
func write(name string, b *builder, result *node, o *Options, want form, formula string) (*Kernel, error) {
	if err := shapeFault(b, result, want); err != nil {
		return nil, err
	}
	used := reachable(result)
	isUsed := func(x *node) bool { return slices.Contains(used, x) }
	for _, p := range o.Params {
		if !slices.ContainsFunc(used, func(x *node) bool { return x.op == paramOp && x.name == p.Name }) {
			return nil, diag.Errorf("author/unused", diag.Pos{}, "parameter %s is not used", p.Name)
		}
	}
	for _, v := range o.Vectors {
		if !slices.ContainsFunc(used, func(x *node) bool { return x.op == inputOp && x.name == v }) {
			return nil, diag.Errorf("author/unused", diag.Pos{}, "vector %s is not used", v)
		}
	}
	for _, x := range b.inputs {
		if !isUsed(x) {
			return nil, diag.Errorf("author/unused", diag.Pos{}, "input %s does not change the result", x.name)
		}
	}
	b.params = slices.DeleteFunc(b.params, func(x *node) bool { return !isUsed(x) })

	k := &Kernel{Name: name}
	n := newNaming(b)
	lines := n.reference(result)
	once := o.Once || want != elementwise
	about := describe(name, o, formula, once, want)

	// The gradient comes before the source: its lines are numbered apart, and the source
	// takes names that no line has.
	grad, err := gradient(b, n, result)
	if err != nil {
		var none *noGradient
		if !asNoGradient(err, &none) {
			return nil, err
		}
		k.NoGradient = none.reason
	}

	var c *coder
	if want == elementwise {
		c = newCoder(n, used, once)
		elementwiseSource(c, result)
	} else {
		low, err := lower(b, result)
		if err != nil {
			return nil, err
		}
		c = newCoder(n, used, once)
		rowSource(c, low)
	}
	k.Source = c.file(name, about)
	k.Spec = specText(name, b, o, about[0], lines, grad, !once && exact(result), want)
	k.Test = testText(k)
	return k, nil
}

// describe returns the sentences that open a source; the first is the spec's doc.
func describe(name string, o *Options, formula string, once bool, want form) []string {
	rounds := "rounded after each op as MLX's own ops are"
	if once {
		rounds = "computed in float32 and rounded once"
	}
	how := "one thread an element"
	if want != elementwise {
		how = "one threadgroup a row"
	}
	isFunction := strings.HasPrefix(strings.TrimSpace(formula), "func ")
	text := strings.Join(strings.Fields(formula), " ")
	doc := o.Doc
	if doc == "" {
		if isFunction || len(text) > 100 {
			doc = fmt.Sprintf("%s in one pass, %s.", name, rounds)
		} else {
			doc = fmt.Sprintf("%s, %s.", strings.TrimRight(text, ";"), rounds)
		}
	}
	about := []string{doc, "Made by zmlx-rewrite kernels new; " + how + ". Edit it freely: it is checked against the spec."}
	if isFunction || o.Doc != "" || len(text) > 100 {
		about = append(about, "")
		for l := range strings.SplitSeq(strings.TrimSpace(formula), "\n") {
			about = append(about, "    "+strings.TrimRight(strings.ReplaceAll(l, "\t", "    "), " \r"))
		}
	}
	return about
}

func specText(name string, b *builder, o *Options, doc string, lines, grad []line, isExact bool, want form) string {
	var t strings.Builder
	fmt.Fprintf(&t, "zmlx: 1\nkernel: %s\ndoc: %s\ntypes:\n  T: [float16, bfloat16, float32]\ninputs:\n", name, yamlText(doc))
	for _, x := range b.inputs {
		dims := "..., n"
		if x.shape == vector {
			dims = "n"
		}
		fmt.Fprintf(&t, "  %s: T[%s]\n", x.name, dims)
	}
	params := usedParams(b, o)
	if len(params) > 0 {
		t.WriteString("attrs:\n")
		for _, p := range params {
			fmt.Fprintf(&t, "  %s: {kind: float", p.Name)
			if !math.IsNaN(p.Default) {
				fmt.Fprintf(&t, ", default: %s", numberText(p.Default))
			}
			t.WriteString("}\n")
		}
	}
	t.WriteString("reference:\n")
	writeLines(&t, lines)
	numerics := "reordered"
	if isExact {
		numerics = "exact"
	}
	fmt.Fprintf(&t, "results: [out]\nnumerics: %s\n", numerics)
	if len(grad) > 0 {
		t.WriteString("gradient:\n")
		writeLines(&t, grad)
	}
	if want == elementwise {
		t.WriteString("launch:\n  grid: [rows * n, 1, 1]\n  threadgroup: [256, 1, 1]\n")
	} else {
		fmt.Fprintf(&t, "launch:\n  grid: ['rows * %[1]s', 1, 1]\n  threadgroup: ['%[1]s', 1, 1]\n", rowThreads("n"))
	}
	t.WriteString("check:\n  dims: {rows: [1, 2, 5, 9], n: [1, 31, 96, 1000]}\n")
	if len(params) > 0 {
		t.WriteString("  attrs:\n")
		for _, p := range params {
			values := p.Check
			if len(values) == 0 && math.IsNaN(p.Default) {
				values = []float64{0.5, 1}
			} else if len(values) == 0 {
				values = []float64{p.Default}
			}
			text := make([]string, len(values))
			for i, v := range values {
				text[i] = numberText(v)
			}
			fmt.Fprintf(&t, "    %s: [%s]\n", p.Name, strings.Join(text, ", "))
		}
	}
	return t.String()
}

// usedParams are the parameters in the order in which they were declared.
func usedParams(b *builder, o *Options) []Param {
	return slices.DeleteFunc(slices.Clone(o.Params), func(p Param) bool {
		return !slices.ContainsFunc(b.params, func(x *node) bool { return x.name == p.Name })
	})
}

func writeLines(t *strings.Builder, lines []line) {
	for _, l := range lines {
		fmt.Fprintf(t, "  %s: %s\n", l.name, l.expr)
	}
}

// yamlText quotes a text where YAML would read something else.
func yamlText(s string) string {
	if strings.Contains(s, ": ") || strings.Contains(s, " #") || strings.HasSuffix(s, ":") || strings.ContainsAny(s[:1], "!%*&[]{}|>@`'\"#,?:-") {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return s
}

// testText is a script that checks the kernel from its files alone.
func testText(k *Kernel) string {
	checked := "its source computes what the reference graph says"
	if k.NoGradient == "" {
		checked += ", and its gradient is right"
	}
	return fmt.Sprintf("# Kernel %[1]s: %[2]s.\nexec zmlx-rewrite kernels check %[1]s --kernels . --without metal,cuda\n\n-- %[1]s.yaml --\n%[3]s-- %[1]s.metal --\n%[4]s", k.Name, checked, k.Spec, k.Source)
}

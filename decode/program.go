package decode

import (
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
)

// input is an input of a small program, and output an output: a line of it.
type (
	input struct {
		name string
		t    graph.Type
	}
	output struct{ name, line string }
)

// logitsInput is the logits of a call of so many sequences, [batch, seq_len, vocab].
func logitsInput(t graph.DType, batch int, vocab graph.Dim) input {
	return input{"logits", graph.T(t, graph.N(int64(batch)), graph.Sym(graph.SymSeqLen), vocab)}
}

// programOf makes what runs behind a model of lines, which are pairs of a name and an expression.
// Lines that no output needs are left out.
func programOf(in []input, out []output, lines ...string) (*graph.Program, error) {
	g := graph.New()
	b := &graph.Bindings{Values: map[string]graph.ValueID{}, Vars: map[string]graph.Attr{}}
	for _, x := range in {
		b.Values[x.name] = g.Input(x.name, x.t)
	}
	var defines []graph.Define
	for i := 0; i < len(lines); i += 2 {
		e, err := syntax.Parse(lines[i+1])
		if err != nil {
			return nil, err
		}
		defines = append(defines, graph.Define{Names: []string{lines[i]}, Expr: e})
	}
	if err := g.BuildAll(defines, b); err != nil {
		return nil, err
	}
	for _, x := range out {
		g.Output(x.name, b.Values[x.line])
	}
	if err := g.Compact(); err != nil {
		return nil, err
	}
	return engine.Program(g)
}

package kernels

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
)

// Put has a kernel find an operand or a result so many bytes behind the start of memory that it shares with
// others. The memory is one parameter, in place of the first of them.
func (g *GPU) Put(name, memory string, bytes int64) {
	space, list := "const device", &g.Inputs
	at := slices.Index(g.Inputs, name)
	if at < 0 {
		space, list, at = "device", &g.Results, slices.Index(g.Results, name)
	}
	*list = slices.Delete(slices.Clone(*list), at, at+1)
	if !slices.Contains(*list, memory) {
		*list = slices.Insert(*list, at, memory)
	}
	g.prepend(fmt.Sprintf("%s %s_t* %s = (%s %s_t*)(%s + %d);\n", space, name, name, space, name, memory, bytes))
}

// Advance has the kernel find an operand so many elements further on.
func (g *GPU) Advance(operand string, elements int64) {
	g.prepend(fmt.Sprintf("%s += %d;\n", operand, elements))
}

// prepend puts a statement in front of the kernel's own text, which is then another one.
func (g *GPU) prepend(text string) {
	before, after, _ := strings.Cut(g.Body, "#line ")
	g.Body = before + text + "#line " + after
	g.name(g.Name[:strings.LastIndexByte(g.Name, '_')])
}

func (g *GPU) name(kernel string) { g.Name = kernel + "_" + contentHash(g.Header, g.Body)[:16] }

// parameters writes one parameter a line, each with a comma.
func (s *Spec) parameters(b *strings.Builder, g *GPU, v *Values, results []graph.DType, in, out string) {
	types := map[string]string{StepNumbers: "int"}
	for i, x := range s.Inputs {
		types[x.Name] = typeNames[v.Types[i]]
	}
	for i, r := range s.Results {
		types[r] = typeNames[results[i]]
	}
	write := func(form string, names []string) {
		for _, name := range names {
			typ, ok := types[name]
			if !ok { // memory that several are in
				typ = typeNames[graph.Uint8]
			}
			fmt.Fprintf(b, "    "+form+",\n", typ, name)
		}
	}
	write(in, g.Inputs)
	write(out, g.Results)
}

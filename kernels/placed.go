package kernels

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
)

// Place is where a kernel finds an operand or a result that shares memory with others.
type Place struct {
	Memory string // the parameter that it is in
	Bytes  int64  // behind the start of it
}

// Put has a kernel find an operand or a result in memory that is given to it as bytes. Of several
// in one memory that is one parameter, in place of the first.
func (g *GPU) Put(name string, p Place) {
	space, list := "const device", &g.Inputs
	at := slices.Index(g.Inputs, name)
	if at < 0 {
		space, list, at = "device", &g.Results, slices.Index(g.Results, name)
	}
	*list = slices.Delete(slices.Clone(*list), at, at+1)
	if !slices.Contains(*list, p.Memory) {
		*list = slices.Insert(*list, at, p.Memory)
	}
	if g.places == nil {
		g.places = map[string]Place{}
	}
	g.places[name] = p
	g.prepend(fmt.Sprintf("%s %s_t* %s = (%s %s_t*)(%s + %d);\n", space, name, name, space, name, p.Memory, p.Bytes))
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
	types := map[string]graph.DType{}
	for i, x := range s.Inputs {
		types[x.Name] = v.Types[i]
	}
	for i, r := range s.Results {
		types[r] = results[i]
	}
	for _, p := range g.places {
		types[p.Memory] = graph.Uint8
	}
	write := func(form, name string) {
		typ := typeNames[types[name]]
		if name == dynamicName {
			typ = "int"
		}
		fmt.Fprintf(b, "    "+form+",\n", typ, name)
	}
	for _, name := range g.Inputs {
		write(in, name)
	}
	for _, name := range g.Results {
		write(out, name)
	}
}

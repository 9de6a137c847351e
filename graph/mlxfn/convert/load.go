package convert

import (
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/normal"
)

// Load reads a file as a program that rules can be applied to: imported, raised, in
// normal form, traces that differ in their dimensions only as one case over symbols.
// Notes say what looks like a fast operation and is none, and what looks like one
// case and is not.
func Load(path string, opts ImportOptions) (*graph.Program, []normal.Note, error) {
	f, err := mlxfn.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	p, bindings, err := importTraces(path, f, opts)
	if err != nil {
		return nil, nil, err
	}
	var notes []normal.Note
	for _, c := range p.Cases {
		_, more, err := normal.Raise(c.Graph)
		if err != nil {
			return nil, nil, diag.Errorf("mlxfn/normal", diag.Pos{File: path}, "%s: %v", c.Name, err)
		}
		notes = append(notes, more...)
	}
	NameQuants(p)
	var more []normal.Note
	p.Cases, more = merge(p.Cases, bindings)
	return p, append(notes, more...), nil
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/bridge"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/proof"
)

// exportedRule is a module that was written of a rule, as JSON.
type exportedRule struct {
	writtenFile
	Rule     string           `json:"rule" jsonschema:"full name"`
	Model    string           `json:"model" jsonschema:"as it was named"`
	Case     string           `json:"case" jsonschema:"of the program"`
	Dims     map[string]int64 `json:"dims" jsonschema:"numbers of the symbols; those that --dims leaves open have a small one"`
	Scope    string           `json:"scope" jsonschema:"part of the model that it was taken from: the first where the rule applies"`
	Numerics string           `json:"numerics" jsonschema:"how results of the two sides may differ"`
	Target   string           `json:"target" jsonschema:"on cpu kernels are written out as their reference graphs, elsewhere their sources are in the module"`
	Kernels  []string         `json:"kernels" jsonschema:"that the rule puts in place"`
}

// exportPython writes a rule, at the first place where it applies in a model, as a Python
// module that needs MLX alone.
func (a *app) exportPython(o *options, rule, out, format string) error {
	if !strings.HasSuffix(out, ".py") {
		return diag.Errorf("usage/out", diag.Pos{File: out}, "export --as python writes a module").WithHint("name the file with --out NAME.py")
	}
	o.profile, o.preset, o.only, o.force = "all", "inference", []string{rule}, nil
	env, err := o.symbols()
	if err != nil {
		return err
	}
	for _, name := range []string{graph.SymBatch, graph.SymSeqLen} {
		if env[name] == 0 {
			env[name] = 1
		}
	}
	w, _, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	r := all[0]
	defer r.close()
	i, err := caseOf(r.res.Program, env)
	if err != nil {
		return err
	}
	c := &r.res.Cases[i]
	if len(c.Sites) == 0 {
		return isFalse("%s does not apply in %s, case %s\n\tzmlx-rewrite explain --model %s --rule %s says why", rule, r.name, c.Name, o.model, rule)
	}
	site := c.Sites[0]
	in, err := proof.At(r.program, &graph.Case{Name: c.Name, When: c.When, Graph: c.Before}, site.Match, r.name+", "+site.Scope)
	if err != nil {
		return err
	}
	res, err := in.Rewrite(w.set, o.target)
	if err != nil {
		return err
	}
	k, err := caseOf(res.Program, env)
	if err != nil {
		return err
	}
	if len(res.Cases[k].Sites) == 0 {
		return isFalse("%s does not apply to its own pattern on %s", rule, o.target)
	}
	for name := range symbolsIn(in.Program.Cases[0].Graph) {
		if env[name] == 0 {
			env[name] = 8
		}
	}
	s := &bridge.Standalone{Rule: site.Rule.Name, Doc: site.Rule.Doc, Where: r.name + ", " + site.Scope, Exact: site.Rule.Numerics == kernels.Exact, Target: o.target}
	after := res.Program
	if o.target == "cpu" {
		if after, err = w.set.Kernels.Expand(after, nil); err != nil {
			return err
		}
	} else {
		s.Launcher = bridge.Sources{Target: kernels.Target(o.target), Catalog: w.set.Kernels}
	}
	s.Params = after.Params
	if s.Before, err = normal.Specialize(in.Program.Cases[0].Graph, env); err != nil {
		return err
	}
	if s.After, err = normal.Specialize(after.Cases[k].Graph, env); err != nil {
		return err
	}
	text, err := s.Text()
	if err != nil {
		issue := diag.Errorf("bridge/standalone", diag.Pos{}, "%v", err)
		if o.target == "cpu" {
			issue = issue.WithHint("there kernels are their reference graphs: --target metal or cuda writes their sources")
		}
		return issue
	}
	file, err := written(out, []byte(text))
	switch {
	case err != nil:
		return err
	case format == "json":
		return a.json(exportedRule{file, site.Rule.Name, r.name, c.Name, env, site.Scope, string(site.Rule.Numerics), o.target, append([]string{}, site.Rule.Kernels...)})
	}
	fmt.Fprintf(a.progress, "%s: %s at %s of %s, case %s%s\n", out, site.Rule.Name, site.Scope, r.name, c.Name, dimsText(env))
	return nil
}

// symbolsIn returns the symbols of a graph's inputs.
func symbolsIn(g *graph.Graph) map[string]bool {
	seen := map[string]bool{}
	for _, v := range slices.Concat(g.Inputs()) {
		for _, d := range g.Type(v).Shape {
			for _, name := range d.Symbols(nil) {
				seen[name] = true
			}
		}
	}
	return seen
}

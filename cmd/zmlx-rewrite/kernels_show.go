package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
)

// shownKernel is a kernel as JSON: what kernels list has of it, and what it says.
type shownKernel struct {
	listedKernel
	Signature string           `json:"signature" jsonschema:"how graphs call it"`
	Inputs    []shownInput     `json:"inputs" jsonschema:"in order"`
	Attrs     []shownAttr      `json:"attributes" jsonschema:"beside the inputs"`
	Results   []string         `json:"results" jsonschema:"lines of the reference that it gives"`
	Domain    []shownCondition `json:"domain" jsonschema:"conditions of calls that it is right for"`
	Reference []shownLine      `json:"reference" jsonschema:"graph that it computes"`
	Target    string           `json:"target,omitempty" jsonschema:"with --source: whose text source is"`
	Source    string           `json:"source,omitempty" jsonschema:"as it was written or generated; with --source as the target compiles it"`
	NoSource  string           `json:"no_source,omitempty" jsonschema:"why there is none"`
}

type shownInput struct {
	Name     string   `json:"name" jsonschema:"as calls have it"`
	Optional bool     `json:"optional,omitempty" jsonschema:"may be left out"`
	Type     string   `json:"type,omitempty" jsonschema:"name of its element type; inputs of one name share it"`
	Types    []string `json:"types" jsonschema:"element types that it may have"`
	Shape    []string `json:"shape" jsonschema:"names and numbers; ... stands for leading dimensions"`
}

type shownAttr struct {
	Name    string   `json:"name" jsonschema:"as calls have it"`
	Allowed []string `json:"allowed" jsonschema:"values that it may have; any if there are none"`
	Unset   string   `json:"unset,omitempty" jsonschema:"its value where a call has none; absent if it must be given"`
}

type shownCondition struct {
	Name string `json:"name" jsonschema:"by which refusals name it"`
	Text string `json:"text" jsonschema:"the condition"`
}

func shownKernelOf(s *kernels.Spec) *shownKernel {
	out := &shownKernel{listedKernel: listedKernelOf(s), Signature: s.Op().Signature(), Inputs: []shownInput{}, Attrs: []shownAttr{}, Results: append([]string{}, s.Results...), Domain: []shownCondition{}, Reference: []shownLine{}, NoSource: s.NoSource}
	for _, x := range s.Inputs {
		in := shownInput{Name: x.Name, Optional: x.Optional, Type: x.TypeName, Types: []string{}, Shape: []string{}}
		for _, t := range x.DTypes {
			in.Types = append(in.Types, t.String())
		}
		for _, d := range x.Shape {
			in.Shape = append(in.Shape, cmp.Or(d.Name, strconv.FormatInt(d.N, 10)))
		}
		out.Inputs = append(out.Inputs, in)
	}
	for _, x := range s.Attrs {
		at := shownAttr{Name: x.Name, Allowed: append([]string{}, x.Words...)}
		for _, n := range x.Ints {
			at.Allowed = append(at.Allowed, strconv.FormatInt(n, 10))
		}
		if x.Unset != nil {
			at.Unset = fmt.Sprint(x.Unset)
		}
		out.Attrs = append(out.Attrs, at)
	}
	for _, d := range s.Domain {
		out.Domain = append(out.Domain, shownCondition{d.Name, d.Guard.Text})
	}
	for _, d := range s.Reference() {
		out.Reference = append(out.Reference, shownLine{d.Names, d.Expr.String()})
	}
	if s.Code != nil {
		out.Source = s.Code.Text
	}
	return out
}

func (a *app) kernelsShow(o *options, name, source, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	s := w.set.Kernels.Spec(name)
	if s == nil {
		return noKernel(w.set.Kernels, name)
	}
	text := ""
	if source != "" {
		if text, err = sourceFor(s, source); err != nil {
			return err
		}
	}
	switch {
	case format == "json":
		k := shownKernelOf(s)
		if source != "" {
			k.Target, k.Source = source, text
		}
		return a.json(k)
	case source != "":
		fmt.Fprint(a.stdout, text)
		return nil
	}
	fmt.Fprintf(a.stdout, "%s  (%s)\n%s\nruns on %s\nnumerics %s · hash %s\n", s.Op().Signature(), s.Source, s.Doc, runsOn(s), s.Numerics, s.ContentHash[:16])
	for _, d := range s.Domain {
		fmt.Fprintf(a.stdout, "domain %s: %s\n", d.Name, d.Guard.Text)
	}
	for _, d := range s.Reference() {
		fmt.Fprintf(a.stdout, "  %s = %s\n", strings.Join(d.Names, ", "), d.Expr)
	}
	switch {
	case s.Generated:
		fmt.Fprintf(a.stdout, "\nsource, generated:\n%s", s.Code.Text)
	case s.Code != nil:
		fmt.Fprintf(a.stdout, "\n%s", s.Code.Text)
	default:
		fmt.Fprintf(a.stdout, "no source, and none can be generated: %s\n", s.NoSource)
	}
	return nil
}

// sourceFor is what a target compiles.
func sourceFor(s *kernels.Spec, target string) (string, error) {
	if s.Code == nil {
		return "", noSource(s)
	}
	if s.Trials == nil {
		return "", diag.Errorf("usage/kernel", diag.Pos{File: s.Source}, "kernel %s has no check to take a call from", s.Name).WithHint("give its spec a `check:` (docs/KERNELS.md)")
	}
	if target == "cpu" {
		return s.HostUnit(s.Instances(), false)
	}
	if target != string(kernels.Metal) && target != string(kernels.CUDA) {
		return "", oneOf("source", target, "metal", "cuda", "cpu")
	}
	for c := range s.Choices() {
		t, err := s.Trial(c)
		if err != nil {
			continue
		}
		v, err := t.Values()
		if err != nil {
			return "", err
		}
		g, err := s.Assemble(kernels.Target(target), v, t.ResultTypes())
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("// %s: operands %s\n%s\n// the body\n%s", g.Name, strings.Join(g.Inputs, ", "), g.Header, g.Body), nil
	}
	return "", diag.Errorf("usage/kernel", diag.Pos{File: s.Source}, "no call of kernel %s's check is in its domain", s.Name).WithHint("widen its `check:`, or its `domain:` (docs/KERNELS.md)")
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/rules/draft"
	"zmlx-rewrite/verify/proof"
)

type ruleNewOptions struct {
	options
	scope, from, values string
	out, format         string
	overwrite           bool
}

func (a *app) rulesNewCmd() *cobra.Command {
	var o ruleNewOptions
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Begin a rule from a part of a model: pattern, guards, kernel stub, and test",
		Long: "New copies the ops at a scope of a model, or those that make the values named, into a rule\n" +
			"with a closed pattern, a kernel with the same ops as its reference graph, and a test. They are\n" +
			"yours to edit: docs/VERIFY.md goes on from here.",
		Example: "  zmlx-rewrite rules new gate_act --model Qwen3-30B-A3B-4bit --scope model.layers.0.mlp.switch_mlp --values v32..v33,v35\n" +
			"  zmlx-rewrite verify --watch --home gate_act --model gate_act/gate_act.zg gate_act\n" +
			"  zmlx-rewrite test gate_act",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.rulesNew(args[0], &o) },
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "`model` to copy from, as in apply")
	f.StringVar(&o.scope, "scope", "", "`scope` whose ops are taken, such as model.layers.0.mlp")
	f.StringVar(&o.values, "values", "", "take only the ops that make these `values`, as zmlx-rewrite graph prints them: v31..v33,v35")
	f.StringVar(&o.from, "case", "", "`case` of the model; its first one if left out")
	f.StringVar(&o.out, "out", "", "`folder` to write rules/NAME.yaml, kernels/NAME.yaml, NAME.zg and NAME.txtar to; NAME if left out")
	f.BoolVar(&o.overwrite, "force", false, "write over files that are there")
	f.StringVarP(&o.format, "output", "o", "text", "text or json: what was written, and what to do next")
	_ = c.MarkFlagRequired("model")
	return c
}

// newRule is a rule that was begun, as JSON.
type newRule struct {
	Files     []writtenFile `json:"files" jsonschema:"rule, kernel, the place that it was made from, test"`
	Rule      string        `json:"rule" jsonschema:"full name"`
	Ops       int           `json:"ops" jsonschema:"of the pattern"`
	Numerics  string        `json:"numerics" jsonschema:"how results may differ"`
	Kernel    string        `json:"kernel" jsonschema:"name"`
	Generated bool          `json:"generated" jsonschema:"the kernel's source is made of the reference"`
	NoSource  string        `json:"no_source,omitempty" jsonschema:"why it is not; the kernel runs as its reference until it has a source"`
	Next      []string      `json:"next" jsonschema:"commands that prove the rule and test it"`
}

func (a *app) rulesNew(name string, o *ruleNewOptions) error {
	if err := oneOf("output", o.format, "text", "json"); err != nil {
		return err
	}
	if err := draft.CheckName(name); err != nil {
		return err
	}
	if o.out == "" {
		o.out = name
	}
	catalog, issues := author.Load()
	if err := issues.Err(); err != nil {
		return err
	}
	if slices.Contains(rules.Embedded(), name+".yaml") || catalog.Spec(name) != nil {
		return diag.Errorf("usage/name", diag.Pos{}, "%s is the name of built-in rules or of a built-in kernel, and would take their place", name).WithHint("take another name")
	}
	w := &workspace{set: &rules.Set{Kernels: catalog}}
	s, err := a.load(o.model, w)
	if err != nil {
		return err
	}
	defer s.close()
	part, err := draft.Select(s.program, o.from, o.scope, o.values)
	if err != nil {
		return err
	}
	files := []struct{ path, text string }{
		{path: filepath.Join("rules", name+".yaml")}, {path: filepath.Join("kernels", name+".yaml")},
		{path: name + ".zg"}, {path: name + ".txtar"},
	}
	for _, f := range files {
		path := filepath.Join(o.out, f.path)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) && !o.overwrite {
			return diag.Errorf("file/exists", diag.Pos{File: path}, "is there already").WithHint("take another name, or --force")
		}
	}
	d, spec, in, err := drafted(part, name, strings.TrimSuffix(filepath.Base(o.model), ".zg"))
	if err != nil {
		return err
	}
	texts, err := draftTest(name, d, in)
	if err != nil {
		return err
	}
	for i, text := range append([]string{d.Rules, d.Kernel}, texts...) {
		files[i].text = text
	}
	made := newRule{Rule: name + "." + name, Ops: len(part.Nodes), Numerics: string(spec.Numerics), Kernel: name, Generated: spec.NoSource == "", NoSource: spec.NoSource}
	for _, f := range files {
		path := filepath.Join(o.out, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
		}
		file, err := written(path, []byte(f.text))
		if err != nil {
			return err
		}
		made.Files = append(made.Files, file)
		if o.format == "text" {
			fmt.Fprintf(a.stdout, "wrote %s\n", path)
		}
	}
	made.Next = []string{
		fmt.Sprintf("zmlx-rewrite verify %s --home %s --model %s", name, o.out, filepath.Join(o.out, name+".zg")),
		"zmlx-rewrite test " + o.out,
	}
	if o.format == "json" {
		return a.json(made)
	}
	fmt.Fprintf(a.stdout, "rule %s: %d ops, %s\n", made.Rule, made.Ops, made.Numerics)
	if made.Generated {
		fmt.Fprintf(a.stdout, "kernel %s: its source is made of the reference\n", name)
	} else {
		fmt.Fprintf(a.stdout, "kernel %s runs as its reference until it has a source: %s\n", name, made.NoSource)
	}
	fmt.Fprintf(a.stdout, "prove it: %s\ntest it:  %s\n", made.Next[0], made.Next[1])
	return nil
}

// drafted writes a rule and a kernel, and looks whether they fit the very place that they
// were made from. numerics is exact if a source that keeps this can be made.
func drafted(part *draft.Part, name, from string) (*draft.Draft, *kernels.Spec, *proof.Instance, error) {
	for _, exact := range []bool{true, false} {
		d, err := draft.Write(part, name, from+", case "+part.Case.Name, exact)
		if err != nil {
			return nil, nil, nil, err
		}
		set, rule, err := linked(d, name)
		if err != nil {
			return nil, nil, nil, err
		}
		spec := set.Kernels.Spec(name)
		if exact && spec.NoSource != "" {
			continue
		}
		in, err := fits(set, rule, part, from)
		return d, spec, in, err
	}
	panic("unreachable")
}

// linked reads a draft as if it were in files.
func linked(d *draft.Draft, name string) (*rules.Set, *rules.Rule, error) {
	tmp, err := os.MkdirTemp("", "zmlx-rule-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, name+".yaml"), []byte(d.Kernel), 0o666); err != nil {
		return nil, nil, err
	}
	catalog, issues := author.Load(tmp)
	var set *rules.Set
	if !issues.HasErrors() {
		var file *rules.File
		if file, issues = rules.Parse(name+".yaml", []byte(d.Rules)); !issues.HasErrors() {
			set, issues = rules.Link([]*rules.File{file}, catalog)
		}
	}
	if issues.HasErrors() {
		first := issues[0]
		return nil, nil, diag.Errorf("rule/new", diag.Pos{}, "the ops chosen make no rule: %s [%s]", first.Message, first.Code).WithHint("choose fewer with --values, or ops that depend on each other")
	}
	return set, set.Rule(name + "." + name), nil
}

// fits returns the rule's instance at the place that it was made from, with shorter
// dimensions, which are as good for proofs.
func fits(set *rules.Set, rule *rules.Rule, part *draft.Part, from string) (*proof.Instance, error) {
	patterns, err := matcher.Compile(set, rule)
	if err != nil {
		return nil, err
	}
	var at *proof.Instance
	index := matcher.NewIndex(part.Case.Graph)
	nearest, far := "", 0
	patterns[0].Explain(index, func(m *matcher.Match) {
		nodes := slices.Sorted(slices.Values(m.Nodes))
		if at == nil && slices.Equal(nodes, part.Nodes) {
			at, err = proof.At(part.Program, part.Case, m, from+", "+part.Case.Name+", "+part.Scope)
		}
	}, func(m *matcher.Miss) {
		if m.Matched > far {
			expected, observed := m.Text(part.Case.Graph)
			nearest, far = fmt.Sprintf("; %d ops match, then %s: expected %s, observed %s", m.Matched, m.Code, expected, observed), m.Matched
		}
	})
	switch {
	case err != nil:
		return nil, err
	case at == nil:
		return nil, diag.Errorf("rule/new", diag.Pos{}, "the pattern of these %d ops does not find them again%s", len(part.Nodes), nearest).WithScope(part.Scope).
			WithHint("one match is looked for a place: leave ops that are alike to a second rule")
	}
	why := "no target"
	for _, target := range proof.Targets {
		res, err := at.Rewrite(set, target)
		if err != nil {
			return nil, err
		}
		for i := range res.Cases {
			if len(res.Cases[i].Sites) > 0 {
				return proof.Smaller(set, at), nil
			}
			for _, r := range report.Nearest(&res.Cases[i], rule) {
				expected, observed := r.Detail()
				why = fmt.Sprintf("%s %s: expected %s, observed %s", r.Code, r.Guard, expected, observed)
				break
			}
		}
	}
	return nil, diag.Errorf("rule/new", diag.Pos{}, "a rule for these ops does not apply: %s", why).WithScope(part.Scope).WithHint("take other ops: at least two that start a kernel")
}

// draftTest writes the place as a program, and a test.
func draftTest(name string, d *draft.Draft, in *proof.Instance) ([]string, error) {
	model := string(in.Program.Text())
	var b strings.Builder
	fmt.Fprintf(&b, "# %s applies where it was made: %s.\n", name, in.Where)
	fmt.Fprintf(&b, "# $SUITE is the folder of this file.\n")
	fmt.Fprintf(&b, "exec zmlx-rewrite lint $SUITE/rules/%[1]s.yaml $SUITE/kernels/%[1]s.yaml --kernels $SUITE/kernels\n", name)
	fmt.Fprintf(&b, "exec zmlx-rewrite apply --home $SUITE --model $SUITE/%[1]s.zg --profile all --only %[1]s.%[1]s\nstdout '%[1]s\\.%[1]s +1 '\n\n", name)
	near := ""
	switch {
	case d.Inner:
		g := in.Program.Cases[0].Graph.Clone()
		results := map[graph.ValueID]bool{}
		for _, o := range g.Outputs() {
			results[o.Value] = true
		}
		for id := range graph.NodeID(g.NumNodes()) {
			if n := g.Node(id); !n.Op.IsLeaf() && !results[n.Out[0]] && len(n.In) > 0 {
				g.Output("seen", n.Out[0])
				break
			}
		}
		p := *in.Program
		p.Cases = []graph.Case{{Name: p.Cases[0].Name, When: p.Cases[0].When, Graph: g}}
		near = string(p.Text())
		fmt.Fprintf(&b, "# A value inside of it that is used elsewhere keeps it away.\n")
		fmt.Fprintf(&b, "exec zmlx-rewrite explain --home $SUITE --model near.zg --profile all --rule %[1]s.%[1]s\nstdout 'match/escape-output'\n! stdout 'applied at'\n\n", name)
	}
	fmt.Fprintf(&b, "# It changes nothing that the model computes.\nexec zmlx-rewrite verify %[1]s.%[1]s --home $SUITE --model $SUITE/%[1]s.zg\n", name)
	if near != "" {
		fmt.Fprintf(&b, "\n-- near.zg --\n%s", near)
	}
	return []string{model, b.String()}, nil
}

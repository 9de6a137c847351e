package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Parse reads one rule file. What needs other files (fragments that are included)
// is checked by Link.
func Parse(file string, data []byte) (*File, diag.List) {
	root, issues := diag.ReadYAML(file, data)
	if root == nil {
		return nil, issues
	}
	sum := sha256.Sum256(data)
	f := &File{Path: file, Hash: hex.EncodeToString(sum[:]), root: root}
	p := &parser{file: f, issues: issues}
	f.broken = issues.HasErrors()
	p.top(root)
	return f, p.issues
}

type parser struct {
	file   *File
	issues diag.List
}

func (p *parser) top(root *diag.Node) {
	if p.head(root); root.Kind != diag.Map {
		return
	}
	if n := root.Get("rules"); n != nil {
		if n.Kind != diag.Seq {
			p.issues.Add(n.Errorf("yaml/type", "rules must be a list, found a %s", n.Kind))
		}
		for _, item := range n.Items {
			p.rule(item)
		}
	}
}

// head reads all but the rules.
func (p *parser) head(root *diag.Node) {
	before := len(p.issues)
	defer func() { p.file.broken = p.file.broken || len(p.issues) > before }()
	p.issues.Add(root.Known("rule/unknown-key", "zmlx", "family", "doc", "include", "fragments", "rules")...)
	if root.Kind != diag.Map {
		return
	}
	p.issues.Add(diag.CheckVersion(root))
	f := p.file
	if n := root.Get("family"); n == nil {
		p.issues.Add(root.Errorf("rule/missing-key", "key \"family\" is missing"))
	} else if f.Family = n.Text; !nameForm.MatchString(f.Family) {
		p.issues.Add(n.Errorf("rule/name", "family %q must be small letters, digits and _", n.Text))
	}
	if n := root.Get("include"); n != nil {
		if n.Kind != diag.Seq {
			p.issues.Add(n.Errorf("yaml/type", "include must be a list of files, found a %s", n.Kind))
		}
		for _, item := range n.Items {
			name, issue := item.Str()
			p.issues.Add(issue)
			if issue == nil && (strings.ContainsAny(name, `/\`) || !strings.HasSuffix(name, ".yaml")) {
				p.issues.Add(item.Errorf("rule/include", "%q is not the name of a rule file beside this one", name))
			}
			f.Include = append(f.Include, name)
		}
	}
	if n := root.Get("fragments"); n != nil {
		if n.Kind != diag.Map {
			p.issues.Add(n.Errorf("yaml/type", "fragments must be a mapping, found a %s", n.Kind))
		}
		for i, k := range n.Keys {
			p.fragment(k, n.Vals[i])
		}
	}
}

// fragment reads "name(x, $k): alternatives".
func (p *parser) fragment(k, v *diag.Node) {
	e, err := syntax.Parse(k.Text)
	call, ok := e.(*syntax.Call)
	if err != nil || !ok || !nameForm.MatchString(call.Fun) {
		p.issues.Add(k.Errorf("rule/fragment", "%q is not a fragment's head", k.Text).
			WithHint("write it like a call: topk(s, $k)"))
		return
	}
	fr := &Fragment{Name: call.Fun, Pos: k.Pos, File: p.file}
	for _, a := range call.Args {
		if a.Name != "" {
			p.issues.Add(k.Errorf("rule/fragment", "a parameter has no value, found %s=%s", a.Name, a.Value))
			continue
		}
		if v, ok := a.Value.(*syntax.Var); ok && fr.param(v.Name, true) != nil {
			p.issues.Add(k.Errorf("rule/duplicate", "parameter %s is there twice", v))
		} else if v, ok := a.Value.(*syntax.Name); ok && fr.param(v.Name, false) != nil {
			p.issues.Add(k.Errorf("rule/duplicate", "parameter %s is there twice", v))
		}
		switch x := a.Value.(type) {
		case *syntax.Name:
			fr.Params = append(fr.Params, Param{Name: x.Name})
			fr.Values = append(fr.Values, x.Name)
		case *syntax.Var:
			fr.Params = append(fr.Params, Param{Name: x.Name, IsVar: true})
		default:
			p.issues.Add(k.Errorf("rule/fragment", "parameter %s is neither a name nor a $variable", a.Value))
		}
	}
	if graph.LookupOp(fr.Name) != nil || isForm(fr.Name) || isMeasure(fr.Name) {
		p.issues.Add(k.Errorf("rule/fragment", "fragment %s has the name of an op", fr.Name))
	}
	alts := v.Items
	if v.Kind != diag.Seq {
		alts = []*diag.Node{v}
	}
	for _, a := range alts {
		p.alternative(fr, a)
	}
	if len(fr.Alts) > 0 {
		p.file.Fragments = append(p.file.Fragments, fr)
	}
}

func (p *parser) alternative(fr *Fragment, n *diag.Node) {
	alt := Alternative{Node: n}
	if n.Kind == diag.Map {
		p.issues.Add(n.Known("rule/unknown-key", "is", "when", "set")...)
		if alt.Node = n.Get("is"); alt.Node == nil {
			p.issues.Add(n.Errorf("rule/missing-key", "key \"is\" is missing"))
			return
		}
		if set := n.Get("set"); set != nil {
			for i, k := range set.Keys {
				if fr.param(k.Text, true) == nil {
					p.issues.Add(k.Errorf("rule/fragment", "$%s is not a parameter of %s", k.Text, fr.Name))
				}
				alt.Set = append(alt.Set, Setting{Name: k.Text, written: constant(set.Vals[i]), node: set.Vals[i]})
			}
		}
		alt.when = n.Get("when")
	}
	if alt.Node.Broken {
		return
	}
	e, issue := kernels.ParseExpr(alt.Node)
	p.issues.Add(issue)
	if issue == nil {
		alt.Is = e
		fr.Alts = append(fr.Alts, alt)
	}
}

// constant reads a YAML scalar as a number, a flag or a word.
func constant(n *diag.Node) graph.Attr {
	if i, issue := n.Int(); issue == nil {
		return graph.N(i)
	}
	if b, issue := n.Bool(); issue == nil {
		return graph.Flag(b)
	}
	if e, err := syntax.Parse(n.Text); err == nil {
		if num, ok := e.(*syntax.Number); ok {
			return graph.Float(num.Float)
		}
	}
	return graph.Str(n.Text)
}

func (p *parser) rule(n *diag.Node) {
	p.issues.Add(n.Known("rule/unknown-key", "name", "doc", "since", "match", "results", "guards", "cost", "weights", "replace", "numerics")...)
	if n.Kind != diag.Map {
		return
	}
	r := &Rule{Pos: n.Pos, File: p.file, block: map[string]bool{}}
	missing := func(key string) {
		p.issues.Add(n.Errorf("rule/missing-key", "key %q is missing", key))
	}
	if name := n.Get("name"); name == nil {
		missing("name")
	} else if r.Pos = name.Pos; !nameForm.MatchString(name.Text) {
		p.issues.Add(name.Errorf("rule/name", "name %q must be small letters, digits and _", name.Text))
	} else {
		r.Name = p.file.Family + "." + name.Text
		for _, other := range p.file.Rules {
			if other.Name == r.Name {
				p.issues.Add(name.Errorf("rule/duplicate", "rule %s is there twice, first on line %d", name.Text, other.Pos.Line))
			}
		}
	}
	for key, to := range map[string]*string{"doc": &r.Doc, "since": &r.Since} {
		if v := n.Get(key); v != nil {
			text, issue := v.Str()
			p.issues.Add(issue)
			*to = text
		}
	}
	if n.Get("doc") == nil {
		missing("doc")
	}
	for _, b := range []struct {
		key      string
		to       *[]Line
		required bool
	}{{"match", &r.Match, true}, {"weights", &r.Weights, false}, {"replace", &r.Replace, true}} {
		before := len(p.issues)
		*b.to = p.lines(n, b.key, b.required)
		v := n.Get(b.key)
		r.block[b.key] = len(p.issues) == before && (v == nil || !v.Broken && !slices.ContainsFunc(v.Vals, func(v *diag.Node) bool { return v.Broken }))
	}
	before := len(p.issues)
	if v := n.Get("results"); v != nil {
		if v.Kind != diag.Seq {
			p.issues.Add(v.Errorf("yaml/type", "results must be a list of names, found a %s", v.Kind))
		}
		for _, item := range v.Items {
			r.Results = append(r.Results, item.Text)
		}
	}
	r.block["results"] = len(p.issues) == before
	if v := n.Get("numerics"); v == nil {
		missing("numerics")
	} else {
		var issue *diag.Issue
		r.Numerics, issue = kernels.ParseNumerics(v)
		p.issues.Add(issue)
		r.block["numerics"] = issue == nil
	}
	r.node = n
	p.file.Rules = append(p.file.Rules, r)
}

func (p *parser) lines(n *diag.Node, key string, required bool) []Line {
	v := n.Get(key)
	if v == nil {
		if required {
			p.issues.Add(n.Errorf("rule/missing-key", "key %q is missing", key))
		}
		return nil
	}
	defs, nodes := kernels.ParseDefines(v, &p.issues)
	lines := make([]Line, len(defs))
	for i, d := range defs {
		lines[i] = Line{d.Names, d.Expr, nodes[i]}
	}
	return lines
}

// isForm reports whether a name is a form of the pattern language itself.
func isForm(name string) bool { return name == "any" || name == "optional" }

// isMeasure reports whether a name is a function from values to integers, which
// attributes may use.
func isMeasure(name string) bool { return name == "dim" || name == "rows" || name == "size" }

func hashText(parts ...string) string {
	h := sha256.New()
	for _, s := range parts {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

package rules

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
)

// linkFragments collects the fragments that f knows: its own, and those of the
// files it includes, directly or through others.
func (s *Set) linkFragments(f *File, byName map[string]*File, unread map[string]bool) diag.List {
	var issues diag.List
	table := map[string]*Fragment{}
	seen := map[*File]bool{}
	var add func(g *File)
	add = func(g *File) {
		if seen[g] {
			return
		}
		seen[g] = true
		s.partial[f] = s.partial[f] || g.broken
		for _, fr := range g.Fragments {
			if prev := table[fr.Name]; prev != nil && prev != fr {
				issues.Add(diag.Errorf("rule/duplicate", fr.Pos, "fragment %s is also at %s", fr.Name, prev.Pos))
			}
			table[fr.Name] = fr
		}
		for _, name := range g.Include {
			if h := byName[name]; h != nil {
				add(h)
			} else if unread[name] {
				s.partial[f] = true
			} else if g == f {
				issues.Add(f.root.Get("include").Errorf("rule/include", "%s is not among the rule files", name))
			}
		}
	}
	add(f)
	s.fragments[f] = table
	return issues
}

// recursive reports a fragment that uses itself, directly or through others.
func (s *Set) recursive() *diag.Issue {
	const (
		open = 1 + iota
		done
	)
	state := map[*Fragment]int{}
	var issue *diag.Issue
	var visit func(fr *Fragment)
	visit = func(fr *Fragment) {
		state[fr] = open
		for _, a := range fr.Alts {
			each(a.Is, func(c *syntax.Call) {
				next := s.Fragment(fr.File, c.Fun)
				switch {
				case next == nil || issue != nil:
				case state[next] == open:
					issue = diag.Errorf("rule/recursive", next.Pos, "fragment %s uses itself", next.Name)
				case state[next] == 0:
					visit(next)
				}
			})
		}
		state[fr] = done
	}
	for _, f := range s.Files {
		for _, fr := range f.Fragments {
			if state[fr] == 0 {
				visit(fr)
			}
		}
	}
	return issue
}

// fragmentBodies checks what the fragments of all files stand for, each once.
func (s *Set) fragmentBodies() diag.List {
	var issues diag.List
	for _, f := range s.Files {
		for _, fr := range f.Fragments {
			for i := range fr.Params {
				fr.Params[i].spec = nil
			}
		}
	}
	for _, f := range s.Files {
		for _, fr := range f.Fragments {
			l := linker{set: s, rule: &Rule{Vars: map[string]guard.Kind{}, Optional: map[string]bool{}, File: f}, file: f,
				lines: map[string]bool{}, operands: map[string]bool{}, uses: map[string]int{}}
			l.fragment(fr)
			issues = append(issues, l.issues...)
		}
	}
	return issues
}

// fragment checks the spellings of a fragment.
func (l *linker) fragment(fr *Fragment) {
	l.resolve(fr)
	scope := guard.Scope{Values: fr.Values, Vars: map[string]guard.Kind{}, Static: true}
	for _, prm := range fr.Params {
		if prm.IsVar {
			scope.Vars[prm.Name] = guardKind(prm.spec.Kind)
		}
	}
	for i := range fr.Alts {
		alt := &fr.Alts[i]
		l.pattern(alt.Node, alt.Is, fr.File, fr)
		for k := range alt.Set {
			set := &alt.Set[k]
			set.Value = set.written
			prm := fr.param(set.Name, true)
			if prm == nil {
				continue // reported when the file was read
			}
			v, err := prm.convert(set.written)
			if err != nil {
				l.bad(set.node, 0, "rule/fragment", "%v", err)
				continue
			}
			set.Value = v
		}
		if alt.when != nil {
			alt.When = l.guard(alt.when, "when", scope)
		}
	}
	l.measures()
}

// fragmentUse checks the arguments of a fragment.
func (l *linker) fragmentUse(n *diag.Node, c *syntax.Call, fr *Fragment, file *File, params *Fragment) {
	if len(c.Args) != len(fr.Params) {
		l.bad(n, c.At, "rule/fragment", "%s takes %d arguments, found %d", fr.Name, len(fr.Params), len(c.Args))
		return
	}
	l.resolve(fr)
	for i, a := range c.Args {
		prm := &fr.Params[i]
		if a.Name != "" {
			l.bad(n, a.At, "rule/fragment", "arguments of a fragment have no names")
		}
		if !prm.IsVar {
			l.pattern(n, a.Value, file, params)
			continue
		}
		if v, ok := a.Value.(*syntax.Var); ok {
			l.patternVar(n, v, guardKind(prm.spec.Kind), params)
		} else if _, err := prm.Constant(a.Value); err != nil {
			l.bad(n, a.Value.Offset(), "rule/fragment", "argument $%s of %s: %v", prm.Name, fr.Name, err)
		}
	}
}

// resolve finds what the $variables of a fragment stand for, if it has not been done.
func (l *linker) resolve(fr *Fragment) {
	for i := range fr.Params {
		if prm := &fr.Params[i]; prm.IsVar && prm.spec == nil {
			prm.spec = l.specIn(fr, prm.Name)
		}
	}
}

// specIn finds the attribute that a fragment's $variable stands for. One that is only
// set, or only asked for, is of the kind of the values that it is set to.
func (l *linker) specIn(fr *Fragment, name string) *graph.AttrSpec {
	for _, alt := range fr.Alts {
		if spec := l.specInExpr(fr, alt.Is, name); spec != nil {
			return spec
		}
	}
	for _, alt := range fr.Alts {
		for _, s := range alt.Set {
			if s.Name != name {
				continue
			}
			switch s.written.(type) {
			case graph.Str:
				return &graph.AttrSpec{Name: name, Kind: graph.KindWord}
			case graph.Flag:
				return &graph.AttrSpec{Name: name, Kind: graph.KindFlag}
			case graph.Float:
				return &graph.AttrSpec{Name: name, Kind: graph.KindFloat}
			}
		}
	}
	return &graph.AttrSpec{Name: name, Kind: graph.KindInt}
}

func (l *linker) specInExpr(fr *Fragment, e syntax.Expr, name string) *graph.AttrSpec {
	c, ok := e.(*syntax.Call)
	if !ok {
		return nil
	}
	isVar := func(e syntax.Expr) bool {
		v, ok := e.(*syntax.Var)
		return ok && v.Name == name
	}
	if inner := l.set.Fragment(fr.File, c.Fun); inner != nil {
		l.resolve(inner)
		for i, a := range c.Args {
			if i < len(inner.Params) && inner.Params[i].IsVar && isVar(a.Value) {
				return inner.Params[i].spec
			}
		}
	} else if op := l.op(c.Fun); op != nil {
		if args, err := graph.ResolveArgs(op, c); err == nil {
			for i, a := range args.Attrs {
				if isVar(a) {
					return &op.Attrs[i]
				} else if a != nil && mentions(a, name) {
					return &graph.AttrSpec{Name: op.Attrs[i].Name, Kind: graph.KindInt}
				}
			}
			if slices.ContainsFunc(args.Operands, isVar) {
				return &graph.AttrSpec{Name: name, Kind: graph.KindLiteral}
			}
		}
	}
	for _, a := range c.Args {
		if spec := l.specInExpr(fr, a.Value, name); spec != nil {
			return spec
		}
	}
	return nil
}

func mentions(e syntax.Expr, name string) bool {
	found := false
	each(e, func(v *syntax.Var) { found = found || v.Name == name })
	return found
}

// param returns a parameter of a fragment, or nil.
func (fr *Fragment) param(name string, isVar bool) *Param {
	for i := range fr.Params {
		if p := &fr.Params[i]; p.Name == name && p.IsVar == isVar {
			return p
		}
	}
	return nil
}

// Constant returns the attribute that an argument stands for that is written out where a
// fragment is used: what the $variable would be bound to by a node.
func (p *Param) Constant(e syntax.Expr) (graph.Attr, error) {
	switch x := e.(type) {
	case *syntax.Number:
		if x.IsInt {
			return p.convert(graph.N(x.Int))
		}
		return p.convert(graph.Float(x.Float))
	case *syntax.String:
		return p.convert(graph.Str(x.Text))
	case *syntax.Bool:
		return p.convert(graph.Flag(x.Value))
	case *syntax.Name:
		if p.spec.Kind == graph.KindDType {
			return p.convert(graph.Str(x.Name))
		}
	}
	return nil, fmt.Errorf("%s is neither a $variable nor a constant", e)
}

// convert makes a constant the kind of attribute that the $variable stands for.
func (p *Param) convert(a graph.Attr) (graph.Attr, error) {
	d, isInt := a.(graph.Dim)
	switch p.spec.Kind {
	case graph.KindInt, graph.KindAxis, graph.KindAxes, graph.KindPos, graph.KindPosList:
		if isInt {
			return a, nil
		}
	case graph.KindFloat:
		if isInt {
			return graph.Float(d.Int()), nil
		} else if _, ok := a.(graph.Float); ok {
			return a, nil
		}
	case graph.KindLiteral: // a number among operands; it is rounded where it is used
		if _, ok := a.(graph.Float); ok || isInt {
			return a, nil
		}
	case graph.KindFlag:
		if _, ok := a.(graph.Flag); ok {
			return a, nil
		}
	case graph.KindWord:
		if w, ok := a.(graph.Str); ok {
			if len(p.spec.Words) > 0 && !slices.Contains(p.spec.Words, string(w)) {
				return nil, fmt.Errorf("%s=%s is none of %s", p.spec.Name, a, strings.Join(p.spec.Words, ", "))
			}
			return a, nil
		}
	case graph.KindDType:
		if w, ok := a.(graph.Str); ok {
			if t, ok := graph.ParseDType(string(w)); ok {
				return t, nil
			}
			return nil, fmt.Errorf("%s is not an element type", w)
		}
	case graph.KindInts:
		return nil, fmt.Errorf("$%s stands for a list of integers, which cannot be given", p.Name)
	}
	return nil, fmt.Errorf("$%s stands for %s, found %s", p.Name, kindText[guardKind(p.spec.Kind)], a)
}

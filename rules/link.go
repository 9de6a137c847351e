package rules

import (
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// Link joins files into a set: includes are resolved, every name is looked up,
// guards are compiled, and each rule learns its values, variables and results. Of what
// Parse reported errors of, the rest is checked; what would follow from them is not
// reported again.
func Link(files []*File, catalog *kernels.Catalog) (*Set, diag.List) {
	return link(files, nil, catalog)
}

// link is Link with the names of files that could not be read at all.
func link(files []*File, unread map[string]bool, catalog *kernels.Catalog) (*Set, diag.List) {
	s := &Set{Files: files, Kernels: catalog, fragments: map[*File]map[string]*Fragment{}, partial: map[*File]bool{}}
	var issues diag.List
	byName := map[string]*File{}
	for _, f := range files {
		base := f.Path[strings.LastIndexByte(f.Path, '/')+1:]
		byName[base] = f
	}
	for _, f := range files {
		issues = append(issues, s.linkFragments(f, byName, unread)...)
	}
	if issue := s.recursive(); issue != nil {
		issues.Add(issue)
		return s, issues // expanding such a fragment would not end
	}
	issues = append(issues, s.fragmentBodies()...)
	for _, f := range files {
		for _, r := range f.Rules {
			l := linker{set: s, rule: r, file: f}
			l.link()
			issues = append(issues, l.issues...)
		}
	}
	return s, issues
}

// each calls f for the parts of an expression that are of type T.
func each[T syntax.Expr](e syntax.Expr, f func(T)) {
	syntax.Walk(e, func(e syntax.Expr) bool {
		if x, ok := e.(T); ok {
			f(x)
		}
		return true
	})
}

// linker checks one rule.
type linker struct {
	set    *Set
	rule   *Rule
	file   *File
	issues diag.List

	lines    map[string]bool // names of lines of the pattern
	operands map[string]bool // names that stand for any value
	uses     map[string]int  // how often a line's name is read by other lines
	measured []measured
	missing  bool // a fragment is not there, for an error that was reported
}

// measured is a value whose dimensions the pattern asks for. It may be named further
// down, so that all are looked up at the end.
type measured struct {
	node   *diag.Node
	name   *syntax.Name
	params *Fragment
}

func (l *linker) bad(n *diag.Node, at int, code, format string, args ...any) *diag.Issue {
	i := n.ErrorfAt(at, code, format, args...)
	l.issues.Add(i)
	return i
}

func (l *linker) link() {
	r := l.rule
	r.Vars, r.Optional = map[string]guard.Kind{}, map[string]bool{}
	l.lines, l.operands, l.uses = map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, line := range r.Match {
		for _, name := range line.Names {
			if l.lines[name] {
				l.bad(line.Node, 0, "rule/duplicate", "%s is matched twice", name)
			}
			l.lines[name] = true
			r.Values = append(r.Values, name)
		}
	}
	for _, line := range r.Match {
		if _, ok := line.Expr.(*syntax.Call); !ok {
			l.bad(line.Node, 0, "rule/pattern", "a line of a pattern must be an op applied to values, found %s", line.Expr)
			continue
		}
		if n := l.results(line.Expr); len(line.Names) != n {
			l.bad(line.Node, 0, "rule/pattern", "%d names for %d results", len(line.Names), n)
		}
		l.pattern(line.Node, line.Expr, l.file, nil)
	}
	if !r.block["match"] || l.missing {
		return // what the rule binds is not known
	}
	l.measures()
	l.order()
	l.connected()
	l.roots()
	l.guards()
	if r.block["weights"] {
		l.weights()
		if r.block["replace"] && r.block["results"] {
			l.replacement()
		}
	}
	l.hash()
}

// results returns how many results an op or fragment has.
func (l *linker) results(e syntax.Expr) int {
	if c, ok := e.(*syntax.Call); ok {
		if op := l.op(c.Fun); op != nil {
			return op.Results
		}
	}
	return 1
}

func (l *linker) op(name string) *graph.Op {
	if op := graph.LookupOp(name); op != nil {
		return op
	}
	return l.set.Kernels.Op(name)
}

func keys(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func (l *linker) opNames(file *File) []string {
	var names []string
	for _, op := range graph.Ops() {
		names = append(names, op.Name)
	}
	for _, s := range l.set.Kernels.All() {
		names = append(names, s.Op().Name)
	}
	for name := range l.set.fragments[file] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

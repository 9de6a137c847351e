// Package rules reads rule files: which subgraphs may be replaced by what, and
// when. docs/RULES.md is the reference of the language.
//
// A rule file is a YAML mapping; patterns and replacements are ordered maps of
// name: expression in the grammar of graph/syntax, so that a rule reads like the
// model's own code. This package parses and checks: every name resolves, every op
// and attribute is in the op table, every result is given a replacement, every
// guard compiles. All errors of a file come out in one run, each at its place.
//
// It does not know how matching works (package matcher), and rules never carry
// kernel source: they name kernels of the catalogue.
package rules

import (
	"strings"
	"sync"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// File is a parsed rule file.
type File struct {
	Path      string
	Family    string // "qwen3"; the first part of its rules' full names
	Hash      string // sha256 of the bytes, hex
	Builtin   bool   // the same bytes as the file that is built in
	Include   []string
	Fragments []*Fragment
	Rules     []*Rule

	root   *diag.Node
	broken bool // has errors outside its rules, so that names may be missing
}

// Fragment is a named sub-pattern with parameters: values (bare names) and
// $variables. A use stands for any one of its alternatives.
type Fragment struct {
	Name   string
	Values []string // value parameters, in order among all parameters
	Params []Param  // all parameters in order
	Alts   []Alternative
	Pos    diag.Pos
	File   *File
}

// Param is a parameter of a fragment.
type Param struct {
	Name  string
	IsVar bool

	spec *graph.AttrSpec // the attribute that a $variable stands for; Link finds it
}

// Alternative is one spelling that a fragment stands for.
type Alternative struct {
	Is   syntax.Expr
	When *guard.Guard // condition over the fragment's $variables and values; may be nil
	Set  []Setting    // $variables that this spelling decides
	Node *diag.Node   // of the expression

	when *diag.Node // of When, which Link compiles
}

// Setting gives a $variable of a fragment a fixed value.
type Setting struct {
	Name  string
	Value graph.Attr // of the kind that the $variable stands for

	written graph.Attr
	node    *diag.Node
}

// Line is one line of a pattern, a weights block or a replacement.
type Line struct {
	Names []string
	Expr  syntax.Expr
	Node  *diag.Node
}

// Guard is a named condition of a rule.
type Guard struct {
	Name string
	// Cost says that the guard keeps the rule from where it is known to lose, not
	// from where it would be wrong; Source is the public measurement.
	Cost   bool
	Source string
	*guard.Guard
}

// Rule is one rewrite rule.
type Rule struct {
	Name  string // "qwen3.moe_gate_up_swiglu"
	Doc   string
	Since string
	// More is how many launches more than before the replacement may start, because fewer were
	// measured to be slower.
	More     int
	Match    []Line
	Results  []string // values that may be used outside the match: listed ones and roots
	Guards   []Guard
	Weights  []Line
	Replace  []Line
	Numerics kernels.Numerics
	Kernels  []string // names of the kernels that the replacement calls
	Hash     string   // of the rule's own text with the fragments it uses, hex
	Pos      diag.Pos
	File     *File

	// Vars are the $variables with their kinds; Values the names of all values that
	// the pattern binds, Optional those that may be absent.
	Vars     map[string]guard.Kind
	Values   []string
	Optional map[string]bool

	node  *diag.Node
	block map[string]bool // "match", "weights", "replace", "results", "numerics": read without errors
}

// Short returns the rule's name without its family.
func (r *Rule) Short() string { return r.Name[strings.IndexByte(r.Name, '.')+1:] }

// Set is rule files that were loaded together, with the kernels they name.
type Set struct {
	Files   []*File
	Kernels *kernels.Catalog

	fragments map[*File]map[string]*Fragment
	partial   map[*File]bool // a fragment may be missing there, for an error that was reported
	made      sync.Map
}

// Once returns what make made of a rule the first time: what others keep of a rule for as
// long as the set lives.
func (s *Set) Once(r *Rule, make func() any) any {
	if x, ok := s.made.Load(r); ok {
		return x
	}
	x, _ := s.made.LoadOrStore(r, make())
	return x
}

// Rules returns all rules in the order of the files.
func (s *Set) Rules() []*Rule {
	var all []*Rule
	for _, f := range s.Files {
		all = append(all, f.Rules...)
	}
	return all
}

// Rule returns a rule by full name, or nil.
func (s *Set) Rule(name string) *Rule {
	for _, f := range s.Files {
		for _, r := range f.Rules {
			if r.Name == name {
				return r
			}
		}
	}
	return nil
}

// Fragment returns the fragment that a file knows by that name, or nil.
func (s *Set) Fragment(f *File, name string) *Fragment { return s.fragments[f][name] }

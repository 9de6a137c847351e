// Package guard is the condition language of rules and kernels: expr-lang, cut
// down to what always ends and needs no memory of its own.
//
// A guard speaks about the values a pattern bound (rows(x), dim(x, -1), dtype(x),
// has(b)), its $variables by their bare names (bits, group_size), the symbols of
// the call (batch, seq_len, kv_len) and the setting (target, training, tp_size).
// It is compiled once: unknown names, results that are not true or false and
// integer "/" are errors at a position of the text. Only the expressions listed
// in check.go are let through: a text of 58 bytes can otherwise exhaust memory
// (a fold over a growing string), and Go cannot recover from that.
//
// Nobody writes when a guard is to be decided. Evaluating it against a graph
// gives true or false where all dimensions are numbers, and else a [graph.Cond]
// over the symbols that stay open, which becomes the condition of a case.
package guard

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"zmlx-rewrite/graph"
)

// Kind is the kind of a $variable, known from where the pattern binds it.
type Kind uint8

const (
	Int Kind = iota
	Number
	Word
	Bool
)

// Scope declares the names that a guard may use besides the built-in ones.
type Scope struct {
	Values []string
	Vars   map[string]Kind
	// Static leaves out what no site knows before the graph runs, or runs somewhere: the
	// symbols and the setting.
	Static bool
}

// Setting is what a plan is made for.
type Setting struct {
	Target   string // "metal", "cuda" or "cpu"
	Training bool
	TPSize   int // devices that share one model, 1 for none
}

// Env gives the names of a guard their meaning at one site.
type Env struct {
	Setting Setting
	// Type returns the type of a bound value; false if it is absent.
	Type func(name string) (graph.Type, bool)
	// Var returns the value of a $variable; nil if unbound.
	Var func(name string) graph.Attr
	// Symbols gives batch, seq_len and kv_len where the graph or the user defines
	// them. A symbol that is not here makes the guard false.
	Symbols map[string]graph.Dim
	// Given is known to hold: the condition of the case.
	Given graph.Cond
}

// Guard is a compiled condition.
type Guard struct {
	Text string
	root ast.Node
}

// Error is a compile error at a byte offset of the text.
type Error struct {
	At      int
	Message string
}

func (e *Error) Error() string { return e.Message }

// maxText bounds a guard's length; with it, everything else about it.
const maxText = 1000

// symbols are known in every guard.
var symbols = []string{graph.SymBatch, graph.SymSeqLen, graph.SymKVLen}

type value struct{} // what expr-lang sees of a bound value

// Names returns all names that a guard in this scope may use, for hints.
func (s Scope) Names() []string {
	names := []string{"rows", "size", "dim", "rank", "dtype", "has"}
	if !s.Static {
		names = append(append(names, "target", "training", "tp_size"), symbols...)
	}
	names = append(names, s.Values...)
	for v := range s.Vars {
		names = append(names, v)
	}
	sort.Strings(names)
	return names
}

func (s Scope) env() map[string]any {
	env := map[string]any{
		"rows":  func(value) int { return 0 },
		"size":  func(value) int { return 0 },
		"rank":  func(value) int { return 0 },
		"dim":   func(value, int) int { return 0 },
		"dtype": func(value) string { return "" },
		"has":   func(value) bool { return false },
	}
	if !s.Static {
		env["target"], env["training"], env["tp_size"] = "", false, 1
		for _, name := range symbols {
			env[name] = 0
		}
	}
	for name, k := range s.Vars {
		env[name] = [...]any{Int: 0, Number: 0.0, Word: "", Bool: false}[k]
	}
	for _, name := range s.Values {
		env[name] = value{}
	}
	return env
}

// Compile checks a guard. The error, if any, is an *Error.
func Compile(text string, s Scope) (*Guard, error) {
	if len(text) > maxText {
		return nil, &Error{0, fmt.Sprintf("longer than %d bytes", maxText)}
	}
	if depth(text) > 50 {
		return nil, &Error{0, "brackets are nested more than 50 deep"}
	}
	// Parsing alone runs nothing. The allow-list must pass before expr.Compile
	// sees the text, since its optimizer evaluates constant parts.
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, compileError(text, err)
	}
	if err := check(tree.Node); err != nil {
		return nil, err
	}
	if err := s.shadowed(tree.Node); err != nil {
		return nil, err
	}
	if _, err := expr.Compile(text, expr.Env(s.env()), expr.AsBool(), expr.DisableAllBuiltins(), expr.Optimize(false)); err != nil {
		return nil, compileError(text, err)
	}
	return &Guard{text, tree.Node}, nil
}

// shadowed finds a call of a function whose name is a value's or a variable's as well.
func (s Scope) shadowed(root ast.Node) error {
	var err error
	walk(root, func(n ast.Node) {
		call, ok := n.(*ast.CallNode)
		if !ok || err != nil {
			return
		}
		id := call.Callee.(*ast.IdentifierNode)
		if _, taken := s.Vars[id.Value]; taken || slices.Contains(s.Values, id.Value) {
			err = &Error{id.Location().From, fmt.Sprintf("%s is the name of a value of the rule, too: give that another one", id.Value)}
		}
	})
	return err
}

func depth(text string) int {
	d, most := 0, 0
	for _, c := range text {
		switch c {
		case '(', '[', '{':
			d++
			most = max(most, d)
		case ')', ']', '}':
			d--
		}
	}
	return most
}

func compileError(text string, err error) *Error {
	if fe, ok := err.(*file.Error); ok {
		msg := fe.Message
		if name, found := strings.CutPrefix(msg, "unknown name "); found {
			msg = "unknown name " + name
		}
		return &Error{min(fe.From, len(text)), msg}
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	return &Error{0, msg}
}

// Names returns the identifiers that the guard mentions, functions left out, in
// alphabetical order.
func (g *Guard) Names() []string {
	set := map[string]bool{}
	walk(g.root, func(n ast.Node) {
		if id, ok := n.(*ast.IdentifierNode); ok {
			set[id.Value] = true
		}
	})
	var names []string
	for n := range set {
		if !functions[n] {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names
}

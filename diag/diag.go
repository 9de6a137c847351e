// Package diag holds what every other package needs to report a problem to a
// person: positions, issues with stable codes, and the list of all issues of
// one run. It also reads YAML (see yaml.go) and is the only importer of yaml.v3.
//
// An Issue says what is wrong, where, and what to do next. Codes are stable
// ("rule/unknown-key"): tests, JSON output and docs refer to them, so a code may
// be added but never reused for something else. Package diag knows nothing of
// graphs, rules or engines, and it never prints.
package diag

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. Line and Col count from 1, Col in bytes; a zero Line
// means the file as a whole. Binary formats use Offset, counted from 0, with
// Line zero and HasOffset set.
type Pos struct {
	File      string
	Line, Col int
	Offset    int64
	HasOffset bool
}

// At returns the position of a byte offset in a binary file.
func At(file string, offset int64) Pos { return Pos{File: file, Offset: offset, HasOffset: true} }

// IsZero reports whether p names no place at all.
func (p Pos) IsZero() bool { return p == Pos{} }

// String prints file:line:col, file:line, file@offset or file.
func (p Pos) String() string {
	switch {
	case p.HasOffset:
		return fmt.Sprintf("%s@%d", p.File, p.Offset)
	case p.Line > 0 && p.Col > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	case p.Line > 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return p.File
}

// Severity orders issues. Only Error makes a run fail.
type Severity uint8

const (
	Error Severity = iota
	Warning
	Note
)

func (s Severity) String() string { return [...]string{"error", "warning", "note"}[s] }

// Issue is one problem. It implements error.
type Issue struct {
	Code     string   // stable, "area/what"
	Severity Severity // zero value: Error
	Pos      Pos      // where in a file, if anywhere
	Scope    string   // where in a model: "model.layers.3.mlp", if anywhere
	Message  string   // what is wrong, one line, no final stop
	Hint     string   // what to do next, one line; may be empty
	Source   string   // the source line, for a caret under Pos.Col; may be empty
}

// Errorf makes an Error issue.
func Errorf(code string, pos Pos, format string, args ...any) *Issue {
	return &Issue{Code: code, Pos: pos, Message: fmt.Sprintf(format, args...)}
}

// WithHint sets what to do next and returns i.
func (i *Issue) WithHint(format string, args ...any) *Issue {
	i.Hint = fmt.Sprintf(format, args...)
	return i
}

// WithScope sets the place in the model and returns i.
func (i *Issue) WithScope(scope string) *Issue { i.Scope = scope; return i }

// Error prints the issue on one line, with its hint on a second one.
func (i *Issue) Error() string {
	var b strings.Builder
	if !i.Pos.IsZero() {
		b.WriteString(i.Pos.String())
		b.WriteString(": ")
	}
	if i.Severity != Error {
		b.WriteString(i.Severity.String())
		b.WriteString(": ")
	}
	if i.Scope != "" {
		b.WriteString(i.Scope)
		b.WriteString(": ")
	}
	b.WriteString(i.Message)
	if i.Code != "" {
		fmt.Fprintf(&b, " [%s]", i.Code)
	}
	if i.Hint != "" {
		b.WriteString("\n\t")
		b.WriteString(i.Hint)
	}
	return b.String()
}

// Snippet prints the source line with a caret under the column, or "".
func (i *Issue) Snippet() string {
	if i.Source == "" || i.Pos.Col < 1 {
		return ""
	}
	pad := make([]byte, 0, i.Pos.Col)
	for k := 0; k < i.Pos.Col-1; k++ {
		c := byte(' ')
		if k < len(i.Source) && i.Source[k] == '\t' {
			c = '\t' // so that the caret lines up whatever the tab width
		}
		pad = append(pad, c)
	}
	return "\t" + i.Source + "\n\t" + string(pad) + "^"
}

// List is all issues of one run, in the order found. A List with at least one
// Error is an error; use Err to get nil otherwise.
type List []*Issue

// Add appends issues, skipping nil ones.
func (l *List) Add(issues ...*Issue) {
	for _, i := range issues {
		if i != nil {
			*l = append(*l, i)
		}
	}
}

// AddErr appends an error of any kind: an Issue, a List, or anything else, which
// becomes an issue with the given code and position.
func (l *List) AddErr(err error, code string, pos Pos) {
	if err == nil {
		return
	}
	var is *Issue
	var ls List
	switch {
	case errors.As(err, &ls):
		*l = append(*l, ls...)
	case errors.As(err, &is):
		*l = append(*l, is)
	default:
		*l = append(*l, Errorf(code, pos, "%v", err))
	}
}

// HasErrors reports whether the list holds an Error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(i *Issue) bool { return i.Severity == Error })
}

// Err returns l as an error if it holds an Error, else nil.
func (l List) Err() error {
	if l.HasErrors() {
		return l
	}
	return nil
}

// Error prints all issues, one after the other.
func (l List) Error() string {
	parts := make([]string, len(l))
	for k, i := range l {
		parts[k] = i.Error()
	}
	return strings.Join(parts, "\n")
}

// Sort orders the list by file, line, column and code, so that output does not
// depend on the order of checks.
func (l List) Sort() {
	slices.SortStableFunc(l, func(a, b *Issue) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		if c := a.Pos.Line - b.Pos.Line; c != 0 {
			return c
		}
		if c := a.Pos.Col - b.Pos.Col; c != 0 {
			return c
		}
		return strings.Compare(a.Code, b.Code)
	})
}

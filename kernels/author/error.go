package author

import (
	"fmt"
	"strings"

	"zmlx-rewrite/diag"
)

// fault is an error at a byte offset of the text that is being read; whoever knows the
// text turns it into an issue.
type fault struct {
	code string
	at   int
	text string
	hint string
}

func (f *fault) Error() string { return f.text }

func faultf(code string, at int, format string, args ...any) *fault {
	return &fault{code: "author/" + code, at: at, text: fmt.Sprintf(format, args...)}
}

func (f *fault) withHint(format string, args ...any) *fault {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

// place makes an issue of an error in a text: line and column, and the line for a caret.
func place(file, text string, err error) error {
	f, ok := err.(*fault)
	if !ok {
		return err
	}
	at := max(0, min(f.at, len(text)))
	from := strings.LastIndexByte(text[:at], '\n') + 1
	to := len(text)
	if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
		to = at + n
	}
	return &diag.Issue{Code: f.code, Message: f.text, Hint: f.hint, Source: text[from:to],
		Pos: diag.Pos{File: file, Line: 1 + strings.Count(text[:at], "\n"), Col: 1 + at - from}}
}

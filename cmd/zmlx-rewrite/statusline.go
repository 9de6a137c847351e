package main

import (
	"fmt"
	"io"
	"os"
)

// statusLine is one line on standard error that is written over again and again; only on a
// terminal, and not with --quiet.
type statusLine struct {
	w    io.Writer // nil for none
	used bool
}

func (a *app) statusLine() *statusLine {
	if f, ok := a.progress.(*os.File); ok && onTerminal(f) {
		return &statusLine{w: f}
	}
	return &statusLine{}
}

func (l *statusLine) print(format string, args ...any) {
	if l.w != nil {
		l.used = true
		fmt.Fprintf(l.w, "\r\x1b[K"+format, args...)
	}
}

func (l *statusLine) clear() {
	if l.used {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.used = false
	}
}

// onTerminal reports whether a file is a character device; what is written to the others of
// these (/dev/null) nobody reads.
func onTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

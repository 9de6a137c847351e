package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// statusLine is one line on standard error that is written over again and again; only on a
// terminal that can do that, and not with --quiet. It has no colours. Elsewhere --verbose has
// what it would say among its lines.
type statusLine struct {
	w    io.Writer    // nil for none
	log  *slog.Logger // in place of w, or nil
	cols int          // of the terminal; 0 if it does not tell
	used bool
	last time.Time // of progress
	told time.Time // of print
}

func (a *app) statusLine() *statusLine {
	if f, ok := a.progress.(*os.File); ok && isTerminal(f) && os.Getenv("TERM") != "dumb" {
		return &statusLine{w: f, cols: columns(f)}
	}
	if a.verbose {
		return &statusLine{log: a.log}
	}
	return &statusLine{}
}

// shown reports whether anybody sees the line.
func (l *statusLine) shown() bool { return l.w != nil || l.log != nil }

// print writes the line; to a log not every time, since some have one a run.
func (l *statusLine) print(format string, args ...any) {
	now := time.Now()
	if !l.shown() || l.log != nil && now.Sub(l.told) < often {
		return
	}
	l.told = now
	l.show(fmt.Sprintf(format, args...))
}

// show writes the line. A longer one than the terminal is wide would not be written over: its
// end is left out.
func (l *statusLine) show(line string) {
	if l.log != nil {
		l.log.Debug("progress", "at", line)
		return
	}
	text := []rune(line)
	if l.cols > 1 && len(text) >= l.cols {
		text = append(text[:l.cols-2], '…')
	}
	l.used = true
	fmt.Fprintf(l.w, "\r\x1b[K%s", string(text))
}

func (l *statusLine) clear() {
	if l.used {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.used = false
	}
}

// often is how long a line of progress stays at least: writing it must cost nothing beside
// what it is about.
const often = 100 * time.Millisecond

// progress writes a bar in front of a text, and behind it the time left if it goes on as it
// did since it began.
func (l *statusLine) progress(begun time.Time, done, all int64, format string, args ...any) {
	now := time.Now()
	if !l.shown() || all <= 0 || now.Sub(l.last) < often {
		return
	}
	l.last = now
	took := now.Sub(begun).Seconds()
	seconds := 0.0
	if done > 0 && took > 1 { // a guess from less is worth nothing
		seconds = took / float64(done) * float64(all-done)
	}
	l.show(fmt.Sprintf("%s %s%s", bar(done, all), fmt.Sprintf(format, args...), left(seconds)))
}

// longPrompt is how many tokens it takes for the reading of a prompt to show a line.
const longPrompt = 128

// promptLine is a line for the reading of a long prompt, and what is to be told of it
// (decode.Options.OnPrompt). Whoever has it clears it.
func (a *app) promptLine() (line *statusLine, told func(read, all int)) {
	line = a.statusLine()
	begun := time.Now()
	return line, func(read, all int) {
		if read == 0 {
			begun = time.Now()
		}
		if all >= longPrompt {
			line.progress(begun, int64(read), int64(all), "prompt, %d of %d tokens", read, all)
		}
	}
}

// barWidth is the number of characters between the brackets of a bar.
const barWidth = 24

// bar draws a share: "[######..................]  25 %".
func bar(done, all int64) string {
	done = min(max(done, 0), all)
	full := int(done * barWidth / all)
	return fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done*100/all)
}

// left says how many seconds are left; nothing if that is not known, or less than one.
func left(seconds float64) string {
	if !(seconds >= 1) {
		return ""
	}
	return fmt.Sprintf(" · about %v left", (time.Duration(min(seconds, 1e9)) * time.Second))
}

// isTerminal reports whether a stream is a character device; what is written to the others of
// these (/dev/null) nobody reads.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// columns is how wide a terminal is, 0 if it does not tell.
func columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

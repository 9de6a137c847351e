package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

func TestBar(t *testing.T) {
	for _, c := range []struct {
		done, all int64
		want      string
	}{
		{0, 10, "[........................]   0 %"},
		{5, 10, "[############............]  50 %"},
		{10, 10, "[########################] 100 %"},
		{11, 10, "[########################] 100 %"}, // a file that grew
		{1, 3, "[########................]  33 %"},
	} {
		if got := bar(c.done, c.all); got != c.want {
			t.Errorf("%d of %d: %s", c.done, c.all, got)
		}
	}
	for seconds, want := range map[float64]string{0: "", 0.9: "", 59.9: " · about 59s left", 3725: " · about 1h2m5s left"} {
		if got := left(seconds); got != want {
			t.Errorf("%v s: %q", seconds, got)
		}
	}
}

// TestStatusLine: a line is never longer than the terminal, lines of progress are seldom, and
// the line is gone in the end.
func TestStatusLine(t *testing.T) {
	var out bytes.Buffer
	l := &statusLine{w: &out, cols: 12}
	l.print("%s", "0123456789äöü")
	if got := out.String(); got != "\r\x1b[K0123456789…" {
		t.Errorf("%q", got)
	}
	out.Reset()
	l.cols = 0
	begun := time.Now().Add(-10 * time.Second)
	l.progress(begun, 1, 4, "%s", "one")
	l.progress(begun, 2, 4, "%s", "two")
	if got := out.String(); got != "\r\x1b[K[######..................]  25 % one · about 30s left" {
		t.Errorf("%q", got)
	}
	out.Reset()
	l.clear()
	l.clear()
	if got := out.String(); got != "\r\x1b[K" {
		t.Errorf("%q", got)
	}
	file, err := os.Create(t.TempDir() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if l := (&app{progress: file}).statusLine(); l.w != nil {
		t.Error("a file is no terminal")
	}
	// There --verbose has it, though not every run of thousands; progress sees to that itself.
	var said strings.Builder
	l = (&app{progress: file, verbose: true, log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))}).statusLine()
	for i := range 3 {
		l.print("run %d", i)
		l.progress(time.Now(), int64(i), 4, "%d of 4 files", i)
		if i == 0 {
			l.last = time.Time{} // as for what is to be shown at once
		}
	}
	l.clear()
	if got := said.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, `msg=progress at="run 0"`) || !strings.Contains(got, "  25 % 1 of 4 files") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// tail is what was written so far, for a reader beside the writer.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

// next waits for a text and returns all up to then; what follows is for the next call.
func (t *tail) next(tb testing.TB, text string) string {
	tb.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		t.mu.Lock()
		have := t.b.String()
		if i := strings.Index(have, text); i >= 0 {
			t.b.Next(i + len(text))
			t.mu.Unlock()
			return have[:i+len(text)]
		}
		t.mu.Unlock()
	}
	tb.Fatalf("%q did not come; there is %q", text, t.b.String())
	return ""
}

// TestVerifyWatch edits a rule while verify watches it: wrong, right, unreadable, right
// again. The exit code is that of the last state.
func TestVerifyWatch(t *testing.T) {
	const right = `zmlx: 1
family: watched
rules:
  - name: swiglu
    doc: Two steps in one.
    match:
      s: sigmoid(gate)
      a: multiply(gate, s)
      out: multiply(a, up)
    replace:
      out: kernel.swiglu(gate, up)
    numerics: exact
`
	wrong := strings.Replace(right, "(gate, up)\n    num", "(up, gate)\n    num", 1)
	file := filepath.Join(t.TempDir(), "watched.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(wrong)
	out, bad := &tail{}, &tail{}
	a := &app{stdout: out, stderr: bad, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	v := &verifyOptions{options: options{home: t.TempDir(), target: "cpu", preset: "inference"}, format: "text", proofs: ruleProofs{watch: true}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.verifyRules(ctx, []string{file}, v) }()

	if text := out.next(t, "1 failed"); !strings.Contains(text, "FAILED watched.swiglu: equivalence [proof/differs]") {
		t.Errorf("the wrong rule passed:\n%s", text)
	}
	write(right)
	if text := out.next(t, "0 failed"); strings.Contains(text, "FAILED") {
		t.Errorf("the right rule failed:\n%s", text)
	}
	write("zmlx: 1\nrules: [\n")
	bad.next(t, "watched.yaml:")
	write(wrong)
	out.next(t, "1 failed")
	stop()
	if err := <-done; err == nil {
		t.Error("it ended well, with a rule that is wrong")
	}
}

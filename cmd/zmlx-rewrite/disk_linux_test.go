//go:build mlx

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/killtest"
	"zmlx-rewrite/measure/stress"
)

const small = "../../testdata/trained/qwen3_moe"

// stressing is a short stress run.
func stressing(out string) []string {
	return []string{"stress", "--model", small, "--dtype", "float32", "--prompts", "math,code", "--lengths", "4", "--runs", "3", "--routing", "--json-out", out}
}

// ended reports what is kept of a stress run: all of it, or so many runs. What is torn fails
// the test.
func ended(t *testing.T, out string) (finished bool, runs int) {
	t.Helper()
	if _, err := os.Stat(out); err == nil {
		c, err := capsule.Read(out)
		if err != nil {
			t.Fatalf("a torn capsule: %v", err)
		}
		for _, cell := range c.Cells {
			if len(cell.Runs) != 6 || !cell.Identical() || len(cell.Routing) != 4 {
				t.Fatalf("cell %s: %d runs, routing of %d layers, identical %v", cell.Test, len(cell.Runs), len(cell.Routing), cell.Identical())
			}
		}
		return true, 12
	}
	data, err := os.ReadFile(out + ".state")
	if os.IsNotExist(err) {
		return false, 0
	}
	var s stress.State
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatalf("a torn state: %v", err)
	}
	done, _ := s.Done()
	return false, done
}

// TestStressKilled kills the command itself, with a model, at any time and as it writes: it goes on
// where it was, and comes to its end with all runs, with the tokens of one that was left alone.
func TestStressKilled(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "s.json")
	before, first := 0, ""
	look := func(k int, _ bool) {
		finished, runs := ended(t, out)
		if runs < before {
			t.Fatalf("kill %d: %d runs are kept, %d were", k, runs, before)
		}
		before = runs
		if finished {
			got := tokensOf(t, out)
			if first == "" {
				first = got
			}
			if got != first {
				t.Fatalf("kill %d: tokens %s, without a kill %s", k, got, first)
			}
			os.Remove(out)
			os.Remove(out + ".state")
			before = 0
		}
	}
	command := func() *exec.Cmd { return exec.Command("zmlx-rewrite", stressing(out)...) }
	killtest.Run(t, max(3, killtest.Times(t)/40), command, look)
	before = 0
	os.Remove(out + ".state")
	killtest.RunAtWrites(t, max(5, killtest.Times(t)/10), dir, command, look)
}

// tokensOf says what a capsule's runs made.
func tokensOf(t *testing.T, file string) string {
	t.Helper()
	c, err := capsule.Read(file)
	if err != nil {
		t.Fatalf("a torn capsule: %v", err)
	}
	var b strings.Builder
	for _, cell := range c.Cells {
		fmt.Fprintf(&b, "%s: %d runs, %s, %s\n", cell.Test, len(cell.Runs), cell.StreamA, cell.StreamB)
	}
	return b.String()
}

// TestCommandsKilled kills what writes one file, as it writes: what was there before is there, or
// all of the new file.
func TestCommandsKilled(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for _, args := range writers(t, file) {
		t.Run(args[0], func(t *testing.T) {
			what := func() string {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if args[0] == "bench" && string(data) != "what was there" { // it has times
					return tokensOf(t, file)
				}
				return string(data)
			}
			runs(t, args...)
			whole := what()
			old, fresh := 0, 0
			killtest.RunAtWrites(t, max(3, killtest.Times(t)/10), dir, func() *exec.Cmd {
				if err := os.WriteFile(file, []byte("what was there"), 0o600); err != nil {
					t.Fatal(err)
				}
				return exec.Command("zmlx-rewrite", args...)
			}, func(k int, finished bool) {
				switch got := what(); {
				case got == whole:
					fresh++
				case got == "what was there" && !finished:
					old++
				default:
					t.Fatalf("kill %d: %d bytes that are neither those of before nor all of the new ones, %d", k, len(got), len(whole))
				}
			})
			t.Logf("what was there is there %d times, the new file %d times", old, fresh)
		})
	}
}

// disk mounts a small file system.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small file system cannot be mounted (it takes root): %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	return dir
}

// fails runs a command that must end with exit code 2 and say why, and leave no other files
// than there were.
func fails(t *testing.T, dir, why string, args ...string) {
	t.Helper()
	before := files(t, dir)
	cmd := exec.Command("zmlx-rewrite", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(stderr.String(), why) {
		t.Errorf("%s: exit code %d, %q; want 2 and %q", args, code, stderr.String(), why)
	}
	if after := files(t, dir); after != before {
		t.Errorf("%s: the files were %s, they are %s", args, before, after)
	}
}

func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// TestFullDisk: a stress run whose disk gets full says so, keeps what it had, and goes on once
// there is room. What else writes a file says so, too, and leaves the one that was there.
func TestFullDisk(t *testing.T) {
	dir := disk(t, "4m")
	out, old := filepath.Join(dir, "s.json"), filepath.Join(dir, "old")
	writers := writers(t, old)
	filler := filepath.Join(dir, "filler")
	fill := func(left int) { // leaves so many bytes
		t.Helper()
		os.Remove(filler)
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filler, make([]byte, int(s.Bavail)*int(s.Bsize)-left), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(old, []byte("what was there"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(0)
	for _, args := range append(writers, stressing(out)) {
		fails(t, dir, "no space left on device", args...)
	}
	if data, err := os.ReadFile(old); err != nil || string(data) != "what was there" {
		t.Errorf("what was there is %q, %v", data, err)
	}

	// Room for one state, but not for the next one beside it.
	other := filepath.Join(t.TempDir(), "s.json")
	runs(t, stressing(other)...)
	data, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		t.Fatal(err)
	}
	fill(compact.Len() * 3 / 2)
	cmd := exec.Command("zmlx-rewrite", stressing(out)...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(text), "no space left on device") {
		t.Fatalf("%v: %s", err, text)
	}
	if finished, _ := ended(t, out); finished {
		t.Fatal("it came to its end on a full disk")
	}
	if _, err := os.Stat(out + ".state"); err != nil {
		t.Fatalf("nothing is kept: %v", err)
	}
	os.Remove(filler)
	runs(t, stressing(out)...)
	if finished, _ := ended(t, out); !finished {
		t.Error("it did not go on")
	}
}

// TestReadOnly: nothing can be written, and each command says so.
func TestReadOnly(t *testing.T) {
	dir := disk(t, "1m")
	writers := append(writers(t, filepath.Join(dir, "new")), stressing(filepath.Join(dir, "s.json")))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, args := range writers {
		fails(t, dir, "read-only file system", args...)
	}
}

// writers are commands that write a file.
func writers(t *testing.T, file string) [][]string {
	t.Helper()
	one := filepath.Join(t.TempDir(), "one.json")
	bench := []string{"bench", "--model", small, "-p", "0", "-n", "2", "-r", "3", "--warm-up", "0", "--capsule"}
	runs(t, append(bench, one)...)
	return [][]string{
		append(bench, file),
		{"report", "-o", "html", one, "--out", file},
		{"matrix", "html", filepath.Dir(one), "--out", file},
		{"routing", "--model", small, "--random", "4", "-o", "html", "--out", file},
		{"cache-prompt", "--model", small, "--prompt", "The evening was spent in", "--ignore-chat-template", "--prompt-cache-file", file},
	}
}

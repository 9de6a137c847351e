package capsule

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"zmlx-rewrite/measure/killtest"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("CAPSULE_TEST_FILE"); file != "" {
		for i := range 6 {
			if err := numbered(i).Write(file); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		return
	}
	os.Exit(m.Run())
}

// numbered is a capsule that is longer with each number.
func numbered(n int) *Capsule {
	c := sample()
	c.Notes = []string{}
	for i := range 50 * (n + 1) {
		c.Notes = append(c.Notes, fmt.Sprintf("note %d of capsule %d, of some length so that it takes a while to write it all", i, n))
	}
	return c
}

// TestKill: a process that is killed while it writes one capsule over another leaves one of
// them, whole.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector sees nothing of a process that is killed, and slows it down")
	}
	file := filepath.Join(t.TempDir(), "c.json")
	seen := map[int]bool{}
	killtest.Run(t, killtest.Times(t), func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CAPSULE_TEST_FILE="+file)
		return cmd
	}, func(k int, _ bool) {
		if _, err := os.Stat(file); os.IsNotExist(err) {
			return
		}
		c, err := Read(file)
		if err != nil {
			t.Fatalf("kill %d left a torn capsule: %v", k, err)
		}
		if len(c.Notes)%50 != 0 || len(c.Notes) == 0 {
			t.Fatalf("kill %d left %d notes", k, len(c.Notes))
		}
		seen[len(c.Notes)/50] = true
	})
	if len(seen) < 3 {
		t.Errorf("all kills found capsules of %d lengths: nothing was tested", len(seen))
	}
}

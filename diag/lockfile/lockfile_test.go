package lockfile

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// holds is the environment variable with the file that this binary locks and keeps, as another
// process.
const holds = "LOCKFILE_TEST_HOLDS"

func TestMain(m *testing.M) {
	file := os.Getenv(holds)
	if file == "" {
		os.Exit(m.Run())
	}
	if _, err := Take(file, fmt.Sprintf("process %d", os.Getpid())); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	select {} // until it is killed
}

// TestKilled: a lock is another process's as long as that lives, which it names; after kill -9
// it is free, though its file is still there.
func TestKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), holds+"="+file)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = Take(file, "this one")
	var held *Held
	if !errors.As(err, &held) || held.By != fmt.Sprintf("process %d", c.Process.Pid) {
		t.Errorf("%v", err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if _, err := os.Stat(file + Ending); err != nil {
		t.Errorf("the killed process left nothing behind: this tests nothing (%v)", err)
	}
	l, err := Take(file, "this one")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file + Ending); err != nil || string(text) != "this one\n" {
		t.Errorf("%q, %v", text, err)
	}
	l.Release()
	if _, err := os.Stat(file + Ending); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock's file is left: %v", err)
	}
}

// TestOneAtATime: many that take and release a lock in turns never have it at the same time,
// though each removes the file.
func TestOneAtATime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	var mu sync.Mutex
	var group sync.WaitGroup
	inside, taken := 0, 0
	for range 8 {
		group.Go(func() {
			for range 200 {
				l, err := Take(file, "one of many")
				var held *Held
				if errors.As(err, &held) || err != nil && strings.Contains(err.Error(), "comes and goes") {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if inside++; inside > 1 {
					t.Errorf("%d have the lock", inside)
				}
				taken++
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				l.Release()
			}
		})
	}
	group.Wait()
	if taken < 8 {
		t.Errorf("taken %d times", taken)
	}
}

// TestWait: who waits gets the lock when it is let go of, and gives up in the end.
func TestWait(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	first, err := Take(file, "first")
	if err != nil {
		t.Fatal(err)
	}
	var held *Held
	if _, err := Wait(file, "second", 20*time.Millisecond); !errors.As(err, &held) || held.By != "first" {
		t.Errorf("%v", err)
	}
	time.AfterFunc(20*time.Millisecond, first.Release)
	second, err := Wait(file, "second", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
	if _, err := Wait(filepath.Join(file, "none", "x"), "second", time.Minute); err == nil || errors.As(err, &held) {
		t.Errorf("what cannot be locked is waited for: %v", err)
	}
}

// TestPlaces: through a link the lock is the file's that it leads to; where nothing can be
// written there is none.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "x.json"), filepath.Join(dir, "link.json")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("x.json", link); err != nil {
		t.Fatal(err)
	}
	l, err := Take(link, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	var held *Held
	if _, err := Take(file, "b"); !errors.As(err, &held) || held.By != "a" {
		t.Errorf("%v", err)
	}
	if _, err := Take(filepath.Join(dir, "none", "x"), "b"); err == nil || errors.As(err, &held) {
		t.Errorf("%v", err)
	}
	if _, err := Take(dir, "b"); err == nil || errors.As(err, &held) {
		t.Errorf("a folder: %v", err)
	}
}

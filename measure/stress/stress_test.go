package stress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/killtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STRESS_TEST_DIR"); dir != "" {
		if err := work(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func fresh(runs int) *capsule.Capsule {
	c := &capsule.Capsule{Version: capsule.Version, Kind: capsule.Stress, Made: time.Now(), Command: []string{}, Environment: map[string]string{}, Notes: []string{},
		Rewrite: capsule.Rewrite{Rules: map[string]string{}, Kernels: map[string]string{}, Launches: []capsule.Layer{}}}
	c.Rewrite.Pack(bytes.Repeat([]byte("a journal of some length "), 2000))
	c.Cells = Cells([]string{"code", "math"}, []int{4, 8})
	return c
}

const workRuns = 3

// work is a stress run without a model: as fast as the disk.
func work(dir string) error {
	s, err := Start(filepath.Join(dir, "s.state"), workRuns, false, fresh(workRuns))
	if err != nil {
		return err
	}
	for {
		i, b, round, ok := s.Next()
		if !ok {
			break
		}
		if err := s.Keep(i, capsule.Run{Run: bench.Run{Round: round, B: b, Seconds: 1}, Prompt: 1}, 5, make([]int, s.Capsule.Cells[i].Made)); err != nil {
			return err
		}
	}
	if err := s.Capsule.Write(filepath.Join(dir, "s.json")); err != nil {
		return err
	}
	return s.Finish()
}

// TestKill: a process that is killed at any moment leaves a state and a capsule that are
// whole or not there, and goes on where it was.
func TestKill(t *testing.T) {
	dir, before, finished := t.TempDir(), 0, 0
	state, out := filepath.Join(dir, "s.state"), filepath.Join(dir, "s.json")
	killtest.Run(t, killtest.Times(t), func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STRESS_TEST_DIR="+dir)
		return cmd
	}, func(k int, _ bool) {
		if data, err := os.ReadFile(out); err == nil {
			if _, err := capsule.Parse(out, data); err != nil {
				t.Fatalf("kill %d left a torn capsule: %v", k, err)
			}
			c, _ := capsule.Read(out)
			checkOrder(t, c)
			finished++
			os.Remove(out)
			os.Remove(state)
			before = 0
			return
		}
		data, err := os.ReadFile(state)
		if os.IsNotExist(err) {
			return
		}
		var s State
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("kill %d left a torn state: %v", k, err)
		}
		done, _ := s.Done()
		if done < before {
			t.Fatalf("kill %d: %d runs are kept, %d were", k, done, before)
		}
		before = done
	})
	if finished == 0 {
		t.Error("no capsule was written")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "s.*")); len(left) > 1 {
		t.Errorf("%v", left)
	}
}

// checkOrder: all runs are there, in the order A B, B A, A B.
func checkOrder(t *testing.T, c *capsule.Capsule) {
	t.Helper()
	for _, cell := range c.Cells {
		var order strings.Builder
		for _, r := range cell.Runs {
			order.WriteString(strconv.Itoa(r.Round) + map[bool]string{false: "A", true: "B"}[r.B] + " ")
		}
		if order.String() != "0A 0B 1B 1A 2A 2B " || !cell.Identical() || cell.Fed != 5 {
			t.Fatalf("cell %s: runs %s, identical %v", cell.Test, order.String(), cell.Identical())
		}
	}
}

// TestStart: a state of another measurement is not gone on with.
func TestStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.state")
	s, err := Start(file, 2, false, fresh(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(0, capsule.Run{Run: bench.Run{Seconds: 2}, Prompt: 1}, 5, []int{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*capsule.Capsule){
		"model":            func(c *capsule.Capsule) { c.Model.SHA256 = "other" },
		"profile or rules": func(c *capsule.Capsule) { c.Rewrite.After = "other" },
		"profile": func(c *capsule.Capsule) {
			c.Rewrite.Quantized = &capsule.Quantized{Launches: []capsule.Layer{}, Journal: "other"}
		},
		"version of MLX":  func(c *capsule.Capsule) { c.Device.Version = "other" },
		"device":          func(c *capsule.Capsule) { c.Device.Name = "other" },
		"device or":       func(c *capsule.Capsule) { c.Device.Driver = "other" },
		"CPU":             func(c *capsule.Capsule) { c.Machine.CPU = "other" },
		"CPU, or number":  func(c *capsule.Capsule) { c.Machine.Cores++ },
		"library of CPU":  func(c *capsule.Capsule) { c.Device.Library = "other" },
		"choice of where": func(c *capsule.Capsule) { c.Rewrite.RunsAs = "other" },
		"list of prompts": func(c *capsule.Capsule) { c.Cells = c.Cells[1:] },
		"version of this": func(c *capsule.Capsule) { c.Program.Version = "other" },
		"version of":      func(c *capsule.Capsule) { c.Program.Revision = "other" },
	} {
		c := fresh(2)
		change(c)
		if _, err := Start(file, 2, false, c); err == nil || !strings.Contains(err.Error(), "another "+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	again, err := Start(file, 2, false, fresh(2))
	if err != nil {
		t.Fatal(err)
	}
	if i, b, round, ok := again.Next(); i != 0 || !b || round != 0 || !ok {
		t.Errorf("next is cell %d, B %v, round %d", i, b, round)
	}
	if again.Left() != 0 {
		t.Error("time left is told before both sides have run")
	}
	if err := again.Keep(0, capsule.Run{Run: bench.Run{B: true, Seconds: 1}, Prompt: 1}, 5, []int{1, 2, 9, 4}); err != nil {
		t.Fatal(err)
	}
	if first := again.Capsule.Cells[0].First; first != 2 {
		t.Errorf("the first difference is %d: tokens of before the interruption were lost", first)
	}
	// A takes 3 s for 4 tokens, B 2 s; to come are 4+16+8+16 tokens less the 4 that were made.
	if want := 3.0/4*(4+16+8+16) + 2.0/4*(4+16+8+16); again.Left() != want {
		t.Errorf("%v s left, want %v", again.Left(), want)
	}
}

// TestRouting: the routing of a cell is asked for once its runs have ended, once, and is kept.
func TestRouting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.state")
	s, err := Start(file, 1, true, fresh(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, ok := s.Unrouted(); ok {
			t.Fatal("routing is asked for before the runs have ended")
		}
		i, b, round, _ := s.Next()
		if err := s.Keep(i, capsule.Run{Run: bench.Run{Round: round, B: b, Seconds: 1}, Prompt: 1}, 5, []int{7, 8, 9, 4}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Start(file, 1, false, fresh(1)); err == nil || !strings.Contains(err.Error(), "another choice of --routing") {
		t.Errorf("%v", err)
	}
	if s, err = Start(file, 1, true, fresh(1)); err != nil {
		t.Fatal(err)
	}
	cell, tokens, ok := s.Unrouted()
	if cell != 0 || !ok || len(tokens) != 4 || tokens[0] != 7 {
		t.Fatalf("cell %d, tokens %v, %v", cell, tokens, ok)
	}
	if err := s.KeepRouting(0, []capsule.Routing{{Layer: "l", K: 1, Tokens: 9, Counts: []int{4, 5}}}); err != nil {
		t.Fatal(err)
	}
	if s, err = Start(file, 1, true, fresh(1)); err != nil || s.Capsule.Cells[0].Routing[0].Counts[1] != 5 {
		t.Errorf("it was not kept: %v", err)
	}
	if _, _, ok := s.Unrouted(); ok {
		t.Error("it is asked for again")
	}
}

// TestPrompts: every kind has a text, none is another's.
func TestPrompts(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds {
		text, ok := Prompt(k)
		if !ok || utf8.RuneCountInString(text) < 80 || seen[text] {
			t.Errorf("%s: %q", k, text)
		}
		seen[text] = true
	}
	if _, ok := Prompt("limericks"); ok {
		t.Error("an unknown kind has a prompt")
	}
	if n := len(Cells(Kinds, Lengths)); n != 15 {
		t.Errorf("%d combinations, not 15", n)
	}
}

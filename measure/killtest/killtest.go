// Package killtest kills a process of the test's own binary again and again, each time at
// another moment, so that what it writes can be looked at. For tests only.
package killtest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Times is how often to kill: 200 times; 20 with -short; 1000 with ZMLX_SOAK, or as often as
// ZMLX_KILLS says.
func Times(t testing.TB) int {
	if n, err := strconv.Atoi(os.Getenv("ZMLX_KILLS")); err == nil {
		return n
	}
	switch {
	case os.Getenv("ZMLX_SOAK") != "":
		return 1000
	case testing.Short():
		return 20
	}
	return 200
}

// Run starts a command, kills it after a random part of the time that it takes, and calls after
// with whether it came to its end by itself; so many times, behind a first one that is left
// alone. A command that fails by itself fails the test, and so does a test in which none were
// killed.
func Run(t *testing.T, times int, command func() *exec.Cmd, after func(kill int, finished bool)) {
	t.Helper()
	run(t, times, command, &byTime{r: rand.New(rand.NewPCG(1, 2))}, after)
}

// moment says when to kill.
type moment interface {
	ready() error                     // a command is about to start
	started(cmd *exec.Cmd, kill bool) // it has
	ended(finished bool)              // by itself, or not
}

// byTime kills after a random part of the time of a whole run, which it learns.
type byTime struct {
	r     *rand.Rand
	took  time.Duration
	start time.Time
	timer *time.Timer
}

func (m *byTime) ready() error { m.start = time.Now(); return nil }

func (m *byTime) started(cmd *exec.Cmd, kill bool) {
	if m.timer = nil; kill {
		m.timer = time.AfterFunc(time.Duration(m.r.Int64N(int64(m.took))), func() { cmd.Process.Kill() })
	}
}

func (m *byTime) ended(finished bool) {
	if m.timer != nil {
		m.timer.Stop()
	}
	if finished {
		m.took = max(time.Since(m.start)*3/2, 10*time.Millisecond)
	} else {
		m.took += m.took / 8 // a machine that got busier: let some come to the end
	}
}

func run(t *testing.T, times int, command func() *exec.Cmd, m moment, after func(kill int, finished bool)) {
	t.Helper()
	cut, ended := 0, 0
	for k := range times + 1 {
		cmd := command()
		// A program with the race detector sleeps for a second before it ends: most kills would find it asleep.
		cmd.Env = append(cmd.Environ(), "GORACE=atexit_sleep_ms=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := m.ready(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		m.started(cmd, k > 0)
		err := cmd.Wait()
		m.ended(err == nil)
		switch {
		case err == nil:
			ended++
		case cmd.ProcessState.ExitCode() >= 0:
			t.Fatalf("start %d ended by itself: %v: %s", k, err, stderr.String())
		default:
			cut++
		}
		after(k, err == nil)
		if t.Failed() {
			t.Fatalf("after kill %d", k)
		}
	}
	t.Logf("%d killed, %d came to the end", cut, ended)
	if times > 0 && cut == 0 {
		t.Errorf("none of %d were killed: nothing was tested", times)
	}
}

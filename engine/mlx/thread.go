//go:build mlx

package mlx

/*
#cgo LDFLAGS: -lmlxc
#include "bridge.h"
*/
import "C"

import (
	"runtime"
	"sync"
)

// A job is one function to run on the MLX thread, and what became of it.
type job struct {
	run  func() error
	err  error
	bug  any // the value of a panic
	done chan struct{}
}

var (
	jobs      = make(chan *job)
	startOnce sync.Once
)

// do runs f on the MLX thread and waits for it. Calls from several goroutines run
// one after the other; a call from within f runs at once. A panic in f (a bug of
// ours, never bad input) goes on in the caller, so that no C frame is unwound.
// f must not end its goroutine (runtime.Goexit, t.FailNow).
func do(f func() error) error {
	startOnce.Do(func() {
		started := make(chan struct{})
		go work(started)
		<-started
	})
	if C.zr_on_thread() {
		return f()
	}
	j := &job{run: f, done: make(chan struct{})}
	jobs <- j
	<-j.done
	if j.bug != nil {
		panic(j.bug)
	}
	return j.err
}

// work is the goroutine that owns MLX. It never ends: a locked goroutine that
// returned would take its thread, and with it MLX's streams, away.
func work(started chan struct{}) {
	runtime.LockOSThread()
	C.zr_start()
	if m, err := memoryUse(); err == nil {
		limitResults(m.limit)
	}
	close(started)
	for j := range jobs {
		j.do()
	}
}

func (j *job) do() {
	defer close(j.done)
	defer func() { j.bug = recover() }()
	j.err = j.run()
}

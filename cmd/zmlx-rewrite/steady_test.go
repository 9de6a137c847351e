//go:build mlx

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"

	"zmlx-rewrite/decode"
)

// TestSteady makes 30,000 tokens with a rewritten model, whose steps are replayed, and
// looks at what is held meanwhile. In the second half Go's heap may grow by 50 bytes a step,
// the memory of the process, of which an allocator takes megabytes at a time, by 600, and
// the number of goroutines not at all. (It is flat over 120,000, from 15,000 on.)
func TestSteady(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc/self/statm to ask for the memory of a process")
	}
	p := newIdentity(t, "../../testdata/trained/qwen3_moe", "inference", "float32")
	const runs, tokens = 60, 500
	var heap, resident uint64
	var routines int
	for i := range runs {
		p.after.Reset()
		prompt := []int{3, 1, 4, 1, 5}
		for _, n := range []int{200, tokens - 200} { // the first text leaves no room: caches become larger in the second
			res, err := p.after.Generate(t.Context(), prompt, decode.Options{MaxTokens: n})
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Tokens) != n {
				t.Fatalf("%d tokens", len(res.Tokens))
			}
			prompt = res.Tokens[n-1:]
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now := residentBytes(t)
		t.Logf("%d steps: heap %d KiB, process %d KiB, %d goroutines", (i+1)*tokens, m.HeapAlloc>>10, now>>10, runtime.NumGoroutine())
		if i < runs/2 { // pools and free lists fill up
			heap, resident, routines = m.HeapAlloc, now, runtime.NumGoroutine()
			continue
		}
		const steps = (runs - runs/2) * tokens
		if m.HeapAlloc > heap+50*steps || now > resident+600*steps || runtime.NumGoroutine() > routines {
			t.Errorf("after %d steps the heap has %d bytes, the process %d, and there are %d goroutines; after %d steps it was %d, %d and %d",
				(i+1)*tokens, m.HeapAlloc, now, runtime.NumGoroutine(), runs/2*tokens, heap, resident, routines)
		}
	}
}

func residentBytes(t *testing.T) uint64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident uint64
	if _, err := fmt.Fscan(bytes.NewReader(data), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * uint64(os.Getpagesize())
}

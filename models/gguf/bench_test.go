package gguf

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

// BenchmarkLoad opens SmolLM2 and makes every array in memory of its own, as an
// engine does.
func BenchmarkLoad(b *testing.B) {
	open(b, real) // skips where it is missing
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(real)
		if err != nil {
			b.Fatal(err)
		}
		hf, err := f.HF()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(hf.Weights.NumBytes())
		for x := range hf.Weights.All() {
			dst := make([]byte, x.NumBytes())
			if err := x.ReadInto(dst); err != nil {
				b.Fatal(err)
			}
		}
		hf.Weights.Close()
	}
}

// BenchmarkOpen is all that happens before the first array is asked for.
func BenchmarkOpen(b *testing.B) {
	open(b, real)
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(real)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.HF(); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// Loading takes little more memory than the weights have bytes.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("in short form: reads all weights of a real model")
	}
	if raceEnabled() {
		t.Skip("needs a build without the race detector, which takes memory of its own")
	}
	anonymous := func() int {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Skip("needs /proc/self/status to measure anonymous memory")
		}
		var kib int
		if _, line, ok := bytes.Cut(status, []byte("RssAnon:")); ok {
			fmt.Sscan(string(line), &kib)
		}
		return kib << 10
	}
	runtime.GC()
	before := anonymous()
	hf, err := open(t, real).HF()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	peak := 0
	for x := range hf.Weights.All() {
		dst := make([]byte, x.NumBytes())
		if err := x.ReadInto(dst); err != nil {
			t.Fatal(err)
		}
		all = append(all, dst)
		peak = max(peak, anonymous()-before)
	}
	size := hf.Weights.NumBytes()
	t.Logf("peak %.3f × %d bytes", float64(peak)/float64(size), size)
	if float64(peak) > 1.3*float64(size) {
		t.Errorf("%d bytes of anonymous memory for %d bytes of weights", peak, size)
	}
	runtime.KeepAlive(all)
}

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

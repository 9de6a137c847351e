package compat_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// build compiles testdata/host.cpp.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	cxx := os.Getenv("CXX")
	if cxx == "" {
		cxx = "c++"
	}
	if _, err := exec.LookPath(cxx); err != nil {
		t.Skipf("no C++ compiler (%s)", cxx)
	}
	// The go command takes a result from its cache if no file that the test opened has
	// changed, and it does not see what the compiler opens.
	files, _ := filepath.Glob("host/*.h")
	for _, f := range append(files, "host.h", "../cpu/zmlx_kernel.h", "testdata/host.cpp") {
		if _, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "host")
	args := append([]string{"-std=c++20", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-I", ".", "-I", "../cpu", "-o", program}, flags...)
	if out, err := exec.Command(cxx, append(args, "testdata/host.cpp", "-pthread")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func lines(t *testing.T, program string, args ...string) []string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// Whatever the order of threads.
var results = []string{
	"sums: 5283201 5283201",
	"moves: 2023208 3010208 1313208",
	"butterfly: 221.251648 221.251648",
	"clean: 6301 6200 62 62",
	"alone: 64100 36100",
	"two_places: kernel two_places: a simd op, barrier or threadgroup memory, in a launch whose threads work alone",
	"big_array: kernel big_array: a simd op, barrier or threadgroup memory, in a launch whose threads work alone",
	"places: 0 200100 210110 210111",
	"places: kernel places: a grid of 6 x 4 x 2 threads in groups of 2 x 2 x 2: threads that work together need whole groups, of a multiple of 32 and at most 512 threads",
	"places: 0",
	"some_lanes: kernel some_lanes, group (0, 0, 0): simd_sum needs all 32 threads of the simdgroup at one place: 0-15 at simd_sum (test.metal:43); 16-31 returned;",
	"two_places: kernel two_places, group (0, 0, 0): simd_sum needs all 32 threads of the simdgroup at one place: 0-15 at simd_sum (test.metal:46); 16-31 at simd_sum (test.metal:47);",
	"two_ops: kernel two_ops, group (0, 0, 0): simd_sum needs all 32 threads of the simdgroup at one place: 0-4 6-31 at simd_sum (test.metal:50); 5 at simd_max (test.metal:50);",
	"exited: kernel exited, group (0, 0, 0): threadgroup_barrier needs all 64 threads of the group at one place: 0-31 at threadgroup_barrier (test.metal:54); 32-63 returned;",
	"two_barriers: kernel two_barriers, group (0, 0, 0): threadgroup_barrier needs all 64 threads of the group at one place: 0-31 at threadgroup_barrier (test.metal:60); 32-63 at threadgroup_barrier (test.metal:58);",
	"big_array: kernel big_array, group (0, 0, 0), thread 0 declares more[200]: more than 32768 bytes of threadgroup memory",
	"sums: kernel sums: a grid of 100 x 1 x 1 threads in groups of 64 x 1 x 1: threads that work together need whole groups, of a multiple of 32 and at most 512 threads",
	"sums: kernel sums: a grid of 2048 x 1 x 1 threads in groups of 1024 x 1 x 1",
	"sums:",
}

// Mistakes that only the checked mode sees, with threads in order.
var mistakes = []string{
	"race_read: kernel race_read, group (0, 0, 0), thread 0 reads part[1] before any thread of its group has written it",
	"race_far: kernel race_far, group (0, 0, 0), thread 0 reads part[32] before any thread of its group has written it",
	"race_write: kernel race_write, group (0, 0, 0), thread 1 writes part[0], which thread 0 wrote with no barrier between them",
	"race_reuse: kernel race_reuse, group (0, 0, 0), thread 32 reads part[31], which thread 31 wrote with no barrier between them",
	"race_simd: kernel race_simd, group (0, 0, 0), thread 0 reads part[1], which thread 1 wrote with no barrier between them",
	"wild: kernel wild, group (0, 0, 0), thread 3 reads part[8], which has 8 elements",
	"unwritten: kernel unwritten, group (0, 0, 0), thread 3 reads part[3] before any thread of its group has written it",
	"no_lane: kernel no_lane, group (0, 0, 0), thread 31 asks simd_shuffle for lane 32",
	"order: 99",
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf(" got %s\nwant %s", got[i], want[i])
		}
	}
}

// As kernels run: optimised, with the processor's own conversions where it has them.
func TestHost(t *testing.T) {
	t.Parallel()
	program := build(t, "-O2", "-march=native")
	want := results
	for range 300 { // the same launch over and over, on two threads
		want = append(want[:len(want):len(want)], "shared: 6301 62")
	}
	equal(t, lines(t, program), want)
	convert(t, program)
}

func TestChecked(t *testing.T) {
	t.Parallel()
	program := build(t, "-O1", "-DZMLX_CHECKED=1")
	forward := append(results[:len(results):len(results)], mistakes...)
	equal(t, lines(t, program), forward)
	for _, args := range [][]string{{"1"}, {"2"}, {"2", "round_up"}} {
		got := lines(t, program, args...)
		if len(got) != len(forward) {
			t.Fatalf("order %v: %d lines, want %d", args, len(got), len(forward))
		}
		for i, line := range got {
			same, name := line == forward[i], strings.SplitN(line, ":", 2)[0]
			switch {
			case name == "order" && same:
				t.Errorf("order %v: the last thread is the same", args)
			case len(args) > 1 && name == "alone" && line != "alone: 64128 64128":
				t.Errorf("order %v: %s, want whole groups", args, line)
			case len(args) > 1 && (name == "alone" || name == "sums"):
			case strings.Contains(forward[i], "kernel") != strings.Contains(line, "kernel"), !strings.Contains(forward[i], "kernel") && name != "order" && !same:
				t.Errorf("order %v: %s, forward %s", args, line, forward[i])
			}
		}
	}
	convert(t, program)
}

// convert compares the conversions of half and bfloat16_t with those of package graph:
// all values, and the rounding of floats at, beside and between them.
func convert(t *testing.T, program string) {
	t.Helper()
	le := binary.LittleEndian
	var floats []byte
	for high := range uint32(65536) {
		for _, low := range []uint32{0, 1, 0x0fff, 0x1000, 0x1001, 0x2000, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
			floats = le.AppendUint32(floats, high<<16|low)
		}
	}
	cmd := exec.Command(program, "convert")
	cmd.Stdin = bytes.NewReader(floats)
	out, err := cmd.Output()
	if err != nil || len(out) != 65536*8+len(floats) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	bad := 0
	wrong := func(format string, args ...any) {
		if bad++; bad < 10 {
			t.Errorf(format, args...)
		}
	}
	types := []graph.DType{graph.Float16, graph.BFloat16}
	for b := range 65536 {
		for i, typ := range types {
			got := float64(math.Float32frombits(le.Uint32(out[8*b+4*i:])))
			want := graph.DecodeElem(typ, le.AppendUint16(nil, uint16(b)))
			if math.Float64bits(got) != math.Float64bits(want) && !(got != got && want != want) {
				wrong("%s %#04x is %v, want %v", typ, b, got, want)
			}
		}
	}
	out = out[65536*8:]
	for at := 0; at < len(floats); at += 4 {
		v := math.Float32frombits(le.Uint32(floats[at:]))
		for i, typ := range types {
			got := out[at+2*i : at+2*i+2]
			want := graph.AppendElem(nil, typ, float64(v))
			// A NaN need only be one: processors keep other bits of it than Go does.
			if g := graph.DecodeElem(typ, got); !bytes.Equal(got, want) && !(v != v && g != g) {
				wrong("%s(%v) is %x, want %x", typ, v, got, want)
			}
		}
	}
}

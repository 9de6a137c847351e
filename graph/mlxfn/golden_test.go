package mlxfn

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

var update = flag.Bool("update", false, "rewrite the dumps in testdata")

// goldens returns the files that MLX wrote, without the probes.
func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.mlxfn")
	if err != nil || len(paths) < 10 {
		t.Fatalf("testdata has %d files (%v)", len(paths), err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = data
	}
	return all
}

// probes returns the folder of probes that a release wrote.
func probes(t testing.TB, release string) fstest.MapFS {
	t.Helper()
	f, err := os.Open("testdata/probes-" + release + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := fstest.MapFS{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		dir[h.Name] = &fstest.MapFile{Data: data}
	}
}

func mustRead(t testing.TB, file string, data []byte, proofs ...*Proof) *File {
	t.Helper()
	f, err := Read(file, data, proofs...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustWrite(t testing.TB, f *File, proofs ...*Proof) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, f, proofs...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dump(t testing.TB, f *File) string {
	t.Helper()
	var b strings.Builder
	if err := Dump(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// code returns an error's stable code, and its offset or -1.
func code(err error) (string, int64) {
	var issue *diag.Issue
	if !errors.As(err, &issue) {
		return "", -1
	}
	if !issue.Pos.HasOffset {
		return issue.Code, -1
	}
	return issue.Code, issue.Pos.Offset
}

func TestIdentity(t *testing.T) {
	check := func(name string, data []byte) {
		if got := mustWrite(t, mustRead(t, name, data)); !bytes.Equal(got, data) {
			t.Errorf("%s: written again it is other bytes", name)
		}
	}
	for name, data := range goldens(t) {
		check(name, data)
	}
	for _, release := range Releases {
		dir := probes(t, release)
		if len(dir) < 170 {
			t.Errorf("%s: only %d probes", release, len(dir))
		}
		for name, file := range dir {
			check(release+"/"+name, file.Data)
		}
	}
}

// What MLX traced is the same in all releases, so the dumps must be.
func TestDump(t *testing.T) {
	for _, kind := range []string{"traces", "shapeless", "markers"} {
		path := "testdata/" + kind + ".txt"
		if *update {
			name := kind + "-0.32.2.mlxfn"
			if err := os.WriteFile(path, []byte(dump(t, mustRead(t, name, goldens(t)[name]))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range goldens(t) {
			release, ok := strings.CutPrefix(strings.TrimSuffix(name, ".mlxfn"), kind+"-")
			if !ok {
				continue
			}
			f := mustRead(t, name, data)
			if f.Version != release {
				t.Errorf("%s says it was written by %s", name, f.Version)
			}
			want := strings.Replace(string(text), "0.32.2", release, 1)
			if release < metadataSince {
				want = strings.Replace(want, "made by mlxfn_goldens.py", "", 1)
			}
			if release < "0.32.0" {
				want = strings.ReplaceAll(want, " math_mode=Safe", "")
			}
			if got := dump(t, f); got != want {
				t.Errorf("%s: dump differs from %s:\n%s", name, path, got)
			}
		}
	}
}

func TestConstantsAreTheInput(t *testing.T) {
	data := goldens(t)["traces-0.32.2.mlxfn"]
	f := mustRead(t, "", data)
	stored := 0
	for n := range f.Functions {
		for _, e := range f.Functions[n].Tape {
			if e.Kind == Constant && len(e.Data) > 0 {
				stored++
				same := func(at *byte) bool { return at == &e.Data[0] }
				if !slices.ContainsFunc(pointers(data), same) {
					t.Errorf("constant %#x is a copy", e.ID)
				}
			}
		}
	}
	if stored < 4 { // one table in four traces, stored once
		t.Errorf("only %d constants", stored)
	}
}

func pointers(data []byte) []*byte {
	all := make([]*byte, len(data))
	for k := range data {
		all[k] = &data[k]
	}
	return all
}

func TestAllocation(t *testing.T) {
	inputs := goldens(t)
	tiny := goldens(t)["shapeless-0.32.2.mlxfn"]
	for at := range tiny { // counts that claim too much
		bad := bytes.Clone(tiny)
		bad[at] = 0xff
		inputs["mutant"+string(rune(at))] = bad
	}
	for name, data := range inputs {
		if n, limit := allocated(func() { Read(name, data) }), uint64(64*len(data)+16<<20); n > limit {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(data))
		}
	}
	// The fixed 16 MiB hide small files, so that real ones must do far better.
	data := goldens(t)["qwen3_moe-0.32.2.mlxfn"]
	if n := allocated(func() { Read("", data) }); n > uint64(64*len(data)) {
		t.Errorf("%d bytes allocated for %d", n, len(data))
	}
}

// The cheapest bytes to write and the dearest to keep.
func TestAllocationOfHostileFiles(t *testing.T) {
	const n = 50_000
	header := func(functions int32) *image {
		m := &image{marks: map[string]int{}}
		m.text("0.32.2")
		m.i32(functions)
		m.u8(0)
		m.text("")
		return m
	}
	functions := header(n)
	for range 5 * n {
		functions.u64(0)
	}
	repeated := header(1)
	repeated.u64(0, 0, 0, 0, n)
	for k := range n {
		repeated.u64(1)
		repeated.u8(0)
		repeated.u8(1)
		if k == 0 {
			repeated.typ(graph.Float32)
			repeated.i32(0)
		}
	}
	constants := header(1)
	constants.u64(0, 0, 0, 0, n)
	for k := range n {
		constants.u64(uint64(k))
		constants.u8(0)
		constants.u8(1)
		constants.typ(graph.Bool, 0)
	}
	inputs := header(1)
	inputs.u64(0, n)
	for k := range n {
		inputs.u64(uint64(k))
	}
	inputs.u64(n)
	for range n {
		inputs.typ(graph.Bool)
	}
	inputs.u64(0, 0)
	claims := header(1)
	claims.u64(0, 0, 0, 0, n)
	claims.data = append(claims.data, bytes.Repeat([]byte{0}, 10*n)...)
	more := header(1) // as many entries as bytes
	more.u64(0, 0, 0, 0, 10*n)
	more.data = append(more.data, bytes.Repeat([]byte{0}, 10*n)...)
	nodes := header(1)
	nodes.u64(0, 0, 0, 0, n)
	for k := range n {
		nodes.u64(uint64(k))
		nodes.u8(1)
		nodes.u64(0)
		nodes.i32(0, 0, 0)
		nodes.text("Depends")
		nodes.u64(0)
		nodes.typ(graph.Bool)
	}
	for name, m := range map[string]*image{"functions": functions, "repeated": repeated, "constants": constants, "inputs": inputs, "claims": claims, "more": more, "nodes": nodes} {
		got := allocated(func() { Read(name, m.data) })
		t.Logf("%s: %.1f bytes a byte", name, float64(got)/float64(len(m.data)))
		if got > uint64(64*len(m.data)) {
			t.Errorf("%s: %d bytes allocated for %d", name, got, len(m.data))
		}
	}
}

func BenchmarkRead(b *testing.B) {
	data := goldens(b)["qwen3_moe-0.32.2.mlxfn"]
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read("", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	data := goldens(b)["qwen3_moe-0.32.2.mlxfn"]
	f := mustRead(b, "", data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(io.Discard, f); err != nil {
			b.Fatal(err)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

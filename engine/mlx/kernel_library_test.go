//go:build mlx

package mlx

import (
	"bytes"
	"context"
	"encoding/binary"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// natives are the kernels with a body in kernels/cpu.
func natives(t testing.TB, c *kernels.Catalog) []string {
	t.Helper()
	files, err := fs.Glob(kernels.NativeFiles(), "*.cpp")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if name := strings.TrimSuffix(path.Base(f), ".cpp"); c.Spec(name) != nil {
			out = append(out, name)
		}
	}
	if len(out) < 20 {
		t.Fatalf("%d native bodies: %v", len(out), out)
	}
	return out
}

func shipped(t testing.TB) *kernels.Catalog {
	t.Helper()
	c, issues := kernels.Load()
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	return c
}

// Native bodies against the reference, in float64 and with bounds, on operands that lie
// row by row, transposed, in the middle of others and as one row for all.
func TestNativeKernels(t *testing.T) {
	catalog := shipped(t)
	e := newEngineWith(t, catalog)
	cases, every := 60, 1
	switch {
	case os.Getenv("ZMLX_SOAK") != "":
		cases = 5000
	case testing.Short(): // for the race detector, which sees how they are called: in each layout
		cases, every = 4, 4
	case os.Getenv("ZMLX_CPU") != "": // TestNativeKernelsOnOlderCPUs; a third each
		cases = 20
	}
	for i, name := range natives(t, catalog) {
		if i%every > 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			cases := cases
			if strings.Contains(name, "sdpa") || strings.Contains(name, "mla") {
				cases /= 4 // a case has a thousand rows
			}
			s := catalog.Spec(name)
			r, err := kernelcheck.RunOn(context.Background(), e, s, kernelcheck.Options{Cases: cases})
			if err != nil {
				t.Fatal(err)
			}
			if r.Failure != nil {
				t.Error(r.Failure)
			}
			t.Logf("%d cases, error %.2g of a row's largest (MLX: %.2g)", r.Cases, r.KernelError.RMS(), r.StockError.RMS())
		})
	}
}

// The same as older processors compute it.
func TestNativeKernelsOnOlderCPUs(t *testing.T) {
	if testing.Short() {
		t.Skip("other C++ for the same calls, which the race detector does not see; not with -short")
	}
	for _, cpu := range []string{"avx2", "plain"} {
		t.Run(cpu, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^(TestNativeKernels|TestQuantizedRows|TestSwigluBits)$")
			cmd.Env = append(os.Environ(), "ZMLX_CPU="+cpu) // kernels/cpu/cpu.h
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A kernel between ops of MLX, all lazy, computed in the background: its operands are
// results of ops and views, its result is an operand.
func TestKernelInLazyGraph(t *testing.T) {
	k := libraryKernel(t, "qmv")
	onCPU(t, func(s *scope) error {
		const rows, n, dims, group = 3, 70, 256, 32
		q := quantization{mode: "affine", groupSize: group, bits: 4}
		r := rand.New(rand.NewPCG(1, 2))
		w, scales, biases := s.quantize(s.random(r, n, dims), q)
		// x: columns of a larger array, transposed, computed by ops.
		x := s.transpose(s.slice(s.multiply(s.random(r, dims, 2*rows), s.floats([]float32{0.5})), []int{0, rows}, []int{dims, 2 * rows}, nil), nil)
		// The matrix: the middle of a larger one.
		larger := func(a array) array {
			shape := a.shape()
			return s.slice(s.concatenate([]array{a, a, a}, 0), []int{n, 0}, []int{2 * n, shape[1]}, nil)
		}
		call := &hostCall{ints: []int64{rows, dims, n, dims / 8, dims / group, 4, group, 0}, workers: 2,
			types: []graph.DType{graph.Float32}, shapes: [][]int{{rows, n}}}
		var want, got []array
		for range 20 { // more than are sent to MLX's thread at a time
			y := s.callHost(k, []array{x, larger(w), larger(scales), larger(biases)}, call)[0]
			got = append(got, s.sum(s.multiply(y, y), []int{1}, false))
			y = s.quantizedMatmul(x, w, scales, biases, true, q)
			want = append(want, s.sum(s.multiply(y, y), []int{1}, false))
			x = s.add(x, s.floats([]float32{0.125}))
		}
		// One row of x for all, and a result that nobody waits for.
		one := s.broadcastTo(s.random(r, 1, dims), []int{rows, dims})
		got = append(got, s.callHost(k, []array{one, w, scales, biases}, call)[0])
		want = append(want, s.quantizedMatmul(one, w, scales, biases, true, q))
		if s.err != nil {
			return s.err
		}
		if err := asyncEval(got...); err != nil {
			return err
		}
		for i := range got {
			g, w := s.values(got[i]), s.values(want[i])
			for j := range w {
				if d := math.Abs(float64(g[j] - w[j])); d > 1e-4*math.Abs(float64(w[j]))+1e-4 || len(g) != len(w) {
					t.Errorf("call %d, element %d: %v, MLX has %v", i, j, g[j], w[j])
				}
			}
		}
		return s.err
	})
}

// Launches counts calls that were computed, whole, and nothing else.
func TestLaunches(t *testing.T) {
	k, e := libraryKernel(t, "gather_qmm_swiglu"), newEngineWith(t, shipped(t)).(*mlxEngine)
	onCPU(t, func(s *scope) error {
		const experts, n, dims = 4, 8, 64
		r := rand.New(rand.NewPCG(1, 2))
		w, scales, biases := s.quantize(s.random(r, experts, n, dims), quantization{mode: "affine", groupSize: 32, bits: 4})
		call := func(expert int) array {
			c := &hostCall{ints: []int64{1, 1, 1, dims, experts, n, dims / 8, dims / 32, 2, 4, 32, 0}, workers: 2,
				types: []graph.DType{graph.Float32}, shapes: [][]int{{1, 1, 2, 1, n}}}
			return s.callHost(k, []array{s.random(r, 1, 1, 1, 1, dims), w, scales, biases, w, scales, biases, s.ints32([]int{1, 1, 2}, 3, expert)}, c)[0]
		}
		before := e.Launches()["gather_qmm_swiglu"]
		a, b, never, bad := call(0), call(1), call(2), call(experts)
		if s.err != nil {
			return s.err
		}
		if err := eval(s.add(a, b)); err != nil {
			return err
		}
		if err := eval(bad); err == nil {
			t.Error("an expert that is not there")
		}
		if got := e.Launches()["gather_qmm_swiglu"] - before; got != 2 {
			t.Errorf("%d launches of two calls that were computed, one that was not, and one that failed", got)
		}
		return eval(never)
	})
}

// What goes wrong in MLX's thread is an error of whoever waits, and MLX goes on.
func TestKernelFails(t *testing.T) {
	k := libraryKernel(t, "gather_qmm_swiglu")
	onCPU(t, func(s *scope) error {
		const experts, n, dims = 4, 8, 64
		q := quantization{mode: "affine", groupSize: 32, bits: 4}
		r := rand.New(rand.NewPCG(1, 2))
		w, scales, biases := s.quantize(s.random(r, experts, n, dims), q)
		call := func(expert int) array {
			c := &hostCall{ints: []int64{1, 1, 1, dims, experts, n, dims / 8, dims / 32, 2, 4, 32, 0}, workers: 2,
				types: []graph.DType{graph.Float32}, shapes: [][]int{{1, 1, 2, 1, n}}}
			return s.callHost(k, []array{s.random(r, 1, 1, 1, 1, dims), w, scales, biases, w, scales, biases, s.ints32([]int{1, 1, 2}, 3, expert)}, c)[0]
		}
		good, bad := call(2), call(experts)
		if s.err != nil {
			return s.err
		}
		err := eval(bad)
		if err == nil || !strings.Contains(err.Error(), "choice 1 is expert 4 of 4") {
			t.Errorf("an expert that is not there: %v", err)
		}
		if err := eval(good); err != nil {
			t.Errorf("after a failure: %v", err)
		}
		// Element types that the kernel does not have.
		bad = s.callHost(k, []array{s.astype(s.random(r, 1, 1, 1, 1, dims), graph.Int32), w, scales, biases, w, scales, biases, s.ints32([]int{1, 1, 2}, 0, 1)},
			&hostCall{ints: []int64{1, 1, 1, dims, experts, n, dims / 8, dims / 32, 2, 4, 32, 0}, types: []graph.DType{graph.Float32}, shapes: [][]int{{1, 1, 2, 1, n}}})[0]
		if err := eval(bad); err == nil || !strings.Contains(err.Error(), "element types") {
			t.Errorf("integers as x: %v", err)
		}
		return s.err
	})
}

// The library was built from the specs that this binary has.
func TestLibraryIsCurrent(t *testing.T) {
	catalog := shipped(t)
	all, err := hostLibrary()
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if _, err := hostKernelOf(catalog.Spec(name)); err != nil {
			t.Error(err)
		}
	}
}

func TestLibraryIsMissing(t *testing.T) {
	_, err := openLibrary(filepath.Join(t.TempDir(), "none.so"))
	if err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("a missing library: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.so")
	writeFile(t, other, []byte("no library"))
	if _, err = openLibrary(other); err == nil || !strings.Contains(err.Error(), "cannot be loaded") {
		t.Errorf("a file that is no library: %v", err)
	}
}

func libraryKernel(t testing.TB, name string) hostKernel {
	t.Helper()
	k, err := hostKernelOf(shipped(t).Spec(name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEngineWith(t testing.TB, c *kernels.Catalog) engine.Engine {
	t.Helper()
	e, err := New("cpu", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// random makes an array of normal numbers.
func (s *scope) random(r *rand.Rand, shape ...int) array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return s.floats(v, shape...)
}

// values computes an array of float32.
func (s *scope) values(a array) []float32 {
	b := s.bytes(a)
	v := make([]float32, len(b)/4)
	_ = binary.Read(bytes.NewReader(b), binary.LittleEndian, v)
	return v
}

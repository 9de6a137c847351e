//go:build mlx

package mlx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// onCPU runs f on the MLX thread with a fresh scope of the CPU and checks that it
// leaves no handle behind. f returns what is wrong; it must not end the test itself.
func onCPU(t testing.TB, f func(s *scope) error) {
	t.Helper()
	err := do(func() error {
		st, err := openStream("cpu")
		if err != nil {
			return err
		}
		before := liveArrays()
		s := newScope(st)
		err = f(s)
		s.free()
		if n := liveArrays() - before; n != 0 && err == nil {
			err = fmt.Errorf("%d handles left", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func (s *scope) floats(v []float32, shape ...int) array {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return s.fromBytes(b, shape, graph.Float32)
}

func (s *scope) float32s(a array) []float32 {
	b := s.bytes(s.astype(a, graph.Float32))
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func TestSelfTest(t *testing.T) {
	sum, err := SelfTest("cpu")
	if err != nil {
		t.Fatal(err)
	}
	if sum != "21056e9281cb95d1" { // numpy gives the same
		t.Errorf("checksum %s", sum)
	}
}

func TestProbe(t *testing.T) {
	info, err := Probe("cpu")
	if err != nil {
		t.Fatal(err)
	}
	if info.Device != "cpu:0" || info.Version == "" || info.MemoryLimit == 0 {
		t.Errorf("%+v", info)
	}
	var is *diag.Issue
	if _, err := Probe("tpu"); !errors.As(err, &is) || is.Code != "mlx/device" {
		t.Errorf("unknown device: %v", err)
	}
}

func TestBytesThereAndBack(t *testing.T) {
	onCPU(t, func(s *scope) error {
		for _, dt := range graph.DTypes() {
			for _, shape := range [][]int{nil, {0}, {2, 0, 3}, {5}, {2, 3, 4}} {
				n := dt.Size()
				for _, d := range shape {
					n *= d
				}
				data := make([]byte, n)
				for i := range data {
					data[i] = byte(i) & 1 // also good booleans
				}
				a := s.fromBytes(data, shape, dt)
				got := s.bytes(a)
				if s.err != nil {
					return s.err
				}
				if !slices.Equal(got, data) || a.dtype() != dt || !slices.Equal(a.shape(), shape) || a.nbytes() != n {
					return fmt.Errorf("%s%v: got %s%v, % x", dt, shape, a.dtype(), a.shape(), got)
				}
			}
		}
		return nil
	})
}

// A transposed, sliced or spread array is copied out in the order of its own rows.
func TestBytesOfAView(t *testing.T) {
	onCPU(t, func(s *scope) error {
		a := s.reshape(s.arange(0, 6, 1, graph.Int32), []int{2, 3})
		for _, test := range []struct {
			name          string
			view          array
			strides, want []int
		}{
			{"transposed and sliced", s.slice(s.transpose(a, nil), []int{1, 0}, []int{3, 2}, nil), []int{1, 3}, []int{1, 4, 2, 5}},
			{"last row", s.slice(a, []int{1, 0}, []int{2, 3}, nil), nil, []int{3, 4, 5}},
			{"last column", s.slice(a, []int{0, 2}, []int{2, 3}, nil), nil, []int{2, 5}},
			{"backwards", s.slice(a, []int{1, 2}, []int{-3, -4}, []int{-1, -1}), nil, []int{5, 4, 3, 2, 1, 0}},
			{"spread", s.broadcastTo(s.slice(a, []int{1, 1}, []int{2, 2}, nil), []int{2, 2}), nil, []int{4, 4, 4, 4}},
			{"axes of length 1 moved", s.transpose(s.reshape(a, []int{1, 6, 1}), []int{2, 0, 1}), nil, []int{0, 1, 2, 3, 4, 5}},
		} {
			var want []byte
			for _, v := range test.want {
				want = graph.AppendElem(want, graph.Int32, float64(v))
			}
			got := s.bytes(test.view)
			if s.err != nil {
				return fmt.Errorf("%s: %w", test.name, s.err)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s: got % x", test.name, got)
			}
			if st := test.view.strides(); test.strides != nil && !slices.Equal(st, test.strides) {
				return fmt.Errorf("%s: strides %v", test.name, st)
			}
		}
		return nil
	})
}

func TestErrors(t *testing.T) {
	huge := math.MaxInt32
	for _, test := range []struct {
		name string
		run  func(s *scope)
		want string
	}{
		{"shapes", func(s *scope) { s.matmul(s.zeros([]int{2, 3}, graph.Float32), s.zeros([]int{2, 3}, graph.Float32)) }, "matmul: "},
		{"broadcast", func(s *scope) { s.add(s.zeros([]int{2}, graph.Float32), s.zeros([]int{3}, graph.Float32)) }, "add: "},
		{"no array", func(s *scope) { s.abs(array{}) }, "abs: "},
		{"no array in a list", func(s *scope) { s.concatenate([]array{{}}, 0) }, "concatenate: "},
		{"empty list", func(s *scope) { s.concatenate(nil, 0) }, "concatenate: "},
		{"axis", func(s *scope) { s.softmax(s.zeros([]int{2}, graph.Float32), []int{7}, false) }, "softmax: "},
		{"reshape", func(s *scope) { s.reshape(s.zeros([]int{2, 3}, graph.Float32), []int{4}) }, "reshape: "},
		{"norm", func(s *scope) {
			s.rmsNorm(s.zeros([]int{2, 4}, graph.Float32), s.zeros([]int{3}, graph.Float32), 1e-5)
		}, "rms_norm: "},
		{"data", func(s *scope) { s.fromBytes(make([]byte, 7), []int{2}, graph.Float32) }, "takes 8 bytes, not 7"},
		{"negative dim", func(s *scope) { s.fromBytes(nil, []int{-1}, graph.Float32) }, "cannot hold"},
		{"wide dim", func(s *scope) { s.zeros([]int{1 << 40}, graph.Float32) }, "32-bit"},
		{"overflow", func(s *scope) { s.zeros([]int{huge, huge, huge, huge}, graph.Float32) }, "more than"},
		{"too large", func(s *scope) { s.zeros([]int{1 << 20, 1 << 20}, graph.Float32) }, "more than"},
		{"mode", func(s *scope) { s.quantize(s.zeros([]int{64, 64}, graph.Float32), quantization{mode: "%n%n"}) }, `unknown mode "%n%n"`},
		{"bits", func(s *scope) {
			s.quantize(s.zeros([]int{64, 64}, graph.Float32), quantization{mode: "affine", bits: 77})
		}, "quantize: "},
		{"split", func(s *scope) { s.split(s.zeros([]int{7}, graph.Float32), 2, 0) }, "split: "},
		{"slice", func(s *scope) { s.slice(s.zeros([]int{7}, graph.Float32), []int{1}, []int{2, 3}, nil) }, "differ in length"},
		{"strided", func(s *scope) { s.asStrided(s.zeros([]int{7}, graph.Float32), []int{4}, []int{2}, 1) }, "elements 1 to 7"},
		{"strided back", func(s *scope) { s.asStrided(s.zeros([]int{7}, graph.Float32), []int{4}, []int{-1}, 2) }, "elements -1 to 2"},
		{"strided far", func(s *scope) {
			s.asStrided(s.zeros([]int{7}, graph.Float32), []int{3, 3}, []int{math.MaxInt, math.MaxInt}, 0)
		}, "out of range"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onCPU(t, func(s *scope) error {
				test.run(s)
				var is *diag.Issue
				if !errors.As(s.err, &is) || is.Code != "mlx/op" || !strings.Contains(is.Message, test.want) {
					return fmt.Errorf("got %v, want %q", s.err, test.want)
				}
				if strings.Contains(is.Message, ".cpp:") {
					return fmt.Errorf("a path of the build is shown: %v", s.err)
				}
				// The first error stays, and what follows does no harm.
				first := s.err
				if a := s.exp(s.add(array{}, array{})); a.ok() || s.err != first {
					return fmt.Errorf("after the error: %v", s.err)
				}
				return nil
			})
			// The thread goes on.
			onCPU(t, func(s *scope) error {
				if got := s.itemInt(s.sum(s.arange(0, 10, 1, graph.Int32), nil, false)); got != 45 {
					return fmt.Errorf("sum after an error is %d (%v)", got, s.err)
				}
				return s.err
			})
		})
	}
}

func TestWrongThread(t *testing.T) {
	var s *scope
	var a array
	err := do(func() error {
		st, err := openStream("cpu")
		s = newScope(st)
		a = s.keep(s.arange(0, 4, 1, graph.Float32))
		s.free()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer do(func() error { a.release(); return nil })

	code := func(err error) string {
		var is *diag.Issue
		errors.As(err, &is)
		if is == nil {
			return ""
		}
		return is.Code
	}
	if b := s.exp(a); b.ok() || code(s.err) != "mlx/thread" {
		t.Errorf("exp: %v", s.err)
	}
	if err := eval(a); code(err) != "mlx/thread" {
		t.Errorf("eval: %v", err)
	}
	if _, err := openStream("cpu"); code(err) != "mlx/thread" {
		t.Errorf("openStream: %v", err)
	}
	if _, err := importFunction("none.mlxfn"); code(err) != "mlx/thread" {
		t.Errorf("importFunction: %v", err)
	}
	s = newScope(s.stream)
	if l := s.split(a, 2, 0); l[0].ok() || code(s.err) != "mlx/thread" {
		t.Errorf("split: %v", s.err)
	}
	freed := false
	s = newScope(s.stream)
	if b := s.adopt(unsafe.Pointer(new([4]byte)), 4, []int{1}, graph.Float32, func() { freed = true }); b.ok() || !freed || code(s.err) != "mlx/thread" {
		t.Errorf("adopt: %v, freed %v", s.err, freed)
	}
}

func TestThread(t *testing.T) {
	// From many goroutines, and from within.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				onCPU(t, func(s *scope) error {
					got := 0
					err := do(func() error {
						got = s.itemInt(s.arange(float64(i), float64(i)+1, 1, graph.Int32))
						return nil
					})
					if s.err == nil && got != i {
						return fmt.Errorf("got %d, want %d", got, i)
					}
					return errors.Join(err, s.err)
				})
				runtime.Gosched()
			}
		})
	}
	wg.Wait()

	defer func() {
		if recover() != "a bug" {
			t.Error("a panic did not reach the caller")
		}
		onCPU(t, func(s *scope) error { return eval(s.zeros([]int{1}, graph.Float32)) })
	}()
	_ = do(func() error { panic("a bug") })
}

func TestAdopt(t *testing.T) {
	var freed atomic.Int32
	mem := pages(t, 4*1024)
	for i := range 1024 {
		binary.LittleEndian.PutUint32(mem[4*i:], math.Float32bits(float32(i)))
	}
	onCPU(t, func(s *scope) error {
		a := s.adopt(unsafe.Pointer(&mem[0]), len(mem), []int{32, 32}, graph.Float32, func() { freed.Add(1) })
		if got := s.itemFloat(s.sum(a, nil, false)); got != 1023*1024/2 {
			return fmt.Errorf("sum %v, %v", got, s.err)
		}
		return s.err
	})
	if freed.Load() != 1 {
		t.Errorf("freed %d times", freed.Load())
	}
	onCPU(t, func(s *scope) error {
		s.adopt(unsafe.Pointer(&mem[0]), len(mem), []int{32, 33}, graph.Float32, func() { freed.Add(1) })
		if s.err == nil {
			return errors.New("a wrong length was taken")
		}
		return nil
	})
	if freed.Load() != 2 {
		t.Errorf("after a failure: freed %d times", freed.Load())
	}
}

// What the package comment of scope.go promises: with the scope freed and the old
// handle gone, an update happens in place.
func TestUpdateInPlace(t *testing.T) {
	const n = 1 << 20
	onCPU(t, func(s *scope) error {
		cache := s.keep(s.zeros([]int{n, 4}, graph.Float32))
		s.free()
		if err := eval(cache); err != nil {
			return err
		}
		start := func(held bool) (uint64, error) {
			if err := resetPeak(); err != nil {
				return 0, err
			}
			before, _ := memoryUse()
			next := s.keep(s.sliceUpdate(cache, s.full([]int{1, 4}, s.arange(1, 2, 1, graph.Float32), graph.Float32), []int{5, 0}, []int{6, 4}, nil))
			s.free()
			var extra array
			if held {
				extra = s.keep(cache)
			}
			cache.release()
			cache = next
			err := eval(cache)
			extra.release()
			after, _ := memoryUse()
			return max(after.peak, before.active) - before.active, err
		}
		for _, held := range []bool{false, true} {
			grew, err := start(held)
			if err != nil {
				return err
			}
			if copied := grew >= n*16; copied != held {
				return fmt.Errorf("held %v: %d bytes more at the peak", held, grew)
			}
		}
		got := s.itemFloat(s.sum(cache, nil, false))
		cache.release()
		if got != 4 {
			return fmt.Errorf("sum %v, %v", got, s.err)
		}
		return s.err
	})
}

func TestNoLeak(t *testing.T) {
	onCPU(t, func(s *scope) error {
		var first memory
		for i := range 10_000 {
			x := s.reshape(s.arange(0, 256, 1, graph.Float32), []int{4, 64})
			q := quantization{mode: "affine", groupSize: 64, bits: 4}
			w, sc, b := s.quantize(x, q)
			y := s.quantizedMatmul(x, w, sc, b, true, q)
			parts := s.split(s.rmsNorm(y, array{}, 1e-5), 2, -1)
			z := s.keep(s.concatenate(parts, 0))
			s.matmul(y, s.zeros([]int{5, 5}, graph.Float32)) // fails each time
			if s.err == nil {
				return errors.New("a wrong product was taken")
			}
			s.err = nil
			s.free()
			err := eval(z)
			z.release()
			if err != nil {
				return err
			}
			if n := liveArrays(); n != 0 && i == 0 {
				return fmt.Errorf("%d handles left after a step", n)
			}
			if i == 100 {
				first, _ = memoryUse()
			}
		}
		last, err := memoryUse()
		if last.active > first.active {
			return fmt.Errorf("active memory grew from %d to %d bytes", first.active, last.active)
		}
		return err
	})
}

func TestImportRefusals(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.mlxfn")
	percent := filepath.Join(dir, "%n%n.mlxfn")
	for _, p := range []string{bad, percent} {
		writeFile(t, p, []byte("not a function"))
	}
	for _, path := range []string{filepath.Join(dir, "none.mlxfn"), bad, percent} {
		onCPU(t, func(s *scope) error {
			f, err := importFunction(path)
			f.release()
			if err == nil {
				return fmt.Errorf("%s was taken", path)
			}
			return nil
		})
	}
}

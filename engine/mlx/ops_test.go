//go:build mlx

package mlx

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// ramp is the function of the same name in testdata/ops.py.
func (s *scope) ramp(shape []int, mod, offset int, scale float32) array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%mod-offset) * scale
	}
	return s.floats(v, shape...)
}

func (s *scope) ints32(shape []int, v ...int) array {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return s.fromBytes(b, shape, graph.Int32)
}

// calls makes the calls of testdata/ops.py, under the same names.
func calls(s *scope) map[string]array {
	const f32, i32, u32 = graph.Float32, graph.Int32, graph.Uint32
	x := s.ramp([]int{2, 3, 4}, 11, 5, 0.25)
	y := s.ramp([]int{3, 4}, 7, 2, 0.5)
	p := s.ramp([]int{2, 3, 4}, 5, -1, 0.125)
	g := s.ramp([]int{2, 3, 4}, 5, -9, 0.125)
	i := s.astype(s.ramp([]int{2, 3}, 7, 2, 1), i32)
	j := s.astype(s.ramp([]int{2, 3}, 5, -1, 1), i32)
	number := func(v ...float32) array { return s.floats(v, len(v)) }
	scalar := func(v float32) array { return s.floats([]float32{v}) }
	c := s.greater(y, scalar(0))
	idx := s.ints32([]int{2}, 2, 0)
	along := s.ints32([]int{2, 1, 4}, 1, 0, 2, 1, 0, 2, 1, 0)
	wild := number(float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0)
	w := s.ramp([]int{32, 64}, 16, 8, 0.25)
	v := s.ramp([]int{3, 64}, 9, 4, 0.5)
	w3 := s.ramp([]int{4, 32, 64}, 16, 8, 0.25)
	q := s.ramp([]int{1, 4, 3, 8}, 13, 6, 0.25)
	k := s.ramp([]int{1, 2, 5, 8}, 11, 5, 0.25)
	kv := s.ramp([]int{1, 2, 5, 8}, 7, 3, 0.5)
	a4 := quantization{mode: "affine", groupSize: 32, bits: 4}
	m4 := quantization{mode: "mxfp4", groupSize: 32, bits: 4}
	wq, ws, wb := s.quantize(w, a4)
	eq, es, eb := s.quantize(w3, a4)
	mq, ms, mb := s.quantize(w, m4)
	pick := s.astype(s.ints32([]int{3, 1}, 3, 1, 1), u32)
	start := s.ints32([]int{1}, 1)
	none := array{}
	nines := s.full([]int{2, 1, 4}, scalar(9), f32)
	eights := s.floats([]float32{8, 9}, 1, 2)
	row := func(a array) array { return s.slice(a, []int{0, 0}, []int{1, a.shape()[1]}, nil) }
	rows := func(a array) array { return s.slice(a, []int{0, 0}, []int{2, a.shape()[1]}, nil) }
	// head takes the first n of the last axis, tail all from n on.
	head := func(a array, n int) array {
		sh := a.shape()
		sh[len(sh)-1] = n
		return s.slice(a, make([]int, len(sh)), sh, nil)
	}
	tail := func(a array, n int) array {
		sh := a.shape()
		at := make([]int, len(sh))
		at[len(sh)-1] = n
		return s.slice(a, at, sh, nil)
	}
	quotient, rest := s.divmod(i, j)
	bf16 := func(a array) array { return s.astype(a, graph.BFloat16) }
	cplx := s.astype(x, graph.Complex64)
	wide := s.expandDims(y, []int{0, -1})
	vs := s.expandDims(v, []int{1})
	v4 := s.expandDims(v, []int{1, 2})

	m := map[string]array{
		"abs": s.abs(x), "arctan": s.arctan(x), "arcsinh": s.arcsinh(x), "arccos": s.arccos(p), "arcsin": s.arcsin(p),
		"arctanh": s.arctanh(p), "arccosh": s.arccosh(g), "bitwise_invert": s.bitwiseInvert(i), "ceil": s.ceil(x),
		"cos": s.cos(x), "cosh": s.cosh(x), "degrees": s.degrees(x), "erf": s.erf(x), "erfinv": s.erfinv(p),
		"exp": s.exp(x), "expm1": s.expm1(x), "floor": s.floor(x), "isfinite": s.isfinite(wild), "isinf": s.isinf(wild),
		"isnan": s.isnan(wild), "isneginf": s.isneginf(wild), "isposinf": s.isposinf(wild), "log": s.log(p),
		"log10": s.log10(p), "log1p": s.log1p(p), "log2": s.log2(p), "logical_not": s.logicalNot(c),
		"negative": s.negative(x), "radians": s.radians(x), "reciprocal": s.reciprocal(p), "rsqrt": s.rsqrt(p),
		"sigmoid": s.sigmoid(x), "sign": s.sign(x), "sin": s.sin(x), "sinh": s.sinh(x), "sqrt": s.sqrt(p),
		"square": s.square(x), "stop_gradient": s.stopGradient(x), "tan": s.tan(x), "tanh": s.tanh(x),
		"copy": s.copyOf(x), "trunc": s.trunc(x),

		"add": s.add(x, y), "arctan2": s.arctan2(x, y), "divide": s.divide(x, y), "equal": s.equal(x, y),
		"greater": s.greater(x, y), "greater_equal": s.greaterEqual(x, y), "less": s.less(x, y),
		"less_equal": s.lessEqual(x, y), "logaddexp": s.logaddexp(x, y), "logical_and": s.logicalAnd(x, y),
		"logical_or": s.logicalOr(x, y), "logical_xor": s.logicalXor(x, y), "maximum": s.maximum(x, y),
		"minimum": s.minimum(x, y), "multiply": s.multiply(x, y), "not_equal": s.notEqual(x, y),
		"subtract": s.subtract(x, y), "bitwise_and": s.bitwiseAnd(i, j), "bitwise_or": s.bitwiseOr(i, j),
		"bitwise_xor": s.bitwiseXor(i, j), "floor_divide": s.floorDivide(i, j), "remainder": s.remainder(i, j),
		"left_shift": s.leftShift(i, j), "right_shift": s.rightShift(i, j), "power": s.power(p, y),
		"divmod.0": quotient, "divmod.1": rest,

		"conjugate": s.conjugate(cplx), "real": s.realPart(cplx), "imag": s.imagPart(cplx),
		"round": s.round(x, 1), "clip": s.clip(x, scalar(-0.5), scalar(0.75)), "clip.low": s.clip(x, scalar(-0.5), none),
		"where": s.where(c, x, y), "astype": s.astype(x, i32), "astype.bf16": bf16(s.multiply(x, scalar(1.01))),
		"view": s.view(y, u32), "to_fp8": s.toFP8(x), "from_fp8": s.fromFP8(s.toFP8(x), graph.BFloat16),

		"arange": s.arange(3, 20, 5, i32), "zeros": s.zeros([]int{2, 0, 3}, graph.Float16),
		"full": s.full([]int{2, 4}, s.ints32([]int{4}, 1, 2, 3, 4), i32), "tri": s.tri(3, 4, 1, f32),
		"tril": s.tril(y, -1), "triu": s.triu(y, 1), "eye": s.eye(2, 3, 1, i32),
		"reshape": s.reshape(x, []int{4, -1}), "broadcast_to": s.broadcastTo(y, []int{2, 3, 4}),
		"transpose": s.transpose(x, nil), "transpose.axes": s.transpose(x, []int{1, 2, 0}),
		"swapaxes": s.swapaxes(x, 0, 2), "moveaxis": s.moveaxis(x, 0, 2), "expand_dims": wide,
		"squeeze": s.squeeze(wide, nil), "squeeze.axes": s.squeeze(wide, []int{0}), "flatten": s.flatten(x, 1, 2),
		"unflatten": s.unflatten(y, 1, []int{2, 2}), "as_strided": s.asStrided(y, []int{2, 3}, []int{5, 1}, 3),
		"contiguous": s.contiguous(s.transpose(x, []int{2, 0, 1})), "repeat": s.repeat(y, 2, 1),
		"tile": s.tile(y, []int{2, 1}), "roll": s.roll(x, []int{1, -1}, []int{0, 2}),
		"pad":         s.pad(y, []int{0, 1}, []int{1, 0}, []int{0, 2}, scalar(7), "constant"),
		"pad.edge":    s.pad(y, []int{0, 1}, []int{1, 0}, []int{0, 2}, scalar(0), "edge"),
		"concatenate": s.concatenate([]array{x, s.add(x, scalar(1))}, 1), "stack": s.stack([]array{y, s.add(y, scalar(1))}, 1),
		"split.1": s.split(x, 2, 2)[1], "split.at.1": s.splitAt(x, []int{1, 3}, 2)[1],

		"sum.none": s.sum(x, []int{}, false), "var": s.variance(x, []int{1}, true, 1),
		"softmax": s.softmax(x, []int{-1}, false), "softmax.axes": s.softmax(x, []int{0, 2}, false),
		"softmax.all": s.softmax(x, nil, false), "softmax.precise": s.softmax(bf16(x), []int{-1}, true),
		"argmax": s.argmax(x, 1, true), "argmin": s.argmin(x, 2, false), "argmax.all": s.argmaxAll(x, false),
		"argmin.all": s.argminAll(x, true), "cumsum": s.cumsum(x, 1, true, false), "cumprod": s.cumprod(x, 1, false, true),
		"cummax": s.cummax(x, 2, true, true), "cummin": s.cummin(x, 2, false, true),
		"logcumsumexp": s.logcumsumexp(x, 2, false, true), "sort": s.sort(x, 1), "argsort": s.argsort(x, 2),
		"partition":    s.sort(tail(s.partition(x, 2, 2), 2), -1),
		"argpartition": s.sum(s.astype(s.argpartition(x, 1, 1), f32), []int{1}, false),
		"topk":         s.sort(s.topk(x, 2, 1), 1),

		"take": s.take(y, s.ints32([]int{2}, 7, 1)), "take.axis": s.takeAxis(y, idx, 0),
		"take_along_axis": s.takeAlongAxis(x, along, 1), "put_along_axis": s.putAlongAxis(x, along, nines, 1),
		"scatter_add_axis":     s.scatterAddAxis(x, along, nines, 1),
		"gather":               s.gather(y, []array{idx}, []int{0}, []int{1, 2}),
		"slice":                s.slice(y, []int{2, 1}, []int{0, 4}, []int{-1, 2}),
		"slice_update":         s.sliceUpdate(y, eights, []int{1, 2}, []int{2, 4}, nil),
		"slice.dynamic":        s.sliceDynamic(y, start, []int{0}, []int{2, 4}),
		"slice_update.dynamic": s.sliceUpdateDynamic(y, eights, s.ints32([]int{2}, 1, 2), []int{0, 1}),

		"matmul": s.matmul(x, s.transpose(y, nil)), "inner": s.inner(x, y), "outer": s.outer(y, s.astype(idx, f32)),
		"addmm":      s.addmm(number(1, 2, 3), x, s.transpose(y, nil), 0.5, 2),
		"gather_mm":  head(s.gatherMM(vs, s.swapaxes(w3, -1, -2), none, s.astype(s.ints32([]int{3}, 1, 1, 3), u32), true), 4),
		"quantize.0": rows(wq), "quantize.1": rows(ws), "quantize.2": rows(wb),
		"quantize.mxfp4.0": rows(mq), "quantize.mxfp4.1": rows(ms),
		"dequantize":             row(s.dequantize(wq, ws, wb, a4, graph.NoDType)),
		"dequantize.mxfp4":       row(s.dequantize(mq, ms, mb, m4, f32)),
		"quantized_matmul":       s.quantizedMatmul(v, wq, ws, wb, true, a4),
		"quantized_matmul.plain": head(s.quantizedMatmul(head(v, 32), wq, ws, wb, false, a4), 8),
		"quantized_matmul.mxfp4": head(s.quantizedMatmul(v, mq, ms, none, true, m4), 8),
		"gather_qmm":             head(s.gatherQMM(v4, eq, es, eb, none, pick, true, false, a4), 4),
		"gather_qmm.sorted":      head(s.gatherQMM(v4, eq, es, eb, none, s.sort(pick, 0), true, true, a4), 4),
		"conv1d":                 s.conv1d(s.ramp([]int{1, 6, 4}, 7, 3, 0.5), s.ramp([]int{4, 2, 2}, 5, 2, 0.5), 2, 1, 2, 2),

		"rms_norm": s.rmsNorm(x, s.ramp([]int{4}, 4, -1, 0.5), 1e-2), "rms_norm.plain": s.rmsNorm(x, none, 1e-2),
		"layer_norm":       s.layerNorm(x, s.ramp([]int{4}, 4, -1, 0.5), s.ramp([]int{4}, 4, 0, 1), 1e-2),
		"rope":             s.rope(q, ropeArgs{dims: 6, base: 100, scale: 0.5, offset: 3}),
		"rope.traditional": s.rope(q, ropeArgs{dims: 8, traditional: true, base: 100, scale: 1}),
		"rope.at":          s.rope(q, ropeArgs{dims: 6, base: 100, scale: 0.5, at: s.ints32([]int{1}, 3)}),
		"rope.freqs":       s.rope(q, ropeArgs{dims: 8, scale: 1, offset: 2, freqs: s.ramp([]int{4}, 4, -1, 2)}),
		"sdpa":             s.sdpa(q, k, kv, 0.35, "", none, none),
		"sdpa.causal":      s.sdpa(q, k, kv, 0.35, "causal", none, none),
		"sdpa.array":       s.sdpa(q, k, kv, 0.35, "array", s.ramp([]int{3, 5}, 4, 1, 0.5), none),
		"sdpa.bool":        s.sdpa(q, k, kv, 0.35, "array", s.greaterEqual(s.ramp([]int{3, 5}, 4, 1, 0.5), scalar(0)), none),
		"sdpa.sinks":       s.sdpa(q, k, kv, 0.35, "", none, s.ramp([]int{4}, 4, 1, 0.5)),
	}
	for name, reduce := range map[string]func(array, []int, bool) array{
		"all": s.all, "any": s.any, "logsumexp": s.logsumexp, "max": s.max, "mean": s.mean, "min": s.min, "prod": s.prod, "sum": s.sum,
	} {
		m[name] = reduce(x, []int{0, 2}, true)
		m[name+".all"] = reduce(x, nil, false)
	}
	return m
}

// Every bound operation against MLX's Python binding: same types, shapes and values.
// Values may differ in their last bits, since the two may run on another C library
// than the one that the golden file was made with.
func TestOpsAgainstPython(t *testing.T) {
	want := map[string][]string{}
	f, err := os.Open("testdata/ops.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		want[fields[0]] = fields[1:]
	}

	type result struct {
		kind   string
		values []float64
	}
	got := map[string]result{}
	onCPU(t, func(s *scope) error {
		for name, a := range calls(s) {
			kind := fmt.Sprint(a.dtype(), strings.ReplaceAll(fmt.Sprint(a.shape()), " ", ","))
			got[name] = result{kind, s.numbers(a)}
			if s.err != nil {
				return fmt.Errorf("%s: %w", name, s.err)
			}
		}
		return nil
	})
	for _, name := range slices.Sorted(maps.Keys(want)) {
		r, called := got[name]
		if !called {
			t.Errorf("%s: not called", name)
			continue
		}
		delete(got, name)
		if r.kind != want[name][0] || len(r.values) != len(want[name])-1 {
			t.Errorf("%s: got %s, want %s", name, r.kind, want[name][0])
			continue
		}
		for at, text := range want[name][1:] {
			w, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			g := r.values[at]
			if g != w && !(math.IsNaN(g) && math.IsNaN(w)) && !(math.Abs(g-w) <= 1e-5*(1+math.Abs(w))) {
				t.Errorf("%s: element %d is %v, want %v", name, at, g, w)
				break
			}
		}
	}
	for name := range got {
		t.Errorf("%s: not in testdata/ops.golden", name)
	}
}

func TestImported(t *testing.T) {
	onCPU(t, func(s *scope) error {
		f, err := importFunction("testdata/pair.mlxfn")
		if err != nil {
			return err
		}
		defer f.release()
		x := s.floats([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3, 3)
		bias := s.floats([]float32{0.5})
		r := s.apply(f, []array{x}, map[string]array{"bias": bias})
		if s.err != nil {
			return s.err
		}
		if len(r) != 2 {
			return fmt.Errorf("%d results", len(r))
		}
		if got, want := s.float32s(r[0]), []float32{30, 36, 42, 66, 81, 96, 102, 126, 150}; !slices.Equal(got, want) {
			return fmt.Errorf("x @ x is %v", got)
		}
		if got, want := s.float32s(r[1]), []float32{1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5}; !slices.Equal(got, want) {
			return fmt.Errorf("x + bias is %v", got)
		}
		for name, wrong := range map[string]func() []array{
			"no bias":  func() []array { return s.apply(f, []array{x}, nil) },
			"bad name": func() []array { return s.apply(f, []array{x}, map[string]array{"%s%n": bias}) },
			"bad shape": func() []array {
				return s.apply(f, []array{s.zeros([]int{4}, graph.Float32)}, map[string]array{"bias": bias})
			},
			"no array": func() []array { return s.apply(f, []array{{}}, map[string]array{"bias": bias}) },
			"released": func() []array { return s.apply(imported{}, []array{x}, map[string]array{"bias": bias}) },
		} {
			if wrong(); s.err == nil {
				return fmt.Errorf("%s: taken", name)
			}
			s.err = nil
		}
		return nil
	})
}

// numbers reads any array; a complex number gives two.
func (s *scope) numbers(a array) []float64 {
	switch t := a.dtype(); {
	case t == graph.Complex64:
		a = s.view(s.contiguous(a), graph.Float32)
	case t.IsFloat() || t == graph.Bool:
		a = s.astype(a, graph.Float32)
	default: // float32 would lose bits of packed weights
		b := s.bytes(s.astype(a, graph.Int64))
		v := make([]float64, len(b)/8)
		for i := range v {
			v[i] = float64(int64(binary.LittleEndian.Uint64(b[8*i:])))
		}
		return v
	}
	f := s.float32s(a)
	v := make([]float64, len(f))
	for i := range v {
		v[i] = float64(f[i])
	}
	return v
}

// What one operation costs before it is evaluated: the call, the graph node, the
// handle and its release.
func BenchmarkOp(b *testing.B) {
	err := do(func() error {
		st, err := openStream("cpu")
		if err != nil {
			return err
		}
		s := newScope(st)
		x := s.keep(s.zeros([]int{1, 1, 576}, graph.Float32))
		defer x.release()
		w := s.keep(s.zeros([]int{576}, graph.Float32))
		defer w.release()
		b.ReportAllocs()
		for b.Loop() {
			y := x
			for range 25 {
				y = s.rmsNorm(y, w, 1e-5)
				y = s.add(y, x)
				y = s.reshape(y, []int{1, 576, 1})
				y = s.transpose(y, []int{0, 2, 1})
			}
			s.free()
		}
		return s.err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/mlx-op")
}

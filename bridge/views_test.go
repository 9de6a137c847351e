package bridge

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// TestViews: what is left of the views of a graph. All values are the same, bit for bit.
func TestViews(t *testing.T) {
	for _, c := range []struct {
		name, text string
		views      string // that are left, by op
	}{
		{"heads of one token", `
  input x : float32[1, 4, 1, 8]
  a = transpose(x, axes=[0, 2, 1, 3]) : float32[1, 1, 4, 8]
  b = reshape(a, shape=[1, 1, 32]) : float32[1, 1, 32]
  c = negative(b) : float32[1, 1, 32]
  output c = c
`, "reshape"},
		{"heads of two sequences, of one token each", `
  input x : float32[2, 4, 1, 8]
  a = transpose(x, axes=[0, 2, 1, 3]) : float32[2, 1, 4, 8]
  b = reshape(a, shape=[2, 1, 32]) : float32[2, 1, 32]
  c = negative(b) : float32[2, 1, 32]
  output c = c
`, "reshape"},
		{"heads of two tokens are moved in memory", `
  input x : float32[1, 4, 2, 8]
  a = transpose(x, axes=[0, 2, 1, 3]) : float32[1, 2, 4, 8]
  b = reshape(a, shape=[1, 2, 32]) : float32[1, 2, 32]
  c = negative(b) : float32[1, 2, 32]
  output c = c
`, "transpose reshape"},
		{"there and back", `
  input x : float32[1, 1, 8]
  a = expand_dims(x, axis=[-2]) : float32[1, 1, 1, 8]
  b = squeeze(a, axis=[-2]) : float32[1, 1, 8]
  c = negative(b) : float32[1, 1, 8]
  output c = c
`, ""},
		{"one view stays what it is, made once", `
  input x : float32[4, 8]
  a = expand_dims(x, axis=[-3]) : float32[1, 4, 8]
  b = expand_dims(x, axis=[-3]) : float32[1, 4, 8]
  c = add(a, b) : float32[1, 4, 8]
  output c = c
`, "expand_dims"},
		{"queries, keys and values of one row", `
  input x : float32[1, 1, 48]
  a = exp(x) : float32[1, 1, 48]
  q = slice(a, axis=[-1], stop=[-16]) : float32[1, 1, 32]
  k = slice(a, axis=[-1], start=[-16], stop=[-8]) : float32[1, 1, 8]
  v = slice(a, axis=[-1], start=[-8]) : float32[1, 1, 8]
  qh = reshape(q, shape=[1, 1, 4, 8]) : float32[1, 1, 4, 8]
  kh = reshape(k, shape=[1, 1, 1, 8]) : float32[1, 1, 1, 8]
  vh = reshape(v, shape=[1, 1, 1, 8]) : float32[1, 1, 1, 8]
  vt = transpose(vh, axes=[0, 2, 1, 3]) : float32[1, 1, 1, 8]
  y = negative(qh) : float32[1, 1, 4, 8]
  z = add(kh, vt) : float32[1, 1, 1, 8]
  output y = y
  output z = z
`, "reshape slice slice slice"},
		{"of two rows, with two heads of keys", `
  input x : float32[2, 1, 64]
  a = exp(x) : float32[2, 1, 64]
  q = slice(a, axis=[-1], stop=[-32]) : float32[2, 1, 32]
  k = slice(a, axis=[-1], start=[-32], stop=[-16]) : float32[2, 1, 16]
  v = slice(a, axis=[-1], start=[-16]) : float32[2, 1, 16]
  qh = reshape(q, shape=[2, 1, 4, 8]) : float32[2, 1, 4, 8]
  kh = reshape(k, shape=[2, 1, 2, 8]) : float32[2, 1, 2, 8]
  vh = reshape(v, shape=[2, 1, 2, 8]) : float32[2, 1, 2, 8]
  vt = transpose(vh, axes=[0, 2, 1, 3]) : float32[2, 2, 1, 8]
  y = negative(qh) : float32[2, 1, 4, 8]
  z = negative(kh) : float32[2, 1, 2, 8]
  w = negative(vt) : float32[2, 2, 1, 8]
  output y = y
  output z = z
  output w = w
`, "reshape slice slice slice reshape"},
		{"a part that is no whole number of heads", `
  input x : float32[1, 1, 20]
  a = exp(x) : float32[1, 1, 20]
  q = slice(a, axis=[-1], stop=[-4]) : float32[1, 1, 16]
  k = slice(a, axis=[-1], start=[-4]) : float32[1, 1, 4]
  r = slice(a, axis=[-1], start=[-18], stop=[-2]) : float32[1, 1, 16]
  qh = reshape(q, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  kh = reshape(k, shape=[1, 1, 1, 4]) : float32[1, 1, 1, 4]
  rh = reshape(r, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  y = add(qh, rh) : float32[1, 1, 2, 8]
  z = negative(kh) : float32[1, 1, 1, 4]
  output y = y
  output z = z
`, "slice slice slice reshape reshape reshape"},
		{"a part that begins in the middle of a head", `
  input x : float32[1, 1, 24]
  a = exp(x) : float32[1, 1, 24]
  q = slice(a, axis=[-1], stop=[-8]) : float32[1, 1, 16]
  r = slice(a, axis=[-1], start=[-16]) : float32[1, 1, 16]
  k = slice(a, axis=[-1], start=[-12]) : float32[1, 1, 12]
  qh = reshape(q, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  kh = reshape(k, shape=[1, 1, 1, 12]) : float32[1, 1, 1, 12]
  rh = reshape(r, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  y = add(qh, rh) : float32[1, 1, 2, 8]
  z = negative(kh) : float32[1, 1, 1, 12]
  output y = y
  output z = z
`, "slice slice slice reshape reshape reshape"},
		{"a part that is read as it is", `
  input x : float32[1, 1, 32]
  a = exp(x) : float32[1, 1, 32]
  q = slice(a, axis=[-1], stop=[-16]) : float32[1, 1, 16]
  k = slice(a, axis=[-1], start=[-16]) : float32[1, 1, 16]
  qh = reshape(q, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  kh = reshape(k, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  y = add(qh, kh) : float32[1, 1, 2, 8]
  z = negative(k) : float32[1, 1, 16]
  output y = y
  output z = z
`, "slice slice reshape reshape"},
		{"every second element is no part", `
  input x : float32[1, 1, 32]
  a = exp(x) : float32[1, 1, 32]
  q = slice(a, axis=[-1], stop=[-16]) : float32[1, 1, 16]
  r = slice(a, axis=[-1], start=[-16]) : float32[1, 1, 16]
  k = slice(a, axis=[-1], stop=[-16], strides=[2]) : float32[1, 1, 8]
  qh = reshape(q, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  rh = reshape(r, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  kh = reshape(k, shape=[1, 1, 1, 8]) : float32[1, 1, 1, 8]
  z = add(qh, rh) : float32[1, 1, 2, 8]
  y = add(z, kh) : float32[1, 1, 2, 8]
  output y = y
`, "slice slice slice reshape reshape reshape"},
		{"parts of another axis", `
  input x : float32[1, 16, 16]
  a = exp(x) : float32[1, 16, 16]
  q = slice(a, axis=[-2], stop=[-8]) : float32[1, 8, 16]
  k = slice(a, axis=[-2], start=[-8]) : float32[1, 8, 16]
  qh = reshape(q, shape=[16, 8]) : float32[16, 8]
  kh = reshape(k, shape=[16, 8]) : float32[16, 8]
  y = add(qh, kh) : float32[16, 8]
  output y = y
`, "slice slice reshape reshape"},
		{"a whole that is no whole number of heads", `
  input x : float32[1, 1, 20]
  a = exp(x) : float32[1, 1, 20]
  q = slice(a, axis=[-1], stop=[-4]) : float32[1, 1, 16]
  k = slice(a, axis=[-1], stop=[-4]) : float32[1, 1, 16]
  qh = reshape(q, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  kh = reshape(k, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  y = add(qh, kh) : float32[1, 1, 2, 8]
  output y = y
`, "slice slice reshape reshape"},
		{"a part is an output", `
  input x : float32[1, 1, 32]
  a = exp(x) : float32[1, 1, 32]
  q = slice(a, axis=[-1], stop=[-16]) : float32[1, 1, 16]
  k = slice(a, axis=[-1], start=[-16]) : float32[1, 1, 16]
  qh = reshape(q, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  kh = reshape(k, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  y = add(qh, kh) : float32[1, 1, 2, 8]
  output y = y
  output k = k
`, "slice slice reshape reshape"},
		{"a view is an output", `
  input x : float32[1, 4, 1, 8]
  a = transpose(x, axes=[0, 2, 1, 3]) : float32[1, 1, 4, 8]
  b = reshape(a, shape=[1, 1, 32]) : float32[1, 1, 32]
  output a = a
  output b = b
`, "transpose reshape"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := parse(t, "zmlx 1\nprogram p\ncase all when batch == 1"+c.text)
			after, err := Views(before)
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for id := range after.NumNodes() {
				switch name := after.Node(graph.NodeID(id)).Op.Name; name {
				case "reshape", "transpose", "slice", "expand_dims", "squeeze":
					left = append(left, name)
				}
			}
			want := strings.Fields(c.views)
			slices.Sort(left)
			slices.Sort(want)
			if !slices.Equal(left, want) {
				t.Errorf("%s are left, want %s:\n%s", left, want, after)
			}
			if a, b := run(t, before), run(t, after); !slices.EqualFunc(a, b, slices.Equal) {
				t.Errorf("the values are others:\n%s", after)
			}
		})
	}
}

// run computes the outputs of a graph with one input of random numbers.
func run(t *testing.T, g *graph.Graph) [][]byte {
	t.Helper()
	e := ref.New()
	defer e.Close()
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string]engine.Tensor{}
	for _, v := range g.Inputs() {
		shape, n := []int{}, 1
		for _, d := range g.Type(v).Shape {
			shape = append(shape, d.Int())
			n *= d.Int()
		}
		var data []byte
		for range n {
			data = graph.AppendElem(data, graph.Float32, r.NormFloat64())
		}
		x, err := e.NewTensor(graph.Float32, shape, data)
		if err != nil {
			t.Fatal(err)
		}
		in[g.InputName(v)] = x
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, o := range g.Outputs() {
		data, err := out[o.Name].Read()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// TestReshaped: a kernel gives its result in the shape that it is reshaped to, if nothing else reads it,
// and in heads, if its parts are.
func TestReshaped(t *testing.T) {
	const text = `zmlx 1
program p
param w : float32[8]
param v : float32[24]
case decode when batch == 1
  input tokens : float32[1, 1, 8]
  input row : float32[1, 1, 24]
  v0 = kernel.rms_norm(tokens, w, eps=1e-06) : float32[1, 1, 8]
  v1 = reshape(v0, shape=[1, 2, 4]) : float32[1, 2, 4]
  v2 = negative(v1) : float32[1, 2, 4]
  v3 = reshape(v2, shape=[8]) : float32[8]
  v4 = kernel.rms_norm(v3, w, eps=1e-06) : float32[8]
  v5 = reshape(v4, shape=[2, 4]) : float32[2, 4]
  v6 = negative(v4) : float32[8]
  v7 = kernel.rms_norm(row, v, eps=1e-06) : float32[1, 1, 24]
  v8 = slice(v7, axis=[-1], stop=[-8]) : float32[1, 1, 16]
  v9 = reshape(v8, shape=[1, 1, 2, 8]) : float32[1, 1, 2, 8]
  v10 = slice(v7, axis=[-1], start=[-8]) : float32[1, 1, 8]
  v11 = reshape(v10, shape=[8, 1]) : float32[8, 1]
  v12 = negative(v9) : float32[1, 1, 2, 8]
  v13 = negative(v11) : float32[8, 1]
  v14 = kernel.rms_norm(tokens, w, eps=1e-05) : float32[1, 1, 8]
  v15 = reshape(v14, shape=[4, 2]) : float32[4, 2]
  v16 = negative(v15) : float32[4, 2]
  output s0 = v5
  output s1 = v6
  output s2 = v12
  output s3 = v13
  output s4 = v14
  output logits = v16
`
	source := written(t, text, &Events{Inputs: []int{-1, -1}, Outputs: []int{0, 0, 0, 0, 0, 0}})
	counted(t, source, map[string]int{
		"output_shapes=[(1, 2, 4)]":    1, // v0, and no reshape
		"output_shapes=[(8,)]":         1, // v4, which something else reads
		"output_shapes=[(1, 1, 3, 8)]": 1, // v7, in heads: one part needs no reshape then
		"output_shapes=[(1, 1, 8)]":    1, // v14, an output
		"mx.reshape(":                  3, // v5, v11, v15; v3 is read by a kernel alone
		"mx.negative(v0)":              1,
	})
}

// TestAddressed: what a kernel gets in place of a view that has its elements in one piece.
func TestAddressed(t *testing.T) {
	const text = `zmlx 1
program p
param w : float32[8]
case decode when batch == 1
  input x : float32[1, 4, 8]
  input y : float32[2, 4, 8]
  v0 = slice(x, axis=[1], stop=[2]) : float32[1, 2, 8]
  v1 = kernel.rms_norm(v0, w, eps=1e-06) : float32[1, 2, 8]
  v2 = slice(x, axis=[1], start=[2]) : float32[1, 2, 8]
  v3 = kernel.rms_norm(v2, w, eps=1e-06) : float32[1, 2, 8]
  v4 = slice(y, axis=[1], stop=[2]) : float32[2, 2, 8]
  v5 = kernel.rms_norm(v4, w, eps=1e-06) : float32[2, 2, 8]
  v6 = slice(x, axis=[1], stop=[3]) : float32[1, 3, 8]
  v7 = reshape(v6, shape=[3, 8]) : float32[3, 8]
  v8 = kernel.rms_norm(v7, w, eps=1e-06) : float32[3, 8]
  v9 = negative(v7) : float32[3, 8]
  v10 = slice(x, axis=[1], stop=[1]) : float32[1, 1, 8]
  v11 = kernel.rms_norm(v10, w, eps=1e-06) : float32[1, 1, 8]
  output a = v1
  output b = v3
  output c = v5
  output d = v8
  output e = v9
  output f = v10
  output g = v11
`
	ev := &Events{Inputs: []int{-1, -1}, Outputs: []int{0, 0, 0, 0, 0, 0, 0}}
	counted(t, written(t, text, ev), map[string]int{
		"inputs=[a0, w0]": 4, // v1, v3, which begins further on, v8, v11
		"a0[:, 2:4, :]":   0,
		"a1[:, 0:2, :]":   1, // the second row's part is not behind the first row's
		"a0[:, 0:3, :]":   1, // v9 reads it, too
		"a0[:, 0:1, :]":   1, // an output
		"a0[:, 0:2, :]":   0,
	})
	// The kernel's text says where it begins: two rows of eight further on.
	for _, target := range []kernels.Target{kernels.CUDA, kernels.Metal} {
		found := 0
		for _, k := range moduleFor(t, target, text, ev).Kernels {
			if strings.Contains(k.Source, "\nx += 16;\n") {
				found++
				compiles(t, &k)
			}
		}
		if found != 1 {
			t.Errorf("%s: %d kernels begin further on, want 1", target, found)
		}
	}
	// The CPU's kernels get addresses from Python, of what begins there.
	counted(t, moduleFor(t, "", text, ev).Functions[0].Source, map[string]int{"([a0, w0], ": 3, "a0[:, 2:4, :]": 1})
}

// compiles demands that NVRTC takes a kernel for NVIDIA, where there is an NVRTC.
func compiles(t *testing.T, k *Kernel) {
	t.Helper()
	if k.Unit == "" {
		return
	}
	if _, err := kernelcheck.NVRTC(k.Unit, "sm_90a"); err != nil && !errors.Is(err, kernelcheck.ErrNoNVRTC) && !errors.Is(err, kernelcheck.ErrNoCompiler) {
		t.Errorf("%s: %v", k.Name, err)
	}
}

// TestFurtherOn: a view of a view, with an axis cut in two between them.
func TestFurtherOn(t *testing.T) {
	const text = `zmlx 1
program p
param w : float32[8]
case decode when batch == 1
  input x : float32[1, 6, 8]
  v0 = slice(x, axis=[1], start=[1], stop=[5]) : float32[1, 4, 8]
  v1 = reshape(v0, shape=[2, 2, 8]) : float32[2, 2, 8]
  v2 = slice(v1, axis=[0], start=[1]) : float32[1, 2, 8]
  v3 = kernel.rms_norm(v2, w, eps=1e-06) : float32[1, 2, 8]
  output y = v3
`
	m := moduleFor(t, kernels.CUDA, text, &Events{Inputs: []int{-1}, Outputs: []int{0}})
	counted(t, m.Functions[0].Source, map[string]int{"inputs=[a0, w0]": 1, "mx.reshape(": 0, ":": 1})
	counted(t, m.Kernels[0].Source, map[string]int{"\nx += 24;\n": 1})
}

// TestSharedMemory: results are in one array if kernels alone read them.
func TestSharedMemory(t *testing.T) {
	const text = `zmlx 1
program p
param w : bfloat16[10]
case decode when batch == 1
  input x : bfloat16[1, 3, 10]
  input y : bfloat16[1, 3, 10]
  v0, v1 = kernel.add_rms_norm(x, y, w, eps=1e-06) : bfloat16[1, 3, 10], bfloat16[1, 3, 10]
  v2 = slice(v1, axis=[1], start=[1]) : bfloat16[1, 2, 10]
  v3 = kernel.rms_norm(v2, w, eps=1e-06) : bfloat16[1, 2, 10]
  v4, v5 = kernel.add_rms_norm(v1, v0, w, eps=1e-06) : bfloat16[1, 3, 10], bfloat16[1, 3, 10]
  v6, v7 = kernel.add_rms_norm(v4, v1, w, eps=1e-06) : bfloat16[1, 3, 10], bfloat16[1, 3, 10]
  v8 = kernel.rms_norm(v5, w, eps=1e-06) : bfloat16[1, 3, 10]
  v9 = negative(v7) : bfloat16[1, 3, 10]
  output a = v3
  output b = v6
  output c = v8
  output d = v9
`
	ev := &Events{Inputs: []int{-1, -1}, Outputs: []int{0, 0, 0, 0}}
	for _, target := range []kernels.Target{kernels.CUDA, kernels.Metal} {
		m := moduleFor(t, target, text, ev)
		// 60 bytes each, and the second one where 16 bytes can be read at once.
		counted(t, m.Functions[0].Source, map[string]int{
			"v0 = k_add_rms_norm_":     1,
			"output_shapes=[(128,)]":   2, // v0 and v1, v4 and v5
			"output_dtypes=[mx.uint8]": 2,
			"inputs=[v0, w0]":          2, // v3, and v4, which has both operands in one array
			"inputs=[v2, v0, w0]":      1, // v6, which has them in two
			"v3, v4 = k_add_rms_norm_": 1, // v6 and v7, which others read
		})
		var all strings.Builder
		for _, k := range m.Kernels {
			all.WriteString(k.Source)
			compiles(t, &k)
			if k.Unit != "" && strings.Contains(k.Source, "zmlx_memory1") {
				counted(t, k.Unit, map[string]int{"    const uint8_t *zmlx_memory0,\n    const uint8_t *zmlx_memory1,\n    const bfloat16_t *w,\n": 1})
			}
			if k.Unit != "" && strings.Contains(k.Source, "(zmlx_memory + 0)") {
				counted(t, k.Unit, map[string]int{"    uint8_t *zmlx_memory)": 1})
			}
		}
		counted(t, all.String(), map[string]int{
			"*)(zmlx_memory + 0);": 2, "*)(zmlx_memory + 64);": 2, // of both calls
			"const device x_t* x = (const device x_t*)(zmlx_memory0 + 64);": 3, // v2 of v1, v1, and v5
			"*)(zmlx_memory0 + 0);": 2, "*)(zmlx_memory1 + 64);": 1, // v0; v4; v1
			"\nx += 10;\n": 1,
		})
	}
	counted(t, moduleFor(t, "", text, ev).Functions[0].Source, map[string]int{"v0, v1 = k_add_rms_norm(": 1})
}

// TestReadLater: what a later stage reads is an array, of results and of views.
func TestReadLater(t *testing.T) {
	const text = `zmlx 1
program p
param w : float32[8]
case decode when batch == 1
  input x : float32[1, 4, 8]
  input e2 : float32[1, 4, 8]
  v0, v1 = kernel.add_rms_norm(x, x, w, eps=1e-06) : float32[1, 4, 8], float32[1, 4, 8]
  v2 = slice(x, axis=[1], start=[2]) : float32[1, 2, 8]
  v3 = kernel.rms_norm(v0, w, eps=1e-06) : float32[1, 4, 8]
  v4 = kernel.rms_norm(v2, w, eps=1e-06) : float32[1, 2, 8]
  v5, v6 = kernel.add_rms_norm(v1, e2, w, eps=1e-06) : float32[1, 4, 8], float32[1, 4, 8]
  v7 = slice(v0, axis=[1], start=[2]) : float32[1, 2, 8]
  v8 = kernel.rms_norm(v7, w, eps=1e-06) : float32[1, 2, 8]
  v9 = kernel.rms_norm(v6, w, eps=1e-06) : float32[1, 4, 8]
  v10 = kernel.rms_norm(v5, w, eps=1e-06) : float32[1, 4, 8]
  v11 = slice(e2, axis=[1], start=[2]) : float32[1, 2, 8]
  v12, v13 = kernel.add_rms_norm(v7, v11, w, eps=1e-06) : float32[1, 2, 8], float32[1, 2, 8]
  output s1 = v3
  output s2 = v4
  output s3 = v8
  output s4 = v9
  output s5 = v10
  output logits = v12
`
	m := moduleFor(t, kernels.CUDA, text, &Events{Inputs: []int{-1, 2}, Outputs: []int{1, 1, 1, 3, 3, 3}, End: 3})
	var all strings.Builder
	for _, f := range m.Functions {
		all.WriteString(f.Source)
	}
	if len(m.Functions) != 2 {
		t.Fatalf("%d stages, want 2:\n%s", len(m.Functions), all.String())
	}
	counted(t, m.Functions[0].Source, map[string]int{"output_shapes=[(1, 4, 8), (1, 4, 8)]": 1, "mx.uint8": 0, "[:, 2:4, :]": 1})
	counted(t, m.Functions[1].Source, map[string]int{"output_dtypes=[mx.uint8]": 1, "[:, 2:4, :]": 0})
	all.Reset()
	for _, k := range m.Kernels {
		all.WriteString(k.Source)
	}
	counted(t, all.String(), map[string]int{"\nx += 16;\n": 1, "\nr += 16;\n": 1}) // v4 and v8, and v12 of v11
}

// TestNumberOfAView: Metal gives a kernel a number where an operand has rank 0, so that it is made an array,
// of the one element that the view has, and not of those of its base.
func TestNumberOfAView(t *testing.T) {
	const text = `zmlx 1
program p
case decode when batch == 1
  input q : float32[1, 2, 1, 8]
  input o : int32[4]
  v0 = slice(o, axis=[0], stop=[1]) : int32[1]
  v1 = squeeze(v0, axis=[0]) : int32[]
  v2 = kernel.rope(q, v1, dims=8, base=10000.0) : float32[1, 2, 1, 8]
  output y = v2
`
	ev := &Events{Inputs: []int{-1, -1}, Outputs: []int{0}}
	source := writtenFor(t, kernels.Metal, text, ev)
	for _, want := range []string{"[0:1]", "mx.squeeze(v", "mx.reshape(v"} {
		if !strings.Contains(source, want) {
			t.Errorf("no %s in\n%s", want, source)
		}
	}
	// And an array made of a number is made.
	const one = `zmlx 1
program p
case decode when batch == 1
  input q : float32[1, 4, 1]
  input o : float32[]
  v0 = reshape(o, shape=[1]) : float32[1]
  v1 = kernel.rms_norm(q, v0, eps=1e-06) : float32[1, 4, 1]
  output y = v1
`
	counted(t, writtenFor(t, kernels.Metal, one, ev), map[string]int{"mx.reshape(a0, (1,))": 1, "inputs=[a1, v0]": 1})
}

// counted demands that texts are in the source so many times.
func counted(t *testing.T, source string, times map[string]int) {
	t.Helper()
	for want, n := range times {
		if got := strings.Count(source, want); got != n {
			t.Errorf("%d times %s, want %d:\n%s", got, want, n, source)
		}
	}
}

// written is the one stage of a program with kernels, with fewer views, for NVIDIA.
func written(t *testing.T, text string, ev *Events) string {
	t.Helper()
	return writtenFor(t, kernels.CUDA, text, ev)
}

func writtenFor(t *testing.T, target kernels.Target, text string, ev *Events) string {
	t.Helper()
	return moduleFor(t, target, text, ev).Functions[0].Source
}

// moduleFor is the module for a GPU, or for the CPU's library.
func moduleFor(t *testing.T, target kernels.Target, text string, ev *Events) *Module {
	t.Helper()
	catalog, issues := kernels.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	p, issues := graph.ParseText("test.zg", []byte(text), catalog.Op)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	g, err := Views(p.Cases[0].Graph)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := Cut(g, ev)
	if err != nil {
		t.Fatal(err)
	}
	var launcher Launcher = Host{Catalog: catalog}
	if target != "" {
		launcher = Sources{Target: target, Catalog: catalog, Packed: true}
	}
	m := NewModule()
	if _, err := m.Write(cut, launcher); err != nil {
		t.Fatal(err)
	}
	return m
}

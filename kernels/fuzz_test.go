package kernels

import (
	"io/fs"
	"runtime"
	"testing"

	"zmlx-rewrite/graph"
)

// Any bytes as a kernel spec: no crash, no hang, memory in proportion. A spec that is
// accepted can be asked for everything that a plan asks, with operands of any type.
func FuzzSpec(f *testing.F) {
	names, err := fs.Glob(embedded, "*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := embedded.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("zmlx: 1\nkernel: k\ndoc: d\ninputs: {x: 'float32[..., n]', y?: 'float32[9999999999999999999]'}\nattrs: {k: {kind: int, in: [1, x], default: 2}}\nreference: {a: broadcast_to(x, shape=[$k, $k]), 'b, c': add(a, x)}\nresults: [a, b]\nnumerics: exact\ndomain: {d: n % k == 0}\n"))
	types := []graph.Type{
		{DType: graph.Float32, Shape: []graph.Dim{graph.Sym("batch"), graph.N(1), graph.N(64)}},
		{DType: graph.Uint32, Shape: []graph.Dim{graph.N(8), graph.N(4)}},
		{DType: graph.Int32},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, issues := Parse("fuzz.yaml", data)
		if (s == nil) != issues.HasErrors() {
			t.Errorf("a spec and errors, or neither: %v", issues)
		}
		if s != nil {
			for shift := range types {
				g := graph.New()
				in := make([]graph.ValueID, len(s.Inputs))
				for i := range in {
					in[i] = g.Input("in"+string(rune('a'+i%26))+string(rune('a'+i/26%26)), types[(i+shift)%len(types)])
				}
				attrs := make([]graph.Attr, len(s.Attrs))
				for i, a := range s.Attrs {
					attrs[i] = a.Unset
				}
				_, _ = s.Expand(g, "", in, attrs) // an error is fine
			}
		}
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(data)+16<<20); got > limit {
			t.Errorf("%d bytes of memory for a file of %d", got, len(data))
		}
	})
}

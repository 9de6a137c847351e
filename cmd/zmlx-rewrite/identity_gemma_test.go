//go:build mlx

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/weights"
	"zmlx-rewrite/verify/whole"
)

// TestExactNorms takes gemma.norm at its word: exact, in all types. Half types, clipped
// sums and windows are in these models.
func TestExactNorms(t *testing.T) {
	for _, name := range []string{"gemma-bf16", "gemma2-f16", "gemma3_text-bf16", "gemma3_text-f16", "gemma3_text-f32"} {
		t.Run(name, func(t *testing.T) {
			dir := "../../.cache/oracle/tiny/" + name
			if _, err := os.Stat(dir); err != nil {
				t.Skip("the tiny models are not in .cache/oracle/tiny: scripts/oracle/tiny_models.py makes them")
			}
			p := rewriteIdentity(t, &options{model: dir, preset: "minimal", target: "cpu"})
			for _, c := range p.rewritten.Cases {
				left := 0
				for i := range c.Graph.NumNodes() {
					n := c.Graph.Node(graph.NodeID(i))
					if n.Op.Name == "rms_norm" && c.Graph.Def(n.In[1]).Op.Name != "param" {
						left++
					}
				}
				if left > 0 {
					t.Errorf("case %s: %d weights of norms are still made in each step", c.Name, left)
				}
			}
			prompt := make([]int, 40)
			for i := range prompt {
				prompt[i] = 1 + 7*i
			}
			opts := decode.Options{MaxTokens: 8, Logits: true}
			_, before, err := whole.Steps(context.Background(), p.before, prompt, opts)
			if err != nil {
				t.Fatal(err)
			}
			_, after, err := whole.Steps(context.Background(), p.after, prompt, opts)
			if err != nil {
				t.Fatal(err)
			}
			if c := decode.Compare(before, after); c.First >= 0 || c.MaxError != 0 || c.Steps != 8 {
				t.Errorf("%d steps, parting at %d, logits off by %g", c.Steps, c.First, c.MaxError)
			}
		})
	}
}

// TestIncrement holds increment against MLX's add: for every number of the half types,
// and many of float32.
func TestIncrement(t *testing.T) {
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, dtype := range []graph.DType{graph.Float16, graph.BFloat16, graph.Float32} {
		const n = 1 << 16
		var data []byte
		for i := range uint32(n) {
			if dtype == graph.Float32 { // exponents where sums are rounded
				data = binary.LittleEndian.AppendUint32(data, rng.Uint32()&0x807fffff|(90+i%60)<<23)
			} else {
				data = binary.LittleEndian.AppendUint16(data, uint16(i))
			}
		}
		got, want := incremented(t, e, dtype, n, data)
		bad, size := 0, dtype.Size()
		for i := 0; i < len(want); i += size {
			a, b := graph.DecodeElem(dtype, want[i:]), graph.DecodeElem(dtype, got[i:])
			if !bytes.Equal(want[i:i+size], got[i:i+size]) && !(math.IsNaN(a) && math.IsNaN(b)) {
				bad++
			}
		}
		if bad > 0 || len(want) != size*n {
			t.Errorf("%s: %d of %d numbers are not MLX's", dtype, bad, len(want)/size)
		}
	}
}

// incremented returns one more than each of n numbers, made at load and by MLX.
func incremented(t *testing.T, e engine.Engine, dtype graph.DType, n int, data []byte) (made, sum []byte) {
	t.Helper()
	check := func(err error) {
		if t.Helper(); err != nil {
			t.Fatal(err)
		}
	}
	typ := graph.T(dtype, graph.N(int64(n)))
	g := graph.New()
	v := g.Param("v", typ)
	s, err := g.Add(graph.LookupOp("add"), "", []graph.ValueID{g.Scalar(dtype, 1), g.Param("w", typ)})
	check(err)
	g.Output("made", v)
	g.Output("sum", s[0])
	check(g.Compact())
	p := &graph.Program{Name: "increment", Cases: []graph.Case{{Name: "all", Graph: g}},
		Params: []*graph.Param{{Name: "v", Type: typ, From: &graph.Derived{Op: "increment", Args: []string{"w"}}}, {Name: "w", Type: typ}}}
	check(p.Verify())
	w, err := weights.New("w", dtype, []int{n}, weights.Raw(data))
	check(err)
	store := weights.NewStore()
	check(store.Add(w))
	check(models.Derive(p, store))
	session, err := e.Load(context.Background(), p, store)
	check(err)
	defer session.Close()
	out, err := session.Step(context.Background(), map[string]engine.Tensor{}, nil)
	check(err)
	made, err = out["made"].Read()
	check(err)
	sum, err = out["sum"].Read()
	check(err)
	out["made"].Release()
	out["sum"].Release()
	return made, sum
}

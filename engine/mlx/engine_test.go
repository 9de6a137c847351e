//go:build mlx

package mlx

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/enginetest"
	"zmlx-rewrite/graph"
)

// newEngine makes an engine on the CPU that must leave no array behind.
func newEngine(t testing.TB) engine.Engine {
	t.Helper()
	var before int
	do(func() error { before = liveArrays(); return nil })
	e, err := New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		do(func() error {
			if n := liveArrays() - before; n != 0 {
				t.Errorf("%d handles left", n)
			}
			return nil
		})
	})
	return e
}

func TestEveryOpHasAnEmitter(t *testing.T) {
	known := map[string]bool{}
	for _, op := range graph.Ops() {
		known[op.Name] = true
		if !op.IsLeaf() && (emitters[op.Name] == nil) != (op.Results > 1 && manyEmitters[op.Name] != nil) {
			t.Errorf("op %s has no emitter", op.Name)
		}
	}
	for name := range manyEmitters {
		if !known[name] {
			t.Errorf("emitter for %s, which is not in the op table", name)
		}
	}
	for name := range emitters {
		if !known[name] {
			t.Errorf("emitter for %s, which is not in the op table", name)
		}
	}
}

func TestTable(t *testing.T) { enginetest.Run(t, newEngine(t)) }

func TestTinyModels(t *testing.T) {
	enginetest.RunModels(t, newEngine(t), "../..", func(goldens string) bool { return sameCPU(t, goldens) })
}

// sameCPU reports whether goldens were made on a CPU like this one, so that MLX's
// sums have the same bits. scripts/oracle/*.py describe it with the same words.
func sameCPU(t testing.TB, goldens string) bool {
	t.Helper()
	text, err := os.ReadFile(goldens)
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ CPU string }
	if err := json.Unmarshal(text, &head); err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || runtime.GOARCH != "amd64" {
		t.Logf("goldens are of %s: bits are not compared here", head.CPU)
		return false
	}
	_, flags, _ := strings.Cut(string(info), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	here := "Linux x86_64"
	for _, f := range []string{"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"} {
		if slices.Contains(strings.Fields(flags), f) {
			here += " " + f
		}
	}
	if here != head.CPU {
		t.Logf("goldens are of %s, this is %s: bits are not compared", head.CPU, here)
	}
	return here == head.CPU
}

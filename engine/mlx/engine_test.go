//go:build mlx

package mlx

import (
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
	enginetest.RunModels(t, newEngine(t), "../..", func(goldens string) bool { return enginetest.SameCPU(t, goldens) })
}

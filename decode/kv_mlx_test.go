//go:build mlx

package decode_test

import (
	"os"
	"testing"

	"zmlx-rewrite/engine/enginetest"
	"zmlx-rewrite/engine/mlx"
)

// TestQuantizedCacheIsMLXLM: on the CPU that made the goldens, quantized caches give
// logits with mlx-lm's bits, and so its tokens; on another one the tokens up to a near-tie.
func TestQuantizedCacheIsMLXLM(t *testing.T) {
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	runs, _ := readKV(t)
	exact := enginetest.SameCPU(t, kvGoldens)
	smol := 0
	for i, r := range runs {
		if r.Model == kvSmolLM2 {
			if smol++; smol > 2 && os.Getenv("ZMLX_SOAK") == "" {
				continue // in the long form
			}
		}
		t.Run(r.name(i), func(t *testing.T) { r.test(t, e, exact) })
	}
}

func TestPerplexityOnMLX(t *testing.T) {
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	testPerplexity(t, e, func(string) bool { return true })
}

func TestTurnsAreMLXLM(t *testing.T) {
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	testTurns(t, e, enginetest.SameCPU(t, kvGoldens))
}

func TestRingsAreMLXLM(t *testing.T) {
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	testRings(t, e, enginetest.SameCPU(t, kvGoldens))
}

//go:build mlx

package rewrite

import (
	"testing"

	"zmlx-rewrite/engine/mlx"
)

func TestRandomRewritesOnMLX(t *testing.T) {
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fuzzRewrites(t, e, 300)
}

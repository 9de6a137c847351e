package ref

import (
	"testing"

	"zmlx-rewrite/engine/enginetest"
)

func TestTable(t *testing.T) { enginetest.Run(t, New()) }

// The short form, for the race detector, has one model with all ops that are split over
// processors: attention, products with packed matrices and with experts', gated_delta.
func TestModels(t *testing.T) {
	var only []string
	if testing.Short() {
		only = []string{"qwen3_next"}
	}
	enginetest.RunModels(t, New(), "../..", func(string) bool { return false }, only...)
}

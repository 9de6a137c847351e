package ref

import (
	"testing"

	"zmlx-rewrite/engine/enginetest"
)

func TestTable(t *testing.T) { enginetest.Run(t, New()) }

func TestModels(t *testing.T) {
	enginetest.RunModels(t, New(), "../..", func(string) bool { return false })
}

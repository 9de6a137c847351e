package ref

import (
	"testing"

	"zmlx-rewrite/engine/enginetest"
)

func TestTable(t *testing.T) { enginetest.Run(t, New()) }

package mlx

import (
	"os"
	"strings"
	"testing"
)

// TestCInterface: what capsules say of mlx-c is what the set-up takes.
func TestCInterface(t *testing.T) {
	data, err := os.ReadFile("../../scripts/setup-mlx.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "\nMLX_C_VERSION="+CInterface+"\n") {
		t.Errorf("scripts/setup-mlx.sh does not take mlx-c %s", CInterface)
	}
}

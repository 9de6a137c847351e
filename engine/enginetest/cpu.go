package enginetest

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// SameCPU reports whether goldens were made on a CPU like this one, so that MLX's
// sums have the same bits. scripts/oracle/*.py describe it with the same words.
func SameCPU(t testing.TB, goldens string) bool {
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

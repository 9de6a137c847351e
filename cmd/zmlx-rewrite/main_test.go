package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"zmlx-rewrite": checkedMain})
}

// tests run without first uses: the program that would do them is the test. What scripts run
// does as their environment says.
type tests struct{ *testing.M }

func (t tests) Run() int {
	os.Setenv(firstUseEnv, "off")
	return t.M.Run()
}

// TestScripts runs the suites of testdata/scripts; `zmlx-rewrite test` runs the same.
// ZMLX_UPDATE_SCRIPTS=1 rewrites the files that scripts compare output with.
func TestScripts(t *testing.T) {
	root := filepath.Join("..", "..", "testdata", "scripts")
	files, err := scriptFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	themes := map[string][]string{}
	ran := 0
	for _, f := range files {
		if text, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		} else if ofEngine.Match(text) || !again() {
			theme := filepath.Dir(f)
			themes[theme] = append(themes[theme], f)
			ran++
		}
	}
	if ran < 20 {
		t.Errorf("only %d scripts", ran)
	}
	for _, theme := range slices.Sorted(maps.Keys(themes)) {
		t.Run(filepath.Base(theme), func(t *testing.T) {
			p := scriptParams()
			p.Files = themes[theme]
			testscript.Run(t, p)
		})
	}
}

// ofEngine is what a script says that asks for the MLX engine, or runs either one.
var ofEngine = regexp.MustCompile(`(?m)^[^\n]*\[!?(mlx|kernels)\]`)

// again is whether scripts/check.sh has run these tests before, in its step plain: then those
// are left out that do not depend on the engine.
func again() bool { return os.Getenv("ZMLX_STEP") == "mlx" && os.Getenv("ZMLX_SOAK") == "" }

// onceEnough is for tests that are the same with either engine.
func onceEnough(t *testing.T) {
	t.Helper()
	if again() {
		t.Skip("does not depend on the engine: the plain step of scripts/check.sh has run it")
	}
}

package main

import (
	"os"
	"path/filepath"
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
	themes, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, theme := range themes {
		if !theme.IsDir() {
			continue
		}
		t.Run(theme.Name(), func(t *testing.T) {
			p := scriptParams()
			p.Dir = filepath.Join(root, theme.Name())
			testscript.Run(t, p)
		})
	}
}

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/testdata/scripts"
	"zmlx-rewrite/verify/kernelcheck"
)

func (a *app) testCmd() *cobra.Command {
	var only, format string
	c := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run testscript suites; no Go is needed",
		Long: "Test runs the scripts (.txtar) of a folder and its subfolders, or those that are built in.\n" +
			"In a script, `exec zmlx-rewrite ...` runs this program and `exits N zmlx-rewrite ...` demands\n" +
			"an exit code. Conditions say what the machine has: [mlx] the engine, [cpu] that it has no GPU, [kernels] the library of\n" +
			"CPU kernels, [compiler] a C++ compiler, [smollm2], [mixture] and [trained] the models ($SMOLLM2,\n" +
			"$MIXTURE, and small ones in $TRAINED), [oracle] a Python with MLX ($PYTHON), [soak] that ZMLX_SOAK\n" +
			"is set: for what takes long.\n" +
			"$SUITE is the folder that the script is in.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.test(args, only, format) },
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json (one script a line)")
	c.Flags().StringVar(&only, "run", "", "run only scripts whose THEME/NAME contains this `text`")
	return c
}

// tested is how a script ended, as JSON.
type tested struct {
	Script  string `json:"script" jsonschema:"THEME/NAME, or its path in the folder"`
	Verdict string `json:"verdict" jsonschema:"what became of it; after failed the exit code is 1"`
	Log     string `json:"log,omitempty" jsonschema:"what it did, to where it failed or was skipped; of others with --verbose only"`
}

// What may become of a script.
const (
	scriptOK      = "ok"
	scriptFailed  = "failed"
	scriptSkipped = "skipped"
)

func (a *app) test(args []string, only, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	dir := ""
	if len(args) > 0 {
		if dir = args[0]; !isDir(dir) {
			return diag.Errorf("usage/test", diag.Pos{File: dir}, "is not a folder").WithHint("name a folder of .txtar scripts, or none for the built-in ones; --run chooses among them")
		}
	}
	tmp, err := os.MkdirTemp("", "zmlx-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if dir == "" {
		dir = filepath.Join(tmp, "scripts")
		if err := os.CopyFS(dir, scripts.Files); err != nil {
			return err
		}
	}
	// Scripts find this program by its name.
	bin := filepath.Join(tmp, "bin")
	self, err := os.Executable()
	if err == nil {
		err = os.Mkdir(bin, 0o755)
	}
	if err == nil {
		err = os.Symlink(self, filepath.Join(bin, "zmlx-rewrite"))
	}
	if err != nil {
		return err
	}
	os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))

	files, err := scriptFiles(dir)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return !strings.Contains(scriptName(dir, f), only) })
	if len(files) == 0 {
		what := "no built-in script"
		if len(args) > 0 {
			what = "no script (.txtar) of " + args[0]
		}
		return diag.Errorf("usage/test", diag.Pos{}, "%s has %q in its name", what, only).
			WithHint("without --run all run, each with its name THEME/NAME")
	}
	var failed, skipped int
	for _, f := range files {
		t := &scriptRun{name: scriptName(dir, f), verbose: a.verbose}
		t.do(func() {
			p := scriptParams()
			p.Files = []string{f}
			setUp := p.Setup
			p.Setup = func(e *testscript.Env) error {
				suite, err := filepath.Abs(filepath.Dir(f))
				e.Setenv("SUITE", suite)
				return errors.Join(err, setUp(e))
			}
			testscript.RunT(t, p)
		})
		verdict, word := scriptOK, "ok"
		switch {
		case t.failed:
			verdict, word = scriptFailed, "FAIL"
			failed++
		case t.skipped:
			verdict, word = scriptSkipped, "skip"
			skipped++
		}
		log := ""
		if t.failed || t.skipped || a.verbose {
			log = strings.TrimSpace(t.log.String())
		}
		if format == "json" {
			if err := a.json(tested{t.name, verdict, log}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.stdout, "%-4s  %s\n", word, t.name)
		if log != "" {
			fmt.Fprintln(a.stdout, "      "+strings.ReplaceAll(log, "\n", "\n      "))
		}
	}
	if format == "text" {
		fmt.Fprintf(a.stdout, "%d scripts, %d failed, %d skipped\n", len(files), failed, skipped)
	}
	if failed > 0 {
		return isFalse("")
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// scriptFiles returns the scripts of a folder and its subfolders in order.
func scriptFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txtar") {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// scriptName is THEME/NAME.
func scriptName(dir, file string) string {
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		rel = file
	}
	return filepath.ToSlash(strings.TrimSuffix(rel, ".txtar"))
}

// scriptRun runs one script outside of `go test`; it is a testscript.T.
type scriptRun struct {
	name            string
	verbose         bool
	failed, skipped bool
	log             strings.Builder
}

// stopScript unwinds a script that failed or was skipped.
type stopScript struct{}

func (t *scriptRun) do(f func()) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(stopScript); !ok {
				panic(r)
			}
		}
	}()
	f()
}

func (t *scriptRun) Run(_ string, f func(testscript.T)) { t.do(func() { f(t) }) }
func (t *scriptRun) Log(args ...any)                    { fmt.Fprintln(&t.log, args...) }
func (t *scriptRun) Skip(args ...any)                   { t.skipped = true; t.Log(args...); panic(stopScript{}) }
func (t *scriptRun) Fatal(args ...any)                  { t.Log(args...); t.FailNow() }
func (t *scriptRun) FailNow()                           { t.failed = true; panic(stopScript{}) }
func (t *scriptRun) Parallel()                          {}
func (t *scriptRun) Verbose() bool                      { return t.verbose }

// scriptParams is what scripts can use besides testscript's own commands and
// conditions. What the machine has is looked for once, from the folder that the
// program was started in.
func scriptParams() testscript.Params {
	model := firstFile("ZMLX_SMOLLM2", ".cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
	mixture := firstFile("ZMLX_MIXTURE", ".cache/models/SmolLM2-135M-MoE")
	trained := firstFile("ZMLX_TRAINED", "testdata/trained")
	python := firstFile("ZMLX_PYTHON", ".cache/oracle/venv/bin/python")
	library := firstFile("ZMLX_KERNELS", "bin/libzmlx-kernels.so")
	return testscript.Params{
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("ZMLX_UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SMOLLM2", model)
			e.Setenv("MIXTURE", mixture)
			e.Setenv("TRAINED", trained)
			if library != "" {
				e.Setenv("ZMLX_KERNELS", library)
			}
			e.Setenv("PYTHON", python)
			e.Setenv(firstUseEnv, "off")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "mlx":
				return engineName == "mlx", nil
			case "cpu":
				return engineTarget() == "cpu", nil
			case "smollm2":
				return model != "", nil
			case "mixture":
				return mixture != "", nil
			case "trained":
				return trained != "", nil
			case "kernels":
				return engineName == "mlx" && library != "", nil
			case "oracle":
				return python != "", nil
			case "compiler":
				_, err := kernelcheck.Compiler()
				return err == nil, nil
			case "root":
				return os.Geteuid() == 0, nil
			case "full":
				return isDevice("/dev/full"), nil
			case "soak":
				return os.Getenv("ZMLX_SOAK") != "", nil
			}
			return false, fmt.Errorf("unknown condition; there are mlx, cpu, smollm2, mixture, trained, kernels, compiler, oracle, root, full and soak")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "hex": writeHex, "fill": fill,
		},
	}
}

// firstFile returns the file that an environment variable names, or the one at a
// path in the checkout, or "".
func firstFile(env, path string) string {
	if f := os.Getenv(env); f != "" {
		return f
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if f := filepath.Join(dir, filepath.FromSlash(path)); fileExists(f) {
			return f
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

func fileExists(path string) bool { _, err := os.Stat(path); return err == nil }

func isDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeDevice != 0
}

// exits runs a program that must end with an exit code: exits 2 zmlx-rewrite lint x.yaml
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ee *exec.ExitError
		if !errors.As(err, &ee) {
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// writeHex writes bytes to a file: hex x.gguf 47475546 03000000
func writeHex(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: hex FILE bytes...")
	}
	data, err := hex.DecodeString(strings.Join(args[1:], ""))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// fill writes a text many times to a file: fill x.yaml 1000 '['
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fill FILE times text")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.WriteString(f, strings.Repeat(args[2], n))
	ts.Check(errors.Join(err, f.Close()))
}

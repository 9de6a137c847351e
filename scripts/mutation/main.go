// Command mutation plants small mistakes in packages, one at a time, and counts those that
// the tests notice. docs/MUTATION.md is its output.
//
//	go run ./scripts/mutation -every 4 > docs/MUTATION.md
//
// All mistakes are compiled at once, in copies of the sources that -overlay puts in their
// place; MUTANT=n wakes one. What no test runs is found first, by running all tests once
// with MUTANT_TRACE.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// suite is a test binary, and the tests of it that are run for each mutant.
type suite struct {
	pkg string
	run string // -test.run
	not string // -test.skip
}

var (
	every    = flag.Int("every", 1, "test mutants 0, `N`, 2N, ... of those that tests reach")
	limit    = flag.Duration("limit", 2*time.Minute, "a test that takes longer has noticed")
	packages = flag.String("packages", "matcher,rewrite", "packages to plant mistakes in")
	reasons  = flag.String("reasons", "scripts/mutation/survivors.txt", "why survivors are none: FILE:KIND:TEXT = reason")
	again    = flag.String("again", "", "the log of an earlier run of the same sources: only what survived then is tried, the rest was killed")
	until    = flag.Int("until", 1<<30, "try no mutant behind `N`")
	first    = flag.Int("suites", len(suites), "run the first `N` suites only: enough to see where tests are missing")
	list     = flag.Bool("list", false, "list the mutants and stop")
)

// suites notice mistakes in the order of this list. Tests that take long for what they
// notice are left out: those of time, of whole reference models, and FuzzRules, of which
// TestRandomRewrites is the faster half.
var suites = []suite{
	{"matcher", ".", "^$"},
	{"rewrite", "^TestRandomRewrites$", "^$"},
	{"rewrite", ".", "^(TestReferences|TestLinear|FuzzRules|TestRandomRewrites)$"},
	{"verify/proof", "^(TestInstances|TestRightRules)$", "^$"}, // patterns rendered
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay := map[string]string{}
	var all []*mutant
	for _, pkg := range strings.Split(*packages, ",") {
		in, err := read(pkg, len(all))
		if err != nil {
			return err
		}
		all = append(all, in.mutants...)
		for name, text := range in.files() {
			to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
			if err := os.WriteFile(to, text, 0o666); err != nil {
				return err
			}
			abs, err := filepath.Abs(name)
			if err != nil {
				return err
			}
			overlay[abs] = to
		}
	}
	if *list {
		for _, m := range all {
			fmt.Printf("%d %s %s: %s -> %s\n", m.n, m, m.kind, m.was, m.what)
		}
		return nil
	}
	data, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(config, data, 0o666); err != nil {
		return err
	}
	suites = suites[:*first]
	for _, s := range suites {
		c := exec.Command("go", "test", "-c", "-vet=off", "-overlay", config, "-o", filepath.Join(dir, filepath.Base(s.pkg)+".test"), "./"+s.pkg)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", s.pkg, err, out)
		}
	}
	trace := filepath.Join(dir, "trace")
	for _, s := range suites {
		if ok, out := s.test(dir, "MUTANT_TRACE="+trace, 20**limit); !ok {
			return fmt.Errorf("%s fails without a mutant:\n%s", s.pkg, out)
		}
	}
	reached := map[int]bool{}
	data, err = os.ReadFile(trace)
	if err != nil {
		return err
	}
	for _, f := range strings.Fields(string(data)) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return err
		}
		reached[n] = true
	}
	why, err := known()
	if err != nil {
		return err
	}
	return report(dir, all, reached, why)
}

func report(dir string, all []*mutant, reached map[int]bool, why map[string]string) error {
	type count struct{ tried, killed, equal int }
	counts := map[string]*count{}
	var survivors, never []*mutant
	start := time.Now()
	earlier := ""
	if *again != "" {
		data, err := os.ReadFile(*again)
		if err != nil {
			return err
		}
		earlier = string(data)
	}
	k := 0
	for _, m := range all {
		if !reached[m.n] {
			never = append(never, m)
		}
		if k++; (k-1)%*every != 0 || k > *until {
			continue
		}
		pkg := filepath.Dir(m.at.Filename)
		if counts[pkg] == nil {
			counts[pkg] = &count{}
		}
		c := counts[pkg]
		c.tried++
		killed := false
		if *again != "" && !strings.Contains(earlier, " "+m.String()+" "+m.kind+":") {
			c.killed++
			continue
		}
		for i := 0; reached[m.n] && i < len(suites) && !killed; i++ {
			ok, _ := suites[i].test(dir, "MUTANT="+strconv.Itoa(m.n), *limit)
			killed = !ok
		}
		if killed {
			c.killed++
			continue
		}
		if why[m.key()] != "" {
			c.equal++
		}
		survivors = append(survivors, m)
		log.Printf("%d/%d, %v: %s %s: %s -> %s survives", k, len(all), time.Since(start).Round(time.Second), m, m.kind, m.was, m.what)
	}
	fmt.Printf("# Mutation testing of `matcher` and `rewrite`\n\n")
	fmt.Printf("Written by `go run ./scripts/mutation -every %d > docs/MUTATION.md`. Each mutant is one small mistake planted in the\n", *every)
	fmt.Printf("sources: a condition negated, an operator for another, a constant one larger, a statement removed, a function that\nreturns at once. It is killed if a test of `matcher`, `rewrite` or `verify/proof` fails, or does not end within %v.\n\n", *limit)
	if *until < len(all) {
		fmt.Printf("Time was short: nothing behind mutant %d of %d was tried.\n\n", *until, len(all))
	}
	if *every > 1 {
		fmt.Printf("Of %d mutants every %dth was tried, in the order of the sources.\n\n", len(all), *every)
	}
	fmt.Printf("| package | tried | killed | equivalent | survive | killed of those that are not equivalent |\n|---|---|---|---|---|---|\n")
	for _, pkg := range slices.Sorted(keys(counts)) {
		c := counts[pkg]
		fmt.Printf("| `%s` | %d | %d | %d | %d | %.1f %% |\n", pkg, c.tried, c.killed, c.equal, c.tried-c.killed-c.equal, 100*float64(c.killed)/float64(max(1, c.tried-c.equal)))
	}
	fmt.Printf("\nNo test reaches %d of the %d.\n\n## Survivors\n\n", len(never), len(all))
	fmt.Printf("| place | kind | source | mutant | why it survives |\n|---|---|---|---|---|\n")
	for _, m := range survivors {
		reason := why[m.key()]
		if reason == "" {
			reason = "a test is missing"
			if !reached[m.n] {
				reason = "no test reaches it"
			}
		} else {
			reason = "equivalent: " + reason
		}
		fmt.Printf("| %s:%d | %s | `%s` | `%s` | %s |\n", m.at.Filename, m.at.Line, m.kind, cell(m.was), cell(m.what), reason)
	}
	return nil
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func keys[T any](m map[string]T) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// key names a mutant by what it changes, and not by its line.
func (m *mutant) key() string {
	return fmt.Sprintf("%s: %s: %s -> %s", m.at.Filename, m.kind, m.was, m.what)
}

// known reads why some survivors change nothing.
func known() (map[string]string, error) {
	why := map[string]string{}
	data, err := os.ReadFile(*reasons)
	if os.IsNotExist(err) {
		return why, nil
	}
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndex(line, " = ") // sources have it, too
		if at < 0 {
			return nil, fmt.Errorf("%s:%d: no ` = `", *reasons, i+1)
		}
		why[line[:at]] = line[at+len(" = "):]
	}
	return why, nil
}

// test runs a suite and reports whether it passes.
func (s *suite) test(dir, env string, limit time.Duration) (bool, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(dir, filepath.Base(s.pkg)+".test"), "-test.short", "-test.failfast", "-test.run", s.run, "-test.skip", s.not)
	c.Dir = s.pkg
	c.Env = append(os.Environ(), env)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return err == nil, out.Bytes()
}

// read parses and checks a package, and plants its mutants.
func read(pkg string, first int) (*instrument, error) {
	fset := token.NewFileSet()
	in := &instrument{fset: fset, info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}},
		source: map[string][]byte{}, edits: map[string][]edit{}, first: first}
	names, err := filepath.Glob(filepath.Join(pkg, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if in.source[name], err = os.ReadFile(name); err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(fset, name, in.source[name], parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	config := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	if in.pkg, err = config.Check("zmlx-rewrite/"+pkg, fset, files, in.info); err != nil {
		return nil, err
	}
	for _, f := range files {
		in.file(f)
	}
	return in, nil
}

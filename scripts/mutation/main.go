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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// suite is a test binary, and the tests of it that are run for each mutant.
type suite struct {
	pkg string
	run string // -test.run
	not string // -test.skip
}

var (
	every    = flag.Int("every", 1, "try one of `N` mutants, in the order of the sources")
	offset   = flag.Int("offset", 0, "begin with mutant `K`: K, K+N, K+2N, ...")
	jobs     = flag.Int("jobs", 1, "try so many mutants at a time")
	limit    = flag.Duration("limit", 2*time.Minute, "a test that takes more processor time has noticed")
	packages = flag.String("packages", "matcher,rewrite", "packages to plant mistakes in")
	reasons  = flag.String("reasons", "scripts/mutation/survivors.txt", "why survivors are none: FILE:KIND:TEXT = reason")
	again    = flag.String("again", "", "the log of an earlier run: only what survived then is tried, the rest was killed")
	only     = flag.String("only", "", "try those mutants only that `FILE` lists, in lines as -list prints them")
	until    = flag.Int("until", 1<<30, "try no mutant behind `N`")
	first    = flag.Int("suites", len(suites), "run the first `N` suites only: enough to see where tests are missing")
	list     = flag.Bool("list", false, "list the mutants and stop")
)

// suites notice mistakes in the order of this list, those that take least time first. Tests
// that take long for what they notice are left out: those of time, of whole reference
// models, and FuzzRules, of which TestRandomRewrites is the faster half.
var suites = []suite{
	{"matcher", ".", "^$"},
	{"rewrite", ".", "^(" + slow + "|TestRandomRewrites|TestReferences|TestLinear|FuzzRules)$"},
	{"rewrite", "^TestRandomRewrites$", "^$"},
	{"rewrite", "^(" + slow + ")$", "^$"},
	{"verify/proof", "^(TestInstances|TestRightRules)$", "^$"}, // patterns rendered
}

// slow are tests of rewrite that take most of the time of all.
const slow = "TestSound|TestPairs|TestKeep|TestJournal|TestReplayTellsWhere|TestSameResults|TestQwen3Launches"

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
	reached := map[int][]*suite{} // by mutant, in the order of suites
	for i := range suites {
		s, trace := &suites[i], filepath.Join(dir, "trace"+strconv.Itoa(i))
		if ok, out := s.test(dir, "MUTANT_TRACE="+trace, *limit); !ok {
			return fmt.Errorf("%s fails without a mutant:\n%s", s.pkg, out)
		}
		data, err := os.ReadFile(trace)
		if err != nil && !os.IsNotExist(err) { // it reaches none
			return err
		}
		for _, f := range strings.Fields(string(data)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				return err
			}
			reached[n] = append(reached[n], s)
		}
	}
	why, err := known()
	if err != nil {
		return err
	}
	return report(dir, all, reached, why)
}

func report(dir string, all []*mutant, reached map[int][]*suite, why map[string]string) error {
	type count struct{ tried, killed, equal int }
	counts := map[string]*count{}
	start := time.Now()
	earlier, err := survived()
	if err != nil {
		return err
	}
	listed, err := inList()
	if err != nil {
		return err
	}
	never := 0
	var chosen []*mutant
	for k, m := range all {
		if len(reached[m.n]) == 0 {
			never++
		}
		if k >= *offset && (k-*offset)%*every == 0 && k < *until && (listed == nil || listed[m.n]) {
			chosen = append(chosen, m)
		}
	}
	lives := make([]bool, len(chosen))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range *jobs {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(chosen); i = int(next.Add(1)) - 1 {
				m := chosen[i]
				if earlier != nil && !earlier[m.key()] {
					continue
				}
				lives[i] = !slices.ContainsFunc(reached[m.n], func(s *suite) bool {
					ok, _ := s.test(dir, "MUTANT="+strconv.Itoa(m.n), *limit)
					return !ok
				})
				if lives[i] {
					log.Printf("%d/%d, %v: %s %s: %s -> %s survives", m.n, len(all), time.Since(start).Round(time.Second), m, m.kind, m.was, m.what)
				}
			}
		})
	}
	wg.Wait()
	var survivors []*mutant
	for i, m := range chosen {
		pkg := filepath.Dir(m.at.Filename)
		if counts[pkg] == nil {
			counts[pkg] = &count{}
		}
		c := counts[pkg]
		c.tried++
		if !lives[i] {
			c.killed++
			continue
		}
		if why[m.key()] != "" {
			c.equal++
		}
		survivors = append(survivors, m)
	}
	fmt.Printf("# Mutation testing of `matcher` and `rewrite`\n\n")
	fmt.Printf("Written by `go run ./scripts/mutation -every %d > docs/MUTATION.md`. Each mutant is one small mistake planted in the\n", *every)
	fmt.Printf("sources: a condition negated, an operator for another, a constant one larger, a statement removed, a function that\nreturns at once. It is killed if a test of `matcher`, `rewrite` or `verify/proof` fails, or takes more than %v of processor time.\n\n", *limit)
	if *until < len(all) {
		fmt.Printf("Time was short: nothing behind mutant %d of %d was tried.\n\n", *until, len(all))
	}
	if *every > 1 {
		fmt.Printf("Of %d mutants every %dth was tried from number %d on, in the order of the sources.\n\n", len(all), *every, *offset)
	}
	fmt.Printf("| package | tried | killed | equivalent | survive | killed of those that are not equivalent |\n|---|---|---|---|---|---|\n")
	for _, pkg := range slices.Sorted(keys(counts)) {
		c := counts[pkg]
		fmt.Printf("| `%s` | %d | %d | %d | %d | %.1f %% |\n", pkg, c.tried, c.killed, c.equal, c.tried-c.killed-c.equal, 100*float64(c.killed)/float64(max(1, c.tried-c.equal)))
	}
	fmt.Printf("\nNo test reaches %d of the %d.\n\n## Survivors\n\n", never, len(all))
	fmt.Printf("| place | kind | source | mutant | why it survives |\n|---|---|---|---|---|\n")
	for _, m := range survivors {
		reason := why[m.key()]
		if reason == "" {
			reason = "a test is missing"
			if len(reached[m.n]) == 0 {
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

// inList reads the numbers of the mutants that -only lists; nil if there is no list.
func inList() (map[int]bool, error) {
	if *only == "" {
		return nil, nil
	}
	data, err := os.ReadFile(*only)
	if err != nil {
		return nil, err
	}
	numbers := map[int]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		first, _, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", *only, err)
		}
		numbers[n] = true
	}
	return numbers, nil
}

var survivor = regexp.MustCompile(`(?m)^\S+ \S+ (\S+):\d+:\d+ (.*) survives$`)

// survived reads which mutants survived in the run that -again names, by key: lines may have
// moved since. It is nil if there is none.
func survived() (map[string]bool, error) {
	if *again == "" {
		return nil, nil
	}
	data, err := os.ReadFile(*again)
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, m := range survivor.FindAllStringSubmatch(string(data), -1) {
		keys[m[1]+": "+m[2]] = true
	}
	return keys, nil
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

// test runs a suite and reports whether it passes. It may take limit of processor time, so
// that a busy machine notices nothing that a test does not.
func (s *suite) test(dir, env string, limit time.Duration) (bool, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*limit)
	defer cancel()
	seconds := strconv.Itoa(int(limit.Seconds()))
	c := exec.CommandContext(ctx, "sh", "-c", `ulimit -t "$0" && exec "$@"`, seconds,
		filepath.Join(dir, filepath.Base(s.pkg)+".test"), "-test.short", "-test.failfast", "-test.run", s.run, "-test.skip", s.not, "-test.timeout", (20 * limit).String())
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

package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/lockfile"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/rules"
)

var here = Place{Device: Device{Engine: "mlx", Device: "cpu", Name: "AMD <EPYC>", Version: "0.32.2"}, Model: "llama", Program: "abc", Profile: "smollm2"}

// some returns a rule with a kernel, its catalog, and what was found of it here.
func some(t *testing.T) (*rules.Rule, *kernels.Catalog, *Entry) {
	t.Helper()
	c, issues := kernels.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	r := &rules.Rule{Name: "llama.swiglu", Hash: "1234", Kernels: []string{"swiglu"}}
	e := &Entry{Place: here, Rule: r.Name, RuleHash: r.Hash, Kernels: Kernels(r, c), Verdict: choose.Slower, Gain: choose.Gain{Ratio: 0.5, Low: 0.4, High: 0.6, Rounds: 5},
		Alone: &choose.Gain{Ratio: 0.7, Low: 0.6, High: 0.8, Rounds: 3}, With: []string{}, Depth: 64, Tokens: 16, When: time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC), Command: []string{"smart"}}
	if len(e.Kernels["swiglu"]) != 64 {
		t.Fatalf("kernels %v", e.Kernels)
	}
	return r, c, e
}

// TestGet: an entry holds for the place, the rule and its kernels, and for no others.
func TestGet(t *testing.T) {
	r, c, e := some(t)
	l := New()
	l.Put(e)
	if l.Get(here, r, c) != e {
		t.Fatal("what was put in is not there")
	}
	change := func(name string, f func(p *Place, r *rules.Rule, e *Entry)) {
		p, rule, was := here, *r, *e
		f(&p, &rule, &was)
		l := New()
		l.Put(&was)
		if got := l.Get(p, &rule, c); got != nil {
			t.Errorf("another %s, and the entry is thought to hold", name)
		}
	}
	change("device", func(p *Place, _ *rules.Rule, _ *Entry) { p.Device.Name = "Apple M3" })
	change("version", func(p *Place, _ *rules.Rule, _ *Entry) { p.Device.Version = "0.33" })
	change("library of CPU kernels", func(p *Place, _ *rules.Rule, _ *Entry) { p.Device.Library = "0" })
	change("program", func(p *Place, _ *rules.Rule, _ *Entry) { p.Program = "abd" })
	change("profile", func(p *Place, _ *rules.Rule, _ *Entry) { p.Profile = "mine" })
	change("rule", func(_ *Place, r *rules.Rule, _ *Entry) { r.Name = "llama.x" })
	change("text of the rule", func(_ *Place, r *rules.Rule, _ *Entry) { r.Hash = "1235" })
	change("kernel", func(_ *Place, _ *rules.Rule, e *Entry) { e.Kernels = map[string]string{"swiglu": "0"} })
	change("set of kernels", func(_ *Place, r *rules.Rule, _ *Entry) { r.Kernels = nil })
	if !l.Any("cpu", "abc", "smollm2") || l.Any("cuda", "abc", "smollm2") || l.Any("cpu", "x", "smollm2") || l.Any("cpu", "abc", "x") {
		t.Error("Any")
	}
	if l.Drop(here, r.Name); len(l.gains) != 0 {
		t.Error("what was dropped is there")
	}
}

// TestLike: what was found on another device of the same name holds for whatever version of
// the engine, and for nothing else that is another one.
func TestLike(t *testing.T) {
	r, c, e := some(t)
	l := New()
	l.Put(e)
	for name, x := range map[string]struct {
		change func(p *Place, r *rules.Rule)
		found  bool
	}{
		"nothing else":     {func(*Place, *rules.Rule) {}, true},
		"another version":  {func(p *Place, _ *rules.Rule) { p.Device.Version = "0.33" }, true},
		"another name":     {func(p *Place, _ *rules.Rule) { p.Device.Name = "Apple M3" }, false},
		"another library":  {func(p *Place, _ *rules.Rule) { p.Device.Library = "0" }, false},
		"another kind":     {func(p *Place, _ *rules.Rule) { p.Device.Device = "cuda" }, false},
		"another program":  {func(p *Place, _ *rules.Rule) { p.Program = "abd" }, false},
		"another profile":  {func(p *Place, _ *rules.Rule) { p.Profile = "mine" }, false},
		"another rule":     {func(_ *Place, r *rules.Rule) { r.Name = "llama.x" }, false},
		"of another text":  {func(_ *Place, r *rules.Rule) { r.Hash = "1235" }, false},
		"of other kernels": {func(_ *Place, r *rules.Rule) { r.Kernels = nil }, false},
	} {
		p, rule := here, *r
		x.change(&p, &rule)
		if got := l.Like(p, &rule, c); (got == e) != x.found {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestFile: what is written is read again, entries of others stay, and nothing is left
// beside the file.
func TestFile(t *testing.T) {
	_, _, e := some(t)
	path := filepath.Join(t.TempDir(), "zmlx-rewrite", "ledger.json")
	if l, err := Read(path); err != nil || len(l.gains) != 0 {
		t.Fatalf("%v, %v", l, err)
	}
	other := *e
	other.Profile, other.Alone, other.Kernels = "mine", nil, nil
	for _, x := range []*Entry{e, &other} {
		if err := Update(path, func(l Ledger) { l.Put(x) }); err != nil {
			t.Fatal(err)
		}
	}
	used := &FirstUse{Place: here, Seconds: 1.5, Left: []string{"a.b"}, When: e.When, Command: []string{"generate"}}
	if err := Update(path, func(l Ledger) { l.Use(used) }); err != nil {
		t.Fatal(err)
	}
	l, err := Read(path)
	if err != nil || len(l.gains) != 2 || !reflect.DeepEqual(l.gains[e.key()], e) || !reflect.DeepEqual(l.gains[other.key()], &other) || len(l.uses) != 1 || !reflect.DeepEqual(l.uses[here.key()], used) {
		t.Fatalf("%v, %v", l, err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("%d files", len(list))
	}
	data, _ := os.ReadFile(path)
	for _, bad := range []string{"", "{}", "[]", `{"zmlx":2,"gains":[]}`, `{"zmlx":1,"gains":null}`, `{"zmlx":1,"gains":[null]}`, `{"zmlx":1,"gains":[{}]}`, `{"zmlx":1,"gains":[],"first_uses":[null]}`, `{"zmlx":1,"gains":[],"first_uses":[{}]}`,
		strings.Replace(string(data), `"slower"`, `"slow"`, 1), strings.Replace(string(data), `"when": "2026`, `"when": "x`, 1), string(data[:len(data)/2])} {
		if err := os.WriteFile(path, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		var issue *diag.Issue
		if _, err := Read(path); !errors.As(err, &issue) || issue.Code != "ledger/invalid" {
			t.Errorf("%q: %v", bad, err)
		}
		if err := Update(path, func(l Ledger) { l.Put(e) }); err == nil {
			t.Errorf("%q was written over", bad)
		}
	}
}

// writes is the environment variable with the file to which this binary adds entries, as another
// process.
const writes = "LEDGER_TEST_WRITES"

// manyEntries is how many entries each of two writers adds.
const manyEntries = 60

func TestMain(m *testing.M) {
	path, name, ok := strings.Cut(os.Getenv(writes), "\n")
	if !ok {
		os.Exit(m.Run())
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n') // until both are
	for i := range manyEntries {
		if err := Update(path, func(l Ledger) {
			l.Put(&Entry{Place: here, Rule: fmt.Sprintf("%s.%d", name, i), RuleHash: "0", Verdict: choose.Even, With: []string{}, Command: []string{}})
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// TestTwoWriters: two processes that add entries to one file at the same time lose none.
func TestTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	var list []*exec.Cmd
	var gates []io.WriteCloser
	for _, name := range []string{"one", "two"} {
		c := exec.Command(os.Args[0])
		c.Env, c.Stderr = append(os.Environ(), writes+"="+path+"\n"+name), os.Stderr
		gate, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Process.Kill()
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatalf("%q, %v", line, err)
		}
		list, gates = append(list, c), append(gates, gate)
	}
	for _, g := range gates {
		io.WriteString(g, "go\n")
	}
	for _, c := range list {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	l, err := Read(path)
	if err != nil || len(l.gains) != len(list)*manyEntries {
		t.Errorf("%d entries of %d are there, %v", len(l.gains), len(list)*manyEntries, err)
	}
}

// TestBusy: an update does not wait for ever, and says who is in its way.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	lock, err := lockfile.Take(path, "somebody")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	defer func(was time.Duration) { patience = was }(patience)
	patience = time.Millisecond
	var issue *diag.Issue
	if err := Update(path, func(Ledger) {}); !errors.As(err, &issue) || issue.Code != "ledger/busy" || !strings.Contains(issue.Error(), "somebody") {
		t.Errorf("%v", err)
	}
}

// TestUsed: the rules of a place are looked at once, until an end of it is noted. What smart
// found is one as well.
func TestUsed(t *testing.T) {
	_, _, e := some(t)
	there := here
	there.Profile = "mine"
	quick := *e
	quick.FirstUse = true
	for name, c := range map[string]struct {
		put  func(l Ledger)
		used bool
	}{
		"nothing":                 {func(Ledger) {}, false},
		"a first use":             {func(l Ledger) { l.Use(&FirstUse{Place: here}) }, true},
		"one elsewhere":           {func(l Ledger) { l.Use(&FirstUse{Place: there}) }, false},
		"one that is not through": {func(l Ledger) { l.Put(&quick) }, false},
		"a capsule's":             {func(l Ledger) { x := *e; x.Capsule = "h200"; l.Put(&x) }, false},
		"smart":                   {func(l Ledger) { l.Put(e) }, true},
		"smart elsewhere":         {func(l Ledger) { x := *e; x.Place = there; l.Put(&x) }, false},
	} {
		l := New()
		if c.put(l); l.Used(here) != c.used {
			t.Errorf("%s: used is %v", name, !c.used)
		}
		if any := len(l.gains)+len(l.uses) > 0; l.Any("cpu", here.Program, "mine") != (any && strings.HasSuffix(name, "elsewhere")) || l.Any("cpu", here.Program, here.Profile) != (any && !strings.HasSuffix(name, "elsewhere")) {
			t.Errorf("%s: any", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	l := New()
	e := &Entry{Place: here, Rule: "a.b", With: []string{}, Command: []string{}, Verdict: choose.Even}
	l.Put(e)
	data, err := l.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"zmlx":1,"gains":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("x", data)
		if err != nil {
			return
		}
		once, err := l.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("x", once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if twice, _ := again.Bytes(); !bytes.Equal(once, twice) {
			t.Errorf("%s\nand\n%s", once, twice)
		}
	})
}

// TestDocsAreCurrent: docs/ledger.schema.json is this package's schema.
func TestDocsAreCurrent(t *testing.T) {
	got, err := os.ReadFile(filepath.Join("..", "..", "docs", "ledger.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, Schema()) {
		t.Error("write it again: zmlx-rewrite rules schema ledger > docs/ledger.schema.json")
	}
}

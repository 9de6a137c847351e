package proof

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/rules"
)

// specimen is a rule of the collections under testdata/rules.
type specimen struct {
	file, name  string
	first, last int    // lines of its file
	check, code string // of what must refuse it; empty if the rule is right
}

var (
	expectLine = regexp.MustCompile(`^ *# expect: ([a-z-]+) ([a-z-]+(/[a-z-]+)?)$`)
	rightLine  = regexp.MustCompile(`^ *# right: .+`)
	nameLine   = regexp.MustCompile(`^  - name: ([a-z0-9_]+)$`)
)

// readAtLoad are the files whose rules must be refused when they are read.
var readAtLoad = []string{"load.yaml", "load_tag.yaml"}

// specimens reads what the rule files of a folder say of their rules: the comment above
// each says which check must refuse it and with which code, or why it is right.
func specimens(t *testing.T, dir string) []*specimen {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules in %s: %v", dir, err)
	}
	var all []*specimen
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var next *specimen // that a comment announced
		for i, line := range strings.Split(string(data), "\n") {
			if m := expectLine.FindStringSubmatch(line); m != nil {
				next = &specimen{file: file, check: m[1], code: m[2]}
			} else if rightLine.MatchString(line) {
				next = &specimen{file: file}
			}
			if m := nameLine.FindStringSubmatch(line); m != nil {
				if next == nil {
					t.Fatalf("%s:%d: nothing says what is wrong or right with %s", file, i+1, m[1])
				}
				next.name, next.first = m[1], i+1
				all, next = append(all, next), nil
			}
			if next == nil && len(all) > 0 && all[len(all)-1].file == file {
				all[len(all)-1].last = i + 1
			}
		}
	}
	return all
}

// collection loads the rules of a folder beside those that ship, with the folder's
// kernels, and pairs them with what the files say of them.
func collection(t *testing.T, dir string) (*rules.Set, map[*specimen]*rules.Rule) {
	t.Helper()
	catalog, issues := author.Load(filepath.Join(dir, "kernels"))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	files = slices.DeleteFunc(files, func(f string) bool { return slices.Contains(readAtLoad, filepath.Base(f)) })
	set, issues := rules.Load("", files, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	all := map[*specimen]*rules.Rule{}
	for _, s := range specimens(t, dir) {
		for _, r := range set.Rules() {
			if r.Pos.File == filepath.ToSlash(s.file) && strings.HasSuffix(r.Name, "."+s.name) {
				all[s] = r
			}
		}
		if all[s] == nil && s.check != "load" {
			t.Fatalf("%s: no rule %s", s.file, s.name)
		}
	}
	return set, all
}

func family(s *specimen) string { return strings.TrimSuffix(filepath.Base(s.file), ".yaml") }

// lints are codes that refuse a rule although nothing that it computes is wrong.
var lints = []string{CodeDead, CodeRedundant, CodeShadowed, CodeDuplicate}

// found is one reason for refusing a rule.
type found struct {
	check, code, text string
	verdict           *Verdict // nil for what is refused when it is read
}

// refusals asks all checks about a rule; if tests are to be short, only those of a name.
func refusals(t *testing.T, ctx context.Context, set *rules.Set, corpus *Corpus, r *rules.Rule, short string) []found {
	t.Helper()
	subject := &Subject{Set: set, Rule: r, Corpus: corpus}
	if testing.Short() && short != "" {
		return refusalsOf(t, ctx, subject, short)
	}
	report, err := Examine(ctx, subject)
	if err != nil {
		t.Fatal(err)
	}
	return reasons(report.Instances, report.Verdicts)
}

// refusalsOf asks one check.
func refusalsOf(t *testing.T, ctx context.Context, s *Subject, name string) []found {
	t.Helper()
	in, err := s.Corpus.Instances(s.Set, s.Rule)
	if err != nil {
		t.Fatal(err)
	}
	s.Instances = in
	var all []found
	for _, c := range Checks {
		if c.Name != name {
			continue
		}
		verdicts := c.Run(ctx, s)
		for _, v := range verdicts {
			v.Check = name
		}
		all = append(all, reasons(in, verdicts)...)
	}
	return all
}

// reasons lists what keeps a rule from being used.
func reasons(in *Instances, verdicts []*Verdict) []found {
	var all []found
	for _, v := range verdicts {
		switch {
		case v.Check == CheckInstances && v.Failed():
			for _, u := range in.Unseen {
				all = append(all, found{v.Check, u.Code, v.Detail, v})
			}
		case v.Failed() || slices.Contains(lints, v.Code):
			all = append(all, found{v.Check, v.Code, v.Detail, v})
		}
	}
	return all
}

// TestWrongRules runs all checks on rules that are wrong: each must be refused by the
// check that its file names, with the code that is there; where values show what is wrong,
// with a counterexample that engine/ref agrees with.
func TestWrongRules(t *testing.T) {
	const dir = "../../testdata/rules/wrong"
	models, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := NewCorpus(models)
	set, all := collection(t, dir)
	accepted, others, examples := 0, 0, 0
	refused := map[string]int{}
	for i, s := range specimens(t, dir) {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(family(s)+"."+s.name, func(t *testing.T) {
			var why []found
			switch s.check {
			case "load":
				why = refusedAtLoad(t, dir, s)
			case CheckRules:
				why = refusedBeside(t, set, corpus, ruleOf(all, s))
			default:
				why = refusals(t, t.Context(), set, corpus, ruleOf(all, s), s.check)
			}
			i := slices.IndexFunc(why, func(f found) bool { return f.check == s.check && f.code == s.code })
			switch {
			case len(why) == 0:
				accepted++
				t.Errorf("is accepted; expected %s %s", s.check, s.code)
			case i < 0:
				others++
				for _, f := range why {
					t.Errorf("is refused by %s %s (%s); expected %s %s", f.check, f.code, f.text, s.check, s.code)
				}
			default:
				refused[s.check]++
				if s.code != CodeDiffers {
					return
				}
				if err := reproduces(t.Context(), set, why[i].verdict); err != nil {
					t.Errorf("the counterexample: %v", err)
					return
				}
				examples++
			}
		})
	}
	t.Logf("%d wrong rules: %d accepted, %d refused for another reason; %d counterexamples reproduced; refused by %v",
		len(specimens(t, dir)), accepted, others, examples, refused)
}

func ruleOf(all map[*specimen]*rules.Rule, s *specimen) *rules.Rule {
	for x, r := range all {
		if *x == *s {
			return r
		}
	}
	return nil
}

// TestRightRules runs all checks on rules that look wrong and are not: none may refuse one.
func TestRightRules(t *testing.T) {
	const dir = "../../testdata/rules/right"
	models, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	corpus := NewCorpus(models)
	set, all := collection(t, dir)
	wrongly := 0
	for i, s := range specimens(t, dir) {
		if testing.Short() && i%8 > 0 {
			continue
		}
		t.Run(family(s)+"."+s.name, func(t *testing.T) {
			why := refusals(t, t.Context(), set, corpus, ruleOf(all, s), CheckEquivalence)
			if len(why) > 0 {
				wrongly++
			}
			for _, f := range why {
				t.Errorf("is refused: %s %s (%s)", f.check, f.code, f.text)
			}
		})
	}
	t.Logf("%d right rules: %d refused", len(all), wrongly)
}

// refusedAtLoad reads the file of a rule alone, and returns what is said of the rule's
// lines. All that is said must be of some rule.
func refusedAtLoad(t *testing.T, dir string, s *specimen) []found {
	t.Helper()
	catalog, issues := author.Load(filepath.Join(dir, "kernels"))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	_, issues = rules.Load("", []string{s.file}, catalog)
	var all []found
	for _, i := range issues {
		if i.Pos.Line >= s.first && i.Pos.Line <= s.last {
			all = append(all, found{"load", i.Code, i.Message, nil})
		}
	}
	return all
}

// reproduces replays a counterexample on engine/ref.
func reproduces(ctx context.Context, set *rules.Set, v *Verdict) error {
	if v.Counter == nil {
		return fmt.Errorf("there is none: %s", v.Detail)
	}
	call := v.Counter.Call(set)
	e := ref.New()
	defer e.Close()
	out, err := call.Replay(ctx, e, set, v.Counter.Instance.Rule, nil)
	switch {
	case err != nil:
		return err
	case !out.Applied:
		return fmt.Errorf("the rule is not applied: %s", v.Counter)
	case out.Differs == nil:
		return fmt.Errorf("engine/ref gives the same: %s", v.Counter)
	}
	return nil
}

// refusedBeside looks at a rule behind those that ship.
func refusedBeside(t *testing.T, set *rules.Set, corpus *Corpus, r *rules.Rule) []found {
	t.Helper()
	f := &Together{Name: "beside what ships", Target: "cuda"}
	all := map[string]*Instances{}
	list := slices.DeleteFunc(slices.Clone(set.Rules()), func(x *rules.Rule) bool { return !strings.HasPrefix(x.Name, "llama.") })
	for _, other := range append(list, r) {
		f.Rules = append(f.Rules, other)
		in, err := corpus.Instances(set, other)
		if err != nil {
			t.Fatal(err)
		}
		all[other.Name] = in
	}
	var out []found
	for _, v := range Between(t.Context(), set, f, all) {
		for _, why := range v.Why {
			if (v.Failed() || slices.Contains(lints, v.Code)) && strings.Contains(why, r.Name) {
				out = append(out, found{v.Check, v.Code, why, v})
			}
		}
	}
	return out
}

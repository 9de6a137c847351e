package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// Tests of this file's helpers write down a rule or two and a program of a few lines, and
// say what comes of them.

// rule is the text of a rule, exact unless the body says otherwise.
func rule(name, body string) string {
	if !strings.Contains(body, "numerics:") {
		body += "\n    numerics: exact"
	}
	return "  - name: " + name + "\n    doc: A rule of this test.\n    " + strings.TrimSpace(body) + "\n"
}

// configOf links rules, which may call the built-in kernels and those given by name. It
// prefers the rules in the order in which they are written.
func configOf(t testing.TB, rules string, specs map[string]string) *Config {
	t.Helper()
	set, err := setOf(t, "zmlx: 1\nfamily: test\nrules:\n"+rules, specs)
	if err != nil {
		t.Fatal(err)
	}
	return &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}}
}

// programOf reads what stands behind the head of a program; without a line that begins
// with "case", it is the one case of it.
func programOf(t testing.TB, cfg *Config, text string) *graph.Program {
	t.Helper()
	if !strings.Contains(text, "\ncase ") {
		text = "case all\n" + text
	}
	p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\n"+strings.TrimLeft(text, "\n")), cfg.Set.Kernels.Op)
	if issues.HasErrors() {
		t.Fatal(issues, text)
	}
	return p
}

// rewritten is Run, which must work.
func rewritten(t testing.TB, cfg *Config, p *graph.Program) *Result {
	t.Helper()
	res, err := Run(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// applied lists the sites of a case as "rule@scope", rules without their family.
func applied(c *CaseResult) string {
	var list []string
	for _, s := range c.Sites {
		list = append(list, s.Rule.Short()+"@"+s.Scope)
	}
	return strings.Join(list, " ")
}

// refused lists why the rule of that name was not applied: where, the code, how many nodes
// of the pattern were there, and the line at which matching stopped.
func refused(t testing.TB, c *CaseResult, name string) (list []string) {
	t.Helper()
	r := c.account.cfg.Set.Rule("test." + name)
	if r == nil {
		t.Fatalf("there is no rule %s", name)
	}
	for _, f := range c.Refusals(r) {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %d/%d %s", f.Scope, f.Code, f.Matched, f.Of, f.Line())))
	}
	return list
}

// chain is a program of ops in a row over float32[4], each in a scope of its own: A, B, ...
func chain(ops string) string {
	var b strings.Builder
	b.WriteString("  input x : float32[4]\n")
	last := "x"
	for i, op := range strings.Fields(ops) {
		name := string(rune('a' + i))
		fmt.Fprintf(&b, "  %s = %s(%s) : float32[4] @ %s\n", name, op, last, strings.ToUpper(name))
		last = name
	}
	return b.String() + "  output out = " + last + "\n"
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

func equalList(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, not %q", what, got, want)
	}
}

func fails(t testing.TB, what string, err error, want string) {
	t.Helper()
	if err == nil {
		err = errors.New("no error")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, not %s", what, err, want)
	}
}

package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// TestCases: a guard that only a call decides splits a case in two, the first of which
// says when it applies. What the cases before it leave is known in a case, and what was
// decided once is not asked again.
func TestCases(t *testing.T) {
	guarded := func(name, op, guard string) string {
		return rule(name, "match: {m: "+op+"(x), y: negative(m)}\n    guards: {g: '"+guard+"'}\n    replace: {y: "+op+"(x)}")
	}
	const body = `
  input tokens : int32[batch, seq_len]
  input x : float32[4]
  a = exp(x) : float32[4]
  b = negative(a) : float32[4] @ B
  c = sin(b) : float32[4]
  d = negative(c) : float32[4] @ D
  output tokens = tokens
  output out = d
`
	for _, c := range []struct {
		name, rules, program string
		want                 []string
	}{
		{"decided", guarded("e", "exp", "batch >= 1"), "case all" + body, []string{"all when true: e@B"}},
		{"open", guarded("e", "exp", "batch <= 4"), "case all" + body, []string{"all_batch_le_4 when batch <= 4: e@B", "all when true: "}},
		{"within a case", guarded("e", "exp", "batch <= 4"), "case few when batch <= 9" + body + "case all" + body,
			[]string{"few_batch_le_4 when batch <= 9 && batch <= 4: e@B", "few when batch <= 9: ", "all when true: "}},
		{"decided by the case", guarded("e", "exp", "batch <= 4"), "case few when batch <= 4" + body + "case all" + body,
			[]string{"few when batch <= 4: e@B", "all when true: "}},
		{"decided by the cases before", guarded("e", "exp", "batch > 4"), "case few when batch <= 2" + body + "case some when batch <= 4" + body + "case all" + body,
			[]string{"few when batch <= 2: ", "some when batch <= 4: ", "all when true: e@B"}},
		{"two guards alike", guarded("e", "exp", "batch <= 4") + guarded("s", "sin", "batch <= 4"), "case all" + body,
			[]string{"all_batch_le_4 when batch <= 4: e@B s@D", "all when true: "}},
		{"the opposite", guarded("e", "exp", "batch <= 4") + guarded("s", "sin", "batch > 4"), "case all" + body,
			[]string{"all_batch_le_4 when batch <= 4: e@B", "all when true: s@D"}},
		{"the first decides the second", guarded("e", "exp", "batch <= 4") + guarded("s", "sin", "batch <= 8"), "case all" + body,
			[]string{"all_batch_le_4 when batch <= 4: e@B s@D", "all_batch_le_8 when batch <= 8: s@D", "all when true: "}},
		{"the opposite of the first decides the second", guarded("e", "exp", "batch <= 4") + guarded("s", "sin", "batch <= 2"), "case all" + body,
			[]string{"all_batch_le_4_batch_le_2 when batch <= 4 && batch <= 2: e@B s@D", "all_batch_le_4 when batch <= 4: e@B", "all when true: "}},
		{"two symbols", guarded("e", "exp", "batch <= 4") + guarded("s", "sin", "seq_len == 1"), "case all" + body,
			[]string{"all_batch_le_4_seq_len_eq_1 when batch <= 4 && seq_len == 1: e@B s@D", "all_batch_le_4 when batch <= 4: e@B", "all_seq_len_eq_1 when seq_len == 1: s@D", "all when true: "}},
		{"no interval", guarded("e", "exp", "batch <= 4 && seq_len == 1") + guarded("s", "sin", "batch <= 4 && seq_len == 1"), "case all" + body,
			[]string{"all_batch_le_4_and_seq_len_eq_1 when batch <= 4 && seq_len == 1: e@B s@D", "all when true: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := configOf(t, c.rules, nil)
			res := rewritten(t, cfg, programOf(t, cfg, "\n"+c.program))
			var got []string
			for i := range res.Cases {
				k := &res.Cases[i]
				got = append(got, fmt.Sprintf("%s when %s: %s", k.Name, k.When, applied(k)))
				equal(t, "case of the program", res.Program.Cases[i].Name+" "+res.Program.Cases[i].When.String(), k.Name+" "+k.When.String())
				equal(t, "graph of the case", res.Program.Cases[i].Graph, k.After)
				if from, _, _ := strings.Cut(k.Name, "_"); k.From != from {
					t.Errorf("%s is made of %s", k.Name, k.From)
				}
			}
			equalList(t, "cases", got, c.want...)
		})
	}
}

// TestUndecided: in the case for which a guard does not hold, the match says so, and what it saw.
func TestUndecided(t *testing.T) {
	cfg := configOf(t, rule("r", `
    match: {m: exp(x), y: negative(m)}
    guards: {always: batch >= 1, few: batch <= 4, short: seq_len <= 2}
    replace: {y: sin(x)}`), nil)
	res := rewritten(t, cfg, programOf(t, cfg, `
  input tokens : int32[batch, seq_len]
  input x : float32[4]
  a = exp(x) : float32[4]
  b = negative(a) : float32[4] @ B
  output tokens = tokens
  output out = b
`))
	equal(t, "cases", len(res.Cases), 2)
	equal(t, "the first", applied(&res.Cases[0]), "r@B")
	equalList(t, "the first", refused(t, &res.Cases[0], "r"))
	equalList(t, "the second", refused(t, &res.Cases[1], "r"), "B guard/false 2/2")
	f := res.Cases[1].Refusals(cfg.Rules[0])[0]
	wanted, found := f.Detail()
	equal(t, "why", f.Guard+": "+wanted+"; "+found, "few: batch <= 4; batch = batch in this case")
}

// TestSplitLater: cases that are split in a later round have the sites and the refusals of the
// rounds before, and each its own of those behind.
func TestSplitLater(t *testing.T) {
	cfg := configOf(t, rule("first", "match: {m: exp(x), y: negative(m)}\n    replace: {y: sin(x)}")+
		rule("few", "match: {m: sin(x), y: abs(m)}\n    guards: {g: batch <= 4}\n    replace: {y: cos(x)}")+
		rule("many", "match: {m: sin(x), y: abs(m)}\n    guards: {g: batch > 4}\n    replace: {y: tanh(x)}"), nil)
	for n := range 6 {
		ops := strings.Repeat("exp negative ", n) + "exp negative abs"
		res := rewritten(t, cfg, programOf(t, cfg, "  input tokens : int32[batch, 1]\n  output tokens = tokens\n"+chain(ops)))
		equal(t, "cases", len(res.Cases), 2)
		last := string(rune('A' + 2*n + 2))
		for i, want := range []string{"few@" + last, "many@" + last} {
			sites := strings.Fields(applied(&res.Cases[i]))
			equal(t, fmt.Sprint(n, " times: sites"), len(sites), n+2)
			equal(t, fmt.Sprint(n, " times: the site of the second round"), sites[n+1], want)
		}
		equalList(t, "few in the first", refused(t, &res.Cases[0], "few"))
		equalList(t, "few in the second", refused(t, &res.Cases[1], "few"), last+" guard/false 2/2")
		equalList(t, "many in the first", refused(t, &res.Cases[0], "many"), last+" guard/false 2/2")
		equalList(t, "many in the second", refused(t, &res.Cases[1], "many"))
	}
}

// TestSplitLimit: a case is split by six conditions and no more. What stays open then does
// not hold.
func TestSplitLimit(t *testing.T) {
	rules := ""
	for i, op := range strings.Fields("exp sin cos abs sigmoid tanh erf") {
		rules += rule(op, fmt.Sprintf("match: {m: %s(x), y: negative(m)}\n    guards: {g: batch == %d}\n    replace: {y: %s(x)}", op, 10*(i+1), op))
	}
	cfg := configOf(t, rules, nil)
	p := programOf(t, cfg, "  input tokens : int32[batch, 1]\n  output tokens = tokens\n"+chain("exp negative sin negative cos negative abs negative sigmoid negative tanh negative erf negative"))
	res := rewritten(t, cfg, p)
	var got []string
	for i := range res.Cases {
		got = append(got, res.Cases[i].Name+": "+applied(&res.Cases[i]))
	}
	equalList(t, "cases", got, "all_batch_eq_10: exp@B", "all_batch_eq_20: sin@D", "all_batch_eq_30: cos@F", "all_batch_eq_40: abs@H",
		"all_batch_eq_50: sigmoid@J", "all_batch_eq_60: tanh@L", "all: ")
	equalList(t, "the seventh", refused(t, &res.Cases[6], "erf"), "N guard/false 2/2")
}

// TestCaseSuffix: the name of a case says when it applies, in letters that files and C may have.
func TestCaseSuffix(t *testing.T) {
	b, n := graph.Sym("batch"), graph.Sym("n")
	for _, c := range []struct {
		cond graph.Cond
		want string
	}{
		{graph.Compare(b, graph.LE, graph.N(4)), "batch_le_4"},
		{graph.Compare(b, graph.GE, graph.N(4)), "batch_ge_4"},
		{graph.Compare(b, graph.LT, graph.N(4)), "batch_lt_4"},
		{graph.Compare(b, graph.GT, graph.N(4)), "batch_gt_4"},
		{graph.Compare(b, graph.EQ, graph.N(4)), "batch_eq_4"},
		{graph.Compare(b.Mul(n), graph.NE, graph.N(4)), "batch_x_n_ne_4"},
		{graph.And(graph.Compare(b, graph.EQ, graph.N(4)), graph.Compare(n, graph.LE, graph.N(1))), "batch_eq_4_and_n_le_1"},
		{graph.Or(graph.Compare(b, graph.EQ, graph.N(4)), graph.Compare(n, graph.LE, graph.N(1))), "batch_eq_4_or_n_le_1"},
	} {
		equal(t, c.cond.String(), caseSuffix(c.cond), c.want)
	}
}

// TestRounds: what a rule makes is matched again, until nothing matches or a rule has been
// at work for eight rounds.
func TestRounds(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: exp(x)}"), nil)
	for _, c := range []struct {
		negatives, sites int
		stop             string
	}{{0, 0, StopDone}, {1, 1, StopDone}, {8, 8, StopDone}, {9, 8, StopFuel}, {12, 8, StopFuel}} {
		res := rewritten(t, cfg, programOf(t, cfg, chain("exp"+strings.Repeat(" negative", c.negatives))))
		what := fmt.Sprintf("%d negatives: ", c.negatives)
		equal(t, what+"why it stopped", res.Stop, c.stop)
		equal(t, what+"cases", len(res.Cases), 1)
		equal(t, what+"sites", len(res.Cases[0].Sites), c.sites)
		for i, s := range res.Cases[0].Sites {
			equal(t, what+"round", s.Round, i+1)
			equal(t, what+"site", s.ID, SiteID{"all", i + 1, 0})
		}
		equal(t, what+"launches", res.Cases[0].After.Launches(), 1+c.negatives-c.sites)
	}
}

// TestLaterRounds: a round tries the rules that the round before may have made a match of,
// and nothing that it refuses is told: nobody has written that graph.
func TestLaterRounds(t *testing.T) {
	cfg := configOf(t, rule("first", "match: {m: exp(x), y: negative(m)}\n    replace: {y: sin(x)}")+
		rule("guarded", "match: {m: sin(x), y: abs(m)}\n    guards: {never: 'dim(x, 0) > 4'}\n    replace: {y: cos(x)}")+
		rule("weights", "match: {m: sin(x), y: cos(m)}\n    weights: {w: 'concat(x, x)'}\n    replace: {y: cos(x)}")+
		rule("then", "match: {m: sin(x), y: tanh(m)}\n    replace: {y: tanh(x)}"), nil)
	for _, c := range []struct{ ops, sites string }{
		{"exp negative abs", "first@B"},
		{"exp negative cos", "first@B"},
		{"exp negative tanh", "first@B then@C"},
		{"sin tanh", "then@B"},
	} {
		res := rewritten(t, cfg, programOf(t, cfg, chain(c.ops)))
		equal(t, c.ops, applied(&res.Cases[0]), c.sites)
		for _, f := range res.Cases[0].refusals {
			t.Errorf("%s: %s refused at %s: %s", c.ops, f.Rule.Name, f.Scope, f.Code)
		}
	}
}

// TestKeepTells: a site that is left out by choice is told where it was seen first.
func TestKeepTells(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: exp(x)}"), nil)
	p := programOf(t, cfg, chain("exp negative negative sin exp negative"))
	var asked []SiteID
	cfg.Keep = func(id SiteID) bool {
		asked = append(asked, id)
		return id == SiteID{"all", 1, 0}
	}
	c := &rewritten(t, cfg, p).Cases[0]
	equal(t, "sites", applied(c), "r@B")
	equalList(t, "refused", refused(t, c, "r"), "F plan/left-out 2/2")
	wanted, found := c.Refusals(cfg.Rules[0])[0].Detail()
	equal(t, "why", wanted+"; "+found, "a site that is asked for; this one is left out")
	equal(t, "asked for", fmt.Sprint(asked), "[{all 1 0} {all 1 1} {all 2 0} {all 2 1}]")
}

// TestOrderOfNodes: the result does not depend on the order in which nodes are written.
func TestOrderOfNodes(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {p: exp(x), q: sin(x)}\n    replace: {p: cos(x), q: x}"), nil)
	lines := []string{
		"  a = exp(x) : float32[4] @ A",
		"  b = exp(x) : float32[4] @ B",
		"  c = sin(x) : float32[4] @ C",
		"  d = negative(a) : float32[4] @ D",
		"  e = abs(b) : float32[4] @ E",
	}
	results := map[string]bool{}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {1, 0, 2, 4, 3}, {2, 1, 4, 0, 3}, {0, 3, 1, 4, 2}} {
		text := "  input x : float32[4]\n"
		for _, i := range order {
			text += lines[i] + "\n"
		}
		res := rewritten(t, cfg, programOf(t, cfg, text+"  output c = c\n  output d = d\n  output e = e\n"))
		results[res.Program.Hash().String()] = true
		equal(t, "sites", len(res.Cases[0].Sites), 1)
	}
	equal(t, "results", len(results), 1)
}

// TestProgramKept: what a rewrite does not touch is as it was: name, window, parameters, the
// program that was given, and cases where no rule applies.
func TestProgramKept(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: exp(x)}"), nil)
	p := programOf(t, cfg, "param m.a : float32[4]\ncase one when batch <= 1\n  input tokens : int32[batch]\n  input x : float32[4]\n  a = exp(x) : float32[4]\n  b = negative(a) : float32[4]\n  c = multiply(b, m.a) : float32[4]\n  output tokens = tokens\n  output out = c\n"+
		"case all\n  input tokens : int32[batch]\n  input x : float32[4]\n  a = sin(x) : float32[4]\n  c = multiply(a, m.a) : float32[4]\n  output tokens = tokens\n  output out = c\n")
	before := p.Hash()
	res := rewritten(t, cfg, p)
	equal(t, "the program that was given", p.Hash(), before)
	equal(t, "before", res.Before, p)
	equal(t, "name", res.Program.Name, "test")
	equal(t, "parameters", len(res.Program.Params), 1)
	equal(t, "a case that is rewritten", res.Cases[0].Before == res.Cases[0].After, false)
	equal(t, "a case that is not", res.Cases[1].Before, res.Cases[1].After)
	equal(t, "its hash", res.Cases[1].After.Hash(), p.Cases[1].Graph.Hash())
}

// TestVerified: tests look at every graph that is made, and at the program.
func TestVerified(t *testing.T) {
	defer func(was func(interface{ Verify() error }) error) { verify = was }(verify)
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: exp(x)}"), nil)
	p := programOf(t, cfg, chain("exp negative negative"))
	broken := errors.New("broken")
	var seen []string
	for fail := range 4 {
		seen = nil
		verify = func(x interface{ Verify() error }) error {
			if seen = append(seen, fmt.Sprintf("%T", x)); len(seen) == fail+1 {
				return broken
			}
			return nil
		}
		if _, err := Run(p, cfg); errors.Is(err, broken) != (fail < 3) {
			t.Errorf("graph %d is broken, and the error is %v", fail, err)
		}
	}
	if !slices.Equal(seen, []string{"*graph.Graph", "*graph.Graph", "*graph.Program"}) {
		t.Errorf("verified %v", seen)
	}
}

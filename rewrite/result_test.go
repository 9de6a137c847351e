package rewrite

import (
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/matcher"
)

// TestNumericsOfACase: a case promises what the weakest of the rules promises that were
// applied in it, and everything if none was.
func TestNumericsOfACase(t *testing.T) {
	cfg := configOf(t, rule("exact", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: sin(x)}`)+rule("reordered", `
    match: {m: exp(x), y: sigmoid(m)}
    replace: {y: sin(x)}
    numerics: reordered`)+rule("lossy", `
    match: {m: exp(x), y: abs(m)}
    replace: {y: sin(x)}
    numerics: lossy`), nil)
	for _, c := range []struct {
		program string
		want    kernels.Numerics
		sites   string
	}{
		{chain("cos"), kernels.Exact, ""},
		{chain("exp negative"), kernels.Exact, "exact@B"},
		{chain("exp sigmoid exp negative"), kernels.Reordered, "exact@D reordered@B"},
		{chain("exp sigmoid exp abs"), kernels.Lossy, "reordered@B lossy@D"},
		{chain("exp abs exp negative"), kernels.Lossy, "exact@D lossy@B"},
	} {
		got := rewritten(t, cfg, programOf(t, cfg, c.program)).Cases[0]
		equal(t, "sites", applied(&got), c.sites)
		equal(t, c.sites, got.Numerics(), c.want)
	}
}

// TestPreference: of matches that share nodes the one with more nodes is taken, then the
// one whose rule comes first, then the one that comes first in the graph.
func TestPreference(t *testing.T) {
	small := rule("small", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: sin(x)}`)
	large := rule("large", `
    match: {m: exp(x), n: negative(m), y: abs(n)}
    replace: {y: cos(x)}`)
	next := rule("next", `
    match: {m: negative(x), y: abs(m)}
    replace: {y: cos(x)}`)
	twice := rule("twice", `
    match: {m: negative(x), y: negative(m)}
    replace: {y: sin(x)}`)
	for _, c := range []struct{ name, rules, program, sites string }{
		{"the larger match, whatever the order of rules", small + large, chain("exp negative abs"), "large@C"},
		{"of two of one size the first rule's", small + next, chain("exp negative abs"), "small@B"},
		{"also where the other's comes first in the graph", next + small, chain("exp negative abs"), "next@C"},
		{"of one rule's the first in the graph", twice, chain("negative negative negative"), "twice@B"},
		{"and all that share nothing", twice, chain("negative negative negative negative"), "twice@B twice@D"},
		{"whichever spelling is tried first", twice + rule("spelled", `
    match: {m: exp(x), y: "any(abs(m), cos(m))"}
    replace: {y: sin(x)}`), chain("exp cos exp abs exp cos"), "spelled@B spelled@D spelled@F"},
		{"one shared node is enough", rule("behind", `
    match: {m: negative(x), y: exp(m)}
    replace: {y: sin(x)}`) + large, chain("negative exp negative abs"), "large@D"},
		{"listed in the same order", next + small, chain("exp negative exp negative abs"), "next@E small@B"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := configOf(t, c.rules, nil)
			res := rewritten(t, cfg, programOf(t, cfg, c.program))
			equal(t, "sites", applied(&res.Cases[0]), c.sites)
		})
	}
}

// TestOverlap: a match that lost its nodes to another rule's says to which, and where that
// is. One that lost them to a match of its own rule is the same work, and says nothing.
func TestOverlap(t *testing.T) {
	cfg := configOf(t, rule("small", `
    match: {m: exp(x), y: negative(m)}
    replace: {y: sin(x)}`)+rule("large", `
    match: {m: exp(x), n: negative(m), y: abs(n)}
    replace: {y: cos(x)}`)+rule("twice", `
    match: {m: sin(x), y: sin(m)}
    replace: {y: cos(x)}`), nil)
	res := rewritten(t, cfg, programOf(t, cfg, chain("exp negative abs sin sin sin")))
	c := &res.Cases[0]
	equal(t, "sites", applied(c), "large@C twice@E")
	equal(t, "sites of large", c.Matches("test.large"), 1)
	equal(t, "sites of small", c.Matches("test.small"), 0)
	equalList(t, "small", refused(t, c, "small"), "B plan/overlap 2/2")
	equalList(t, "twice", refused(t, c, "twice"))

	lost := c.Overlaps()
	if len(lost) != 1 || len(c.Whole(cfg.Rules[0])) != 1 || lost[0] != c.Whole(cfg.Rules[0])[0] || len(c.Whole(cfg.Rules[1])) != 0 {
		t.Fatalf("overlaps %v, of small %v, of large %v", lost, c.Whole(cfg.Rules[0]), c.Whole(cfg.Rules[1]))
	}
	wanted, found := lost[0].Detail()
	equal(t, "winner", lost[0].Winner.Short(), "large")
	equal(t, "nodes of the winner", lost[0].WinnerSize, 3)
	equal(t, "wanted", wanted, "nodes that no other rule takes")
	equal(t, "found", found, "test.large takes them at C")
}

// TestSharedConstant: constants and ranges belong to nobody, so that matches may share them.
func TestSharedConstant(t *testing.T) {
	cfg := configOf(t, rule("r", `
    match: {r: "arange(stop=4, dtype=float32)", m: "multiply(x, r)", y: exp(m)}
    replace: {y: sin(x)}`), nil)
	res := rewritten(t, cfg, programOf(t, cfg, `
  input x : float32[4]
  r = arange(stop=4, dtype=float32) : float32[4]
  a = multiply(x, r) : float32[4]
  b = exp(a) : float32[4] @ B
  c = multiply(b, r) : float32[4]
  d = exp(c) : float32[4] @ D
  output d = d
  s = arange(stop=2, dtype=float32) : float32[2]
  t = arange(stop=3, dtype=float32) : float32[3]
  output s = s
  output t = t
`)) // matching starts at the rarest op, at each place once: that must not be the range
	equal(t, "sites", applied(&res.Cases[0]), "r@B r@D")
}

// TestMatchSet: matches of the same nodes, in any order, are one.
func TestMatchSet(t *testing.T) {
	s := matchSet{newest: make([]int32, 10)}
	all := [][]graph.NodeID{{3, 5}, {3, 6}, {3}, {3, 5, 7}, {4, 5}, {9}, {3, 7, 6}, {0, 9}}
	for _, nodes := range all {
		if !s.add(&matcher.Match{Nodes: nodes}) {
			t.Errorf("%v is there already", nodes)
		}
	}
	for _, nodes := range append(all, []graph.NodeID{5, 3}, []graph.NodeID{7, 3, 5}, []graph.NodeID{6, 7, 3}, []graph.NodeID{9, 0}) {
		if s.add(&matcher.Match{Nodes: nodes}) {
			t.Errorf("%v is added twice", nodes)
		}
	}
}

// TestSymbols: batch and seq_len are the dimensions of the tokens, and kv_len is the rows
// that all attention sees which sees everything.
func TestSymbols(t *testing.T) {
	const head = `
  input tokens : int32[batch, 3]
  input q : float32[1, 2, 1, 4]
  input k : float32[1, 2, 7, 4]
  input k9 : float32[1, 2, 9, 4]
  input cache : float32[1, 2, kv_cap, 4]
  input ring : float32[1, 2, window_cap, 4]
`
	attention := func(name, k, more string) string {
		return "  " + name + " = sdpa(q, " + k + ", " + k + ", scale=1.0" + more + ") : float32[1, 2, 1, 4]\n  output " + name + " = " + name + "\n"
	}
	for _, c := range []struct {
		name, graph          string
		batch, seqLen, kvLen string
	}{
		{"tokens alone", head + "  y = exp(q) : float32[1, 2, 1, 4]\n  output y = y\n", "batch", "3", "unknown"},
		{"all rows of the keys", head + attention("a", "k", ""), "batch", "3", "7"},
		{"rows that are said", head + attention("a", "cache", ", kv_len=kv_len"), "batch", "3", "kv_len"},
		{"twice as many rows", head + attention("a", "k", "") + attention("b", "k9", ", kv_len=7"), "batch", "3", "7"},
		{"two numbers of rows", head + attention("a", "k", "") + attention("b", "k9", ""), "batch", "3", "unknown"},
		{"behind a window", head + attention("a", "ring", ", kv_len=window_len"), "batch", "3", "unknown"},
		{"behind a window, and everything", head + attention("a", "ring", ", kv_len=window_len") + attention("b", "cache", ", kv_len=kv_len"), "batch", "3", "kv_len"},
		{"everything, and behind a window", head + attention("a", "cache", ", kv_len=kv_len") + attention("b", "ring", ", kv_len=window_len"), "batch", "3", "kv_len"},
		{"tokens of one dimension", "  input tokens : int32[4]\n  y = negative(tokens) : int32[4]\n  output y = y\n", "unknown", "unknown", "unknown"},
		{"no tokens", "  input x : int32[batch, 3]\n  y = negative(x) : int32[batch, 3]\n  output y = y\n", "unknown", "unknown", "unknown"},
	} {
		p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\ncase all\n"+c.graph), nil)
		if issues.HasErrors() {
			t.Fatal(c.name, issues)
		}
		env := Symbols(p.Cases[0].Graph)
		for symbol, want := range map[string]string{"batch": c.batch, "seq_len": c.seqLen, "kv_len": c.kvLen} {
			got := "unknown"
			if d, ok := env[symbol]; ok {
				got = d.String()
			}
			equal(t, c.name+": "+symbol, got, want)
		}
	}
}

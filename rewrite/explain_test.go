package rewrite

import "testing"

// TestNearMisses: a place where a pattern nearly matches is told once, with how far it got
// in the spelling that got furthest. One where it matches is not told, whatever other
// spellings lack there.
func TestNearMisses(t *testing.T) {
	plain := "match: {m: exp(x), y: negative(m)}\n    replace: {y: negative(x)}"
	spelled := func(y string) string {
		return "match: {m: exp(x), y: '" + y + "', z: sin(y)}\n    replace: {z: exp(x)}"
	}
	optional := spelled("negative(optional(abs(m)))")
	for _, c := range []struct {
		name, rule, ops string
		applied         string
		near            []string
	}{
		{"one op is another", plain, "exp negative exp sigmoid negative exp", "r@B", []string{"E match/op 1/2 m"}},
		{"the shorter spelling got further", optional, "exp negative cos sin abs", "", []string{"A match/no-reader 2/3 z"}},
		{"the longer spelling got further", optional, "exp abs negative cos sin", "", []string{"A match/no-reader 3/4 z"}},
		{"of two that got as far the shorter lacks less", optional, "exp cos negative cos sin abs", "", []string{"A match/no-reader 1/3 y"}},
		{"two places", optional, "exp negative cos exp abs negative cos sin sin sin abs abs", "", []string{"A match/no-reader 2/3 z", "D match/no-reader 3/4 z"}},
		{"two places, the other way round", optional, "exp abs negative cos exp negative cos sin sin sin abs abs", "", []string{"A match/no-reader 3/4 z", "E match/no-reader 2/3 z"}},
		{"the longer spelling matches", optional, "exp abs negative sin cos", "r@D", nil},
		{"the shorter spelling matches", optional, "exp negative sin cos abs", "r@C", nil},
		{"a place that matches, and one that does not", spelled("negative(any(abs(m), cos(m)))"), "exp negative sin cos exp abs negative sin", "r@H", []string{"D match/op 1/4 m"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := configOf(t, rule("r", c.rule), nil)
			res := rewritten(t, cfg, programOf(t, cfg, chain(c.ops)))
			equal(t, "sites", applied(&res.Cases[0]), c.applied)
			equalList(t, "near misses", refused(t, &res.Cases[0], "r"), c.near...)
			equalList(t, "asked again", refused(t, &res.Cases[0], "r"), c.near...)
		})
	}
}

// TestNearMissText: what was wanted at a near miss, and what is there.
func TestNearMissText(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: negative(x)}"), nil)
	res := rewritten(t, cfg, programOf(t, cfg, chain("exp exp sigmoid negative")))
	for _, f := range res.Cases[0].Refusals(cfg.Rules[0]) {
		wanted, found := f.Detail()
		equal(t, "the op at "+f.Scope, wanted+"; "+found, "m: exp; sigmoid")
	}
}

// TestOff: a rule that is off says where it would match, once each, and why it is off.
func TestOff(t *testing.T) {
	cfg := configOf(t, rule("r", `
    match: {m: "any(astype(x, dtype=float16), astype(x, dtype=$t))", y: negative(m)}
    replace: {y: "astype(x, dtype=float16)"}`), nil)
	p := programOf(t, cfg, `
  input x : float32[4]
  a = astype(x, dtype=float16) : float16[4] @ A
  b = negative(a) : float16[4] @ B
  c = astype(b, dtype=float32) : float32[4] @ C
  d = negative(c) : float32[4] @ D
  e = astype(d, dtype=float16) : float16[4] @ E
  output e = e
`)
	cfg.Off = map[string]string{"test.r": "it is slower"}
	c := &rewritten(t, cfg, p).Cases[0]
	equal(t, "sites", applied(c), "")
	equalList(t, "refused", refused(t, c, "r"), "B plan/off 2/2", "D plan/off 2/2")
	wanted, found := c.Refusals(cfg.Rules[0])[0].Detail()
	equal(t, "why", wanted+"; "+found, "the rule to be on; it is slower")
}

// TestOtherRules: a rule that took no part in the rewrite did not miss anything.
func TestOtherRules(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {m: exp(x), y: negative(m)}\n    replace: {y: negative(x)}")+rule("other", "match: {m: exp(x), y: sin(m)}\n    replace: {y: sin(x)}"), nil)
	cfg.Rules = cfg.Rules[:1]
	c := &rewritten(t, cfg, programOf(t, cfg, chain("exp negative exp sin negative"))).Cases[0]
	equalList(t, "the rule of the rewrite", refused(t, c, "r"), "C match/no-reader 1/2 y")
	equalList(t, "the other", refused(t, c, "other"))
}

// TestRefusedOnce: a match that two spellings find is judged once; what guards say of it
// comes before the near misses, and what other matches took from it behind them.
func TestRefusedOnce(t *testing.T) {
	cfg := configOf(t, rule("r", `
    match: {m: "any(softmax(x, axis=-1), softmax(x, axis=$a))", y: negative(m)}
    guards: {short: "dim(x, -1) < 8"}
    replace: {y: exp(x)}`)+rule("larger", `
    match: {m: softmax(x), y: negative(m), z: sin(y)}
    replace: {z: exp(x)}`), nil)
	c := &rewritten(t, cfg, programOf(t, cfg, `
  input x : float32[4]
  input long : float32[8]
  a = softmax(x) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = sin(b) : float32[4] @ C
  d = softmax(long) : float32[8] @ D
  e = negative(d) : float32[8] @ E
  f = softmax(e) : float32[8] @ F
  g = sin(f) : float32[8] @ G
  h = negative(g) : float32[8] @ H
  output c = c
  output h = h
`)).Cases[0]
	equal(t, "sites", applied(c), "larger@C")
	equalList(t, "refused", refused(t, c, "r"), "E guard/false 2/2", "F match/no-reader 1/2 y", "B plan/overlap 2/2")
	f := c.Refusals(cfg.Rules[0])[0]
	wanted, found := f.Detail()
	equal(t, "guard", f.Guard+": "+wanted+"; "+found, "short: dim(x, -1) < 8; dim(x, -1) = 8")
}

// TestRowsOfAttention: kv_len of a guard is what attention sees, said or not.
func TestRowsOfAttention(t *testing.T) {
	cfg := configOf(t, rule("r", "match: {y: 'negative(a)', z: 'exp(y)'}\n    guards: {rows: kv_len <= 5}\n    replace: {z: exp(a)}"), nil)
	for rows, applied := range map[string]int{"5": 1, "6": 0} {
		for _, at := range []string{"", ", kv_len=" + rows} {
			cap := rows
			if at != "" {
				cap = "9"
			}
			c := &rewritten(t, cfg, programOf(t, cfg, `  input q : float32[1, 2, 1, 4]
  input k : float32[1, 2, `+cap+`, 4]
  a = sdpa(q, k, k, scale=1.0`+at+`) : float32[1, 2, 1, 4] @ A
  y = negative(a) : float32[1, 2, 1, 4] @ Y
  z = exp(y) : float32[1, 2, 1, 4] @ Z
  output z = z
`)).Cases[0]
			if n := len(c.Sites); n != applied {
				t.Errorf("%s rows%s: applied %d times; %q", rows, at, n, refused(t, c, "r"))
			}
		}
	}
}

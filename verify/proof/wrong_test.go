package proof

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// smallModel is a graph in which the rules below are looked for.
const smallModel = `zmlx 1
program small
param w : float32[8]
case all
  input tokens : int32[batch, seq_len]
  input x : float32[batch, seq_len, 8]
  input u : float32[batch, seq_len, 8]
  eight = constant(0.125) : float32[]
  g = sigmoid(x) : float32[batch, seq_len, 8] @ mlp
  a = multiply(x, g) : float32[batch, seq_len, 8] @ mlp
  y = multiply(a, u) : float32[batch, seq_len, 8] @ mlp
  p = softmax(u, precise=true) : float32[batch, seq_len, 8] @ attn
  h = multiply(p, eight) : float32[batch, seq_len, 8] @ attn
  c = cumsum(h, axis=1) : float32[batch, seq_len, 8] @ attn
  r = add(y, c) : float32[batch, seq_len, 8] @ norm
  n = rms_norm(r, w, eps=1e-06) : float32[batch, seq_len, 8] @ norm
  f = subtract(n, u) : float32[batch, seq_len, 8] @ last
  e = exp(f) : float32[batch, seq_len, 8] @ last
  output out = e
  output side = r
`

// ruleSet links rules of a test with the fragments and kernels that are built in.
func ruleSet(t testing.TB, text string) *rules.Set {
	t.Helper()
	catalog, issues := author.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	f, issues := rules.Parse("test.yaml", []byte("zmlx: 1\nfamily: test\nrules:\n"+text))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	set, issues := rules.Link([]*rules.File{f}, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return set
}

func smallCorpus(t testing.TB, set *rules.Set) (*Corpus, *Model) {
	t.Helper()
	p, issues := graph.ParseText("small.zg", []byte(smallModel), set.Kernels.Op)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	m := &Model{Name: "small", Program: p}
	return NewCorpus([]*Model{m}), m
}

// ruleText writes a rule; the lines of blocks are indented by six.
func ruleText(name, match, extra, replace, numerics string) string {
	block := func(key, lines string) string {
		if lines == "" {
			return ""
		}
		return "    " + key + ":\n      " + strings.ReplaceAll(strings.TrimSpace(lines), "; ", "\n      ") + "\n"
	}
	key, lines, _ := strings.Cut(extra, ": ")
	return "  - name: " + name + "\n    doc: A rule of this test.\n    numerics: " + numerics + "\n" +
		block("match", match) + block(key, lines) + block("replace", replace)
}

const (
	siluMatch = "g: sigmoid(x); a: multiply(x, g); y: multiply(a, u)"
	siluMake  = "y: kernel.swiglu(x, u)"
)

// TestMutationsFindWrongRules gives the check rules that are too open. Each does what its
// pattern does where it was seen, and not everywhere that it matches.
func TestMutationsFindWrongRules(t *testing.T) {
	for _, c := range []struct {
		name, rule string
		what       string // in what is said
	}{
		{"an attribute that is left open", ruleText("r", "p: softmax(x, ...)", "", "p: kernel.softmax(x)", "reordered"), "softmax: axis=-2 in place of -1"},
		{"a $variable that is forgotten", ruleText("r", "a: add(x, z); y: rms_norm(a, w, eps=$eps)", "results: [a, y]", "a, y: kernel.add_rms_norm(x, z, w, eps=0.000001)", "reordered"), "rms_norm: eps=2e-06 in place of 1e-06"},
		{"a constant that is forgotten", ruleText("r", "p: multiply(x, $s); y: cumsum(p, axis=1)", "", "y: cumsum(x, axis=1)", "reordered"), "constant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.rule
			if strings.Contains(text, "results: [") {
				text = strings.Replace(text, "results:\n      [", "results: [", 1)
			}
			set := ruleSet(t, text)
			corpus, _ := smallCorpus(t, set)
			all, err := corpus.Instances(set, set.Rules()[0])
			if err != nil {
				t.Fatal(err)
			}
			v := Mutations(context.Background(), set, all)
			t.Log(v.Status, v.Code, v.Count, v.Detail)
			if v.Code != CodeMutant || v.Counter == nil || !strings.Contains(strings.Join(v.Why, "; "), c.what) {
				t.Errorf("%s %s %v; want a counterexample of %s", v.Status, v.Code, v.Why, c.what)
			}
		})
	}
}

// TestMutationsAcceptRightRules gives it rules of which each mutant that they match is in
// their language.
func TestMutationsAcceptRightRules(t *testing.T) {
	for name, text := range map[string]string{
		"closed":             ruleText("r", siluMatch, "", siluMake, "exact"),
		"a $variable passed": ruleText("r", "a: add(x, z); y: rms_norm(a, w, eps=$eps)", "results: [a, y]", "a, y: kernel.add_rms_norm(x, z, w, eps=$eps)", "reordered"),
	} {
		t.Run(name, func(t *testing.T) {
			text = strings.Replace(text, "results:\n      [", "results: [", 1)
			set := ruleSet(t, text)
			corpus, _ := smallCorpus(t, set)
			all, err := corpus.Instances(set, set.Rules()[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []*Verdict{SelfMatch(set, all), Mutations(context.Background(), set, all)} {
				if t.Log(v.Check, v.Status, v.Detail); v.Status != Tested || v.Count == 0 {
					t.Errorf("%s: %s %s, %d", v.Check, v.Status, v.Detail, v.Count)
				}
			}
		})
	}
}

// TestSelfMatchFails changes the graph that an instance was rendered to.
func TestSelfMatchFails(t *testing.T) {
	set := ruleSet(t, ruleText("r", siluMatch, "", siluMake, "exact"))
	corpus, _ := smallCorpus(t, set)
	all, err := corpus.Instances(set, set.Rules()[0])
	if err != nil || len(all.All) == 0 {
		t.Fatal(err, len(all.All))
	}
	in := all.All[0]
	for _, x := range in.mutations() {
		if x.kind == mutReader {
			p, err := in.mutant(x)
			if err != nil {
				t.Fatal(err)
			}
			in.Program = p
			break
		}
	}
	if v := SelfMatch(set, all); v.Code != CodeSelfMatch {
		t.Errorf("%s %s", v.Status, v.Detail)
	}
}

// TestGuards gives guards of every kind to rules that are right or wrong without them.
func TestGuards(t *testing.T) {
	first := "y: reshape(x, shape=[dim(x, 0), dim(x, 1), dim(x, 2)])" // cumsum along one row changes nothing
	for _, c := range []struct {
		name, rule string
		code       string // of the guard's verdict, or of the edges
		status     Status
		says       string
	}{
		{"needed", ruleText("r", "y: cumsum(x, axis=1)", "guards: one: seq_len <= 1", first, "exact"), "", Tested, "is needed: without it"},
		{"off by one", ruleText("r", "y: cumsum(x, axis=1)", "guards: one: seq_len <= 2", first, "exact"), CodeInsufficient, Failed, "the guards let in"},
		{"on the wrong dimension", ruleText("r", "y: cumsum(x, axis=1)", "guards: one: batch <= 1", first, "exact"), CodeInsufficient, Failed, "the guards let in"},
		{"needed, and called a matter of cost", ruleText("r", "y: cumsum(x, axis=1)", "cost: one: {when: seq_len <= 1, source: a table}", first, "exact"), CodeCostNeeded, Failed, "without it the rule is wrong"},
		{"redundant", ruleText("r", siluMatch, "guards: few: rows(x) <= 8", siluMake, "exact"), CodeRedundant, Tested, "keeps out"},
		{"a matter of cost without a source", ruleText("r", siluMatch, "cost: few: rows(x) <= 8", siluMake, "exact"), CodeRedundant, Tested, "keeps out"},
		{"a matter of cost", ruleText("r", siluMatch, "cost: few: {when: rows(x) <= 8, source: a table}", siluMake, "exact"), "", Tested, "is a matter of cost: a table"},
		{"true wherever the pattern matches", ruleText("r", siluMatch, "guards: some: rows(x) >= 1", siluMake, "exact"), CodeRedundant, Tested, "holds wherever"},
		{"in the kernel's domain", ruleText("r", siluMatch, `guards: kind: dtype(x) in ["float16", "bfloat16", "float32"]`, siluMake, "exact"), "", Tested, "says what is refused without it"},
		{"dead", ruleText("r", siluMatch, `guards: kind: dtype(x) == "float64"`, siluMake, "exact"), CodeDead, Tested, "holds at no call"},
		{"dead together", ruleText("r", siluMatch, "guards: few: rows(x) <= 1; many: rows(x) >= 2", siluMake, "exact"), CodeDead, Tested, "holds at no call"},
		{"dead by the call", ruleText("r", siluMatch, "guards: none: seq_len < 1", siluMake, "exact"), CodeDead, Tested, "holds at no call"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := ruleSet(t, c.rule)
			corpus, _ := smallCorpus(t, set)
			all, err := corpus.Instances(set, set.Rules()[0])
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range Guards(context.Background(), set, corpus, all) {
				t.Log(v.Status, v.Code, v.Detail)
				if v.Code == c.code && v.Status == c.status && strings.Contains(v.Detail, c.says) {
					if (c.status == Failed || strings.Contains(c.says, "is needed")) && v.Counter == nil {
						t.Error("no counterexample")
					}
					return
				}
				got = append(got, fmt.Sprintf("%s %q %s", v.Status, v.Code, v.Detail))
			}
			t.Errorf("found %q, want %s %q %s", got, c.status, c.code, c.says)
		})
	}
}

// TestBetween gives rules that get into each other's way.
func TestBetween(t *testing.T) {
	silu := ruleText("silu", siluMatch, "", siluMake, "exact")
	for _, c := range []struct {
		name, rules, code, says string
		numerics                kernels.Numerics
	}{
		{"a duplicate", silu + ruleText("again", "g: sigmoid(v); a: multiply(g, v); out: multiply(z, a)", "", "out: kernel.swiglu(v, z)", "exact"),
			CodeDuplicate, "test.again does at each of its 1 instances what test.silu does", ""},
		{"shadowed", silu + ruleText("other", siluMatch, "guards: few: rows(x) <= 8", "s: kernel.swiglu(x, u); y: reshape(s, shape=[dim(x, 0), dim(x, 1), dim(x, 2)])", "exact"),
			CodeShadowed, "test.other is never applied", ""},
		{"not shadowed for many rows", ruleText("other", siluMatch, "guards: few: rows(x) <= 8", siluMake, "exact") + silu, "", "none of 2 rules", ""},
		{"undoing, if it were let", silu + ruleText("back", "y: kernel.swiglu(x, u)", "", "g: sigmoid(x); a: multiply(x, g); y: multiply(a, u)", "exact"),
			CodeUndone, "test.back would undo test.silu", ""},
		{"worse than was stated", ruleText("norm", "a: add(x, z); y: rms_norm(a, w, eps=$eps)", "results: [a, y]", "a, y: kernel.add_rms_norm(x, z, w, eps=$eps)", "reordered"),
			CodeNumerics, "is reordered, and exact was stated", kernels.Exact},
		{"competing", silu + ruleText("tail", "a: multiply(x, g); y: multiply(a, u); r: add(y, c)", "", "r: kernel.relu2_mul(x, u)", "exact"), "", "test.silu before test.tail at 1 places, at 1 by the order of rules, which decides the plan", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := ruleSet(t, strings.ReplaceAll(c.rules, "results:\n      [", "results: ["))
			corpus, m := smallCorpus(t, set)
			all := map[string]*Instances{}
			for _, r := range set.Rules() {
				in, err := corpus.Instances(set, r)
				if err != nil {
					t.Fatal(err)
				}
				all[r.Name] = in
			}
			f := &Together{Name: "test", Target: "cpu", Rules: set.Rules(), Models: []*Model{m}, Numerics: c.numerics}
			found := false
			for _, v := range Between(context.Background(), set, f, all) {
				t.Log(v.Status, v.Code, v.Detail, v.Why)
				found = found || v.Code == c.code && strings.Contains(v.Detail+strings.Join(v.Why, "; "), c.says)
			}
			if !found {
				t.Errorf("not found: %s %s", c.code, c.says)
			}
		})
	}
}

// TestBetweenFails makes plans up that are not those of the rules.
func TestBetweenFails(t *testing.T) {
	set := ruleSet(t, ruleText("silu", siluMatch, "", siluMake, "exact"))
	corpus, m := smallCorpus(t, set)
	in, err := corpus.Instances(set, set.Rules()[0])
	if err != nil {
		t.Fatal(err)
	}
	b := &between{set: set, all: map[string]*Instances{"test.silu": in}, f: &Together{Target: "cpu", Rules: set.Rules(), Models: []*Model{m}}}
	stock, err := b.rewrite(nil, m.Program)
	if err != nil {
		t.Fatal(err)
	}
	b.plans = []*rewrite.Result{stock}
	if v := b.ruleOrder(); v.Code != CodeRuleOrder {
		t.Errorf("order of rules: %s %s", v.Status, v.Detail)
	}
	if v := b.nodeOrder(); v.Code != CodeNodeOrder {
		t.Errorf("order of nodes: %s %s", v.Status, v.Detail)
	}
	plan, err := b.rewrite(set.Rules(), m.Program)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plan.Cases {
		plan.Cases[i].Before, plan.Cases[i].After = plan.Cases[i].After, plan.Cases[i].Before
	}
	b.plans = []*rewrite.Result{plan}
	if v := b.undoing(); v.Code != CodeTermination {
		t.Errorf("termination: %s %s", v.Status, v.Detail)
	}
	plan.Stop = rewrite.StopFuel
	if v := b.undoing(); v.Code != CodeTermination || len(v.Why) != 2 {
		t.Errorf("fuel: %s %s", v.Status, v.Why)
	}
}

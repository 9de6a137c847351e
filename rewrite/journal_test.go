package rewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// TestByLayer groups scopes that differ in the first number only.
func TestByLayer(t *testing.T) {
	got := ByLayer([]string{"model.layers.0.mlp", "lm_head", "model.layers.1.mlp", "model.layers.1.mlp.experts.3", "a..b", "model.layers.1.mlp.experts.4",
		"model.layers.29.mlp", "model.layers.2.mlp.experts.4", "model.h2.mlp"})
	equalList(t, "groups", got, "model.layers.*.mlp (3 sites)", "lm_head", "model.layers.1.mlp.experts.3", "a..b", "model.layers.*.mlp.experts.4 (2 sites)", "model.h2.mlp")
}

// TestReplayTellsWhere: a journal that another rewrite has written is refused where the two
// part: a rule that has changed, a case or a site that is not there, the result.
func TestReplayTellsWhere(t *testing.T) {
	cfg, p := config(t), reference(t, "SmolLM2-135M-Instruct-Q4_1")
	res, err := Run(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	journal := func() *Journal { return res.Journal(cfg) }
	if kernels := journal().Rules; !slices.ContainsFunc(kernels, func(r JournalRule) bool { return len(r.Kernels) > 0 }) {
		t.Error("no rule has the hash of its kernel")
	}
	for code, change := range map[string]func(*Journal){
		"journal/program": func(j *Journal) { j.Before = "another" },
		"journal/rule":    func(j *Journal) { j.Rules[0].Hash = "another" },
		"journal/case":    func(j *Journal) { j.After, j.Cases = "", j.Cases[:len(j.Cases)-1] },
		"journal/site":    func(j *Journal) { j.After, j.Cases[0].Entries = "", j.Cases[0].Entries[1:] },
		"journal/result":  func(j *Journal) { j.After = "another" },
	} {
		j := journal()
		change(j)
		_, err := j.Replay(p, cfg)
		var issue *diag.Issue
		if !errors.As(err, &issue) || issue.Code != code {
			t.Errorf("%v, not %s", err, code)
		}
	}
	if _, err := journal().Replay(p, cfg); err != nil {
		t.Error(err)
	}
}

// TestJournalText: a journal says what was rewritten, by which rules and kernels, and for each
// site what the rule's names, variables and guards stood for and what was made.
func TestJournalText(t *testing.T) {
	cfg, p := journalled(t)
	res := rewritten(t, cfg, p)
	data, err := res.Journal(cfg).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	hide := func(hash, name string) { text = strings.ReplaceAll(text, hash, "<"+name+">") }
	hide(p.Hash().String(), "program")
	hide(res.Program.Hash().String(), "result")
	hide(cfg.Set.Kernels.Spec("both").Hash, "spec")
	for _, r := range cfg.Rules {
		hide(r.Hash, r.Short())
	}
	for i := range p.Cases {
		g := p.Cases[i].Graph
		for v, hash := range g.ValueHashes() {
			name := g.InputName(graph.ValueID(v))
			if name == "" {
				name = g.Def(graph.ValueID(v)).Op.Name
			}
			hide(hash.String(), name)
		}
	}
	want := `{
	"zmlx": 1,
	"program": "test",
	"target": "cpu",
	"before": "<program>",
	"after": "<result>",
	"rules": [
		{
			"name": "test.both",
			"hash": "<both>",
			"numerics": "reordered",
			"kernels": {
				"both": "<spec>"
			}
		},
		{
			"name": "test.sines",
			"hash": "<sines>",
			"numerics": "exact"
		},
		{
			"name": "test.unused",
			"hash": "<unused>",
			"numerics": "exact",
			"off": "it is slower"
		}
	],
	"cases": [
		{
			"from": "one",
			"name": "one",
			"when": "seq_len <= 1",
			"entries": [
				{
					"rule": "test.both",
					"scope": "layers.0",
					"round": 1,
					"values": {
						"a": "<multiply>",
						"b": "<multiply>",
						"n": "<rms_norm>",
						"u": "<m.a>",
						"v": "<m.b>",
						"x": "<x>",
						"y": "<negative>"
					},
					"vars": {
						"e": "1.0"
					},
					"guards": {
						"few": "dim(x, 0) = 2",
						"here": "target = cpu"
					},
					"params": [
						"m.a+b"
					],
					"saved": 3
				}
			]
		},
		{
			"from": "more",
			"name": "more",
			"when": "true",
			"entries": [
				{
					"rule": "test.sines",
					"scope": "layers.1",
					"round": 1,
					"values": {
						"a": "<sin>",
						"x": "<x>",
						"y": "<sin>"
					},
					"saved": 1
				}
			]
		}
	],
	"stop": "no rule applies any more"
}
`
	if text != want {
		t.Errorf("the journal is\n%s\nnot\n%s", text, want)
	}
}

// TestJournalGuards: what could not be decided at a site is written down as such. kv_len is
// decided call by call, and so is the domain of a kernel.
func TestJournalGuards(t *testing.T) {
	cfg := configOf(t, rule("r", `
    match: {a: exp(x), y: exp(a)}
    guards: {few: kv_len <= 5}
    replace: {y: "kernel.short(x)"}`), map[string]string{"short": `
zmlx: 1
kernel: short
doc: Of this test.
inputs: {x: "float32[n]"}
domain: {short: n <= 4}
reference: {y: "exp(x)"}
results: [y]
numerics: exact
`})
	p := programOf(t, cfg, `
  input q : float32[1, 2, 1, 4]
  input k : float32[1, 2, kv_cap, 4]
  input x : float32[batch]
  a = sdpa(q, k, k, scale=1.0, kv_len=kv_len) : float32[1, 2, 1, 4]
  b = exp(x) : float32[batch]
  y = exp(b) : float32[batch]
  output a = a
  output y = y
`)
	j := rewritten(t, cfg, p).Journal(cfg)
	if len(j.Cases) == 0 || len(j.Cases[0].Entries) != 1 {
		t.Fatalf("cases %+v", j.Cases)
	}
	for name, want := range map[string]string{"few": "kv_len = kv_len", "kernel.short": "decided when it runs"} {
		equal(t, name, j.Cases[0].Entries[0].Guards[name], want)
	}
}

// TestReadJournal: a journal is read back as it was written, and nothing else is.
func TestReadJournal(t *testing.T) {
	cfg, p := journalled(t)
	data, err := rewritten(t, cfg, p).Journal(cfg).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	j, err := ReadJournal("x.journal.json", data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := j.Bytes(); err != nil || !bytes.Equal(again, data) {
		t.Errorf("read and written again (%v), it is\n%s", err, again)
	}
	for _, c := range []struct{ was, is, want string }{
		{`"zmlx": 1`, `"zmlx": 2`, "journal of version 2; this program reads version 1"},
		{`"stop"`, `"end"`, `not a journal: json: unknown field "end"`},
		{`"round": 1`, `"round": "1"`, "not a journal: json: cannot unmarshal string"},
		{"{", "", "not a journal: "},
	} {
		_, err := ReadJournal("x.journal.json", []byte(strings.Replace(string(data), c.was, c.is, 1)))
		fails(t, c.is, err, c.want)
		fails(t, c.is, err, "x.journal.json")
	}
}

// TestReplay: a journal is replayed with its own target, rules and what was off, whatever the
// configuration says now; and the first thing that is not as it says is told.
func TestReplay(t *testing.T) {
	cfg, p := journalled(t)
	want := rewritten(t, cfg, p)
	other := &Config{Set: cfg.Set, Setting: guard.Setting{Target: "metal"}, Off: map[string]string{"test.both": "off now"}}
	got, err := want.Journal(cfg).Replay(p, other)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "result", got.Program.Hash(), want.Program.Hash())
	equal(t, "the configuration's target", other.Setting.Target, "metal")
	equal(t, "the configuration's rules", len(other.Rules), 0)

	entry := func(j *Journal) *JournalEntry { return &j.Cases[0].Entries[0] }
	for _, c := range []struct {
		want   string
		change func(*Journal)
	}{
		{"the program is " + p.Hash().String() + ", the journal was written for another", func(j *Journal) { j.Before = "another" }},
		{"rule test.gone is not there any more", func(j *Journal) { j.Rules[1].Name = "test.gone" }},
		{"rule test.sines has changed since the journal was written", func(j *Journal) { j.Rules[1].Hash = "another" }},
		{"case more is not in the journal", func(j *Journal) { j.Cases = j.Cases[:1] }},
		{"case one is not in the journal", func(j *Journal) { j.Cases[0].Name = "two" }},
		{"test.both at layers.0 in case one is not what the journal says", func(j *Journal) { j.Cases[0].Entries = nil }},
		{"test.both at layers.0 in case one is not what the journal says", func(j *Journal) { entry(j).Values["x"] = "another" }},
		{"test.sines at layers.1 in case more is not what the journal says", func(j *Journal) { j.Cases[1].Entries[0].Saved++ }},
		{"the result is " + want.Program.Hash().String() + ", the journal says another", func(j *Journal) {}},
	} {
		j := want.Journal(cfg)
		j.After = "another"
		c.change(j)
		_, err := j.Replay(p, cfg)
		fails(t, "replayed", err, c.want)
	}
}

// journalled is a small rewrite with something of everything that a journal holds.
func journalled(t *testing.T) (*Config, *graph.Program) {
	cfg := configOf(t, rule("both", `
    match: {n: "rms_norm(x, s?, eps=$e)", a: "multiply(n, u)", b: "multiply(a, v)", y: negative(b)}
    guards: {few: "dim(x, 0) < 8", here: target == "cpu"}
    weights: {w: "concat(u, v, axis=0)"}
    replace: {y: "kernel.both(x, w)"}
    numerics: reordered`)+rule("sines", `
    match: {a: sin(x), y: sin(a)}
    replace: {y: cos(x)}`)+rule("unused", `
    match: {a: exp(x), y: exp(a)}
    replace: {y: exp(x)}`), map[string]string{"both": `
zmlx: 1
kernel: both
doc: Of this test.
inputs: {x: "float32[a, b]", w: "float32[..., n]"}
reference: {y: "exp(x)"}
results: [y]
numerics: exact
`})
	cfg.Off = map[string]string{"test.unused": "it is slower"}
	return cfg, programOf(t, cfg, `
param m.a : float32[2, 3]
param m.b : float32[2, 3]
case one when seq_len <= 1
  input x : float32[2, 3]
  n = rms_norm(x, eps=1) : float32[2, 3]
  a = multiply(n, m.a) : float32[2, 3]
  b = multiply(a, m.b) : float32[2, 3]
  y = negative(b) : float32[2, 3] @ layers.0
  e = exp(y) : float32[2, 3]
  z = exp(e) : float32[2, 3] @ layers.0.exp
  output z = z
case more
  input x : float32[2, 3]
  s = sin(x) : float32[2, 3]
  z = sin(s) : float32[2, 3] @ layers.1
  output z = z
`)
}

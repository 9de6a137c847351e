package normal_test

import (
	"fmt"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
)

// general is a graph over symbols, with what dimensions and attributes depend on in
// every way that models have.
const general = `zmlx 1
program general
param w : float32[64, 32]
case all
  input tokens : int32[batch, seq_len]
  input x : float32[batch, seq_len, 64]
  input state : float32[batch, 2, 64]
  input cache : float32[batch, 2, kv_cap, 16]
  a = concatenate(state, x, axis=-2) : float32[batch, seq_len + 2, 64]
  keep = slice(a, axis=-2, start=seq_len) : float32[batch, 2, 64]
  m = matmul(x, w) : float32[batch, seq_len, 32]
  rows = reshape(m, shape=[4*batch*seq_len, 8]) : float32[4*batch*seq_len, 8]
  i = arange(start=0, stop=kv_cap, dtype=int32) : int32[kv_cap]
  last = slice(x, axis=-2, start=seq_len - 1) : float32[batch, 1, 64]
  output keep = keep
  output rows = rows
  output i = i
  output cache = cache
  output last = last
`

func sample(t *testing.T, g *graph.Graph, env map[string]int64) normal.Sample {
	t.Helper()
	one, err := normal.Specialize(g, env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := normal.Form(one); err != nil {
		t.Fatal(err)
	}
	return normal.Sample{Graph: one, Env: env}
}

func parse(t *testing.T, text string) *graph.Graph {
	t.Helper()
	p, issues := graph.ParseText("test.zg", []byte(text), nil)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	g := p.Cases[0].Graph
	if _, err := normal.Form(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func env(batch, seqLen, kvCap int64) map[string]int64 {
	return map[string]int64{"batch": batch, "seq_len": seqLen, "kv_cap": kvCap}
}

// Two samples give the graph back that they are of, and it is what others are, too.
func TestGeneralize(t *testing.T) {
	g := parse(t, general)
	got, err := normal.Generalize([]normal.Sample{sample(t, g, env(2, 5, 32)), sample(t, g, env(3, 9, 48))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash() != g.Hash() {
		t.Errorf("got\n%s\nwant\n%s", got, g)
	}
	for _, e := range []map[string]int64{env(7, 300, 512), env(2, 6, 32), env(4, 2, 8)} {
		if ok, err := normal.IsSample(got, sample(t, g, e)); !ok || err != nil {
			t.Errorf("%v is no sample: %v", e, err)
		}
	}
	if ok, _ := normal.IsSample(got, normal.Sample{Graph: sample(t, g, env(2, 6, 32)).Graph, Env: env(2, 7, 32)}); ok {
		t.Error("a graph is a sample of other numbers")
	}
	// What does not change is a number.
	got, err = normal.Generalize([]normal.Sample{sample(t, g, env(2, 5, 32)), sample(t, g, env(2, 9, 32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := got.String(); !strings.Contains(text, "float32[2, seq_len, 64]") || !strings.Contains(text, "shape=[8*seq_len, 8]") {
		t.Error(text)
	}
}

// What samples do not tell is not guessed.
func TestGeneralizeRefuses(t *testing.T) {
	g := parse(t, general)
	s := func(batch, seqLen, kvCap int64) normal.Sample { return sample(t, g, env(batch, seqLen, kvCap)) }
	wrong := func(s normal.Sample, batch, seqLen, kvCap int64) normal.Sample {
		return normal.Sample{Graph: s.Graph, Env: env(batch, seqLen, kvCap)}
	}
	other := sample(t, parse(t, strings.Replace(general, "m = matmul(x, w)", "e = exp(x) : float32[batch, seq_len, 64]\n  m = matmul(e, w)", 1)), env(3, 9, 48))
	for name, c := range map[string]struct {
		samples []normal.Sample
		says    string
	}{
		"one sample":                   {[]normal.Sample{s(2, 5, 32)}, "one sample"},
		"other nodes":                  {[]normal.Sample{s(2, 5, 32), other}, "other nodes"},
		"two symbols that go together": {[]normal.Sample{s(5, 5, 32), s(9, 9, 48)}, "may be batch or seq_len"},
		"a symbol that nobody named":   {[]normal.Sample{s(2, 5, 32), wrong(s(3, 9, 51), 3, 9, 32)}, "follows from no symbol"},
		"a third sample off the line":  {[]normal.Sample{s(2, 5, 32), s(3, 9, 48), wrong(s(4, 11, 64), 4, 12, 64)}, "follows from no symbol"},
	} {
		_, err := normal.Generalize(c.samples, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	// Named dimensions of an input are known; the rest still has to be told apart.
	if _, err := normal.Generalize([]normal.Sample{s(5, 5, 32), s(9, 9, 48)}, map[string][]string{"tokens": {"batch", "seq_len"}}); err == nil || !strings.Contains(err.Error(), "input x") {
		t.Error(err)
	}
}

// A line goes through any two points, so that two samples do not tell it.
func TestGeneralizeLines(t *testing.T) {
	text := func(n int) *graph.Graph {
		return parse(t, fmt.Sprintf("zmlx 1\nprogram p\ncase all\n  input x : float32[%d]\n  y = exp(x) : float32[%d]\n  output y = y\n", n, n))
	}
	at := func(n, rows int) normal.Sample { return normal.Sample{Graph: text(rows), Env: env(1, int64(n), 1)} }
	if _, err := normal.Generalize([]normal.Sample{at(2, 7), at(4, 11)}, nil); err == nil {
		t.Error("2 to 7 and 4 to 11 is taken for 2*n + 3")
	}
	g, err := normal.Generalize([]normal.Sample{at(2, 7), at(4, 11), at(5, 13)}, nil)
	if err != nil || !strings.Contains(g.String(), "float32[2*seq_len + 3]") {
		t.Errorf("%v\n%v", err, g)
	}
}

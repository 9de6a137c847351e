package bridge

import (
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// two layers: what is before a cache (event 1), between two (event 3), and behind (the end, 5).
const layers = `zmlx 1
program layers
param a : float32[8, 8]
param b : float32[8, 8]
case decode when batch == 1
  input tokens : float32[1, 1, 8]
  input e2 : float32[1, 1, 8]
  input e4 : float32[1, 1, 8]
  v0 = matmul(tokens, a) : float32[1, 1, 8]
  v1 = rms_norm(v0, none, eps=EPS) : float32[1, 1, 8]
  v2 = add(v0, e2) : float32[1, 1, 8]
  v3 = matmul(v2, b) : float32[1, 1, 8]
  v4 = rms_norm(v3, none, eps=1e-06) : float32[1, 1, 8]
  v5 = add(v3, e4) : float32[1, 1, 8]
  v6 = transpose(a, axes=[1, 0]) : float32[8, 8]
  v7 = matmul(v5, v6) : float32[1, 1, 8]
  output s1 = v1
  output s3 = v4
  output logits = v7
`

var events = &Events{Inputs: []int{-1, 2, 4}, Outputs: []int{1, 3, 5}, End: 5}

func parse(t *testing.T, text string) *graph.Graph {
	t.Helper()
	p, issues := graph.ParseText("test.zg", []byte(text), nil)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	return p.Cases[0].Graph
}

func write(t *testing.T, text string, ev *Events) (*Module, *Step) {
	t.Helper()
	cut, err := Cut(parse(t, text), ev)
	if err != nil {
		t.Fatal(err)
	}
	m := NewModule()
	step, err := m.Write(cut, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, step
}

func TestStages(t *testing.T) {
	m, step := write(t, strings.ReplaceAll(layers, "EPS", "1e-06"), events)
	var told []string
	for _, c := range step.Calls {
		told = append(told, m.Functions[c.Function].Source)
		told = append(told, strings.Join(c.In, " ")+" | "+strings.Join(c.Weights, " "))
	}
	want := `def stage0(a0, w0):
    v0 = mx.matmul(a0, w0)
    v1 = mx.fast.rms_norm(v0, None, eps=1e-06)
    return (v0, v1,)

tokens | a
def stage1(a0, a1, w0):
    v0 = mx.add(a0, a1)
    v1 = mx.matmul(v0, w0)
    v2 = mx.fast.rms_norm(v1, None, eps=1e-06)
    return (v1, v2,)

v1 e2 | b
def stage2(a0, a1, w0):
    v0 = mx.add(a0, a1)
    v1 = mx.transpose(w0, (1, 0))
    v2 = mx.matmul(v0, v1)
    return (v2,)

v3 e4 | a`
	got := strings.Join(told, "\n")
	if normalize(got) != normalize(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if step.Calls[0].Event != 1 || step.Calls[1].Event != 3 || step.Calls[2].Event != 5 {
		t.Errorf("the stages run before events %d, %d, %d", step.Calls[0].Event, step.Calls[1].Event, step.Calls[2].Event)
	}
	for output, call := range map[string]Call{"s1": step.Calls[0], "s3": step.Calls[1], "logits": step.Calls[2]} {
		if got := step.Taken[output]; !strings.Contains(strings.Join(call.Out, " "), got) {
			t.Errorf("%s is %s, which its stage does not give: %v", output, got, call.Out)
		}
	}
}

// normalize hides how values outside of functions are numbered.
func normalize(s string) string {
	var lines []string
	for _, l := range strings.Split(s, "\n") {
		if a, b, ok := strings.Cut(l, " | "); ok {
			fields := strings.Fields(a)
			for i, f := range fields {
				if f[0] == 'v' {
					fields[i] = "v"
				}
			}
			l = strings.Join(fields, " ") + " | " + b
		}
		lines = append(lines, l)
	}
	return strings.Join(lines, "\n")
}

// Stages of one text are one function; a constant is part of the text.
func TestSharing(t *testing.T) {
	const two = `zmlx 1
program two
param a : float32[8, 8]
param b : float32[8, 8]
case decode when batch == 1
  input tokens : float32[1, 8]
  input e1 : float32[1, 8]
  v0 = matmul(tokens, a) : float32[1, 8]
  v1 = constant(2) : float32[]
  v2 = multiply(v0, v1) : float32[1, 8]
  v3 = matmul(e1, b) : float32[1, 8]
  v4 = constant(OTHER) : float32[]
  v5 = multiply(v3, v4) : float32[1, 8]
  output s0 = v2
  output logits = v5
`
	ev := &Events{Inputs: []int{-1, 1}, Outputs: []int{0, 2}, End: 2}
	for other, functions := range map[string]int{"2": 1, "3": 2} {
		m, step := write(t, strings.ReplaceAll(two, "OTHER", other), ev)
		if len(m.Functions) != functions || len(step.Calls) != 2 {
			t.Errorf("constant %s: %d functions for %d calls, want %d", other, len(m.Functions), len(step.Calls), functions)
		}
	}
}

// What is needed before what it is made of is there crosses the cache.
func TestCrossed(t *testing.T) {
	text := strings.ReplaceAll(strings.ReplaceAll(layers, "EPS", "1e-06"), "output s1 = v1", "output s1 = v4")
	_, err := Cut(parse(t, text), events)
	if err == nil || !strings.Contains(err.Error(), "s1 is needed before") {
		t.Errorf("a value across the cache: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	const text = `zmlx 1
program p
case decode when batch == 1
  input tokens : float32[1, 2, 4, 8]
  input new : float32[1, 2, 1, 8]
  input offset : int32[]
  v0 = kv_append(tokens, new, offset) : float32[1, 2, 4, 8] @ model.layers.0
  output logits = v0
`
	cut, err := Cut(parse(t, text), &Events{Inputs: []int{-1, -1, -1}, Outputs: []int{0}, End: 0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewModule().Write(cut, nil); err == nil || !strings.Contains(err.Error(), "kv_append has no spelling") || !strings.Contains(err.Error(), "model.layers.0") {
		t.Errorf("an op without spelling: %v", err)
	}
	for metadata, why := range map[string]string{
		``:                            "does not say where",
		`{"zmlx_capture": 1}`:         "does not say where",
		`{"stages": {"inputs": [3]}}`: "an input of event 3, of 0",
		`{"stages": {"outputs": [1], "inputs": [-1]}}`: "an output for event 1, of 0",
	} {
		if _, err := ReadEvents("x.mlxfn", metadata); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("metadata %s: %v", metadata, err)
		}
	}
	if _, err := Cut(parse(t, text), &Events{Inputs: []int{-1}, Outputs: []int{0}}); err == nil {
		t.Error("a capture of another number of inputs is cut")
	}
}

// Every op of the table is spelled, or refused by name: none is written as a call that
// mlx.core does not have. python/tests runs what is written.
func TestNames(t *testing.T) {
	refused := map[string]bool{"kv_append": true, "gated_delta": true, "quantize": true}
	seen := 0
	for _, op := range graph.Ops() {
		if op.Name == "input" || op.Name == "param" || op.Name == "constant" {
			continue
		}
		in := make([]graph.Type, len(op.Operands))
		names := make([]string, len(op.Operands))
		for i := range in {
			in[i], names[i] = graph.Type{DType: graph.Float32, Shape: []graph.Dim{graph.N(2), graph.N(2)}}, "x"
		}
		call := &graph.Call{Op: op, In: in, Attrs: make([]graph.Attr, len(op.Attrs))}
		text, err := spell(call, names, graph.Type{DType: graph.Float32})
		switch {
		case refused[op.Name]:
			if err == nil {
				t.Errorf("%s is spelled %s", op.Name, text)
			}
		case err != nil:
			t.Errorf("%s: %v", op.Name, err)
		default:
			seen++
		}
	}
	if seen < 70 {
		t.Errorf("only %d ops are spelled", seen)
	}
}

package draft

import (
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

const program = `zmlx 1
program p
param v7 : float32[4]
param model.layers.0.mlp.gate_proj.weight : float32[8, 4]
case decode when seq_len == 1
  input x : float32[batch, 1, 4]
  v0 = transpose(model.layers.0.mlp.gate_proj.weight, axes=[1, 0]) : float32[4, 8] @ model.layers.0.mlp
  v1 = matmul(x, v0) : float32[batch, 1, 8] @ model.layers.0.mlp
  v2 = sigmoid(v1) : float32[batch, 1, 8] @ model.layers.0.mlp.act
  v3 = constant(2.0) : float32[]
  v4 = multiply(v2, v3) : float32[batch, 1, 8] @ model.layers.0.mlp.act
  v5 = argpartition(v4, kth=6) : uint32[batch, 1, 8] @ model.layers.0.router
  v6 = multiply(x, v7) : float32[batch, 1, 4] @ model.layers.0
  v8 = rms_norm(v6, v7, eps=1e-06) : float32[batch, 1, 4] @ model.layers.0
  output out = v4
  output chosen = v5
  output y = v8
  output inner = v1
`

func part(t *testing.T, scope, values string) (*Part, error) {
	t.Helper()
	p, issues := graph.ParseText("p.zg", []byte(program), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return Select(p, "", scope, values)
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		scope, values string
		ops           string
	}{
		{"model.layers.0.mlp", "", "transpose matmul sigmoid multiply"},
		{"model.layers.0.mlp.act", "", "sigmoid multiply"},
		{"model.layers.0.m", "", ""}, // a scope is a whole word
		{"", "v1..v2,v5", "matmul sigmoid argpartition"},
		{"", "v6,v8", "multiply rms_norm"}, // v7 is a parameter
		{"model.layers.0.mlp.act", "v0..v9", "sigmoid multiply"},
		{"", "v3", ""}, // constants are no ops
		{"", "v2..v1", ""},
		{"", "w1", ""},
		{"", "", ""},
	} {
		got, err := part(t, c.scope, c.values)
		var ops []string
		if err == nil {
			for _, id := range got.Nodes {
				ops = append(ops, got.Case.Graph.Node(id).Op.Name)
			}
		}
		if strings.Join(ops, " ") != c.ops || (err == nil) != (c.ops != "") {
			t.Errorf("%q %q: %v %v, want %s", c.scope, c.values, ops, err, c.ops)
		}
	}
}

// TestWrite: weights have short names, what is read outside is a result, numbers that
// kernels are given are variables, and what was observed is a guard.
func TestWrite(t *testing.T) {
	p, err := part(t, "model.layers.0.mlp", "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Write(p, "mine", "p", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"turned: transpose(w_gate, axes=[1, 0])", "gate: matmul(x, turned)", "product: multiply(gated, 2.0)", "results: [gate]",
		"few_rows: rows(x) <= 8", `element_type: dtype(w_gate) == "float32"`, "gate, product: kernel.mine(w_gate, x)", "numerics: exact",
	} {
		if !strings.Contains(d.Rules, want) {
			t.Errorf("%q is not in\n%s", want, d.Rules)
		}
	}
	for _, want := range []string{"w_gate: T[m, n]", "x: T[..., n]", "results: [gate, product]"} {
		if !strings.Contains(d.Kernel, want) {
			t.Errorf("%q is not in\n%s", want, d.Kernel)
		}
	}
	if !d.Inner || d.Few != "x" {
		t.Errorf("inner %v, few %q", d.Inner, d.Few)
	}
	if p, err = part(t, "", "v6,v8"); err == nil {
		d, err = Write(p, "mine", "p", false)
	}
	if err != nil || !strings.Contains(d.Rules, "rms_norm(product, v7, eps=$eps)") || !strings.Contains(d.Kernel, "eps: {kind: float}") {
		t.Errorf("%v\n%s\n%s", err, d.Rules, d.Kernel)
	}
}

func TestNames(t *testing.T) {
	for weight, want := range map[string]string{
		"model.layers.3.mlp.gate_proj.weight": "w_gate", "model.layers.0.self_attn.q_proj.scales": "s_q", "a.b.biases": "b_b", "x.o_proj.bias": "bias_o",
		"model.layers.3.input_layernorm.weight": "w_input_norm", "model.layers.3.mlp.switch_mlp.up_proj.weight": "w_up", "w": "w",
		"model.layers.3.self_attn.sinks": "self_attn_sinks",
	} {
		if got := weightName(weight); got != want {
			t.Errorf("%s is called %s, not %s", weight, got, want)
		}
	}
	n := newNames()
	for _, c := range [][2]string{{"gate", "gate"}, {"gate", "gate_2"}, {"sigmoid", "sigmoid_2"}, {"Weird..Name", "weird_name"}, {"3d", "v3d"}, {"has_x", "the_has_x"}, {"", "v"}} {
		if got := n.take(c[0]); got != c[1] {
			t.Errorf("%q is called %q, not %q", c[0], got, c[1])
		}
	}
}

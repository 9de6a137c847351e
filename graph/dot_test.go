package graph

import (
	"strings"
	"testing"
)

const picturedText = `zmlx 1
program p
param w : float16[8]
case
  input x : float16[batch, 8]
  v0 = rms_norm(x, w, eps=1e-05) : float16[batch, 8] @ model.layers.0
  v1 = constant(0.5) : float16[]
  v2 = multiply(v0, v1) : float16[batch, 8] @ model.layers.0.mlp
  v3 = exp(v2) : float16[batch, 8] @ model.layers.01
  output y = v3
  output half = v1
`

func TestDOT(t *testing.T) {
	g := mustParse(t, picturedText).Cases[0].Graph
	// Node ids are the graph's: x 0, w 1, then line by line.
	all := `digraph {
	node [shape=box, fontname="monospace"]
	edge [fontname="monospace", fontsize=10]
	x0 [label="x", style=rounded]
	n2 [label="rms_norm\nmodel.layers.0\nweight: w\neps=1e-05"]
	n4 [label="multiply\nmodel.layers.0.mlp\nb: 0.5"]
	n5 [label="exp\nmodel.layers.01"]
	out0 [label="y", style=rounded]
	out1 [label="half\n0.5", style=rounded]
	x0 -> n2 [label="float16[batch, 8]"]
	n2 -> n4 [label="float16[batch, 8]"]
	n4 -> n5 [label="float16[batch, 8]"]
	n5 -> out0 [label="float16[batch, 8]"]
}
`
	if got := g.DOT(""); got != all {
		t.Errorf("DOT of all:\n%s\nwant:\n%s", got, all)
	}
	// A scope is a whole part of the path: layers.01 is not inside layers.0.
	layer := `flowchart TD
  x0(["x"])
  n2["rms_norm<br>weight: w<br>eps=1e-05"]
  n4["multiply<br>mlp<br>b: 0.5"]
  y4(["exp<br>model.layers.01"])
  x0 -->|"float16[batch, 8]"| n2
  n2 -->|"float16[batch, 8]"| n4
  n4 -->|"float16[batch, 8]"| y4
`
	if got := g.Mermaid("model.layers.0"); got != layer {
		t.Errorf("Mermaid of a layer:\n%s\nwant:\n%s", got, layer)
	}
	if got := g.DOT("model.layers.0.mlp"); !strings.Contains(got, `x2 [label="rms_norm\nmodel.layers.0", style=rounded]`) {
		t.Errorf("no box for a value from outside:\n%s", got)
	}
	if got := g.Mermaid("nowhere"); got != "flowchart TD\n" {
		t.Errorf("a scope without nodes: %q", got)
	}
}

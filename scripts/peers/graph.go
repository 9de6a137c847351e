package main

import (
	"fmt"
	"strings"
)

// Graph is the graph that all peers rewrite. All values are 16 × 16 matrices of float32
// (sums are 16 × 1), so that any node may take any value.
type Graph struct {
	Layers  int      `json:"layers"`
	Eps     float64  `json:"eps"`
	Inv     float64  `json:"inv"` // a mean is a sum times this
	Scale   float64  `json:"scale"`
	Inputs  []string `json:"inputs"`
	Params  []string `json:"params"`
	Nodes   []Node   `json:"nodes"`
	Outputs []string `json:"outputs"`
	Sites   []Site   `json:"sites"`
}

// Node is one op. An input "eps", "inv" or "scale" is the constant of that name.
type Node struct {
	Name string   `json:"name"`
	Op   string   `json:"op"`
	In   []string `json:"in"`
}

// Site is a place that looks like one of the four patterns. Param is a parameter that no
// other site reads, so that what a peer made of the site is found by it.
type Site struct {
	Rule  string `json:"rule"`
	Param string `json:"param"`
	Match bool   `json:"match"`
	Why   string `json:"why,omitempty"` // it must not match
}

// Why a site must not match.
const (
	whyEscape  = "inner value used outside"
	whyOutput  = "inner value is a result"
	whySwapped = "swapped operands"
	whyName    = "two values for one name"
	whyX       = "roots of two inputs"
	whyCycle   = "one root needs the other"
)

// kinds are the layers, one after the other.
const (
	plain      = iota
	commuted   // operands of commutative ops in the other order
	actEscapes // silu(gate) is used outside
	swapped    // divide and subtract with swapped operands
	otherX     // the second root has another x
	cycle      // the second root's weight is made of the first root
	wrongGate  // gate times sigmoid(up)
	inner      // the norm's divisor is a result of the graph, q is used outside
	kinds
)

// build makes a graph of that many layers: root mean square norm, two projections of one
// input (scaled, and through tanh), layer norm, SwiGLU with its two projections.
func build(layers int) *Graph {
	g := &Graph{Layers: layers, Eps: 1e-5, Inv: 1.0 / 16, Scale: 0.25, Inputs: []string{"x"}}
	h := "x"
	for i := range layers {
		kind := i % kinds
		at := func(name string) string { return fmt.Sprintf("l%d_%s", i, name) }
		node := func(name, op string, in ...string) string {
			if kind == commuted && (op == "add" || op == "mul") {
				in[0], in[1] = in[1], in[0]
			}
			if kind == swapped && (op == "div" || op == "sub") {
				in[0], in[1] = in[1], in[0]
			}
			g.Nodes = append(g.Nodes, Node{at(name), op, in})
			return at(name)
		}
		param := func(name string) string {
			g.Params = append(g.Params, at(name))
			return at(name)
		}
		site := func(rule, param string, not map[int]string) {
			g.Sites = append(g.Sites, Site{rule, at(param), not[kind] == "", not[kind]})
		}

		mean := func(name, of string) string { return node(name, "mul", node(name+"_sum", "sum", of), "inv") }
		ms := mean("ms", node("sq", "mul", h, h))
		rms := node("rms", "sqrt", node("mse", "add", ms, "eps"))
		n := node("n", "mul", node("nd", "div", h, rms), param("wn"))
		site("rms", "wn", map[int]string{swapped: whySwapped, inner: whyOutput})
		if kind == inner {
			g.Outputs = append(g.Outputs, rms)
		}

		q := node("q", "matmul", n, param("wq"))
		qs := node("qs", "mul", q, "scale")
		kx, wk := n, param("wk")
		switch kind {
		case otherX:
			kx = h
		case cycle:
			wk = node("wkq", "add", wk, qs)
		}
		kt := node("kt", "tanh", node("k", "matmul", kx, wk))
		site("pair", "wq", map[int]string{otherX: whyX, cycle: whyCycle, inner: whyEscape})
		o := node("o", "matmul", node("qk", "add", qs, kt), param("wo"))
		if kind == inner {
			o = node("oq", "add", o, q)
		}
		h2 := node("h", "add", h, o)

		c := node("c", "sub", h2, mean("mean", h2))
		variance := mean("var", node("cc", "mul", c, c))
		dev := node("dev", "sqrt", node("ve", "add", variance, "eps"))
		ln := node("ln", "mul", node("cd", "div", c, dev), param("wl"))
		site("layer_norm", "wl", map[int]string{swapped: whySwapped})

		gate, up := node("gate", "matmul", ln, param("wg")), node("up", "matmul", ln, param("wu"))
		from := gate
		if kind == wrongGate {
			from = up
		}
		act := node("act", "mul", gate, node("sig", "sigmoid", from))
		down := node("down", "matmul", node("glu", "mul", act, up), param("wd"))
		site("swiglu", "wg", map[int]string{actEscapes: whyEscape, wrongGate: whyName})
		if kind == actEscapes {
			down = node("downa", "add", down, act)
		}
		h = node("out", "add", h2, down)
	}
	g.Outputs = append(g.Outputs, h)
	return g
}

// text writes the graph as a program of this project.
func (g *Graph) text() string {
	var b strings.Builder
	b.WriteString("zmlx 1\nprogram peers\n")
	for _, p := range g.Params {
		fmt.Fprintf(&b, "param %s : float32[16, 16]\n", p)
	}
	b.WriteString("case all\n  input x : float32[16, 16]\n")
	for _, c := range []struct {
		name  string
		value float64
	}{{"eps", g.Eps}, {"inv", g.Inv}, {"scale", g.Scale}} {
		fmt.Fprintf(&b, "  %s = constant(%v) : float32[]\n", c.name, c.value)
	}
	narrow := map[string]bool{"eps": true, "inv": true, "scale": true} // 16 × 1, or scalars
	for _, n := range g.Nodes {
		args, typ := strings.Join(n.In, ", "), "float32[16, 16]"
		all := true
		for _, v := range n.In {
			all = all && narrow[v]
		}
		if n.Op == "sum" {
			args += ", axis=-1, keepdims=true"
			all = true
		}
		if all {
			narrow[n.Name], typ = true, "float32[16, 1]"
		}
		layer, name, _ := strings.Cut(n.Name, "_")
		fmt.Fprintf(&b, "  %s = %s(%s) : %s @ %s.%s\n", n.Name, ours[n.Op], args, typ, layer, name)
	}
	for _, o := range g.Outputs {
		fmt.Fprintf(&b, "  output %s = %s\n", o, o)
	}
	return b.String()
}

// ours names the ops as MLX does.
var ours = map[string]string{
	"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "sum": "sum", "sqrt": "sqrt",
	"tanh": "tanh", "sigmoid": "sigmoid", "matmul": "matmul",
}

package bridge

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Module is what Python gets: functions, and for each step in which order they run.
type Module struct {
	Functions []Function          `json:"functions" jsonschema:"stages of steps, each once"`
	Constants map[string]Constant `json:"constants" jsonschema:"arrays that functions name, made once"`
	Kernels   []Kernel            `json:"kernels" jsonschema:"that functions call"`

	byText map[string]int
	kernel map[string]int
	named  bool // functions have the graph's own names for what they take
}

// Function is a stage as Python text: def NAME(arrays, then weights).
type Function struct {
	Name   string `json:"name" jsonschema:"of the function"`
	Source string `json:"source" jsonschema:"Python; mx is mlx.core"`
}

// Constant is an array that is not a number: its bytes, in base64.
type Constant struct {
	DType string `json:"dtype" jsonschema:"element type"`
	Shape []int  `json:"shape" jsonschema:"of the array"`
	Data  string `json:"data" jsonschema:"its bytes in base64"`
}

// Kernel is the text of a kernel for one set of types and numbers.
type Kernel struct {
	Name    string   `json:"name" jsonschema:"by which functions call it"`
	Kernel  string   `json:"kernel" jsonschema:"of the catalogue"`
	Hash    string   `json:"hash,omitempty" jsonschema:"of the sources, for a kernel of the CPU's library: it has no text"`
	Inputs  []string `json:"inputs" jsonschema:"names, in order"`
	Results []string `json:"results" jsonschema:"names, in order"`
	Header  string   `json:"header" jsonschema:"of the text that MLX compiles"`
	Source  string   `json:"source" jsonschema:"body of the kernel, as MLX compiles it"`
	Unit    string   `json:"unit,omitempty" jsonschema:"for CUDA: the whole text for NVRTC, without MLX's headers, of an extern C function of that name"`

	text func(*Kernel) // makes them, which takes longer than all else of a call
}

// Call is one use of a function: before an event, with arrays and weights by name.
type Call struct {
	Event    int      `json:"event" jsonschema:"of the recording, before which it runs"`
	Function int      `json:"function" jsonschema:"its place in the module's functions, from 0"`
	In       []string `json:"in" jsonschema:"arrays that it takes first"`
	Weights  []string `json:"weights" jsonschema:"parameters that it takes then"`
	Out      []string `json:"out" jsonschema:"arrays that it gives"`
}

// Step is a graph as calls, and which array each event takes.
type Step struct {
	Calls []Call            `json:"calls" jsonschema:"in order"`
	Taken map[string]string `json:"taken" jsonschema:"outputs of the recording, and the arrays that they are: of calls, of events, weight:NAME or constant:NAME"`
}

// Launcher spells calls of kernels that Python can launch. It is nil where there are none:
// then a graph with kernels is an error.
type Launcher interface {
	// Launch returns the text of a call, which gives a list of arrays, and the kernel. out are the
	// types of the node's results; if shared is not nil, the call gives the memory that they are in.
	Launch(n *graph.Node, operands []Operand, in, out []graph.Type, shared *Shared) (string, *Kernel, error)
	// Anywhere tells whether kernels can be told where in an array an operand or a result is. If not,
	// each is an array of its own.
	Anywhere() bool
}

// NewModule returns a module without functions.
func NewModule() *Module {
	return &Module{Functions: []Function{}, Constants: map[string]Constant{}, Kernels: []Kernel{}, byText: map[string]int{}, kernel: map[string]int{}}
}

// Write adds a graph without symbols, cut, to the module.
func (m *Module) Write(c *cutGraph, launcher Launcher) (*Step, error) {
	w := &writer{m: m, c: c, g: c.g, names: map[graph.ValueID]string{}, launcher: launcher, uses: c.g.Uses()}
	w.seen = reshaped(c.g, w.uses)
	step := &Step{Taken: map[string]string{}, Calls: []Call{}}
	for _, v := range c.g.Inputs() {
		w.names[v] = c.g.InputName(v)
	}
	for _, s := range c.stages {
		if len(s.nodes) == 0 {
			continue
		}
		for _, v := range s.outputs {
			w.names[v] = fmt.Sprintf("v%d", v)
		}
	}
	for at, s := range c.stages {
		if len(s.nodes) == 0 {
			continue
		}
		call, err := w.stage(at)
		if err != nil {
			return nil, err
		}
		step.Calls = append(step.Calls, *call)
	}
	for _, o := range c.g.Outputs() {
		switch n := c.g.Def(o.Value); n.Op.Name {
		case "param":
			step.Taken[o.Name] = "weight:" + c.g.InputName(o.Value)
		case "constant":
			text, err := w.constant(c.g.Literal(o.Value))
			if err != nil {
				return nil, err
			}
			step.Taken[o.Name] = "constant:" + text
		default:
			step.Taken[o.Name] = w.names[o.Value]
		}
	}
	return step, nil
}

type writer struct {
	m        *Module
	c        *cutGraph
	g        *graph.Graph
	names    map[graph.ValueID]string // of values outside of functions
	launcher Launcher
	uses     *graph.Uses
	seen     map[graph.ValueID]graph.ValueID // results of kernels, and what they are reshaped to

	// Of the function at hand.
	at     int // its stage
	call   *Call
	local  map[graph.ValueID]string
	placed map[graph.ValueID]Operand // results that are no arrays of their own
	left   map[graph.NodeID]bool     // views that are not made
	lines  []string
	next   int
}

// stage writes one function. Names in it are by order, so that the same stage of another
// layer has the same text.
func (w *writer) stage(at int) (*Call, error) {
	s := w.c.stages[at]
	w.at = at
	w.call, w.local, w.lines, w.next = &Call{Event: s.event, In: []string{}, Weights: []string{}, Out: []string{}}, map[graph.ValueID]string{}, nil, 0
	w.placed = map[graph.ValueID]Operand{}
	w.left = w.c.forKernels(w.uses, w.at, w.anywhere())
	for _, id := range s.nodes {
		n := w.g.Node(id)
		if w.left[id] {
			continue
		}
		if err := w.node(n); err != nil {
			return nil, diag.Errorf("bridge/op", diag.Pos{}, "%v", err).WithScope(n.Scope)
		}
	}
	var results []string
	for _, v := range s.outputs {
		results = append(results, w.local[v])
		w.call.Out = append(w.call.Out, w.names[v])
	}
	var params []string
	for i := range w.call.In {
		params = append(params, fmt.Sprintf("a%d", i))
	}
	for i := range w.call.Weights {
		params = append(params, fmt.Sprintf("w%d", i))
	}
	if w.m.named {
		params = slices.Concat(w.call.In, w.call.Weights)
	}
	body := fmt.Sprintf("(%s):\n    %s\n    return (%s,)\n", strings.Join(params, ", "), strings.Join(w.lines, "\n    "), strings.Join(results, ", "))
	at, ok := w.m.byText[body]
	if !ok {
		at = len(w.m.Functions)
		name := fmt.Sprintf("stage%d", at)
		w.m.byText[body] = at
		w.m.Functions = append(w.m.Functions, Function{Name: name, Source: "def " + name + body})
	}
	w.call.Function = at
	return w.call, nil
}

// operand returns the text for a value in the function at hand.
func (w *writer) operand(v graph.ValueID) (string, error) {
	if v == graph.None {
		return "None", nil
	}
	if name, ok := w.local[v]; ok {
		return name, nil
	}
	n := w.g.Def(v)
	switch n.Op.Name {
	case "constant":
		return w.constant(w.g.Literal(v))
	case "param":
		w.local[v] = fmt.Sprintf("w%d", len(w.call.Weights))
		if w.m.named {
			w.local[v] = w.g.InputName(v)
		}
		w.call.Weights = append(w.call.Weights, w.g.InputName(v))
	default:
		w.local[v] = fmt.Sprintf("a%d", len(w.call.In))
		if w.m.named {
			w.local[v] = w.names[v]
		}
		w.call.In = append(w.call.In, w.names[v])
	}
	return w.local[v], nil
}

// constant returns a name for an array that is made once, by its content.
func (w *writer) constant(l *graph.Literal) (string, error) {
	name := "c_" + constantName(l)
	w.m.Constants[name] = Constant{DType: l.DType.String(), Shape: append([]int{}, l.Shape...), Data: base64.StdEncoding.EncodeToString(l.Data)}
	return name, nil
}

// reshaped finds the results of kernels that nothing reads but one reshape: a kernel fills memory,
// and the shape that MLX is told of it may as well be that one.
func reshaped(g *graph.Graph, uses *graph.Uses) map[graph.ValueID]graph.ValueID {
	found := map[graph.ValueID]graph.ValueID{}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		if !n.Op.IsKernel() {
			continue
		}
		for _, v := range n.Out {
			if readers := uses.Of(v); len(readers) == 1 && !uses.IsOutput(v) && g.Node(readers[0]).Op.Name == "reshape" {
				found[v] = g.Node(readers[0]).Out[0]
			}
		}
	}
	return found
}

// node writes the lines of one node.
func (w *writer) node(n *graph.Node) error {
	if len(n.In) == 1 { // it reads nothing else, so that it is in its kernel's stage
		if r, ok := w.seen[n.In[0]]; ok && r == n.Out[0] {
			w.local[r] = w.local[n.In[0]]
			return nil
		}
	}
	if n.Op.IsKernel() {
		return w.kernel(n)
	}
	in, types := make([]string, len(n.In)), make([]graph.Type, len(n.In))
	for i, v := range n.In {
		var err error
		if in[i], err = w.operand(v); err != nil {
			return err
		}
		types[i] = w.typeOf(v)
	}
	text, err := spell(&graph.Call{Op: n.Op, In: types, Attrs: n.Attrs}, in, w.g.Type(n.Out[0]))
	if err != nil {
		return err
	}
	out := make([]string, len(n.Out))
	for i, v := range n.Out {
		out[i] = w.newName()
		w.local[v] = out[i]
	}
	w.lines = append(w.lines, strings.Join(out, ", ")+" = "+text)
	return nil
}

func (w *writer) typeOf(v graph.ValueID) graph.Type {
	if v == graph.None {
		return graph.Type{DType: graph.NoDType}
	}
	return w.g.Type(v)
}

func (w *writer) newName() string {
	w.next++
	return fmt.Sprintf("v%d", w.next-1)
}

// kernel writes the lines of a kernel's node.
func (w *writer) kernel(n *graph.Node) error {
	in, types := make([]Operand, len(n.In)), make([]graph.Type, len(n.In))
	for i, v := range n.In {
		a := w.c.addressed(w.at, v, w.anywhere())
		given, ok := w.placed[a.of]
		if !ok {
			var err error
			if given.Name, err = w.operand(a.of); err != nil {
				return err
			}
		}
		given.From = a.from
		in[i], types[i] = given, w.typeOf(v)
	}
	results := make([]graph.Type, len(n.Out))
	for i, v := range n.Out {
		if r, ok := w.seen[v]; ok {
			v = r
		}
		results[i] = w.g.Type(v)
	}
	shared := w.sharing(n)
	text, err := w.launch(n, in, types, results, shared)
	if err != nil {
		return err
	}
	var out []string
	if shared != nil {
		out = []string{w.newName()}
	}
	for i, v := range n.Out {
		if shared != nil {
			w.placed[v] = Operand{Name: out[0], Shared: true, Bytes: shared.At[i]}
			continue
		}
		w.local[v] = w.newName()
		out = append(out, w.local[v])
	}
	if len(out) == 1 {
		text += "[0]"
	}
	w.lines = append(w.lines, strings.Join(out, ", ")+" = "+text)
	return nil
}

func (w *writer) anywhere() bool { return w.launcher != nil && w.launcher.Anywhere() }

// launch writes the call of a kernel.
func (w *writer) launch(n *graph.Node, in []Operand, types, out []graph.Type, shared *Shared) (string, error) {
	if w.launcher == nil {
		return "", fmt.Errorf("%s: there is nothing to launch it with", n.Op.Name)
	}
	text, k, err := w.launcher.Launch(n, in, types, out, shared)
	if err != nil {
		return "", err
	}
	if _, ok := w.m.kernel[k.Name]; !ok {
		w.m.kernel[k.Name] = len(w.m.Kernels)
		if k.text != nil {
			k.text(k)
		}
		w.m.Kernels = append(w.m.Kernels, *k)
	}
	return text, nil
}

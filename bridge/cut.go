package bridge

import (
	"encoding/json"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Events says where a capture is cut: for each input the event that gives it, -1 for the
// tokens, and for each output the event that takes it; End stands behind the last one.
type Events struct {
	Inputs  []int `json:"inputs"`
	Outputs []int `json:"outputs"`
	End     int   `json:"end"`
}

// ReadEvents reads them from the metadata of a capture.
func ReadEvents(file, metadata string) (*Events, error) {
	var m struct {
		Stages *Events `json:"stages"`
	}
	if err := json.Unmarshal([]byte(metadata), &m); err != nil || m.Stages == nil {
		return nil, diag.Errorf("bridge/capture", diag.Pos{File: file}, "the file does not say where the model touches its caches").
			WithHint("python -m zmlx_rewrite makes captures that do; zmlx_capture.py makes others")
	}
	ev := m.Stages
	for _, at := range ev.Inputs {
		if at < -1 || at >= ev.End {
			return nil, diag.Errorf("bridge/capture", diag.Pos{File: file}, "an input of event %d, of %d", at, ev.End)
		}
	}
	for _, at := range ev.Outputs {
		if at < 0 || at > ev.End {
			return nil, diag.Errorf("bridge/capture", diag.Pos{File: file}, "an output for event %d, of %d", at, ev.End)
		}
	}
	return ev, nil
}

// stage is the nodes that run right before an event.
type stage struct {
	event   int
	nodes   []graph.NodeID
	outputs []graph.ValueID // that others read, in graph order
}

// cutGraph is a graph in stages.
type cutGraph struct {
	g      *graph.Graph
	stages []*stage
	at     map[graph.ValueID]int // of values of nodes: the stage
	given  map[graph.ValueID]int // of inputs: the event
}

// before says that a value is given before any event: it depends on no input.
const before = -2

// Cut gives every node a stage.
func Cut(g *graph.Graph, ev *Events) (*cutGraph, error) {
	if len(g.Inputs()) != len(ev.Inputs) || len(g.Outputs()) != len(ev.Outputs) {
		return nil, diag.Errorf("bridge/capture", diag.Pos{}, "the graph has %d inputs and %d outputs, the capture %d and %d",
			len(g.Inputs()), len(g.Outputs()), len(ev.Inputs), len(ev.Outputs))
	}
	c := &cutGraph{g: g, at: map[graph.ValueID]int{}, given: map[graph.ValueID]int{}}
	needs := slices.Clone(ev.Outputs)
	slices.Sort(needs)
	for _, e := range slices.Compact(needs) {
		c.stages = append(c.stages, &stage{event: e})
	}
	for i, v := range g.Inputs() {
		c.given[v] = ev.Inputs[i]
	}
	// Forwards: the first stage behind all that a node reads. What reads no input has none yet.
	of := make([]int, g.NumNodes())
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		of[id] = before
		if n.Op.Name == "input" {
			continue
		}
		for _, v := range n.In {
			if v == graph.None {
				continue
			}
			def := g.Def(v)
			k := of[g.Value(v).Def]
			if def.Op.Name == "input" {
				given := c.given[v]
				k = slices.IndexFunc(c.stages, func(s *stage) bool { return s.event > given })
				if k < 0 {
					return nil, diag.Errorf("bridge/capture", diag.Pos{}, "%s is read, but nothing comes after it", g.InputName(v)).WithScope(n.Scope)
				}
			}
			of[id] = max(of[id], k)
		}
	}
	// Backwards: what reads no input runs where it is read first.
	first := make([]int, g.NumNodes())
	for i := range first {
		first[i] = len(c.stages)
	}
	for i, o := range g.Outputs() {
		id := g.Value(o.Value).Def
		k := slices.IndexFunc(c.stages, func(s *stage) bool { return s.event == ev.Outputs[i] })
		first[id] = min(first[id], k)
	}
	for id := g.NumNodes() - 1; id >= 0; id-- {
		n := g.Node(graph.NodeID(id))
		if of[id] == before {
			of[id] = first[id]
		}
		for _, v := range n.In {
			if v != graph.None {
				def := g.Value(v).Def
				first[def] = min(first[def], of[id])
			}
		}
	}
	for i, o := range g.Outputs() {
		n := g.Def(o.Value)
		if k := of[g.Value(o.Value).Def]; !leaf(n) && c.stages[k].event > ev.Outputs[i] {
			return nil, diag.Errorf("bridge/crossed", diag.Pos{}, "%s is needed before what it is made of is there", o.Name).WithScope(n.Scope).
				WithHint("a rule joins what lies on two sides of a cache; leave it out with --exclude")
		}
	}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		if leaf(n) || of[id] >= len(c.stages) { // nothing reads it
			continue
		}
		s := c.stages[of[id]]
		s.nodes = append(s.nodes, graph.NodeID(id))
		for _, v := range n.Out {
			c.at[v] = of[id]
		}
	}
	c.outputs()
	return c, nil
}

// inside reports whether a value is computed in a stage.
func (c *cutGraph) inside(stage int, v graph.ValueID) bool {
	at, ok := c.at[v]
	return ok && at == stage
}

// outputs finds the values of each stage that events or other stages read.
func (c *cutGraph) outputs() {
	outside := map[graph.ValueID]bool{}
	for _, o := range c.g.Outputs() {
		outside[o.Value] = true
	}
	for k, s := range c.stages {
		for _, id := range s.nodes {
			for _, v := range c.g.Node(id).In {
				if v == graph.None {
					continue
				}
				if from, ok := c.at[v]; ok && from != k {
					outside[v] = true
				}
			}
		}
	}
	for _, s := range c.stages {
		for _, id := range s.nodes {
			for _, v := range c.g.Node(id).Out {
				if outside[v] {
					s.outputs = append(s.outputs, v)
				}
			}
		}
	}
}

// leaf reports whether a node is given, not computed.
func leaf(n *graph.Node) bool {
	return n.Op.Name == "input" || n.Op.Name == "param" || n.Op.Name == "constant"
}

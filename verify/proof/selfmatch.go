package proof

import (
	"fmt"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// CodeSelfMatch is of a pattern that does not match itself, once.
const CodeSelfMatch = "proof/self-match"

// SelfMatch looks at each instance of a rule's patterns: the pattern matches the graph that
// it was rendered to, once, at all of its nodes; the rule is applied there, once; and still
// is when operands of commutative ops are swapped, or a result has one more reader.
func SelfMatch(set *rules.Set, all *Instances) *Verdict {
	v := &Verdict{Check: CheckSelfMatch, Status: Tested, Method: "enumeration"}
	bad := func(in *Instance, format string, args ...any) {
		v.Status, v.Code = Failed, CodeSelfMatch
		v.Why = append(v.Why, in.Where+": "+fmt.Sprintf(format, args...))
	}
	rendered := map[*matcher.Pattern]bool{}
	equal := 0
	for _, in := range all.All {
		v.Count++
		rendered[in.Pattern] = true
		g := in.Program.Cases[0].Graph
		found, largest := 0, 0
		in.Pattern.Find(matcher.NewIndex(g), func(m *matcher.Match) {
			found++
			largest = max(largest, covers(g, m))
		})
		if nodes := inner(g); found != 1 || largest != nodes {
			bad(in, "the pattern matches its own graph of %d nodes %d times, at most %d nodes of it", nodes, found, largest)
		}
		if n := in.sitesOf(set, in.Program); n != 1 {
			bad(in, "the rule applies %d times to its own pattern", n)
		}
		for _, x := range in.spellings() {
			p, err := in.mutant(x)
			if err != nil {
				continue // the two orders have two types, as of a number and an array
			}
			equal++
			if n := in.sitesOf(set, p); n != 1 {
				bad(in, "%s: the rule applies %d times, and should once", x.what, n)
			}
		}
	}
	v.Count += equal
	v.Detail = fmt.Sprintf("%d patterns in %d instances match themselves, and so do %d other spellings", len(rendered), len(all.All), equal)
	if v.Failed() {
		v.Detail = v.Why[0]
	}
	if len(all.All) == 0 {
		v.Status, v.Detail = Unchecked, "no pattern of the rule has an instance"
	}
	return v
}

// inner counts nodes that are computed.
func inner(g *graph.Graph) int {
	n := 0
	for id := range graph.NodeID(g.NumNodes()) {
		if len(g.Node(id).In) > 0 {
			n++
		}
	}
	return n
}

// covers counts the computed nodes of a match.
func covers(g *graph.Graph, m *matcher.Match) int {
	n := 0
	for _, id := range m.Nodes {
		if len(g.Node(id).In) > 0 {
			n++
		}
	}
	return n
}

// sitesOf counts where the rule is applied to a program in the first round, on the target
// where that is most often.
func (in *Instance) sitesOf(set *rules.Set, p *graph.Program) int {
	most := 0
	for _, target := range Targets {
		res, err := rewriteBy(set, in.Rule, p, target)
		if err != nil {
			continue
		}
		for _, c := range res.Cases {
			n := 0
			for _, s := range c.Sites {
				if s.Round == 1 {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most
}

// spellings are changes after which the graph computes the same: operands of commutative
// ops in the other order, and a result that something else reads, too.
func (in *Instance) spellings() []*mutation {
	l := newLister(in)
	for id := range graph.NodeID(l.g.NumNodes()) {
		n := l.g.Node(id)
		if n.Op.Commutative && n.In[0] != n.In[1] {
			l.add(&mutation{kind: mutSwap, at: id, place: l.called(id), what: l.called(id) + ": operands in the other order",
				edit: func(_ *maker, d *draft) error { d.in[0], d.in[1] = d.in[1], d.in[0]; return nil }})
		}
	}
	for _, o := range l.g.Outputs() {
		l.add(&mutation{kind: mutReader, at: -1, place: o.Name, what: o.Name + " is read by another node, too",
			end: func(m *maker) error {
				out, err := m.to.Add(graph.LookupOp("reshape"), "outside", []graph.ValueID{m.now[o.Value]}, graph.Dims{l.g.Type(o.Value).Size()})
				if err == nil {
					m.to.Output("outside", out[0])
				}
				return err
			}})
	}
	return l.all
}

func join(list []string, most int) string {
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(", and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

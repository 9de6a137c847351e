package kernels

import (
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
)

// Bench is a call of real size, as a model makes it: what a kernel is timed with.
type Bench struct {
	Name   string // "Qwen3-30B-A3B, one token"
	Choice Choice
	// Reads is how many bytes the call has to read, if not all of its operands: a
	// gather reads the chosen experts only. nil for all.
	Reads syntax.Expr
}

// benches reads the key bench: a list of {name, dims, types, attrs, absent, reads}.
func (p *specParser) benches(n *diag.Node) {
	if n == nil {
		return
	}
	if n.Kind != diag.Seq {
		p.issues.Add(n.Errorf("yaml/type", "bench must be a list, found a %s", n.Kind))
		return
	}
	for _, item := range n.Items {
		p.issues.Add(item.Known("kernel/unknown-key", "name", "dims", "types", "attrs", "absent", "reads")...)
		if item.Kind != diag.Map {
			continue
		}
		b := Bench{Choice: Choice{Types: map[string]graph.DType{}, Absent: map[string]bool{}, Attrs: map[string]graph.Attr{}, Dims: map[string]int64{}}}
		if v := item.Get("name"); v != nil {
			b.Name = v.Text
		} else {
			p.issues.Add(item.Errorf("kernel/missing-key", "a bench needs a name"))
		}
		if v := item.Get("dims"); v != nil {
			for i, k := range v.Keys {
				x, issue := v.Vals[i].Int()
				if issue == nil && !p.spec.isInt(k.Text) {
					issue = k.Errorf("kernel/bench", "%s is not a dimension of the inputs", k.Text)
				}
				if issue == nil && x < 1 {
					issue = v.Vals[i].Errorf("kernel/bench", "a length of %d", x)
				}
				p.issues.Add(issue)
				b.Choice.Dims[k.Text] = x
			}
		}
		if v := item.Get("types"); v != nil {
			for i, k := range v.Keys {
				t, ok := graph.ParseDType(v.Vals[i].Text)
				if _, known := p.types[k.Text]; !ok || !known {
					p.issues.Add(k.Errorf("kernel/bench", "%s: %s is not an element type of this kernel", k.Text, v.Vals[i].Text))
				}
				b.Choice.Types[k.Text] = t
			}
		}
		if v := item.Get("absent"); v != nil {
			for _, x := range v.Items {
				b.Choice.Absent[x.Text] = true
			}
		}
		if v := item.Get("attrs"); v != nil {
			for i, k := range v.Keys {
				b.Choice.Attrs[k.Text] = p.benchAttr(k, v.Vals[i])
			}
		}
		if v := item.Get("reads"); v != nil {
			e, issue := ParseExpr(v)
			if issue == nil {
				if err := checkInt(e, p.spec.isInt); err != nil {
					issue = SyntaxIssue(v, err)
				}
			}
			p.issues.Add(issue)
			b.Reads = e
		}
		p.spec.Benches = append(p.spec.Benches, b)
	}
}

func (p *specParser) benchAttr(k, v *diag.Node) graph.Attr {
	i := slices.IndexFunc(p.spec.Attrs, func(a Attr) bool { return a.Name == k.Text })
	if i < 0 {
		p.issues.Add(k.Errorf("kernel/bench", "%s is not an attribute", k.Text))
		return nil
	}
	switch p.spec.Attrs[i].Kind {
	case guard.Word:
		return graph.Str(v.Text)
	case guard.Bool:
		x, issue := v.Bool()
		p.issues.Add(issue)
		return graph.Flag(x)
	case guard.Int:
		x, issue := v.Int()
		p.issues.Add(issue)
		return graph.N(x)
	}
	x, issue := v.Float()
	p.issues.Add(issue)
	return graph.Float(x)
}

package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Draft is a rule file and a kernel's spec.
type Draft struct {
	Rules  string // NAME.yaml, with the rule NAME.NAME
	Kernel string // NAME.yaml, with a reference graph and no source
	Inner  bool   // there is a value that only the pattern reads
	Few    string // the value of whose rows a guard allows only a few, or ""
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// CheckName reports why a name cannot be that of a rule and a kernel.
func CheckName(name string) error {
	if !nameForm.MatchString(name) || len(name) > 48 || strings.Contains(name, "__") {
		return diag.Errorf("usage/name", diag.Pos{}, "%q cannot be a rule's name: it must be at most 48 small letters, digits and _", name).WithHint("such as gate_up")
	}
	return nil
}

// Write writes a rule and a kernel of a part. from says for people where it is from.
// exact is what the kernel promises: numerics exact, and else reordered.
func Write(part *Part, name, from string, exact bool) (*Draft, error) {
	w := &writer{part: part, g: part.Case.Graph, used: newNames(), values: map[graph.ValueID]string{}, vars: map[string]*variable{}}
	w.used[name] = true
	if err := w.read(); err != nil {
		return nil, err
	}
	return w.write(name, from, exact), nil
}

// variable is a $variable: an attribute that the rule hands to the kernel.
type variable struct {
	name string
	kind graph.AttrKind
	attr graph.Attr
}

type writer struct {
	part   *Part
	g      *graph.Graph
	used   names
	values map[graph.ValueID]string // names of lines and operands
	in     []graph.ValueID          // operands, in the order of their first use
	lines  []string                 // of pattern and reference: "name: op(…)"
	out    []string                 // results, in the order of their lines
	listed []string                 // of these, those that other lines read
	inner  bool
	vars   map[string]*variable // by attribute and value
	order  []*variable
}

func (w *writer) isParam(v graph.ValueID) bool { return w.g.Def(v).Op.Name == "param" }

// read names all values, and writes the lines.
func (w *writer) read() error {
	inside := map[graph.NodeID]bool{}
	for _, id := range w.part.Nodes {
		inside[id] = true
	}
	readInside, readOutside := map[graph.ValueID]bool{}, map[graph.ValueID]bool{}
	for id := range graph.NodeID(w.g.NumNodes()) {
		for _, v := range w.g.Node(id).In {
			if inside[id] {
				readInside[v] = true
			} else {
				readOutside[v] = true
			}
		}
	}
	for _, o := range w.g.Outputs() {
		readOutside[o.Value] = true
	}
	// Results first: "out" is that of the only one.
	var results []graph.ValueID
	for _, id := range w.part.Nodes {
		for _, v := range w.g.Node(id).Out {
			if readOutside[v] || !readInside[v] {
				results = append(results, v)
			}
		}
	}
	if len(results) == 1 {
		w.values[results[0]] = "out"
	}
	for _, id := range w.part.Nodes {
		n := w.g.Node(id)
		for k, v := range n.In {
			if v == graph.None || w.values[v] != "" || inside[w.g.Value(v).Def] {
				continue
			}
			if _, ok := w.literal(n, k); ok {
				continue
			}
			w.values[v] = w.used.take(w.operandName(v))
			w.in = append(w.in, v)
		}
	}
	if len(w.in) == 0 {
		return diag.Errorf("rule/new", diag.Pos{}, "the ops at %s read nothing from outside: there is nothing to match", w.part.Scope)
	}
	for _, id := range w.part.Nodes {
		n := w.g.Node(id)
		for _, v := range n.Out {
			if w.values[v] == "" {
				w.values[v] = w.used.take(w.lineName(n))
			}
			switch isResult := slices.Contains(results, v); {
			case isResult && readInside[v]:
				w.listed = append(w.listed, w.values[v])
				fallthrough
			case isResult:
				w.out = append(w.out, w.values[v])
			default:
				w.inner = true
			}
		}
		line, err := w.line(n)
		if err != nil {
			return diag.Errorf("rule/new", diag.Pos{}, "%v", err).WithScope(n.Scope).WithHint("leave the op out with --values")
		}
		w.lines = append(w.lines, line)
	}
	return nil
}

// literal writes a scalar constant as a number, if a number at that place has its type.
func (w *writer) literal(n *graph.Node, k int) (string, bool) {
	l := w.g.Literal(n.In[k])
	if l == nil || len(l.Shape) != 0 || l.DType == graph.Bool {
		return "", false
	}
	beside := graph.NoDType
	for _, v := range n.In {
		if v == graph.None || w.g.Literal(v) != nil {
			continue
		}
		if t := w.g.Type(v).DType; beside == graph.NoDType {
			beside = t
		} else {
			beside = graph.Promote(beside, t)
		}
	}
	text := l.String()
	if beside == graph.NoDType || strings.ContainsAny(text, "\"an") || graph.NumberType(beside, !strings.ContainsAny(text, ".e")) != l.DType {
		return "", false
	}
	return text, true
}

// line writes a node as a line of a pattern, which is one of a reference as well.
func (w *writer) line(n *graph.Node) (string, error) {
	var out, args []string
	for _, v := range n.Out {
		out = append(out, w.values[v])
	}
	skipped := false
	for k, v := range n.In {
		if v == graph.None {
			skipped = true
			continue
		}
		text, ok := w.literal(n, k)
		if !ok {
			text = w.values[v]
		}
		if skipped {
			text = n.Op.Operands[k].Name + "=" + text
		}
		args = append(args, text)
	}
	for k, a := range n.Attrs {
		spec := &n.Op.Attrs[k]
		if bound := spec.Name == "bits" || spec.Name == "group_size"; a == nil || !bound && spec.Default != nil && spec.Default.Equal(a) {
			continue
		}
		text, err := w.attr(n, spec, a)
		if err != nil {
			return "", fmt.Errorf("%s of %s: %w", spec.Name, n.Op.Name, err)
		}
		args = append(args, spec.Name+"="+text)
	}
	return fmt.Sprintf("%s: %s(%s)", strings.Join(out, ", "), n.Op.Name, strings.Join(args, ", ")), nil
}

// attr writes an attribute: as it is, or as a $variable if it is a real number, which
// rules and kernels hand on, part of how a matrix is quantized, or depends on the call.
func (w *writer) attr(n *graph.Node, spec *graph.AttrSpec, a graph.Attr) (string, error) {
	switch x := a.(type) {
	case graph.Float:
		return w.variable(spec.Name, graph.KindFloat, a), nil
	case graph.Dim:
		if spec.Name == "bits" || spec.Name == "group_size" {
			return w.variable(spec.Name, graph.KindInt, a), nil
		}
		return w.integer(spec, w.fromEnd(n, spec, x, 0)), nil
	case graph.Dims:
		if spec.Kind == graph.KindAxes || !slices.ContainsFunc(x, isOpen) {
			return graph.AttrText(spec.Kind, a), nil
		}
		var list []string
		for i, d := range x {
			list = append(list, w.integer(spec, w.fromEnd(n, spec, d, i)))
		}
		if len(list) == 1 && spec.Kind == graph.KindPosList {
			return list[0], nil
		}
		return "[" + strings.Join(list, ", ") + "]", nil
	case *graph.Literal:
		return "", fmt.Errorf("a constant of %s cannot be written in a rule", x.Type())
	}
	return graph.AttrText(spec.Kind, a), nil
}

// fromEnd counts a position on an axis whose length depends on the call from the axis's
// end, if it is at a fixed place there.
func (w *writer) fromEnd(n *graph.Node, spec *graph.AttrSpec, d graph.Dim, i int) graph.Dim {
	if spec.Kind != graph.KindPos && spec.Kind != graph.KindPosList || !isOpen(d) {
		return d
	}
	axis := -1
	switch x := n.Attr("axis").(type) {
	case graph.Dim:
		axis = x.Int()
	case graph.Dims:
		axis = x[i].Int()
	}
	if long, ok := w.g.Type(n.In[0]).Dim(axis); ok {
		if e := d.Sub(long); !isOpen(e) && e.Int() < 0 {
			return e
		}
	}
	return d
}

func isOpen(d graph.Dim) bool { _, known := d.Const(); return !known }

// integer writes an integer: a number, a dimension of an operand, or a $variable.
func (w *writer) integer(spec *graph.AttrSpec, d graph.Dim) string {
	if !isOpen(d) {
		return d.String()
	}
	for _, v := range w.in {
		t := w.g.Type(v)
		for i, x := range t.Shape {
			if x == d {
				return fmt.Sprintf("dim(%s, %d)", w.values[v], i-t.Rank())
			}
		}
		if t.Rank() > 1 && t.Rows() == d {
			return fmt.Sprintf("rows(%s)", w.values[v])
		}
	}
	return w.variable(spec.Name, graph.KindInt, d)
}

func (w *writer) variable(name string, kind graph.AttrKind, a graph.Attr) string {
	key := fmt.Sprintf("%s %s", name, a)
	if w.vars[key] == nil {
		x := &variable{name: name, kind: kind, attr: a}
		for i := 2; slices.ContainsFunc(w.order, func(y *variable) bool { return y.name == x.name }); i++ {
			x.name = fmt.Sprintf("%s_%d", name, i)
		}
		w.used[x.name] = true
		w.vars[key] = x
		w.order = append(w.order, x)
	}
	return "$" + w.vars[key].name
}

package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
)

// Spec is a parsed kernel spec.
type Spec struct {
	Name     string // "swiglu"; the op is "kernel.swiglu"
	Doc      string
	Source   string // file it was read from
	Hash     string // sha256 of the file, hex
	Inputs   []Input
	Attrs    []Attr
	Results  []string
	Numerics Numerics
	Domain   []Condition
	Launch   *Launch // nil if there is no source
	// Early are the inputs that the source reads before it calls ready(), and before which it reads
	// no others and writes nothing: weights. Where they are there before a launch's predecessor
	// ends, it may ask for them meanwhile.
	Early   []string
	Trials  *Trials // how cases for checking are made
	Benches []Bench // calls of real size
	// Gradient are the lines that give the gradient of each input, d_INPUT, of those of the
	// results, d_RESULT; they may read inputs, attributes and lines of the reference. A
	// kernel without them is not used in a graph that is differentiated.
	Gradient []graph.Define
	Code     *Source // nil if there is none: the kernel runs as its reference
	// Generated says that the source was made of the reference (Catalog.Generate), and
	// NoSource why there is none.
	Generated bool
	NoSource  string
	// ContentHash covers all that a compiled kernel depends on: spec, source and the
	// shared headers that it includes. Certificates and compiled libraries carry it.
	ContentHash string

	types     []TypeName
	ints      []string
	floats    []string
	reference []graph.Define
	op        *graph.Op
	inferred  *answers // by signature of a call
}

// TypeName is an entry of the spec's types: a name for one element type in a call.
type TypeName struct {
	Name   string
	DTypes []graph.DType
}

// Input is an operand: the element types it may have and its shape over named
// dimensions. The same dimension name means the same length everywhere, and "..."
// the same leading dimensions.
type Input struct {
	Name     string
	Optional bool
	TypeName string // "T", if several inputs share their element type
	DTypes   []graph.DType
	Shape    []Dim
}

// Dim is one entry of an input's shape.
type Dim struct {
	Name string // a named dimension; "..." for leading ones
	N    int64  // a number, if Name is empty
}

// Attr is an attribute of the kernel, with the values that it may have.
type Attr struct {
	Name  string
	Kind  guard.Kind
	Ints  []int64  // allowed; any if empty
	Words []string // allowed
	Unset graph.Attr
}

// Condition is a named condition of the kernel's domain.
type Condition struct {
	Name  string
	Guard *guard.Guard
}

// Numerics is the contract of a kernel or a rule: how its results may differ from
// those of the ops that it replaces.
type Numerics string

const (
	Exact     Numerics = "exact"     // not in one bit
	Reordered Numerics = "reordered" // sums are added up in another order
	Lossy     Numerics = "lossy"     // more than that; never on by default
)

// WorseThan reports whether n promises less than m.
func (n Numerics) WorseThan(m Numerics) bool {
	order := []Numerics{Exact, Reordered, Lossy}
	return slices.Index(order, n) > slices.Index(order, m)
}

// ParseNumerics reads a contract.
func ParseNumerics(n *diag.Node) (Numerics, *diag.Issue) {
	text, issue := n.Str()
	switch Numerics(text) {
	case Exact, Reordered, Lossy:
		return Numerics(text), nil
	}
	if issue == nil {
		issue = n.Errorf("numerics/unknown", "numerics %q is none of exact, reordered, lossy", text)
	}
	return "", issue
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Parse reads a kernel spec and reports all its errors.
func Parse(file string, data []byte) (*Spec, diag.List) {
	root, issues := diag.ReadYAML(file, data)
	if root == nil || issues.HasErrors() {
		return nil, issues
	}
	p := &specParser{issues: issues, spec: &Spec{Source: file, inferred: &answers{}}}
	sum := sha256.Sum256(data)
	p.spec.Hash = hex.EncodeToString(sum[:])
	p.file(root)
	if p.issues.HasErrors() {
		return nil, p.issues
	}
	return p.spec, p.issues
}

type specParser struct {
	spec   *Spec
	issues diag.List
	types  map[string][]graph.DType
}

func (p *specParser) file(root *diag.Node) {
	p.issues.Add(root.Known("kernel/unknown-key", "zmlx", "kernel", "doc", "types", "inputs", "attrs", "reference", "results", "numerics", "domain", "launch", "early", "check", "bench", "gradient")...)
	if root.Kind != diag.Map {
		return
	}
	p.issues.Add(diag.CheckVersion(root))
	need := func(key string, kind diag.Kind) *diag.Node {
		n := root.Get(key)
		if n == nil {
			p.issues.Add(root.Errorf("kernel/missing-key", "key %q is missing", key))
			return nil
		}
		if n.Kind != kind {
			p.issues.Add(n.Errorf("yaml/type", "%s must be a %s, found a %s", key, kind, n.Kind))
			return nil
		}
		return n
	}
	s := p.spec
	if n := need("kernel", diag.Scalar); n != nil {
		s.Name = n.Text
		if !nameForm.MatchString(s.Name) {
			p.issues.Add(n.Errorf("kernel/name", "name %q must be small letters, digits and _", s.Name))
		}
	}
	if n := need("doc", diag.Scalar); n != nil {
		s.Doc = n.Text
	}
	if n := need("numerics", diag.Scalar); n != nil {
		var issue *diag.Issue
		s.Numerics, issue = ParseNumerics(n)
		p.issues.Add(issue)
	}
	p.types = map[string][]graph.DType{}
	if n := root.Get("types"); n != nil {
		for i, k := range n.Keys {
			if n.Vals[i].Kind != diag.Seq || len(n.Vals[i].Items) == 0 {
				p.issues.Add(n.Vals[i].Errorf("kernel/dtype", "%s needs a list of element types", k.Text))
				continue
			}
			for _, item := range n.Vals[i].Items {
				if t, ok := graph.ParseDType(item.Text); ok {
					p.types[k.Text] = append(p.types[k.Text], t)
				} else {
					p.issues.Add(item.Errorf("kernel/dtype", "%q is not an element type", item.Text))
				}
			}
			s.types = append(s.types, TypeName{k.Text, p.types[k.Text]})
		}
	}
	if n := need("inputs", diag.Map); n != nil {
		for i, k := range n.Keys {
			p.input(k, n.Vals[i])
		}
	}
	if n := root.Get("attrs"); n != nil {
		for i, k := range n.Keys {
			p.attr(k, n.Vals[i])
		}
	}
	s.nameValues()
	p.launch(root.Get("launch"))
	p.early(root.Get("early"))
	p.check(root.Get("check"))
	p.benches(root.Get("bench"))
	if n := need("reference", diag.Map); n != nil {
		var nodes []*diag.Node
		s.reference, nodes = ParseDefines(n, &p.issues)
		for i, d := range s.reference {
			syntax.Walk(d.Expr, func(e syntax.Expr) bool {
				if _, ok := e.(*syntax.Rest); ok {
					p.issues.Add(nodes[i].ErrorfAt(e.Offset(), "kernel/reference", "... is for patterns; a reference writes every attribute that is not at its default"))
				}
				return true
			})
		}
	}
	if n := need("results", diag.Seq); n != nil {
		for _, item := range n.Items {
			s.Results = append(s.Results, item.Text)
		}
	}
	if n := root.Get("gradient"); n != nil {
		s.Gradient, _ = ParseDefines(n, &p.issues)
		p.gradient(n)
	}
	p.domain(root.Get("domain"))
	p.names(root)
	if !p.issues.HasErrors() {
		p.makeOp(root)
	}
}

// ParseDefines reads a mapping of "name: expression", or "a, b: expression" for
// an op with two results. The nodes are returned beside, for positions.
func ParseDefines(n *diag.Node, issues *diag.List) ([]graph.Define, []*diag.Node) {
	var defs []graph.Define
	var nodes []*diag.Node
	if n.Kind != diag.Map {
		issues.Add(n.Errorf("yaml/type", "expected a mapping of name: expression, found a %s", n.Kind))
		return nil, nil
	}
	for i, k := range n.Keys {
		var names []string
		for name := range strings.SplitSeq(k.Text, ",") {
			name = strings.TrimSpace(name)
			if !nameForm.MatchString(name) {
				issues.Add(k.Errorf("rule/name", "name %q must be small letters, digits and _", name))
			}
			names = append(names, name)
		}
		if n.Vals[i].Broken {
			continue
		}
		e, issue := ParseExpr(n.Vals[i])
		if issue != nil {
			issues.Add(issue)
			continue
		}
		defs = append(defs, graph.Define{Names: names, Expr: e})
		nodes = append(nodes, n.Vals[i])
	}
	return defs, nodes
}

// ParseExpr reads the expression of a scalar node.
func ParseExpr(n *diag.Node) (syntax.Expr, *diag.Issue) {
	if n.Kind != diag.Scalar {
		issue := n.Errorf("yaml/type", "expected an expression, found a %s", n.Kind)
		if n.Kind == diag.Seq || n.Kind == diag.Map {
			issue.WithHint("an expression that begins with [ or { must be put in single quotes")
		}
		return nil, issue
	}
	e, err := syntax.Parse(n.Text)
	if err != nil {
		return nil, SyntaxIssue(n, err)
	}
	return e, nil
}

// SyntaxIssue places an error of an expression in the file.
func SyntaxIssue(n *diag.Node, err error) *diag.Issue {
	at := 0
	var se *syntax.Error
	var ge *guard.Error
	switch {
	case errors.As(err, &se):
		at = se.At
	case errors.As(err, &ge):
		at = ge.At
	}
	return n.ErrorfAt(at, "expr/syntax", "%v", err)
}

func (p *specParser) input(k, v *diag.Node) {
	in := Input{}
	in.Name, in.Optional = strings.CutSuffix(k.Text, "?")
	if !nameForm.MatchString(in.Name) {
		p.issues.Add(k.Errorf("kernel/name", "name %q must be small letters, digits and _", k.Text))
	}
	text, issue := v.Str()
	if issue != nil {
		p.issues.Add(issue)
		return
	}
	ps := syntax.NewParser(text)
	typ, err := ps.Ident()
	var shape syntax.Expr
	if err == nil {
		shape, err = ps.Expr()
	}
	if err == nil {
		err = ps.End()
	}
	list, ok := shape.(*syntax.List)
	if err != nil || !ok {
		p.issues.Add(v.Errorf("kernel/input", "%q is not a type such as T[..., n] or uint32[e, n]", text))
		return
	}
	if t, isType := graph.ParseDType(typ); isType {
		in.DTypes = []graph.DType{t}
	} else if in.DTypes = p.types[typ]; len(in.DTypes) > 0 {
		in.TypeName = typ
	} else {
		p.issues.Add(v.Errorf("kernel/dtype", "%q is neither an element type nor listed under types", typ))
	}
	for i, x := range list.Items {
		switch e := x.(type) {
		case *syntax.Name:
			in.Shape = append(in.Shape, Dim{Name: e.Name})
		case *syntax.Number:
			if !e.IsInt || e.Int < 1 {
				p.issues.Add(v.Errorf("kernel/input", "%s is not a length", e))
			}
			in.Shape = append(in.Shape, Dim{N: e.Int})
		case *syntax.Rest:
			if i != 0 {
				p.issues.Add(v.Errorf("kernel/input", "... may only come first in a shape"))
			}
			in.Shape = append(in.Shape, Dim{Name: "..."})
		default:
			p.issues.Add(v.Errorf("kernel/input", "%s is not a dimension", x))
		}
	}
	p.spec.Inputs = append(p.spec.Inputs, in)
}

func (p *specParser) attr(k, v *diag.Node) {
	a := Attr{Name: k.Text}
	p.issues.Add(v.Known("kernel/unknown-key", "kind", "in", "default")...)
	if v.Kind != diag.Map {
		return
	}
	kinds := map[string]guard.Kind{"int": guard.Int, "float": guard.Number, "word": guard.Word, "bool": guard.Bool}
	if n := v.Get("kind"); n == nil {
		p.issues.Add(v.Errorf("kernel/missing-key", "attribute %s needs a kind: int, float, word or bool", k.Text))
	} else if kind, ok := kinds[n.Text]; ok {
		a.Kind = kind
	} else {
		p.issues.Add(n.Errorf("kernel/attr", "kind %q is none of int, float, word, bool", n.Text))
	}
	if n := v.Get("in"); n != nil {
		switch {
		case a.Kind == guard.Number || a.Kind == guard.Bool:
			p.issues.Add(n.Errorf("kernel/attr", "in is for int and word attributes; conditions on others are for domain"))
			return
		case n.Kind != diag.Seq || len(n.Items) == 0:
			p.issues.Add(n.Errorf("yaml/type", "in must be a list of values"))
			return
		}
		for _, item := range n.Items {
			if a.Kind == guard.Int {
				i, issue := item.Int()
				p.issues.Add(issue)
				a.Ints = append(a.Ints, i)
			} else {
				a.Words = append(a.Words, item.Text)
			}
		}
	}
	if n := v.Get("default"); n != nil {
		e, issue := ParseExpr(n)
		if issue != nil && a.Kind == guard.Word {
			issue = nil
		}
		p.issues.Add(issue)
		if a.Kind == guard.Word {
			a.Unset = graph.Str(n.Text)
		} else if issue == nil {
			var err error
			if a.Unset, err = graph.ConstAttr(attrKind[a.Kind], e); err != nil {
				p.issues.Add(n.Errorf("kernel/attr", "default: %v", err))
			}
			if f, ok := a.Unset.(graph.Float); ok && !isFloat32(float64(f)) {
				p.issues.Add(n.Errorf("kernel/attr", "default %v is not a float32", f))
			}
		}
	}
	p.spec.Attrs = append(p.spec.Attrs, a)
}

var attrKind = map[guard.Kind]graph.AttrKind{guard.Int: graph.KindInt, guard.Number: graph.KindFloat, guard.Word: graph.KindWord, guard.Bool: graph.KindFlag}

// gradient checks that the lines give the gradient of an input.
func (p *specParser) gradient(n *diag.Node) {
	for _, d := range p.spec.Gradient {
		for _, name := range d.Names {
			if x, ok := strings.CutPrefix(name, "d_"); ok && slices.ContainsFunc(p.spec.Inputs, func(i Input) bool { return i.Name == x }) {
				return
			}
		}
	}
	p.issues.Add(n.Errorf("kernel/gradient", "no line is d_INPUT, the gradient of an input"))
}

// early reads the key early: a list of inputs.
func (p *specParser) early(n *diag.Node) {
	if n == nil {
		return
	}
	if n.Kind != diag.Seq {
		p.issues.Add(n.Errorf("yaml/type", "early must be a list of inputs, found a %s", n.Kind))
		return
	}
	for _, item := range n.Items {
		if !slices.ContainsFunc(p.spec.Inputs, func(x Input) bool { return x.Name == item.Text }) {
			p.issues.Add(item.Errorf("kernel/early", "%q is not an input", item.Text))
		}
		p.spec.Early = append(p.spec.Early, item.Text)
	}
}

func (p *specParser) domain(n *diag.Node) {
	if n == nil {
		return
	}
	scope := guard.Scope{Vars: map[string]guard.Kind{}}
	for _, in := range p.spec.Inputs {
		scope.Values = append(scope.Values, in.Name)
		for _, d := range in.Shape {
			if d.Name != "" && d.Name != "..." {
				scope.Vars[d.Name] = guard.Int
			}
		}
	}
	for _, a := range p.spec.Attrs {
		scope.Vars[a.Name] = a.Kind
	}
	for i, k := range n.Keys {
		text, issue := n.Vals[i].Str()
		if issue != nil {
			p.issues.Add(issue)
			continue
		}
		g, err := guard.Compile(text, scope)
		if err != nil {
			p.issues.Add(SyntaxIssue(n.Vals[i], err))
			continue
		}
		p.spec.Domain = append(p.spec.Domain, Condition{k.Text, g})
	}
}

// makeOp turns the spec into a row that graphs can use, and checks that the
// reference's names hang together.
func (p *specParser) makeOp(root *diag.Node) {
	s := p.spec
	s.op = &graph.Op{Name: graph.KernelPrefix + s.Name, Doc: s.Doc, Results: len(s.Results), Launches: 1, Numerics: graph.Sums, Infer: s.infer}
	if s.Numerics == Exact {
		s.op.Numerics = graph.Rounds
	}
	known := map[string]bool{}
	for _, in := range s.Inputs {
		s.op.Operands = append(s.op.Operands, graph.Operand{Name: in.Name, Optional: in.Optional})
		known[in.Name] = true
	}
	for _, a := range s.Attrs {
		spec := graph.AttrSpec{Name: a.Name, Kind: attrKind[a.Kind], Default: a.Unset, Words: a.Words}
		s.op.Attrs = append(s.op.Attrs, spec)
	}
	for _, d := range s.reference {
		for _, name := range d.Names {
			if known[name] {
				p.issues.Add(root.Get("reference").Errorf("kernel/reference", "name %q is used twice", name))
			}
			known[name] = true
		}
	}
	for _, r := range s.Results {
		if !known[r] {
			p.issues.Add(root.Get("results").Errorf("kernel/reference", "result %q is not a line of the reference", r))
		}
	}
}

// Reference returns the lines of the reference graph.
func (s *Spec) Reference() []graph.Define { return s.reference }

// Op returns the row by which graphs call the kernel.
func (s *Spec) Op() *graph.Op { return s.op }

// infer gives the types of the reference's results. Layers repeat the same
// call, so that answers are kept.
func (s *Spec) infer(c *graph.Call) ([]graph.Type, error) {
	var buf [512]byte
	k := buf[:0]
	for _, t := range c.In {
		k = append(t.AppendKey(k), ';')
	}
	for _, a := range c.Attrs {
		if a != nil {
			k = append(k, a.String()...)
		}
		k = append(k, ';')
	}
	key := string(k)
	if types, ok := s.inferred.get(key); ok {
		return types, nil
	}
	g := graph.New()
	in := make([]graph.ValueID, len(c.In))
	for i, t := range c.In {
		in[i] = graph.None
		if t.DType != graph.NoDType {
			in[i] = g.Input(s.Inputs[i].Name, t)
		}
	}
	out, err := s.Expand(g, "", in, c.Attrs)
	if err != nil {
		return nil, err
	}
	types := make([]graph.Type, len(out))
	for i, v := range out {
		types[i] = g.Type(v)
	}
	s.inferred.keep(key, types)
	return types, nil
}

// answers are types of results that were inferred. There are not more than some, since the
// lengths of a cache come without end.
type answers struct {
	mu  sync.RWMutex
	all map[string][]graph.Type
}

func (a *answers) get(key string) ([]graph.Type, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	types, ok := a.all[key]
	return types, ok
}

func (a *answers) keep(key string, types []graph.Type) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil || len(a.all) >= 1024 {
		a.all = map[string][]graph.Type{}
	}
	a.all[key] = types
}

// Expand adds the reference graph of a call to g and returns its results.
func (s *Spec) Expand(g *graph.Graph, scope string, in []graph.ValueID, attrs []graph.Attr) ([]graph.ValueID, error) {
	b := s.bind(scope, in, attrs)
	if err := g.BuildAll(s.reference, b); err != nil {
		return nil, fmt.Errorf("%s: reference: %w", s.op.Name, err)
	}
	out := make([]graph.ValueID, len(s.Results))
	for i, r := range s.Results {
		out[i] = b.Values[r]
	}
	return out, nil
}

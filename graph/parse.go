package graph

import (
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/syntax"
)

// Limits of the text form. A file that reaches one of them is a mistake or an attack.
const (
	maxTextBytes  = 64 << 20
	maxTextNodes  = 1 << 20
	maxTextIssues = 100
	maxTextDims   = 4096 // different symbolic dimensions; models use a few dozen
	maxTextWindow = 1 << 30
)

// ParseText reads a program from the text form that Program.Text prints. Blank
// lines and comments from # on are allowed. Ops outside the op table (kernels)
// are asked from resolve, which may be nil. file names the text in messages.
//
// Every line is read on its own, so that the list holds all problems of a file,
// one a line; the program is nil if there is any. Codes:
//
//	zg/utf8, zg/limit      the file cannot be read at all, or is too large
//	zg/version             the first line is not a version that is known
//	zg/syntax              a line is not written as it must be
//	zg/unknown-op          neither the table nor resolve knows an op
//	zg/unknown-value       a name that no line above defines
//	zg/unknown-param       a parameter is made from one that is not there
//	zg/duplicate           a name, attribute or line that is there twice
//	zg/attribute           an attribute that the op has not, or of another kind
//	zg/type                operands do not go together, or a type is not as inferred
//	zg/program             cases or parameters do not go together
func ParseText(file string, data []byte, resolve func(name string) *Op) (*Program, diag.List) {
	pos := diag.Pos{File: file}
	if len(data) > maxTextBytes {
		return nil, diag.List{diag.Errorf("zg/limit", pos, "file is larger than %d bytes", maxTextBytes)}
	}
	if !utf8.Valid(data) {
		return nil, diag.List{diag.Errorf("zg/utf8", pos, "file is not UTF-8 text")}
	}
	r := &textReader{file: file, resolve: resolve, prog: &Program{}, params: map[string]*Param{}, quants: map[string]*Quant{}, dims: map[Dim]bool{}}
	for text := range strings.Lines(string(data)) {
		r.line++
		r.text = strings.TrimRight(text, "\r\n")
		if code := withoutComment(r.text); strings.TrimSpace(code) != "" {
			r.add(r.statement(code))
		}
		if r.stop {
			return nil, r.issues
		}
	}
	r.end()
	if r.issues.HasErrors() {
		return nil, r.issues
	}
	return r.prog, r.issues
}

// withoutComment cuts off a comment: # outside of quotes and backquotes.
func withoutComment(line string) string {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '`':
			quote = c
		case c == '#':
			return line[:i]
		}
	}
	return line
}

// textReader is the state of ParseText.
type textReader struct {
	file    string
	resolve func(string) *Op
	issues  diag.List
	stop    bool // nothing further can be read

	line int
	text string // of the line

	prog    *Program
	started bool // the version was read
	named   bool // the program line was read
	params  map[string]*Param
	quants  map[string]*Quant // by module
	lines   map[*Param]paramLine
	dims    map[Dim]bool // symbolic ones
	nodes   int

	// Of the case that is being read.
	g      *Graph
	values map[string]ValueID
}

// paramLine is where a derived parameter stands, for checks at the end.
type paramLine struct {
	line int
	text string
}

const (
	// broken stands for the values of a line that could not be read. Lines that
	// use them are not reported: their own mistakes, if any, cannot be told.
	broken ValueID = -2
	// unfinished stands for the values of the line that is being read.
	unfinished ValueID = -3
)

var errBroken = errors.New("uses the result of a line that could not be read")

// issue is an error at a byte offset of the current line.
func (r *textReader) issue(at int, code, format string, args ...any) *diag.Issue {
	i := diag.Errorf(code, diag.Pos{File: r.file, Line: r.line, Col: at + 1}, format, args...)
	if len(r.text) <= 1000 {
		i.Source = r.text
	}
	return i
}

// add records what is wrong with a line.
func (r *textReader) add(err error) {
	var se *syntax.Error
	switch {
	case err == nil || errors.Is(err, errBroken):
		return
	case errors.As(err, &se):
		err = r.issue(se.At, "zg/syntax", "%s", se.Message)
	}
	r.issues.AddErr(err, "zg/syntax", diag.Pos{File: r.file, Line: r.line})
	if len(r.issues) >= maxTextIssues {
		r.issues.Add(diag.Errorf("zg/limit", diag.Pos{File: r.file, Line: r.line}, "more than %d errors; the rest of the file is not read", maxTextIssues))
		r.stop = true
	}
}

func (r *textReader) statement(code string) error {
	p := syntax.NewParser(code)
	at := p.Offset()
	if !r.started {
		return r.version(p)
	}
	switch {
	case p.Accept("program"):
		if r.named || r.g != nil || len(r.params) > 0 {
			return r.issue(at, "zg/duplicate", "the program's line comes once, right after the version")
		}
		r.named = true
		if p.AtEnd() {
			return nil
		}
		name, err := r.name(p)
		if err != nil {
			return err
		}
		r.prog.Name = name
		return p.End()
	case p.Accept("window"):
		return r.window(p, at)
	case p.Accept("param"):
		if r.g != nil {
			return r.issue(at, "zg/syntax", "parameters come before the first case")
		}
		return r.param(p)
	case p.Accept("case"):
		return r.startCase(p)
	}
	if r.g == nil {
		return r.issue(at, "zg/syntax", "expected program, window, param or case").WithHint("inputs, values and outputs belong to a case: write a line such as `case all` first")
	}
	switch {
	case p.Accept("input"):
		return r.input(p)
	case p.Accept("output"):
		return r.output(p)
	}
	return r.node(p)
}

func (r *textReader) version(p *syntax.Parser) error {
	r.stop = true // until it is read
	at := p.Offset()
	fail := func() error {
		return r.issue(at, "zg/version", "the file does not begin with a version").WithHint("the first line of graph text is: zmlx %d", TextVersion)
	}
	if !p.Accept("zmlx") {
		return fail()
	}
	at = p.Offset()
	e, err := p.Expr()
	if err != nil || !p.AtEnd() {
		return fail()
	}
	n, ok := e.(*syntax.Number)
	if !ok || !n.IsInt || n.Int < 1 {
		return fail()
	}
	if n.Int > TextVersion {
		return r.issue(at, "zg/version", "version %d of the text form; this program reads up to %d", n.Int, TextVersion).WithHint("take a newer zmlx-rewrite")
	}
	r.started, r.stop = true, false
	return nil
}

// window reads the rows of a sliding window, a line of its own behind the program's.
func (r *textReader) window(p *syntax.Parser, at int) error {
	if r.prog.Window != 0 || r.g != nil || len(r.params) > 0 {
		return r.issue(at, "zg/duplicate", "the window's line comes once, right after the program's")
	}
	at = p.Offset()
	e, err := p.Expr()
	if err != nil {
		return err
	}
	n, ok := e.(*syntax.Number)
	if !ok || !n.IsInt || n.Int < 1 || n.Int > maxTextWindow {
		return r.issue(at, "zg/syntax", "a window is a whole number from 1 to %d", maxTextWindow)
	}
	r.prog.Window = int(n.Int)
	return p.End()
}

// name reads a name that can be written again.
func (r *textReader) name(p *syntax.Parser) (string, error) {
	at := p.Offset()
	name, err := p.Ident()
	if err == nil && !validName(name) {
		err = r.issue(at, "zg/syntax", "the name holds control characters")
	}
	return name, err
}

// typ reads a type behind ":" or ",".
func (r *textReader) typ(p *syntax.Parser, before string) (Type, error) {
	if err := p.Expect(before); err != nil {
		return Type{}, err
	}
	t, err := ReadType(p)
	if err != nil {
		return t, err
	}
	return t, r.countDims(t.Shape)
}

// countDims bounds symbolic dimensions, which are kept for as long as the process lives.
func (r *textReader) countDims(dims []Dim) error {
	for _, d := range dims {
		if _, number := d.Const(); number || r.dims[d] {
			continue
		}
		if len(r.dims) == maxTextDims {
			r.stop = true
			return r.issue(0, "zg/limit", "more than %d different symbolic dimensions", maxTextDims)
		}
		r.dims[d] = true
	}
	return nil
}

func (r *textReader) param(p *syntax.Parser) error {
	at := p.Offset()
	name, err := r.name(p)
	if err != nil {
		return err
	}
	if r.params[name] != nil {
		return r.issue(at, "zg/duplicate", "parameter %s is there twice", name)
	}
	q := &Param{Name: name}
	r.params[name] = q // even if the rest is wrong: its uses are not
	if q.Type, err = r.typ(p, ":"); err != nil {
		q.Type.DType = NoDType
		return err
	}
	r.prog.Params = append(r.prog.Params, q)
	at = p.Offset()
	if p.Accept("quant") {
		if err := r.quant(p, at, q); err != nil {
			return err
		}
	}
	if p.Accept("=") {
		if err := r.derived(p, q); err != nil {
			return err
		}
		if r.lines == nil {
			r.lines = map[*Param]paramLine{}
		}
		r.lines[q] = paramLine{r.line, r.text}
	}
	return p.End()
}

// args are the arguments of a call of fixed names, read one by one.
type args struct {
	r    *textReader
	call *syntax.Call
	used []bool
	err  error
}

func (a *args) named(name string) syntax.Expr {
	for i, x := range a.call.Args {
		if x.Name == name && !a.used[i] {
			a.used[i] = true
			return x.Value
		}
	}
	if a.err == nil {
		what := name + "="
		if name == "" {
			what = "the module's name"
		}
		a.err = a.r.issue(a.call.At, "zg/syntax", "%s is missing", what)
	}
	return nil
}

func (a *args) word(name string) string {
	e := a.named(name)
	s, ok := e.(*syntax.String)
	if !ok {
		if a.err == nil {
			a.err = a.r.issue(e.Offset(), "zg/syntax", "expected a word in quotes")
		}
		return ""
	}
	return s.Text
}

func (a *args) integer(e syntax.Expr) int {
	if a.err != nil {
		return 0
	}
	n, ok := e.(*syntax.Number)
	if !ok || !n.IsInt || n.Int > math.MaxInt32 || n.Int < math.MinInt32 {
		a.err = a.r.issue(e.Offset(), "zg/syntax", "expected an integer of 32 bits")
		return 0
	}
	return int(n.Int)
}

func (a *args) integers(e syntax.Expr) []int {
	if a.err != nil {
		return nil
	}
	list, ok := e.(*syntax.List)
	if !ok {
		a.err = a.r.issue(e.Offset(), "zg/syntax", "expected a list of integers")
		return nil
	}
	all := make([]int, len(list.Items))
	for i, x := range list.Items {
		all[i] = a.integer(x)
	}
	return all
}

func (a *args) end() error {
	for i, x := range a.call.Args {
		if a.err == nil && !a.used[i] {
			a.err = a.r.issue(x.At, "zg/syntax", "an argument too many")
		}
	}
	return a.err
}

func (r *textReader) args(c *syntax.Call) *args {
	return &args{r: r, call: c, used: make([]bool, len(c.Args))}
}

// quant reads ("module", part="weight", mode="affine", bits=4, group_size=32).
func (r *textReader) quant(p *syntax.Parser, at int, q *Param) error {
	list, err := p.Args()
	if err != nil {
		return err
	}
	a := r.args(&syntax.Call{At: at, Args: list})
	z := Quant{Module: a.word("")}
	q.Part = a.word("part")
	z.Mode = a.word("mode")
	z.Bits = a.integer(a.named("bits"))
	z.GroupSize = a.integer(a.named("group_size"))
	if err := a.end(); err != nil {
		return err
	}
	if err := z.check(q.Part); err != nil {
		return r.issue(at, "zg/attribute", "quant: %v", err)
	}
	old := r.quants[z.Module]
	if old == nil {
		old = &z
		r.quants[z.Module] = old
	}
	if *old != z {
		return r.issue(at, "zg/program", "%s is quantized with mode %s, bits %d, group_size %d above", z.Module, old.Mode, old.Bits, old.GroupSize)
	}
	q.Quant = old
	return nil
}

// derived reads concat(a.weight, b.weight, axis=-2) and its like.
func (r *textReader) derived(p *syntax.Parser, q *Param) error {
	at := p.Offset()
	e, err := p.Expr()
	if err != nil {
		return err
	}
	c, ok := e.(*syntax.Call)
	if !ok {
		return r.issue(at, "zg/syntax", "expected concat, split, stack, transpose, permute, reshape or increment of parameters")
	}
	spec, ok := derivedOps[c.Fun]
	if !ok {
		return r.issue(at, "zg/unknown-op", "%s makes no parameters", c.Fun).WithHint("concat, split, stack, transpose, permute, reshape and increment do")
	}
	d := &Derived{Op: c.Fun}
	a := r.args(c)
	for i, x := range c.Args {
		n, ok := x.Value.(*syntax.Name)
		if x.Name != "" || !ok {
			break
		}
		d.Args, a.used[i] = append(d.Args, n.Name), true
	}
	if spec.axis {
		d.Axis = a.integer(a.named("axis"))
	}
	if spec.span {
		d.Start, d.Stop = a.integer(a.named("start")), a.integer(a.named("stop"))
	}
	if spec.perm {
		d.Perm = a.integers(a.named("perm"))
	}
	if spec.shape {
		d.Shape = a.integers(a.named("shape"))
	}
	q.From = d
	return a.end()
}

func (r *textReader) startCase(p *syntax.Parser) error {
	if r.g == nil {
		slices.SortFunc(r.prog.Params, func(a, b *Param) int { return strings.Compare(a.Name, b.Name) })
	}
	r.g, r.values = New(), map[string]ValueID{}
	r.prog.Cases = append(r.prog.Cases, Case{Graph: r.g})
	c := &r.prog.Cases[len(r.prog.Cases)-1]
	when := p.Accept("when")
	if !when && !p.AtEnd() {
		name, err := r.name(p)
		if err != nil {
			return err
		}
		c.Name = name
		when = p.Accept("when")
	}
	if !when {
		return p.End()
	}
	e, err := p.Expr()
	if err != nil {
		return err
	}
	if c.When, err = CondOf(e); err != nil {
		return err
	}
	return p.End()
}

// define gives a name to a value of the case, or reports that it is taken.
func (r *textReader) define(at int, name string, id ValueID) error {
	_, value := r.values[name]
	if value || r.params[name] != nil {
		return r.issue(at, "zg/duplicate", "the name %s is taken", name)
	}
	r.values[name] = id
	return nil
}

// value finds an operand or an output.
func (r *textReader) value(at int, name string) (ValueID, error) {
	if id, ok := r.values[name]; ok && id != unfinished {
		if id == broken {
			return id, errBroken
		}
		return id, nil
	}
	q := r.params[name]
	switch {
	case q == nil:
		return 0, r.issue(at, "zg/unknown-value", "%s is not defined above", name)
	case q.Type.DType == NoDType:
		return 0, errBroken
	}
	return r.g.Param(name, q.Type), r.countNodes()
}

func (r *textReader) countNodes() error {
	if r.nodes++; r.nodes > maxTextNodes {
		r.stop = true
		return r.issue(0, "zg/limit", "more than %d nodes", maxTextNodes)
	}
	return nil
}

func (r *textReader) input(p *syntax.Parser) error {
	at := p.Offset()
	name, err := r.name(p)
	if err != nil {
		return err
	}
	if err := r.define(at, name, broken); err != nil {
		return err
	}
	t, err := r.typ(p, ":")
	if err == nil {
		err = p.End()
	}
	if err == nil {
		err = r.countNodes()
	}
	if err != nil {
		return err
	}
	r.values[name] = r.g.Input(name, t)
	return nil
}

func (r *textReader) output(p *syntax.Parser) error {
	at := p.Offset()
	name, err := r.name(p)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.g.outputs, func(o Output) bool { return o.Name == name }) {
		return r.issue(at, "zg/duplicate", "output %s is there twice", name)
	}
	if err := p.Expect("="); err != nil {
		return err
	}
	at = p.Offset()
	ref, err := p.Ident()
	if err != nil {
		return err
	}
	if err := p.End(); err != nil {
		return err
	}
	id, err := r.value(at, ref)
	if err != nil {
		return err
	}
	r.g.Output(name, id)
	return nil
}

// node reads "v8, v9 = op(operands, attribute=value) : type, type @ scope".
func (r *textReader) node(p *syntax.Parser) error {
	var names []string
	var offsets []int
	for len(names) == 0 || p.Accept(",") {
		offsets = append(offsets, p.Offset())
		name, err := r.name(p)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	for i, name := range names {
		if err := r.define(offsets[i], name, unfinished); err != nil {
			return err
		}
		defer func() { // so that one wrong line is not reported at each use
			if r.values[name] == unfinished {
				r.values[name] = broken
			}
		}()
	}
	if err := p.Expect("="); err != nil {
		return err
	}
	at := p.Offset()
	e, err := p.Expr()
	if err != nil {
		return err
	}
	c, ok := e.(*syntax.Call)
	if !ok {
		return r.issue(at, "zg/syntax", "expected a call of an op")
	}
	typesAt := p.Offset()
	types := make([]Type, 0, 1)
	for before := ":"; len(types) < len(names); before = "," {
		t, err := r.typ(p, before)
		if err != nil {
			return err
		}
		types = append(types, t)
	}
	scope := ""
	if p.Accept("@") {
		if scope, err = r.name(p); err != nil {
			return err
		}
	}
	if err := p.End(); err != nil {
		return err
	}
	if err := r.countNodes(); err != nil {
		return err
	}
	if c.Fun == opConstant.Name {
		return r.constant(c, names, types[0], scope)
	}
	op := LookupOp(c.Fun)
	if op == nil && r.resolve != nil {
		op = r.resolve(c.Fun)
	}
	if op == nil || op.IsLeaf() {
		i := r.issue(at, "zg/unknown-op", "no op is called %s", c.Fun)
		if strings.HasPrefix(c.Fun, KernelPrefix) {
			i.Hint = "kernels come from the binary, or from --kernels DIR"
		} else if near := nearestOp(c.Fun); near != "" {
			i.Hint = "did you mean " + near + "?"
		}
		return i
	}
	if len(names) != op.Results {
		return r.issue(offsets[0], "zg/type", "%s has %d results, not %d", op.Name, op.Results, len(names))
	}
	in, attrs, err := r.call(op, c)
	if err != nil {
		return err
	}
	out, err := r.g.Add(op, scope, in, attrs...)
	if err != nil {
		return r.issue(at, "zg/type", "%v", err).WithScope(scope)
	}
	for i, id := range out {
		t := r.g.Type(id)
		if !t.Equal(types[i]) {
			err = r.issue(typesAt, "zg/type", "result %d has type %s, not %s", i, t, types[i]).WithScope(scope)
		}
		if err == nil {
			err = r.countDims(t.Shape)
		}
		r.values[names[i]] = id
	}
	return err
}

// call reads operands and attributes.
func (r *textReader) call(op *Op, c *syntax.Call) (in []ValueID, attrs []Attr, err error) {
	attrs = make([]Attr, len(op.Attrs))
	for _, a := range c.Args {
		if a.Name == "" {
			switch x := a.Value.(type) {
			case *syntax.None:
				in = append(in, None)
				continue
			case *syntax.Name:
				if !x.Optional {
					id, err := r.value(x.At, x.Name)
					if err != nil {
						return nil, nil, err
					}
					in = append(in, id)
					continue
				}
			}
			return nil, nil, r.issue(a.At, "zg/syntax", "an operand is the name of a value, or none").WithHint("attributes are written name=value; constants have a line of their own")
		}
		k := op.AttrIndex(a.Name)
		if k < 0 {
			i := r.issue(a.At, "zg/attribute", "%s has no attribute %s", op.Name, a.Name).WithHint("%s", op.Signature())
			if op.OperandIndex(a.Name) >= 0 {
				i.Message = "operand " + a.Name + " is written without its name"
			}
			return nil, nil, i
		}
		if attrs[k] != nil {
			return nil, nil, r.issue(a.At, "zg/duplicate", "attribute %s is there twice", a.Name)
		}
		if attrs[k], err = AttrOf(&op.Attrs[k], a.Value); err != nil {
			var se *syntax.Error
			if errors.As(err, &se) {
				err = r.issue(se.At, "zg/attribute", "%s: %s", a.Name, se.Message)
			}
			return nil, nil, err
		}
		switch d := attrs[k].(type) {
		case Dim:
			err = r.countDims([]Dim{d})
		case Dims:
			err = r.countDims(d)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return in, attrs, nil
}

// constant reads constant(1.5) and constant("base64:...").
func (r *textReader) constant(c *syntax.Call, names []string, t Type, scope string) error {
	if len(names) != 1 || len(c.Args) != 1 || c.Args[0].Name != "" {
		return r.issue(c.At, "zg/syntax", "a constant has one value and one result")
	}
	l, err := literalOf(t, c.Args[0].Value)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			err = r.issue(se.At, "zg/attribute", "%s", se.Message)
		}
		return err
	}
	id := r.g.Constant(l)
	r.g.Def(id).Scope = scope
	r.values[names[0]] = id
	return nil
}

// literalOf is the constant of type t that e stands for.
func literalOf(t Type, e syntax.Expr) (*Literal, error) {
	l := &Literal{DType: t.DType, Shape: make([]int, len(t.Shape))}
	size := int64(t.DType.Size())
	for i, d := range t.Shape {
		n, ok := d.Const()
		if !ok {
			return nil, errAt(e, "a constant of symbolic type %s", t)
		}
		l.Shape[i] = int(n)
		size = satMul(size, n)
	}
	if s, ok := e.(*syntax.String); ok {
		text, ok := strings.CutPrefix(s.Text, base64Prefix)
		data, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil {
			return nil, errAt(e, "expected %q and base64 text", base64Prefix)
		}
		if int64(len(data)) != size {
			return nil, errAt(e, "%d bytes for %s, which has %d", len(data), t, size)
		}
		l.Data = data
		return l, nil
	}
	if len(t.Shape) != 0 || t.DType == Complex64 {
		return nil, errAt(e, "a constant of type %s is written in base64", t)
	}
	if t.DType == Bool {
		b, ok := e.(*syntax.Bool)
		if !ok {
			return nil, errAt(e, "expected true or false")
		}
		l.Data = []byte{0}
		if b.Value {
			l.Data[0] = 1
		}
		return l, nil
	}
	if t.DType.IsFloat() {
		v, ok := floatOf(e)
		if !ok {
			return nil, errAt(e, "expected a number")
		}
		l.Data = AppendElem(nil, t.DType, v)
		return l, nil
	}
	n, ok := e.(*syntax.Number)
	if !ok || !n.IsInt {
		return nil, errAt(e, "expected an integer")
	}
	bits := 8 * t.DType.Size()
	if t.DType.IsUnsigned() && (n.Int < 0 || bits < 64 && n.Int>>bits != 0) || !t.DType.IsUnsigned() && bits < 64 && (n.Int>>(bits-1)) != n.Int>>63 {
		return nil, errAt(e, "%d does not fit into %s", n.Int, t.DType)
	}
	for i := range t.DType.Size() {
		l.Data = append(l.Data, byte(n.Int>>(8*i)))
	}
	return l, nil
}

// end checks what only the whole file shows.
func (r *textReader) end() {
	if !r.started {
		r.issues.Add(diag.Errorf("zg/version", diag.Pos{File: r.file}, "the file is empty").WithHint("the first line of graph text is: zmlx %d", TextVersion))
		return
	}
	if r.g == nil {
		slices.SortFunc(r.prog.Params, func(a, b *Param) int { return strings.Compare(a.Name, b.Name) })
	}
	ok := true
	for _, q := range r.prog.Params {
		at, derived := r.lines[q]
		if !derived {
			continue
		}
		r.line, r.text = at.line, at.text
		for _, a := range q.From.Args {
			if r.params[a] == nil {
				ok = false
				r.issues.Add(r.issue(0, "zg/unknown-param", "%s is made from %s, which is no parameter of the file", q.Name, strconv.Quote(a)))
			}
		}
		if !ok || r.issues.HasErrors() {
			continue
		}
		if err := r.prog.verifyParam(q); err != nil {
			r.issues.Add(r.issue(0, "zg/type", "parameter %s: %v", q.Name, err))
		}
	}
	if r.issues.HasErrors() {
		r.issues.Sort()
		return
	}
	if err := r.prog.Verify(); err != nil {
		r.issues.Add(diag.Errorf("zg/program", diag.Pos{File: r.file}, "%v", err))
	}
}

// nearestOp suggests the op whose name differs in the fewest letters, two at most.
func nearestOp(name string) string {
	best, least := "", 3
	for _, op := range opTable {
		if n := editDistance(name, op.Name, least); n < least && !op.IsLeaf() {
			best, least = op.Name, n
		}
	}
	return best
}

// editDistance counts inserted, removed and changed letters, giving up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

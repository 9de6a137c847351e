package author

import (
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
)

// JIT makes an elementwise kernel of a function in the syntax of Go:
//
//	func silu_clip(x, y float) float {
//		t := x * (1 / (1 + exp(-x)))
//		for range 3 {
//			t = t*0.5 + y
//		}
//		if t > 7 {
//			t = 7
//		}
//		return t
//	}
//
// The function is of one element. Parameters of type float are inputs, of type scalar float
// attributes, of type vector inputs of shape [n]. There are :=, =, += and the like, if and
// else, for i := range N with a constant N, return, arithmetic, comparisons, && || !, and
// the functions of formulas. All numbers are floats. Loops are written out, an if becomes
// where. What else Go has is refused, at file:line:column.
//
// Params of the options are taken for the scalars' defaults, by name.
func JIT(file string, source []byte, o Options) (*Kernel, error) {
	if len(source) > maxText {
		return nil, diag.Errorf("author/size", diag.Pos{File: file}, "the function has %d bytes, more than %d", len(source), maxText)
	}
	// The package clause is on a line of its own, before the text.
	const clause = "package jit\n"
	j := &jit{file: file, text: string(source), skip: len(clause), options: o}
	j.builder = newBuilder()
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, "", clause+j.text, parser.SkipObjectResolution)
	if err != nil {
		if list, ok := err.(scanner.ErrorList); ok && len(list) > 0 {
			return nil, place(file, j.text, faultf("syntax", list[0].Pos.Offset-j.skip, "%s", list[0].Msg))
		}
		return nil, diag.Errorf("author/syntax", diag.Pos{File: file}, "%v", err)
	}
	j.base = int(parsed.FileStart)
	k, err := j.function(parsed)
	if err != nil {
		return nil, place(file, j.text, err)
	}
	return k, nil
}

type jit struct {
	reader
	file, text string
	skip, base int
	options    Options
	scope      *scope
	values     []*node // of variables, by slot; nil before a first value
	statements int     // executed
}

// scope gives names their variables, as blocks of Go do.
type scope struct {
	slots map[string]int
	up    *scope
}

func (s *scope) find(name string) (int, bool) {
	for ; s != nil; s = s.up {
		if i, ok := s.slots[name]; ok {
			return i, true
		}
	}
	return 0, false
}

const (
	maxStatements = 1 << 12
	maxTrips      = 256 // of one loop
	maxIfs        = 64  // within each other
)

func (j *jit) offset(p token.Pos) int { return int(p) - j.base - j.skip }

func (j *jit) errorf(n ast.Node, code, format string, args ...any) *fault {
	return faultf(code, j.offset(n.Pos()), format, args...)
}

func (j *jit) function(f *ast.File) (*Kernel, error) {
	if len(f.Decls) != 1 {
		return nil, faultf("syntax", 0, "there must be one function, found %d declarations", len(f.Decls))
	}
	fn, ok := f.Decls[0].(*ast.FuncDecl)
	if !ok || fn.Recv != nil || fn.Type.TypeParams != nil || fn.Body == nil {
		return nil, j.errorf(f.Decls[0], "syntax", "expected func name(x, y float) float { ... }")
	}
	name := fn.Name.Name
	if !nameForm.MatchString(name) {
		return nil, j.errorf(fn.Name, "name", "name %q of the kernel must be small letters, digits and _", name)
	}
	r := fn.Type.Results
	if r == nil || len(r.List) != 1 || len(r.List[0].Names) > 0 || !isIdent(r.List[0].Type, "float") {
		return nil, j.errorf(fn.Type, "syntax", "%s must return one float", name)
	}
	o := j.options
	defaults := o.Params
	o.Params, o.Vectors = nil, nil
	j.reader = reader{builder: j.builder, options: &o, lines: map[string]*node{}}
	j.scope = &scope{slots: map[string]int{}}
	for _, field := range fn.Type.Params.List {
		for _, id := range field.Names {
			if err := checkName(id.Name); err != nil {
				return nil, j.errorf(id, "name", "%v", err)
			}
			if _, ok := j.scope.slots[id.Name]; ok {
				return nil, j.errorf(id, "name", "%s is a parameter twice", id.Name)
			}
			var n *node
			var err error
			switch {
			case isIdent(field.Type, "float"):
				n, err = j.leaf(inputOp, id.Name, full)
			case isIdent(field.Type, "vector"):
				o.Vectors = append(o.Vectors, id.Name)
				n, err = j.leaf(inputOp, id.Name, vector)
			case isIdent(field.Type, "scalar"):
				p := Param{Name: id.Name, Default: math.NaN()}
				if i := slices.IndexFunc(defaults, func(p Param) bool { return p.Name == id.Name }); i >= 0 {
					p = defaults[i]
				}
				o.Params = append(o.Params, p)
				n, err = j.leaf(paramOp, id.Name, single)
			default:
				return nil, j.errorf(field.Type, "type", "type must be float (an input), scalar (an attribute) or vector (an input [n])")
			}
			if err != nil {
				return nil, err
			}
			j.declare(id.Name, n)
		}
		if len(field.Names) == 0 {
			return nil, j.errorf(field, "syntax", "a parameter needs a name and a type")
		}
	}
	if err := o.check(name); err != nil {
		return nil, err
	}
	result, err := j.block(fn.Body.List, nil, 0)
	if err != nil {
		return nil, err
	}
	if result == nil {
		return nil, faultf("return", j.offset(fn.Body.Rbrace), "the function ends without return")
	}
	return write(name, j.builder, result, &o, elementwise, j.text)
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func (j *jit) declare(name string, v *node) {
	if name == "_" {
		return
	}
	j.scope.slots[name] = len(j.values)
	j.values = append(j.values, v)
}

// inside runs f in a scope of its own.
func (j *jit) inside(f func() (*node, error)) (*node, error) {
	outer := j.scope
	j.scope = &scope{slots: map[string]int{}, up: outer}
	defer func() { j.scope = outer }()
	return f()
}

// block executes statements and then what follows them, and returns the value that is
// returned, nil if none is. Only a block that may return needs to know what follows.
func (j *jit) block(list []ast.Stmt, then func() (*node, error), depth int) (*node, error) {
	for i, s := range list {
		if j.statements++; j.statements > maxStatements {
			return nil, j.errorf(s, "size", "the function takes more than %d statements to write out", maxStatements)
		}
		switch s := s.(type) {
		case *ast.ReturnStmt:
			if len(s.Results) != 1 {
				return nil, j.errorf(s, "return", "return needs one value")
			}
			v, err := j.expr(s.Results[0])
			if err == nil && v.truth {
				err = j.errorf(s.Results[0], "kind", "a condition cannot be returned").withHint("write an if that returns numbers")
			}
			return v, err
		case *ast.IfStmt:
			if returns(s) {
				rest := func() (*node, error) { return j.block(list[i+1:], then, depth) }
				return j.branch(s, rest, depth+1)
			}
			if _, err := j.branch(s, nil, depth+1); err != nil {
				return nil, err
			}
		default:
			if err := j.statement(s, depth); err != nil {
				return nil, err
			}
		}
	}
	if then != nil {
		return then()
	}
	return nil, nil
}

// returns reports whether a statement has a return in it.
func returns(s ast.Stmt) bool {
	found := false
	ast.Inspect(s, func(n ast.Node) bool {
		_, ok := n.(*ast.ReturnStmt)
		found = found || ok
		return !found
	})
	return found
}

// branch executes both sides of an if. Variables then have a choice of both values; if a
// side returns, so has the result, and the rest of the function is in both sides.
func (j *jit) branch(s *ast.IfStmt, rest func() (*node, error), depth int) (*node, error) {
	if depth > maxIfs {
		return nil, j.errorf(s, "size", "more than %d ifs within each other", maxIfs)
	}
	if s.Init != nil {
		return nil, j.errorf(s.Init, "statement", "an if has a condition only").withHint("put the assignment on the line before")
	}
	cond, err := j.expr(s.Cond)
	if err != nil {
		return nil, err
	}
	if !cond.truth {
		return nil, j.errorf(s.Cond, "kind", "an if needs a condition, such as x > 0")
	}
	before := slices.Clone(j.values)
	outer := j.scope
	side := func(run func() (*node, error)) (*node, []*node, error) {
		j.values, j.scope = slices.Clone(before), outer
		v, err := run()
		after := j.values
		j.scope = outer
		return v, after, err
	}
	// What follows the if sees the names of its own block, not those of a side; it is run
	// once for each side, and what it declares is for that run.
	follow := rest
	if rest != nil {
		follow = func() (*node, error) {
			j.scope = &scope{slots: maps.Clone(outer.slots), up: outer.up}
			return rest()
		}
	}
	yes, then, err := side(func() (*node, error) {
		return j.inside(func() (*node, error) { return j.block(s.Body.List, follow, depth) })
	})
	if err != nil {
		return nil, err
	}
	no, other, err := side(func() (*node, error) {
		switch e := s.Else.(type) {
		case *ast.BlockStmt:
			return j.inside(func() (*node, error) { return j.block(e.List, follow, depth) })
		case *ast.IfStmt:
			if follow == nil {
				return j.branch(e, nil, depth+1)
			}
			return j.branch(e, follow, depth+1)
		}
		if follow != nil {
			return follow()
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	j.at = j.offset(s.Cond.Pos())
	j.values = before
	if rest != nil {
		if yes == nil || no == nil {
			return nil, j.errorf(s, "return", "the function ends without return on one side of this if")
		}
		return j.either(cond, yes, no)
	}
	for i := range before {
		a, b := then[i], other[i]
		if a == nil || b == nil || a == b {
			j.values[i] = a
			continue
		}
		if a.truth != b.truth {
			return nil, j.errorf(s, "kind", "a variable is a number on one side of this if and a condition on the other")
		}
		if j.values[i], err = j.either(cond, a, b); err != nil {
			return nil, err
		}
		j.hint(j.values[i], i)
	}
	return nil, nil
}

// hint names a value after the variable that holds it first.
func (j *jit) hint(v *node, slot int) {
	if v.hint != "" || len(v.in) == 0 {
		return
	}
	for s := j.scope; s != nil; s = s.up {
		for name, i := range s.slots {
			if i == slot {
				v.hint = name
			}
		}
	}
}

func (j *jit) statement(s ast.Stmt, depth int) error {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return j.assign(s)
	case *ast.RangeStmt:
		return j.loop(s, depth)
	case *ast.BlockStmt:
		if returns(s) {
			return j.errorf(s, "return", "a return in a bare block")
		}
		_, err := j.inside(func() (*node, error) { return j.block(s.List, nil, depth) })
		return err
	case *ast.EmptyStmt:
		return nil
	case *ast.ForStmt:
		return j.errorf(s, "statement", "a loop must be for i := range N, with a constant N")
	case *ast.IncDecStmt:
		return j.errorf(s, "statement", "%s is not part of the language", s.Tok).withHint("write += 1 or -= 1")
	case *ast.BranchStmt:
		return j.errorf(s, "statement", "%s is not part of the language", s.Tok).withHint("a loop runs to its end; put what is left into an if")
	}
	return j.errorf(s, "statement", "only assignments, if, for range and return are part of the language")
}

// compound are the assignments that compute.
var compound = map[token.Token]string{token.ADD_ASSIGN: "add", token.SUB_ASSIGN: "subtract", token.MUL_ASSIGN: "multiply", token.QUO_ASSIGN: "divide"}

func (j *jit) assign(s *ast.AssignStmt) error {
	if len(s.Lhs) != 1 || len(s.Rhs) != 1 {
		return j.errorf(s, "statement", "one variable is assigned at a time")
	}
	id, ok := s.Lhs[0].(*ast.Ident)
	if !ok {
		return j.errorf(s.Lhs[0], "statement", "only variables are assigned to")
	}
	v, err := j.expr(s.Rhs[0])
	if err != nil {
		return err
	}
	if s.Tok == token.DEFINE {
		if err := checkName(id.Name); err != nil && id.Name != "_" {
			return j.errorf(id, "name", "%v", err)
		}
		if _, ok := j.scope.slots[id.Name]; ok {
			return j.errorf(id, "name", "%s is declared already", id.Name).withHint("assign with =")
		}
		if v.hint == "" && len(v.in) > 0 {
			v.hint = id.Name
		}
		j.declare(id.Name, v)
		return nil
	}
	slot, ok := j.scope.find(id.Name)
	if !ok {
		return j.unknown(id)
	}
	if s.Tok != token.ASSIGN {
		op := compound[s.Tok]
		if op == "" {
			return j.errorf(s, "operator", "%s is not part of the language", s.Tok)
		}
		j.at = j.offset(s.TokPos)
		if v, err = j.make(op, j.values[slot], v); err != nil {
			return err
		}
	}
	if old := j.values[slot]; old.truth != v.truth {
		return j.errorf(id, "kind", "%s changes between a number and a condition", id.Name)
	}
	j.hint(v, slot)
	j.values[slot] = v
	return nil
}

func (j *jit) unknown(id *ast.Ident) error {
	f := j.errorf(id, "name", "%s is not declared", id.Name)
	var names []string
	for s := j.scope; s != nil; s = s.up {
		for name := range s.slots {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if near := diag.Nearest(id.Name, names); near != "" {
		f.withHint("did you mean %q?", near)
	}
	return f
}

// loop writes a loop out.
func (j *jit) loop(s *ast.RangeStmt, depth int) error {
	if s.Value != nil || s.Key != nil && s.Tok != token.DEFINE {
		return j.errorf(s, "statement", "a loop must be for i := range N, with a constant N")
	}
	if returns(s) {
		return j.errorf(s, "return", "a return in a loop")
	}
	n, err := j.expr(s.X)
	if err != nil {
		return err
	}
	if !n.isNumber() || n.value != math.Trunc(n.value) || n.value < 0 {
		return j.errorf(s.X, "loop", "the number of trips must be a constant whole number")
	}
	if n.value > maxTrips {
		return j.errorf(s.X, "loop", "%v trips, more than %d", n.value, maxTrips)
	}
	for trip := range int(n.value) {
		_, err := j.inside(func() (*node, error) {
			if id, ok := s.Key.(*ast.Ident); ok && id.Name != "_" {
				if err := checkName(id.Name); err != nil && !slices.Contains([]string{"i", "k"}, id.Name) {
					return nil, j.errorf(id, "name", "%v", err)
				}
				v, err := j.number(float64(trip))
				if err != nil {
					return nil, err
				}
				j.declare(id.Name, v)
			}
			return j.inside(func() (*node, error) { return j.block(s.Body.List, nil, depth) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// goOperators are the operators of Go that formulas have.
var goOperators = map[token.Token]string{
	token.ADD: "add", token.SUB: "subtract", token.MUL: "multiply", token.QUO: "divide",
	token.EQL: "equal", token.NEQ: "not_equal", token.LSS: "less", token.LEQ: "less_equal", token.GTR: "greater", token.GEQ: "greater_equal",
	token.LAND: "logical_and", token.LOR: "logical_or",
}

func (j *jit) expr(e ast.Expr) (*node, error) {
	j.at = j.offset(e.Pos())
	switch e := e.(type) {
	case *ast.ParenExpr:
		return j.expr(e.X)
	case *ast.BasicLit:
		if e.Kind != token.INT && e.Kind != token.FLOAT {
			return nil, j.errorf(e, "number", "%s is not a number", e.Value)
		}
		text := strings.ReplaceAll(e.Value, "_", "")
		v, err := strconv.ParseFloat(text, 64)
		if i, err2 := strconv.ParseInt(text, 0, 64); e.Kind == token.INT && err2 == nil {
			v, err = float64(i), nil
		}
		if err != nil {
			return nil, j.errorf(e, "number", "%s is not a number that fits", e.Value)
		}
		return j.number(v)
	case *ast.Ident:
		if slot, ok := j.scope.find(e.Name); ok {
			return j.values[slot], nil
		}
		if e.Name == "true" || e.Name == "false" {
			return j.boolean(e.Name == "true")
		}
		return nil, j.unknown(e)
	case *ast.UnaryExpr:
		x, err := j.expr(e.X)
		if err != nil {
			return nil, err
		}
		j.at = j.offset(e.Pos())
		switch e.Op {
		case token.SUB:
			return j.make("negative", x)
		case token.NOT:
			return j.make("logical_not", x)
		case token.ADD:
			return x, nil
		}
		return nil, j.errorf(e, "operator", "%s is not part of the language", e.Op)
	case *ast.BinaryExpr:
		return j.binary(e)
	case *ast.CallExpr:
		id, ok := e.Fun.(*ast.Ident)
		if !ok {
			f := j.errorf(e.Fun, "call", "only functions of formulas are called")
			if s, ok := e.Fun.(*ast.SelectorExpr); ok {
				f.withHint("write %s(...) without a package", strings.ToLower(s.Sel.Name))
			}
			return nil, f
		}
		if e.Ellipsis.IsValid() {
			return nil, j.errorf(e, "call", "... is not part of the language")
		}
		args := make([]*node, len(e.Args))
		for i, a := range e.Args {
			var err error
			if args[i], err = j.expr(a); err != nil {
				return nil, err
			}
		}
		j.at = j.offset(e.Pos())
		name := id.Name
		if (name == "max" || name == "min") && len(args) == 2 { // Go's own
			name += "imum"
		}
		return j.apply(name, args)
	}
	return nil, j.errorf(e, "expression", "only variables, numbers, operators and calls are part of the language")
}

func (j *jit) binary(e *ast.BinaryExpr) (*node, error) {
	op := goOperators[e.Op]
	if op == "" {
		f := faultf("operator", j.offset(e.OpPos), "%s is not part of the language", e.Op)
		if e.Op == token.XOR {
			f.withHint("a power is power(x, 3)")
		}
		return nil, f
	}
	x, err := j.expr(e.X)
	if err != nil {
		return nil, err
	}
	y, err := j.expr(e.Y)
	if err != nil {
		return nil, err
	}
	j.at = j.offset(e.OpPos)
	if a, b := whole(e.X), whole(e.Y); op == "divide" && a && b && y.value != 0 && x.value != y.value*math.Trunc(x.value/y.value) {
		return nil, faultf("number", j.at, "%v / %v would be %v in Go", x.value, y.value, math.Trunc(x.value/y.value)).withHint("write %v", x.value/y.value)
	}
	return j.make(op, x, y)
}

// whole reports whether an expression is written as a whole number.
func whole(e ast.Expr) bool {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			break
		}
		e = p.X
	}
	l, ok := e.(*ast.BasicLit)
	return ok && l.Kind == token.INT
}

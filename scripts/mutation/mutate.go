package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// mutant is one small change of the source.
type mutant struct {
	n    int
	kind string
	at   token.Position
	was  string // the source text that is changed
	what string // to what
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d:%d", m.at.Filename, m.at.Line, m.at.Column)
}

// edit puts text around or in place of a part of a file.
type edit struct {
	start, end int // offsets
	order      int // of edits at one place, from the outermost
	text       string
}

// instrument writes all mutants of a package into its files: each is there beside the code
// that it changes, and alive if on.On says so. All of them are compiled once.
type instrument struct {
	fset    *token.FileSet
	info    *types.Info
	pkg     *types.Package
	source  map[string][]byte
	edits   map[string][]edit
	mutants []*mutant
	first   int // number of the first
}

func (in *instrument) add(kind string, n ast.Node, what string) int {
	at := in.fset.Position(n.Pos())
	src := in.source[at.Filename]
	was := strings.Join(strings.Fields(string(src[at.Offset:in.fset.Position(n.End()).Offset])), " ")
	if len(was) > 70 {
		was = was[:67] + "..."
	}
	id := in.first + len(in.mutants)
	in.mutants = append(in.mutants, &mutant{id, kind, at, was, what})
	return id
}

// wrap puts text in front of and behind a node.
func (in *instrument) wrap(n ast.Node, before, after string) {
	a, b := in.fset.Position(n.Pos()), in.fset.Position(n.End())
	in.edits[a.Filename] = append(in.edits[a.Filename], edit{a.Offset, a.Offset, b.Offset - a.Offset, before}, edit{b.Offset, b.Offset, -(b.Offset - a.Offset), after})
}

func (in *instrument) text(n ast.Node) string {
	a, b := in.fset.Position(n.Pos()), in.fset.Position(n.End())
	return string(in.source[a.Filename][a.Offset:b.Offset])
}

// replacements are other operators for an operator.
var replacements = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR}, token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.ADD},
}

func (in *instrument) file(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.GenDecl:
			return x.Tok == token.VAR // constants and types must be constant
		case *ast.UnaryExpr:
			if in.info.Types[x].Value != nil {
				in.literal(x)
				return false
			}
		case *ast.BinaryExpr:
			if in.info.Types[x].Value != nil {
				in.literal(x)
				return false
			}
			in.binary(x)
		case *ast.IfStmt:
			in.condition(x.Cond)
		case *ast.ForStmt:
			if x.Cond != nil {
				in.condition(x.Cond)
			}
		case *ast.BasicLit:
			in.literal(x)
		case *ast.FuncDecl:
			in.function(x)
		case *ast.ArrayType:
			if x.Len != nil {
				return false
			}
		case *ast.CaseClause: // case expressions of constants must differ; bodies are statements
			for _, s := range x.List {
				if in.info.Types[s].Value == nil {
					ast.Inspect(s, func(n ast.Node) bool {
						if b, ok := n.(*ast.BinaryExpr); ok {
							in.binary(b)
						}
						return true
					})
				}
			}
			in.body(x.Body)
			for _, s := range x.Body {
				in.inside(s)
			}
			return false
		case *ast.BlockStmt:
			in.body(x.List)
		case *ast.CommClause:
			in.body(x.Body)
		}
		return true
	})
}

// inside looks at what is in a statement.
func (in *instrument) inside(s ast.Stmt) {
	in.file(&ast.File{Name: ast.NewIdent("x"), Decls: []ast.Decl{&ast.FuncDecl{Name: ast.NewIdent("_"), Type: &ast.FuncType{}, Body: &ast.BlockStmt{List: []ast.Stmt{s}}}}})
}

func (in *instrument) condition(e ast.Expr) {
	if in.info.Types[e].Value != nil {
		return
	}
	if b, ok := e.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) {
		return // the other operator is the same
	}
	id := in.add("negate", e, "!("+short(in.text(e))+")")
	in.wrap(e, fmt.Sprintf("(on.On(%d) != (", id), "))")
}

func (in *instrument) binary(x *ast.BinaryExpr) {
	t := in.info.Types[x]
	if t.Value != nil {
		return
	}
	basic, _ := t.Type.Underlying().(*types.Basic)
	for _, op := range replacements[x.Op] {
		if basic == nil || basic.Info()&types.IsBoolean == 0 {
			if basic == nil || basic.Info()&types.IsInteger == 0 && basic.Info()&types.IsFloat == 0 {
				continue
			}
			if call(x.X) || call(x.Y) {
				continue // evaluated once only
			}
		}
		id := in.add("operator", x, short(in.text(x.X))+" "+op.String()+" "+short(in.text(x.Y)))
		other := in.text(x.X) + " " + op.String() + " " + in.text(x.Y)
		if basic.Info()&types.IsBoolean != 0 {
			in.wrap(x, fmt.Sprintf("(on.On(%d) && (%s) || !on.On(%d) && (", id, other, id), "))")
			continue
		}
		in.wrap(x, fmt.Sprintf("func() %s { if on.On(%d) { return %s }; return ", in.typeName(t.Type), id, other), " }()")
	}
}

func call(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			if id, ok := c.Fun.(*ast.Ident); !ok || id.Name != "len" && id.Name != "int" && id.Name != "min" && id.Name != "max" {
				found = true
			}
		}
		return true
	})
	return found
}

func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 50 {
		return s[:47] + "..."
	}
	return s
}

func (in *instrument) typeName(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == in.pkg {
			return ""
		}
		return p.Name()
	})
}

func (in *instrument) literal(x ast.Expr) {
	t := in.info.Types[x]
	basic, ok := types.Default(t.Type).Underlying().(*types.Basic)
	if !ok || t.Value == nil || t.Value.Kind() != constant.Int || basic.Info()&types.IsInteger == 0 {
		return
	}
	id := in.add("constant", x, in.text(x)+"+1")
	in.wrap(x, fmt.Sprintf("on.Int(%d, %s(", id, in.typeName(types.Default(t.Type))), "))")
}

// function has its results returned before anything is done.
func (in *instrument) function(x *ast.FuncDecl) {
	if x.Body == nil || len(x.Body.List) == 0 || x.Name.Name == "init" {
		return
	}
	f, ok := in.info.Defs[x.Name].(*types.Func)
	if !ok {
		return
	}
	results := f.Signature().Results()
	var zero []string
	for i := range results.Len() {
		zero = append(zero, "*new("+in.typeName(results.At(i).Type())+")")
	}
	if len(x.Body.List) == 1 && results.Len() == 1 {
		if r, ok := x.Body.List[0].(*ast.ReturnStmt); ok && trivial(in.text(r.Results[0])) {
			return
		}
	}
	id := in.add("early return", x.Name, x.Name.Name+" does nothing")
	at := in.fset.Position(x.Body.Lbrace)
	in.edits[at.Filename] = append(in.edits[at.Filename], edit{at.Offset + 1, at.Offset + 1, 1 << 30, fmt.Sprintf(" if on.On(%d) { return %s }; ", id, strings.Join(zero, ", "))})
}

func trivial(text string) bool { return slices.Contains([]string{"nil", "0", "false", `""`}, text) }

// body removes single statements.
func (in *instrument) body(list []ast.Stmt) {
	for _, s := range list {
		switch x := s.(type) {
		case *ast.ExprStmt:
			if c, ok := x.X.(*ast.CallExpr); ok {
				if id, ok := c.Fun.(*ast.Ident); ok && id.Name == "panic" {
					continue
				}
			}
		case *ast.AssignStmt:
			if x.Tok == token.DEFINE || blank(x) {
				continue
			}
		case *ast.IncDecStmt:
		case *ast.BranchStmt:
			if x.Tok != token.CONTINUE && x.Tok != token.BREAK {
				continue
			}
		case *ast.ReturnStmt:
			if len(x.Results) == 1 {
				in.returned(x.Results[0])
			}
			continue
		default:
			continue
		}
		id := in.add("remove", s, "nothing")
		in.wrap(s, fmt.Sprintf("if !on.On(%d) { ", id), " }")
	}
}

func blank(x *ast.AssignStmt) bool {
	for _, l := range x.Lhs {
		if id, ok := l.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

func (in *instrument) returned(e ast.Expr) {
	if id, ok := e.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
		n := in.add("return", e, "!"+id.Name)
		in.wrap(e, fmt.Sprintf("(on.On(%d) != ", n), ")")
	}
}

// files returns the instrumented text of each file.
func (in *instrument) files() map[string][]byte {
	out := map[string][]byte{}
	for name, src := range in.source {
		list := in.edits[name]
		slices.SortStableFunc(list, func(a, b edit) int {
			if a.start != b.start {
				return a.start - b.start
			}
			// Behind a node the innermost closes first; what opens comes after what closes.
			switch {
			case a.order < 0 && b.order < 0:
				return b.order - a.order
			case a.order < 0:
				return -1
			case b.order < 0:
				return 1
			}
			return b.order - a.order
		})
		var b []byte
		at := 0
		for _, e := range list {
			b = append(append(b, src[at:e.start]...), e.text...)
			at = e.end
		}
		b = append(b, src[at:]...)
		text := strings.Replace(string(b), "\nimport (", "\nimport (\n\t\"zmlx-rewrite/scripts/mutation/on\"", 1)
		if text == string(b) {
			text = strings.Replace(string(b), "\nimport ", "\nimport \"zmlx-rewrite/scripts/mutation/on\"\nimport ", 1)
		}
		if text == string(b) {
			i := strings.Index(text, "\npackage ") + 1
			if strings.HasPrefix(text, "package ") {
				i = 0
			}
			end := i + strings.Index(text[i:], "\n")
			text = text[:end] + "\n\nimport \"zmlx-rewrite/scripts/mutation/on\"\n" + text[end:]
		}
		out[name] = []byte(text + "\nvar _ = on.On\n")
	}
	return out
}

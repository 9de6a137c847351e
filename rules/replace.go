package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// builtInt checks an integer expression that is evaluated where a rule applies: numbers,
// bound $variables, symbols, the dimensions of values that are known, + - *.
func (l *linker) builtInt(n *diag.Node, e syntax.Expr, known func(name string) bool) {
	l.integers(n, e, func(e syntax.Expr) bool {
		switch x := e.(type) {
		case *syntax.Var:
			l.builtVar(n, x, guard.Int)
		case *syntax.Name:
			if !slices.Contains(symbols, x.Name) {
				i := l.bad(n, x.At, "rule/attr", "%s is no symbol; %s are", x.Name, strings.Join(symbols, ", "))
				if known(x.Name) {
					i.WithHint("dim(%s, axis), rows(%s) and size(%s) are integers", x.Name, x.Name, x.Name)
				} else if _, ok := l.rule.Vars[x.Name]; ok {
					i.WithHint("did you mean $%s?", x.Name)
				}
			}
		case *syntax.Call:
			if name := l.measure(n, x); name != nil && !known(name.Name) {
				l.bad(n, name.At, "rule/name", "%s is not known here", name.Name)
			}
		default:
			return false
		}
		return true
	})
}

// symbols may stand in attributes of replacements.
var symbols = []string{graph.SymBatch, graph.SymSeqLen, graph.SymKVLen}

func (l *linker) replacement() {
	r := l.rule
	known := map[string]bool{}
	for name := range l.operands {
		known[name] = true
	}
	for _, line := range r.Weights {
		for _, name := range line.Names {
			known[name] = true
		}
	}
	done := map[string]bool{}
	for _, line := range r.Replace {
		l.replaceExpr(line.Node, line.Expr, known)
		if n := l.results(line.Expr); len(line.Names) != n {
			l.bad(line.Node, 0, "rule/replace", "%d names for %d results", len(line.Names), n)
		}
		for _, name := range line.Names {
			if done[name] || l.operands[name] {
				l.bad(line.Node, 0, "rule/duplicate", "%s is defined twice", name)
			}
			known[name], done[name] = true, true
		}
	}
	if len(r.Replace) == 0 {
		return
	}
	for _, name := range r.Kernels {
		if k := l.set.Kernels.Spec(name); k != nil && r.block["numerics"] && k.Numerics.WorseThan(r.Numerics) {
			l.issues.Add(r.node.Get("numerics").Errorf("rule/numerics", "%s is more than kernel.%s promises, which is %s", r.Numerics, name, k.Numerics))
		}
	}
	for _, name := range r.Results {
		if !done[name] && l.lines[name] {
			l.issues.Add(r.node.Get("replace").Errorf("rule/replace", "result %s has no replacement", name).
				WithHint("add a line `%s: …`, or have another line of the pattern read it", name))
		}
	}
}

func (l *linker) replaceExpr(n *diag.Node, e syntax.Expr, known map[string]bool) {
	switch x := e.(type) {
	case *syntax.Name:
		if !known[x.Name] {
			i := l.bad(n, x.At, "rule/name", "%s is not known here", x.Name)
			if l.lines[x.Name] {
				i.WithHint("%s is matched and goes away; only operands and earlier lines of replace can be used", x.Name)
			} else if near := diag.Nearest(x.Name, keys(known)); near != "" {
				i.WithHint("did you mean %q?", near)
			}
		}
	case *syntax.Var:
		l.builtVar(n, x, guard.Number)
	case *syntax.Number:
		l.scalar(n, x)
	case *syntax.Call:
		if name, ok := strings.CutPrefix(x.Fun, graph.KernelPrefix); ok && !slices.Contains(l.rule.Kernels, name) {
			l.rule.Kernels = append(l.rule.Kernels, name)
		}
		op := l.op(x.Fun)
		if op == nil {
			i := l.bad(n, x.At, "rule/unknown-op", "no op or kernel %q", x.Fun)
			if near := diag.Nearest(x.Fun, l.opNames(nil)); near != "" {
				i.WithHint("did you mean %q?", near)
			}
			return
		}
		args, err := graph.ResolveArgs(op, x)
		if err != nil {
			l.issues.Add(kernels.SyntaxIssue(n, err))
			return
		}
		if args.Open {
			l.bad(n, x.At, "rule/replace", "... stands for attributes that a pattern does not look at; what is made needs them written").
				WithHint("bind them in the pattern (axis=$axis) and write them here")
		}
		for i, a := range args.Operands {
			if a == nil {
				if !op.Operands[i].Optional {
					l.bad(n, x.At, "rule/replace", "operand %s is missing; it is %s", op.Operands[i].Name, op.Signature())
				}
				continue
			}
			if _, none := a.(*syntax.None); !none {
				l.replaceExpr(n, a, known)
			}
		}
		for i, a := range args.Attrs {
			if a == nil {
				if spec := op.Attrs[i]; spec.Default == nil && !spec.Optional {
					l.bad(n, x.At, "rule/replace", "attribute %s is missing; it is %s", spec.Name, op.Signature())
				}
				continue
			}
			l.built(n, a, &op.Attrs[i], func(name string) bool { return known[name] || l.lines[name] })
		}
	}
}

// built checks an attribute of a replacement.
func (l *linker) built(n *diag.Node, e syntax.Expr, spec *graph.AttrSpec, known func(name string) bool) {
	many := spec.Kind == graph.KindInts || spec.Kind == graph.KindAxes || spec.Kind == graph.KindPosList
	switch x := e.(type) {
	case *syntax.Var:
		l.builtVar(n, x, guardKind(spec.Kind))
		return
	case *syntax.List:
		if many {
			for _, item := range x.Items {
				l.builtInt(n, item, known)
			}
			return
		}
	}
	switch spec.Kind {
	case graph.KindFloat, graph.KindFlag, graph.KindWord, graph.KindDType:
		l.constant(n, e, spec)
	default:
		l.builtInt(n, e, known)
	}
}

// builtVar checks a $variable of a replacement, where a value of kind k is needed.
func (l *linker) builtVar(n *diag.Node, v *syntax.Var, k guard.Kind) {
	have, ok := l.rule.Vars[v.Name]
	switch {
	case !ok:
		l.bad(n, v.At, "rule/name", "$%s is not bound by the pattern", v.Name)
	case have != k && !(have == guard.Int && k == guard.Number):
		l.bad(n, v.At, "rule/kind", "$%s is %s; %s is needed here", v.Name, kindText[have], kindText[k])
	}
}

var kindText = map[guard.Kind]string{guard.Int: "an integer", guard.Number: "a number", guard.Word: "a word", guard.Bool: "true or false"}

// constant checks an attribute that is written out.
func (l *linker) constant(n *diag.Node, e syntax.Expr, spec *graph.AttrSpec) {
	if _, err := graph.ConstAttr(spec.Kind, e); err != nil {
		l.issues.Add(kernels.SyntaxIssue(n, fmt.Errorf("%s: %w", spec.Name, err)))
	} else if w, ok := e.(*syntax.String); ok && len(spec.Words) > 0 && !slices.Contains(spec.Words, w.Text) {
		l.bad(n, e.Offset(), "rule/attr", "%s=%s is none of %s", spec.Name, e, strings.Join(spec.Words, ", "))
	}
}

// hash covers what a rule means: its lines, guards and replacement, the fragments
// that it uses, and its kernels; not its doc or its place in the file.
func (l *linker) hash() {
	r := l.rule
	parts := []string{r.Name, string(r.Numerics)}
	used := map[*Fragment]bool{}
	var visit func(f *File, e syntax.Expr)
	visit = func(f *File, e syntax.Expr) {
		each(e, func(c *syntax.Call) {
			if fr := l.set.Fragment(f, c.Fun); fr != nil && !used[fr] {
				used[fr] = true
				parts = append(parts, "fragment", fr.Name)
				for _, p := range fr.Params {
					parts = append(parts, p.Name)
				}
				for _, a := range fr.Alts {
					parts = append(parts, a.Is.String())
					if a.When != nil {
						parts = append(parts, a.When.Text)
					}
					for _, s := range a.Set {
						parts = append(parts, s.Name, s.Value.String())
					}
					visit(fr.File, a.Is)
				}
			}
		})
	}
	for key, lines := range [][]Line{r.Match, r.Weights, r.Replace} {
		parts = append(parts, [...]string{"match", "weights", "replace"}[key])
		for _, line := range lines {
			parts = append(parts, strings.Join(line.Names, ","), line.Expr.String())
			visit(l.file, line.Expr)
		}
	}
	parts = append(parts, "results")
	parts = append(parts, r.Results...)
	for _, g := range r.Guards {
		parts = append(parts, "guard", g.Name, g.Text)
	}
	if r.More > 0 {
		parts = append(parts, "launches", strconv.Itoa(r.More))
	}
	for _, k := range r.Kernels {
		if s := l.set.Kernels.Spec(k); s != nil {
			parts = append(parts, "kernel", s.Hash)
		}
	}
	r.Hash = hashText(parts...)
}

package rules

import (
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/syntax"
)

// weightOps are the operations of a weights block, with their options. All but increment
// move bytes only.
var weightOps = map[string][]string{"concat": {"axis"}, "stack": {"axis"}, "split": {"axis", "start", "stop"}, "transpose": {"axes"}, "permute": {"axis", "rows"}, "increment": nil}

func (l *linker) weights() {
	for _, line := range l.rule.Weights {
		c, ok := line.Expr.(*syntax.Call)
		if ok {
			_, ok = weightOps[c.Fun]
		}
		if !ok {
			l.bad(line.Node, 0, "rule/weights", "a line of weights must be one of concat, stack, split, transpose, permute, increment applied to parameters")
			continue
		}
		if len(line.Names) != 1 {
			l.bad(line.Node, 0, "rule/weights", "%d names for one parameter", len(line.Names))
		}
		l.weightCall(line.Node, c)
		for _, name := range line.Names {
			if l.lines[name] || l.operands[name] {
				l.bad(line.Node, 0, "rule/duplicate", "%s is already a value of the pattern", name)
			}
		}
	}
}

// weightCall checks the arguments of one line of weights, as far as no sizes are needed.
func (l *linker) weightCall(n *diag.Node, c *syntax.Call) {
	values, options := 0, map[string]bool{}
	for _, a := range c.Args {
		if a.Name == "" {
			values++
			if name, ok := a.Value.(*syntax.Name); !ok {
				l.bad(n, a.At, "rule/weights", "%s is not the name of a value", a.Value)
			} else if !slices.Contains(l.rule.Values, name.Name) {
				l.bad(n, name.At, "rule/name", "%s is not a value of the pattern", name.Name)
			}
			continue
		}
		if !slices.Contains(weightOps[c.Fun], a.Name) || options[a.Name] {
			l.bad(n, a.At, "rule/weights", "%s has no option %s, or has it twice", c.Fun, a.Name).
				WithHint("its options are %s", strings.Join(weightOps[c.Fun], ", "))
			continue
		}
		options[a.Name] = true
		list, isList := a.Value.(*syntax.List)
		switch many := a.Name == "axes" || a.Name == "rows"; {
		case many && !isList:
			l.bad(n, a.Value.Offset(), "rule/weights", "%s needs a list, such as [1, 0]", a.Name)
		case many:
			for _, x := range list.Items {
				l.weightNumber(n, x)
			}
			if !isPermutation(list.Items) {
				l.bad(n, list.At, "rule/weights", "%s is not each of %d numbers once", list, len(list.Items))
			}
		default:
			l.weightNumber(n, a.Value)
		}
	}
	if many := c.Fun == "concat" || c.Fun == "stack"; values == 0 || values > 1 && !many {
		l.bad(n, c.At, "rule/weights", "%s makes a parameter from one, found %d", c.Fun, values)
	}
	if need := map[string]string{"transpose": "axes", "permute": "rows"}[c.Fun]; need != "" && !options[need] {
		l.bad(n, c.At, "rule/weights", "%s needs %s=[…]", c.Fun, need)
	}
}

// weightNumber checks an option, which must be a number wherever the pattern matches.
func (l *linker) weightNumber(n *diag.Node, e syntax.Expr) {
	if name, ok := e.(*syntax.Name); ok {
		l.bad(n, name.At, "rule/weights", "%s is not a number", name.Name)
		return
	}
	l.builtInt(n, e, func(name string) bool { return slices.Contains(l.rule.Values, name) })
}

// isPermutation reports whether a list may be a permutation, counted from either end.
// What is not written as a number is left to the site.
func isPermutation(items []syntax.Expr) bool {
	seen := make([]bool, len(items))
	for _, x := range items {
		num, ok := x.(*syntax.Number)
		if !ok {
			continue
		}
		i := num.Int
		if i < 0 {
			i += int64(len(items))
		}
		if i < 0 || i >= int64(len(items)) || seen[i] {
			return false
		}
		seen[i] = true
	}
	return true
}

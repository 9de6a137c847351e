package rules

import (
	"errors"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/guard"
)

// maxMore is how many launches more a replacement may start than what it replaces.
const maxMore = 4

func (l *linker) guards() {
	r := l.rule
	scope := guard.Scope{Values: r.Values, Vars: r.Vars}
	for _, key := range []string{"guards", "cost"} {
		n := r.node.Get(key)
		if n == nil {
			continue
		}
		if n.Kind != diag.Map {
			l.issues.Add(n.Errorf("yaml/type", "%s must be a mapping of name: condition, found a %s", key, n.Kind))
			continue
		}
		for i, k := range n.Keys {
			g := Guard{Name: k.Text, Cost: key == "cost"}
			cond := n.Vals[i]
			if g.Cost && cond.Kind == diag.Map {
				l.issues.Add(cond.Known("rule/unknown-key", "when", "source", "launches")...)
				if src := cond.Get("source"); src != nil {
					g.Source = src.Text
				}
				if n := cond.Get("launches"); n != nil {
					more, issue := n.Int()
					switch {
					case issue != nil:
						l.issues.Add(issue)
					case more < 1 || more > maxMore || g.Source == "":
						l.issues.Add(n.Errorf("rule/launches", "launches is how many more may be started, 1 to %d, with the source of a measurement", maxMore))
					default:
						r.More += int(more)
					}
				}
				if cond = cond.Get("when"); cond == nil {
					l.issues.Add(k.Errorf("rule/missing-key", "key \"when\" is missing"))
					continue
				}
			}
			if g.Guard = l.guard(cond, "guard "+k.Text, scope); g.Guard == nil {
				continue
			}
			r.Guards = append(r.Guards, g)
		}
	}
}

// guard compiles a condition, or reports why it does not compile and returns nil.
func (l *linker) guard(n *diag.Node, name string, scope guard.Scope) *guard.Guard {
	if n.Broken {
		return nil
	}
	text, issue := n.Str()
	if issue != nil {
		l.issues.Add(issue)
		return nil
	}
	g, err := guard.Compile(text, scope)
	if err == nil {
		return g
	}
	var ge *guard.Error
	at := 0
	if errors.As(err, &ge) {
		at = ge.At
	}
	bad := l.bad(n, at, "guard/compile", "%s: %v", name, err)
	if name, ok := strings.CutPrefix(err.Error(), "unknown name "); ok {
		if near := diag.Nearest(name, scope.Names()); near != "" {
			bad.WithHint("did you mean %q?", near)
		} else if scope.Static {
			bad.WithHint("when decides by the fragment's $variables and values; conditions on the call are guards of a rule")
		}
	}
	return nil
}

// Without returns a copy of the rule that lacks one of its guards, for those who ask what
// the guard is for. It is no rule of a file, and has no hash.
func (r *Rule) Without(guard string) *Rule {
	c := *r
	c.Hash = ""
	c.Guards = slices.DeleteFunc(slices.Clone(r.Guards), func(g Guard) bool { return g.Name == guard })
	return &c
}

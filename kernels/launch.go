package kernels

import (
	"fmt"
	"math"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/syntax"
)

// MaxGroup is the most threads a group may have: pipelines of M1 and M2 cap well
// below Metal's 1024, at 832 or 896 for kernels with many registers.
const MaxGroup = 512

// MaxThreads is the most threads a launch may have: sources count them in 32 bits.
const MaxThreads = 1 << 31

// Launch is how many threads a kernel starts: Grid in all, Group in a threadgroup,
// each as expressions over dimensions, rows and integer attributes.
//
// Metal starts exactly Grid threads, with smaller groups at the edges; CUDA rounds up to
// whole groups. A body must be right for both.
type Launch struct {
	Grid, Group [3]syntax.Expr
}

// Geometry is a launch with numbers.
type Geometry struct {
	Grid, Group [3]int64
}

// launchFunctions are what launch and check expressions may call.
var launchFunctions = map[string]func(a, b int64) (int64, error){
	"div": func(a, b int64) (int64, error) {
		if b == 0 {
			return 0, fmt.Errorf("division by 0")
		}
		return a / b, nil
	},
	"ceil_div": func(a, b int64) (int64, error) {
		if b <= 0 || a < 0 {
			return 0, fmt.Errorf("ceil_div(%d, %d)", a, b)
		}
		return (a + b - 1) / b, nil
	},
	"min": func(a, b int64) (int64, error) { return min(a, b), nil },
	"max": func(a, b int64) (int64, error) { return max(a, b), nil },
}

// evalInt evaluates an integer expression; lookup gives names their numbers. What
// does not fit in 31 bits is an error: no launch and no shape is that large.
func evalInt(e syntax.Expr, lookup func(string) (int64, bool)) (int64, error) {
	v, err := evalWide(e, lookup)
	if err == nil && (v > math.MaxInt32 || v < math.MinInt32) {
		err = fmt.Errorf("%s is %d, which does not fit in 32 bits", e, v)
	}
	return v, err
}

func evalWide(e syntax.Expr, lookup func(string) (int64, bool)) (int64, error) {
	switch x := e.(type) {
	case *syntax.Number:
		if x.IsInt {
			return x.Int, nil
		}
	case *syntax.Name:
		if v, ok := lookup(x.Name); ok {
			return v, nil
		}
		return 0, &syntax.Error{At: x.At, Message: fmt.Sprintf("%s is not a dimension, rows, or an integer attribute", x.Name)}
	case *syntax.Binary:
		a, err := evalInt(x.X, lookup)
		if err != nil {
			return 0, err
		}
		b, err := evalInt(x.Y, lookup)
		if err != nil {
			return 0, err
		}
		switch x.Op {
		case "+":
			return a + b, nil
		case "-":
			return a - b, nil
		case "*":
			return a * b, nil
		}
	case *syntax.Call:
		f := launchFunctions[x.Fun]
		if f == nil || len(x.Args) != 2 {
			return 0, &syntax.Error{At: x.At, Message: fmt.Sprintf("%s is none of div(a, b), ceil_div(a, b), min(a, b), max(a, b)", x.Fun)}
		}
		a, err := evalInt(x.Args[0].Value, lookup)
		if err != nil {
			return 0, err
		}
		b, err := evalInt(x.Args[1].Value, lookup)
		if err != nil {
			return 0, err
		}
		return f(a, b)
	}
	return 0, &syntax.Error{At: e.Offset(), Message: fmt.Sprintf("%s is not an integer expression", e)}
}

// checkInt reports what of an expression cannot be evaluated, whatever the numbers.
func checkInt(e syntax.Expr, known func(string) bool) error {
	_, err := evalInt(e, func(name string) (int64, bool) { return 1, known(name) })
	return err
}

// eval gives a launch its numbers and checks the limits.
func (l *Launch) eval(lookup func(string) (int64, bool)) (Geometry, error) {
	var g Geometry
	threads, all := int64(1), int64(1)
	for i := range 3 {
		var err error
		if g.Grid[i], err = evalInt(l.Grid[i], lookup); err != nil {
			return g, fmt.Errorf("grid: %w", err)
		}
		if g.Group[i], err = evalInt(l.Group[i], lookup); err != nil {
			return g, fmt.Errorf("threadgroup: %w", err)
		}
		if g.Grid[i] < 1 || g.Group[i] < 1 {
			return g, fmt.Errorf("a launch of %v threads in groups of %v", g.Grid, g.Group)
		}
		g.Group[i] = min(g.Group[i], MaxGroup+1)
		threads *= g.Group[i]
		if all *= g.Grid[i]; all > MaxThreads {
			return g, fmt.Errorf("a launch of more than %d threads", MaxThreads)
		}
	}
	if threads > MaxGroup {
		return g, fmt.Errorf("groups of %d threads, more than %d", threads, MaxGroup)
	}
	return g, nil
}

// launch reads the key of that name.
func (p *specParser) launch(n *diag.Node) {
	if n == nil {
		return
	}
	p.issues.Add(n.Known("kernel/unknown-key", "grid", "threadgroup")...)
	if n.Kind != diag.Map {
		return
	}
	l := &Launch{}
	for _, part := range []struct {
		key string
		to  *[3]syntax.Expr
	}{{"grid", &l.Grid}, {"threadgroup", &l.Group}} {
		v := n.Get(part.key)
		if v == nil || v.Kind != diag.Seq || len(v.Items) != 3 {
			p.issues.Add(n.Errorf("kernel/launch", "%s must be a list of three expressions, such as [rows * 32, 1, 1]", part.key))
			return
		}
		for i, item := range v.Items {
			e, issue := ParseExpr(item)
			if issue == nil {
				if err := checkInt(e, p.spec.isInt); err != nil {
					issue = SyntaxIssue(item, err)
				}
			}
			p.issues.Add(issue)
			part.to[i] = e
		}
	}
	p.spec.Launch = l
}

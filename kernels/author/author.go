package author

import (
	"math"
	"slices"

	"zmlx-rewrite/diag"
)

// Options say what a formula does not.
type Options struct {
	// Doc is one sentence for the spec; made of the formula if empty.
	Doc string
	// Params are names that stand for numbers: float attributes of the kernel.
	Params []Param
	// Vectors are inputs of shape [n], the same in every row, such as a norm's weight.
	// All others have the shape [..., n].
	Vectors []string
	// Once lets an elementwise kernel compute in float32 and round only its result. It is
	// faster and closer to the truth, but not what MLX's ops give: numerics are then
	// "reordered". Kernels with a reduction always do so.
	Once bool
}

// Param is a float attribute.
type Param struct {
	Name    string
	Default float64 // NaN if callers must give it
	Check   []float64
}

// Kernel is what a formula became.
type Kernel struct {
	Name   string
	Spec   string // NAME.yaml
	Source string // NAME.metal
	Test   string // a testscript, NAME.txtar, with both files in it
	// NoGradient says why Spec has no gradient; it is empty if it has one.
	NoGradient string
}

// Elementwise makes a kernel of a formula over matching elements. Free names are inputs.
// Errors are *diag.Issue, at line:column of the formula.
func Elementwise(name, formula string, o Options) (*Kernel, error) {
	return fromFormula(name, formula, o, elementwise)
}

// Reduce makes a kernel of a formula that gives one value for each row, through one or more
// reductions over the last axis: sum, mean, max, min, var, logsumexp.
func Reduce(name, formula string, o Options) (*Kernel, error) {
	return fromFormula(name, formula, o, reduction)
}

// MapReduce makes a kernel of a formula that gives a whole row through reductions of it:
// softmax, norms. The threads of a group work on one row, in as many passes over it as
// reductions depend on each other, and one that writes.
func MapReduce(name, formula string, o Options) (*Kernel, error) {
	return fromFormula(name, formula, o, mapReduce)
}

// form is the kind of kernel that somebody asked for.
type form int

const (
	elementwise form = iota
	reduction
	mapReduce
)

func fromFormula(name, formula string, o Options, want form) (*Kernel, error) {
	k, err := compile(name, formula, o, want)
	if err != nil {
		return nil, place("formula", formula, err)
	}
	return k, nil
}

func compile(name, formula string, o Options, want form) (*Kernel, error) {
	if err := o.check(name); err != nil {
		return nil, err
	}
	r := &reader{builder: newBuilder(), options: &o, lines: map[string]*node{}, results: want != elementwise}
	result, err := r.formula(formula)
	if err != nil {
		return nil, err
	}
	return write(name, r.builder, result, &o, want, formula)
}

// check reports what of the options does not do.
func (o *Options) check(kernel string) error {
	bad := func(format string, args ...any) error {
		return diag.Errorf("author/options", diag.Pos{}, format, args...)
	}
	if !nameForm.MatchString(kernel) || len(kernel) > 64 {
		return bad("name %q of the kernel must be at most 64 small letters, digits and _", kernel)
	}
	var seen []string
	for _, p := range o.Params {
		if err := checkName(p.Name); err != nil {
			return bad("parameter: %v", err)
		}
		if math.IsInf(p.Default, 0) {
			return bad("parameter %s: %v is not a number", p.Name, p.Default)
		}
		seen = append(seen, p.Name)
	}
	for _, v := range o.Vectors {
		if err := checkName(v); err != nil {
			return bad("vector: %v", err)
		}
		seen = append(seen, v)
	}
	slices.Sort(seen)
	for i := 1; i < len(seen); i++ {
		if seen[i] == seen[i-1] {
			return bad("%s is declared twice", seen[i])
		}
	}
	return nil
}

// shapeFault says what is wrong with the shape of a result for what was asked for.
func shapeFault(b *builder, result *node, want form) error {
	at := 0
	reduces := slices.ContainsFunc(reachable(result), func(n *node) bool { return isReduction(n.op) })
	switch {
	case result.truth:
		return faultf("result", at, "the result is a condition, not a number").withHint("write where(condition, a, b)")
	case result.weak():
		return faultf("result", at, "the result does not take its element type from an input").withHint("let a side of it be an input, as in where(x > 0, x, 0)")
	case !slices.ContainsFunc(reachable(result), func(n *node) bool { return n.op == inputOp && n.shape == full }):
		return faultf("result", at, "no input has rows")
	case want == reduction && result.shape != perRow:
		return faultf("result", at, "the result is not one value a row").withHint("an outermost sum, mean, max, min, var or logsumexp makes it one; a whole row is map_reduce")
	case want == elementwise && result.shape != full:
		return faultf("result", at, "the result depends on no input with rows")
	case want == mapReduce && result.shape == perRow:
		return faultf("result", at, "the result is one value a row").withHint("that is a reduction")
	case want == mapReduce && (!reduces || result.shape != full):
		return faultf("result", at, "the result has no reduction").withHint("that is an elementwise kernel")
	case len(result.in) == 0:
		return faultf("result", at, "the result is an input as it is")
	}
	return nil
}

func isReduction(op string) bool {
	switch op {
	case "sum", "max", "min", "logsumexp":
		return true
	}
	return false
}

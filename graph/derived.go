package graph

import (
	"fmt"
	"slices"
)

// derivedOps tells which fields of a Derived each op reads.
var derivedOps = map[string]struct{ many, axis, span, perm, shape bool }{
	"concat":    {many: true, axis: true},
	"stack":     {many: true, axis: true},
	"split":     {axis: true, span: true},
	"transpose": {perm: true},
	"permute":   {axis: true, perm: true},
	"reshape":   {shape: true},
	"increment": {},
}

// Infer returns the type of a parameter that is made from parameters of the given
// types. Fields that the op does not read must be zero.
func (d *Derived) Infer(args []Type) (Type, error) {
	fail := func(format string, a ...any) (Type, error) {
		return Type{}, fmt.Errorf(d.Op+": "+format, a...)
	}
	spec, ok := derivedOps[d.Op]
	switch {
	case !ok:
		return Type{}, fmt.Errorf("%q makes no parameters", d.Op)
	case len(args) == 0 || len(args) > 1 && !spec.many:
		return fail("%d arguments", len(args))
	case !spec.axis && d.Axis != 0, !spec.span && (d.Start != 0 || d.Stop != 0), !spec.perm && d.Perm != nil, !spec.shape && d.Shape != nil:
		return fail("a field that it does not read is set")
	}
	a := args[0]
	rank := a.Rank()
	if d.Op == "stack" {
		rank++
	}
	if spec.axis && (d.Axis >= 0 || d.Axis < -rank) {
		return fail("axis %d is not one of -%d to -1", d.Axis, rank)
	}
	ax := rank + d.Axis
	for _, b := range args[1:] {
		same := b.DType == a.DType && b.Rank() == a.Rank()
		for i := range a.Shape {
			same = same && (b.Shape[i] == a.Shape[i] || d.Op == "concat" && i == ax)
		}
		if !same {
			return fail("arguments of type %s and %s", a, b)
		}
	}
	shape := slices.Clone(a.Shape)
	switch d.Op {
	case "concat":
		along := make([]Dim, len(args))
		for i, b := range args {
			along[i] = b.Shape[ax]
		}
		shape[ax] = Sum(along)
	case "stack":
		shape = slices.Insert(shape, ax, N(int64(len(args))))
	case "split":
		n, ok := shape[ax].Const()
		if !ok || d.Start < 0 || d.Stop <= d.Start || int64(d.Stop) > n {
			return fail("rows %d to %d of %s", d.Start, d.Stop, shape[ax])
		}
		shape[ax] = N(int64(d.Stop - d.Start))
	case "transpose":
		if !isPermutation(d.Perm, rank) {
			return fail("perm is not a permutation of %d axes", rank)
		}
		for i, k := range d.Perm {
			shape[i] = a.Shape[k]
		}
	case "increment":
		if !a.DType.IsFloat() {
			return fail("%s has no floating-point numbers", a)
		}
	case "permute":
		if n, ok := shape[ax].Const(); !ok || n != int64(len(d.Perm)) || !isPermutation(d.Perm, len(d.Perm)) {
			return fail("perm is not a permutation of %s rows", shape[ax])
		}
	case "reshape":
		have, okA := a.Size().Const()
		want := int64(1)
		shape = make([]Dim, len(d.Shape))
		for i, n := range d.Shape {
			if n < 1 || int64(n) > have/want { // more than there is, or too large a product
				return fail("%s as %v", a, d.Shape)
			}
			shape[i], want = N(int64(n)), want*int64(n)
		}
		if !okA || want != have {
			return fail("%s as %v", a, d.Shape)
		}
	}
	t := Type{a.DType, shape}
	return t, t.check()
}

func isPermutation(perm []int, n int) bool {
	seen := make([]bool, n)
	for _, k := range perm {
		if k < 0 || k >= n || seen[k] {
			return false
		}
		seen[k] = true
	}
	return len(perm) == n
}

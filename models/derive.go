package models

import (
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// Derive adds to w the parameters of p that are made from others and are not there
// yet: stacked experts, and what rules ask for. No bytes move until an engine
// reads them; parameters that a new one holds whole become views of it, so that
// the model is in memory once.
func Derive(p *graph.Program, w *weights.Store) error {
	var issues diag.List
	var make func(q *graph.Param) *weights.Tensor
	make = func(q *graph.Param) *weights.Tensor {
		if t := w.Get(q.Name); t != nil {
			return t
		}
		fail := func(err error) *weights.Tensor {
			issues.AddErr(err, "weights/derive", diag.Pos{})
			return nil
		}
		if q.From == nil {
			return fail(diag.Errorf("weights/missing", diag.Pos{}, "%s: the weight is missing", q.Name))
		}
		var parts []*weights.Tensor
		for _, name := range q.From.Args {
			t := make(p.Param(name)) // programs are verified: no cycles, no unknown names
			if t == nil {
				return nil
			}
			parts = append(parts, t)
		}
		t, err := derive(q.Name, q.From, parts)
		if err != nil {
			return fail(err)
		}
		if _, err := w.Own(t); err != nil {
			return fail(err)
		}
		return t
	}
	for _, q := range p.Params {
		if q.From != nil {
			make(q)
		}
	}
	return issues.Err()
}

func derive(name string, d *graph.Derived, parts []*weights.Tensor) (*weights.Tensor, error) {
	switch d.Op {
	case "concat":
		return weights.Concat(name, d.Axis, parts...)
	case "stack":
		return weights.Stack(name, d.Axis, parts...)
	case "split":
		return weights.Slice(name, parts[0], d.Axis, d.Start, d.Stop)
	case "transpose":
		return weights.Permute(name, parts[0], d.Perm...)
	case "reshape":
		return weights.Reshape(name, parts[0], d.Shape...)
	case "permute": // rows along an axis, in runs that stay together
		var runs []*weights.Tensor
		for i := 0; i < len(d.Perm); {
			j := i + 1
			for j < len(d.Perm) && d.Perm[j] == d.Perm[j-1]+1 {
				j++
			}
			run, err := weights.Slice(name, parts[0], d.Axis, d.Perm[i], d.Perm[j-1]+1)
			if err != nil {
				return nil, err
			}
			runs = append(runs, run)
			i = j
		}
		return weights.Concat(name, d.Axis, runs...)
	case "increment":
		return increment(name, parts[0])
	}
	return nil, diag.Errorf("weights/derive", diag.Pos{}, "%s: %q makes no parameters", name, d.Op)
}

// increment is 1 + t, rounded as add rounds.
func increment(name string, t *weights.Tensor) (*weights.Tensor, error) {
	dtype := t.DType
	made, err := weights.Map(t, dtype, func(dst, src []byte) {
		for i := 0; i < len(src); i += dtype.Size() {
			graph.AppendElem(dst[i:i], dtype, 1+graph.DecodeElem(dtype, src[i:]))
		}
	})
	if err != nil {
		return nil, err
	}
	return made.Renamed(name), nil
}

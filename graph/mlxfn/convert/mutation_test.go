package convert_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/graph/normal"
)

// others are values that a field of a primitive's state could have instead.
func others(spec mlxfn.FieldSpec, value any) []any {
	switch v := value.(type) {
	case int:
		return []any{v + 1, v - 1}
	case bool:
		return []any{!v}
	case float32:
		return []any{math.Nextafter32(v, math.MaxFloat32), math.Nextafter32(v, -math.MaxFloat32)}
	case float64: // of arange, whose numbers are whole here
		return []any{v + 1, v - 1}
	case string:
		var all []any
		for _, name := range spec.Names {
			if name != v {
				all = append(all, name)
			}
		}
		return all
	case graph.DType:
		for _, t := range []graph.DType{graph.Float32, graph.BFloat16, graph.Int32, graph.Uint32} {
			if t != v && t.Size() == v.Size() {
				return []any{t}
			}
		}
		return []any{graph.Float32}
	case []int:
		var all []any
		for i := range v {
			for _, by := range []int{1, -1} {
				w := slices.Clone(v)
				w[i] += by
				all = append(all, w)
			}
		}
		return all
	}
	return nil
}

// mutate calls visit with each function that differs from fn in one attribute, or one
// element of one constant, or has two operands of one primitive swapped.
func mutate(t *testing.T, fn mlxfn.Function, visit func(what string, m mlxfn.Function, before, after mlxfn.Entry)) {
	specs := map[string][]mlxfn.FieldSpec{}
	for _, p := range mlxfn.Primitives() {
		specs[p.Name] = p.Fields
	}
	with := func(k int, what string, change func(e *mlxfn.Entry)) {
		m := fn
		m.Tape = slices.Clone(fn.Tape)
		change(&m.Tape[k])
		visit(what, m, fn.Tape[k], m.Tape[k])
	}
	for k, e := range fn.Tape {
		switch e.Kind {
		case mlxfn.Constant:
			width := e.Outputs[0].Type.DType.Size()
			for at := 0; at < len(e.Data); at += width {
				with(k, fmt.Sprintf("constant of type %s, element %d", e.Outputs[0].Type, at/width), func(e *mlxfn.Entry) {
					e.Data = bytes.Clone(e.Data)
					e.Data[at] ^= 1
				})
			}
		case mlxfn.Operation:
			for i, field := range e.State {
				at := slices.IndexFunc(specs[e.Primitive], func(s mlxfn.FieldSpec) bool { return s.Name == field.Name })
				if at < 0 {
					t.Fatalf("%s has no field %s in the table", e.Primitive, field.Name)
				}
				all := others(specs[e.Primitive][at], field.Value)
				if len(all) == 0 && !isEmpty(field.Value) {
					t.Fatalf("nothing instead of %s.%s = %v", e.Primitive, field.Name, field.Value)
				}
				for _, v := range all {
					with(k, fmt.Sprintf("%s.%s: %v instead of %v", e.Primitive, field.Name, v, field.Value), func(e *mlxfn.Entry) {
						e.State = slices.Clone(e.State)
						e.State[i].Value = v
					})
				}
			}
			for i := 1; i < len(e.Inputs); i++ {
				if e.Inputs[i-1] != e.Inputs[i] {
					with(k, fmt.Sprintf("%s: operands %d and %d swapped", e.Primitive, i-1, i), func(e *mlxfn.Entry) {
						e.Inputs = slices.Clone(e.Inputs)
						e.Inputs[i-1], e.Inputs[i] = e.Inputs[i], e.Inputs[i-1]
					})
				}
			}
		}
	}
}

func isEmpty(value any) bool {
	list, ok := value.([]int)
	return ok && len(list) == 0
}

// sameMeaning reports whether a changed entry does what the one before did, by what the
// primitives are for, not by what import makes of them.
func sameMeaning(types map[uint64]mlxfn.TypeInfo, constants map[uint64][]byte, before, after mlxfn.Entry) bool {
	in := types[before.Inputs[0]].Shape
	list := func(e mlxfn.Entry, name string) []int { return mlxfn.Get[[]int](&e, name) }
	switch before.Primitive {
	case "ArgSort": // of a vector, 0 and -1 are its one axis
		return len(in) == 1 && mlxfn.Get[int](&after, "axis") == -1
	case "Multiply": // by 1, on either side
		for _, id := range before.Inputs {
			if data := constants[id]; len(data) == 4 && math.Float32frombits(binary.LittleEndian.Uint32(data)) == 1 {
				return true
			}
		}
	case "Squeeze", "ExpandDims": // one axis of length 1 for another, with no other between
		out := before.Outputs[0].Type.Shape
		without := func(axes []int) []int {
			shape := in
			if before.Primitive == "ExpandDims" {
				shape = out
			}
			var rest []int
			for i, n := range shape {
				if !slices.Contains(axes, i) {
					rest = append(rest, n)
				} else if n != 1 {
					return nil
				}
			}
			return rest
		}
		a, b := list(before, "axes"), list(after, "axes")
		inside := !slices.ContainsFunc(b, func(i int) bool { return i < 0 })
		return inside && slices.Equal(without(a), without(b))
	case "Slice", "SliceUpdate": // the same elements
		part := before.Outputs[0].Type.Shape
		if before.Primitive == "SliceUpdate" {
			part = types[before.Inputs[1]].Shape
		}
		for i, n := range in {
			positions := func(e mlxfn.Entry) []int {
				at := func(k int) int {
					if k < 0 {
						k += n
					}
					return min(max(k, 0), n)
				}
				var all []int
				stride := list(e, "strides")[i]
				if stride < 1 {
					return nil
				}
				for k := at(list(e, "start")[i]); k < at(list(e, "end")[i]); k += stride {
					all = append(all, k)
				}
				return all
			}
			a, b := positions(before), positions(after)
			if part[i] == 1 { // MLX goes by the start only
				a, b = a[:min(len(a), 1)], b[:min(len(b), 1)]
			}
			if !slices.Equal(a, b) {
				return false
			}
		}
		return true
	}
	return false
}

// Whatever attribute or element of a constant of a capture is another one, the capture
// is not what is built any more. So the parity above is a fingerprint of mlx-lm's code.
func TestMutations(t *testing.T) {
	for name, traces := range map[string][]int{"qwen3_moe": {0, 6}, "llama": {3}} {
		if os.Getenv("ZMLX_SOAK") != "" {
			traces = nil
		}
		p := newParity(t, name)
		want := p.hashes(t)
		for k := range p.file.Functions {
			if traces != nil && !slices.Contains(traces, k) {
				continue
			}
			types, constants := map[uint64]mlxfn.TypeInfo{}, map[uint64][]byte{}
			for _, v := range p.file.Functions[k].Inputs {
				types[v.ID] = v.Type
			}
			for _, e := range p.file.Functions[k].Tape {
				data := e.Data
				if e.Primitive == "Broadcast" {
					data = constants[e.Inputs[0]]
				}
				for _, v := range e.Outputs {
					types[v.ID], constants[v.ID] = v.Type, data
				}
			}
			total, refused, same := 0, 0, 0
			mutate(t, p.file.Functions[k], func(what string, m mlxfn.Function, before, after mlxfn.Entry) {
				total++
				f := &mlxfn.File{Version: p.file.Version, Metadata: p.file.Metadata, Functions: []mlxfn.Function{m}}
				q, err := convert.Import("mutant", f, convert.ImportOptions{})
				if err == nil {
					_, _, err = normal.Raise(q.Cases[0].Graph)
				}
				switch {
				case err != nil:
					refused++
				case q.Cases[0].Graph.Hash() != want[k].Hash():
				case sameMeaning(types, constants, before, after):
					same++
				default:
					t.Errorf("%s, trace %d: %s, and nobody sees it", name, k, what)
				}
			})
			t.Logf("%s, trace %d: %d mutants, of which %d are no program, %d mean the same, and %d are other programs", name, k, total, refused, same, total-refused-same)
			if total < 1000 || same > total/10 || refused == 0 {
				t.Errorf("%s, trace %d: %d mutants, %d refused, %d that mean the same: the test has lost its point", name, k, total, refused, same)
			}
		}
	}
}

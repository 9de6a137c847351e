package mlxfn

import (
	"fmt"
)

// where a problem of a function is, so that a reader can turn it into an offset.
type where uint8

const (
	inKwargs where = iota
	inInputs
	inOutputs
	inTape
)

type problem struct {
	where   where
	index   int // in the list that where names
	offset  int // within a tape entry
	code    string
	message string
}

// check finds what is wrong with the ids and counts of one function. MLX checks
// almost none of this when it imports a file, and reads wild memory instead. Reader
// and writer both call it.
func (fn *Function) check() *problem {
	for k := 1; k < len(fn.Kwargs); k++ {
		// MLX binds keyword arguments in the order of a std::map.
		if fn.Kwargs[k-1] >= fn.Kwargs[k] {
			return &problem{inKwargs, k, 0, "kwargs", fmt.Sprintf("keyword %q does not sort after %q", clip(fn.Kwargs[k]), clip(fn.Kwargs[k-1]))}
		}
	}
	const unlisted = -1                                          // an input that the tape has not come to
	defined := make(map[uint64]int, len(fn.Inputs)+len(fn.Tape)) // id: tape index
	for k, v := range fn.Inputs {
		if _, dup := defined[v.ID]; dup {
			return &problem{inInputs, k, 0, "duplicate-id", fmt.Sprintf("id %#x is given to two inputs", v.ID)}
		}
		defined[v.ID] = unlisted
	}
	for k := range fn.Tape {
		e := &fn.Tape[k]
		bad := func(offset int, code, format string, args ...any) *problem {
			return &problem{inTape, k, offset, code, fmt.Sprintf(format, args...)}
		}
		duplicate := func(id uint64) *problem {
			what := "an earlier entry of the tape"
			if defined[id] == unlisted {
				what = "an input"
			}
			return bad(0, "duplicate-id", "id %#x is already %s", id, what)
		}
		if e.Kind == Input {
			if at, ok := defined[e.ID]; !ok {
				return bad(0, "unknown-id", "%#x is no input of the function", e.ID)
			} else if at != unlisted {
				return duplicate(e.ID)
			}
			defined[e.ID] = k
			continue
		}
		for n, id := range e.Inputs {
			if _, ok := defined[id]; !ok {
				const list = 8 + 1 + 8 // id, flag, count
				if later := fn.defines(k, id); later >= 0 {
					return bad(list+8*n, "order", "%s uses id %#x, which is defined only later, by entry %d", e.Primitive, id, later)
				}
				return bad(list+8*n, "unknown-id", "%s uses id %#x, which nothing defines", e.Primitive, id)
			}
		}
		own := false
		for _, v := range e.Outputs {
			if _, dup := defined[v.ID]; dup {
				return duplicate(v.ID)
			}
			defined[v.ID] = k
			own = own || v.ID == e.ID
		}
		if !own {
			return bad(0, "outputs", "the entry's id %#x is none of its outputs", e.ID)
		}
		if e.Kind == Operation {
			row := table[e.Primitive]
			if !row.In.holds(len(e.Inputs)) {
				return bad(9, "inputs", "%s has %d inputs, not %v", e.Primitive, len(e.Inputs), row.In)
			}
			if !row.Out.holds(len(e.Outputs)) {
				return bad(0, "outputs", "%s has %d outputs, not %v", e.Primitive, len(e.Outputs), row.Out)
			}
		}
	}
	for k, id := range fn.Outputs {
		if _, ok := defined[id]; !ok {
			return &problem{inOutputs, k, 0, "unknown-id", fmt.Sprintf("output %d is id %#x, which nothing defines", k, id)}
		}
	}
	return nil
}

// defines returns the first entry from k on that defines id, or -1.
func (fn *Function) defines(k int, id uint64) int {
	for ; k < len(fn.Tape); k++ {
		for _, v := range fn.Tape[k].Outputs {
			if v.ID == id {
				return k
			}
		}
	}
	return -1
}

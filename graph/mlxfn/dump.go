package mlxfn

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Dump writes f for people to read. The text does not depend on ids, which are
// addresses in MLX, but says everything else that is in the file: two files with the
// same dump differ in ids at most.
func Dump(w io.Writer, f *File) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "mlxfn %s functions=%d shapeless=%t metadata=%q\n", f.Version, len(f.Functions), f.Shapeless, f.Metadata)
	constants := map[uint64]string{} // stored so far: function.number
	for k := range f.Functions {
		dumpFunction(out, k, &f.Functions[k], constants)
	}
	return out.Flush()
}

func dumpFunction(out *bufio.Writer, number int, fn *Function, constants map[uint64]string) {
	fmt.Fprintf(out, "\nfunction %d: %d inputs (%d by keyword), %d outputs, %d entries\n",
		number, len(fn.Inputs), len(fn.Kwargs), len(fn.Outputs), len(fn.Tape))
	names := map[uint64]string{}
	name := func(id uint64) string {
		if _, ok := names[id]; !ok {
			names[id] = "%" + strconv.Itoa(len(names))
		}
		return names[id]
	}
	list := func(ids []uint64) string {
		all := make([]string, len(ids))
		for k, id := range ids {
			all[k] = name(id)
		}
		return strings.Join(all, ", ")
	}
	for k, v := range fn.Inputs {
		fmt.Fprintf(out, "  %s: %v", name(v.ID), v.Type)
		if n := k - fn.Positional(); n >= 0 {
			fmt.Fprintf(out, " %q", fn.Kwargs[n])
		}
		out.WriteByte('\n')
	}
	for k := range fn.Tape {
		e := &fn.Tape[k]
		switch e.Kind {
		case Input:
			fmt.Fprintf(out, "  %s = input\n", name(e.ID))
		case Constant:
			id := name(e.ID)
			fmt.Fprintf(out, "  %s: %v = constant ", id, e.Outputs[0].Type)
			if first, ok := constants[e.ID]; ok {
				fmt.Fprintf(out, "as %s\n", first)
				continue
			}
			constants[e.ID] = fmt.Sprintf("%s of function %d", id, number)
			switch {
			case len(e.Data) == 0:
				fmt.Fprintln(out, "empty")
			case len(e.Data) <= 16:
				fmt.Fprintf(out, "%x\n", e.Data)
			default:
				fmt.Fprintf(out, "sha256 %x\n", sha256.Sum256(e.Data))
			}
		case Operation:
			inputs := list(e.Inputs)
			for n, v := range e.Outputs {
				if n > 0 {
					out.WriteByte(',')
				} else {
					out.WriteByte(' ')
				}
				fmt.Fprintf(out, " %s: %v", name(v.ID), v.Type)
				if len(e.Outputs) > 1 && v.ID == e.ID {
					out.WriteByte('*') // the one that stands for the operation on the tape
				}
			}
			fmt.Fprintf(out, " = %s(%s)", e.Primitive, inputs)
			for _, s := range e.State {
				fmt.Fprintf(out, " %s=%s", s.Name, formatValue(s.Value))
			}
			fmt.Fprintf(out, " @%v\n", e.Stream)
		}
	}
	fmt.Fprintf(out, "  return %s\n", list(fn.Outputs))
}

// formatValue prints floats with as few digits as read back to the same value.
func formatValue(value any) string {
	switch v := value.(type) {
	case string:
		if plain(v) {
			return v
		}
		return strconv.Quote(v)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case OptionalFloat:
		if !v.Set {
			return "none"
		}
		return formatValue(v.Value)
	case []int:
		return formatList(v)
	case [3]int:
		return formatList(v[:])
	case []ShapeUse:
		return formatList(v)
	case ShapeUse:
		s := ""
		for _, u := range []struct {
			on   bool
			name string
		}{{v.Shape, "shape"}, {v.Strides, "strides"}, {v.NDim, "ndim"}} {
			if u.on {
				s += "+" + u.name
			}
		}
		if s == "" {
			return "-"
		}
		return s[1:]
	case []any:
		return formatList(v)
	}
	return fmt.Sprint(value)
}

func formatList[T any](list []T) string {
	all := make([]string, len(list))
	for k, v := range list {
		all[k] = formatValue(any(v))
	}
	return "[" + strings.Join(all, ",") + "]"
}

// plain reports whether s is an identifier, which needs no quotes.
func plain(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}

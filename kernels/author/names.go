package author

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"zmlx-rewrite/kernels"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// words are names that a body generated here uses itself, besides those that kernels.Reserved
// keeps from every kernel.
var words = strings.Fields(`
	in float2 float4 uint2 uint4 sampler texture metal
	rows n row i k base from step part lane simdgroup simdgroups out`)

// isTaken reports whether a name, or that of its type, cannot be used in a source.
func isTaken(name string) bool {
	return slices.Contains(words, name) || kernels.Reserved(name) || kernels.Reserved(name+"_t")
}

// checkName reports why a name cannot be that of an input or a line.
func checkName(name string) error {
	switch {
	case !nameForm.MatchString(name):
		return fmt.Errorf("name %q must be small letters, digits and _", name)
	case isTaken(name):
		return fmt.Errorf("name %q has another meaning in sources", name)
	case ops[name] != nil || aliases[name] != "" || slices.Contains(reductions, name):
		return fmt.Errorf("name %q is that of a function", name)
	case strings.HasSuffix(name, "_t"), strings.HasPrefix(name, "has_"), strings.HasPrefix(name, "d_"),
		strings.HasPrefix(name, "mlx_"), strings.HasPrefix(name, "group_"):
		return fmt.Errorf("name %q is kept for generated code, for its beginning or end", name)
	case len(name) > 64:
		return fmt.Errorf("name %q is longer than 64 letters", name)
	}
	return nil
}

// names gives out names, each once.
type names map[string]bool

// take returns the name if it is free, or with a number behind it.
func (t names) take(name string) string {
	got := name
	for i := 2; t[got] || isTaken(got); i++ {
		got = fmt.Sprintf("%s_%d", name, i)
	}
	t[got] = true
	return got
}

// number returns the next free name of the form t1, t2, ...
func (t names) number(prefix string) string {
	for i := 1; ; i++ {
		if got := fmt.Sprintf("%s%d", prefix, i); !t[got] {
			t[got] = true
			return got
		}
	}
}

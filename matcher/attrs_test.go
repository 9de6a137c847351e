package matcher

import (
	"fmt"
	"strings"
	"testing"
)

// TestAttributes: integers are compared as the op counts them, axes and positions from
// either end, and a list as a whole. What does not fit binds nothing.
func TestAttributes(t *testing.T) {
	for _, c := range []struct {
		rule, graph, shape string // an op of x, what the graph has instead, and its type
		want               string // what $k and $n are bound to, or the code of the miss
	}{
		// An axis.
		{"softmax(x, axis=1)", "softmax(x, axis=-2)", "float32[2, 6, 8]", ""},
		{"softmax(x, axis=-2)", "softmax(x, axis=-2)", "float32[2, 6, 8]", ""},
		{"softmax(x, axis=2)", "softmax(x, axis=-2)", "float32[2, 6, 8]", CodeAttr},
		{"softmax(x, axis=-3)", "softmax(x, axis=-2)", "float32[2, 6, 8]", CodeAttr},
		// Several axes, and those of an op that adds some.
		{"sum(x, axis=[0, -1])", "sum(x, axis=[-3, -1])", "float32[6]", ""},
		{"sum(x, axis=[0, 2])", "sum(x, axis=[-3, -2])", "float32[8]", CodeAttr},
		{"sum(x, axis=[1, 2])", "sum(x, axis=[-3, -1])", "float32[6]", CodeAttr},
		{"sum(x, axis=[-1])", "sum(x, axis=[-2, -1])", "float32[2]", CodeAttr},
		{"sum(x, axis=[-2, -1])", "sum(x, axis=-1)", "float32[2, 6]", CodeAttr},
		{"sum(x, axis=2)", "sum(x, axis=-1)", "float32[2, 6]", ""},
		{"sum(x, axis=2)", "sum(x, axis=[-2, -1])", "float32[2]", CodeAttr},
		{"sum(x, axis=[-2, -1])", "sum(x, axis=-2)", "float32[2, 8]", CodeAttr},
		{"sum(x, axis=$k)", "sum(x, axis=[-2, -1])", "float32[2]", "$k=[-2,"},
		{"expand_dims(x, axis=0)", "expand_dims(x, axis=-4)", "float32[1, 2, 6, 8]", ""},
		{"expand_dims(x, axis=3)", "expand_dims(x, axis=-1)", "float32[2, 6, 8, 1]", ""},
		{"expand_dims(x, axis=[0, 1])", "expand_dims(x, axis=[-5, -4])", "float32[1, 1, 2, 6, 8]", ""},
		{"expand_dims(x, axis=0)", "expand_dims(x, axis=-3)", "float32[2, 1, 6, 8]", CodeAttr},
		// A list of numbers.
		{"reshape(x, shape=[2*$n, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$n=6"},
		{"reshape(x, shape=[$n, $n-4])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$n=12"},
		{"reshape(x, shape=[$n, $n-3])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[12, 9])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[12, 8, 1])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[rows(x), dim(x, -1)])", "reshape(x, shape=[12, 8])", "float32[12, 8]", ""},
		{"reshape(x, shape=[size(x)])", "reshape(x, shape=[96])", "float32[96]", ""},
		{"reshape(x, shape=[size(x)-96])", "reshape(x, shape=[96])", "float32[96]", CodeAttr},
		{"reshape(x, shape=[dim(x, 1)*dim(x, 0), 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", ""},
		{"reshape(x, shape=[dim(x, 7), 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		// Equations of one unknown, which is a count.
		{"reshape(x, shape=[$n+$n, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$n=6"},
		{"reshape(x, shape=[3*$n-$n, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$n=6"},
		{"reshape(x, shape=[20-$n, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$n=8"},
		{"reshape(x, shape=[$n*2+2, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$n=5"},
		{"reshape(x, shape=[5*$n, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[$n+12, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[$n+20, 8])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[$n*$n, $n])", "reshape(x, shape=[4, 24])", "float32[4, 24]", CodeAttr},
		{"reshape(x, shape=[$k+$n, $k])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[$k, $n])", "reshape(x, shape=[12, 8])", "float32[12, 8]", "$k=12 $n=8"},
		{"reshape(x, shape=[$k, $n+$k])", "reshape(x, shape=[12, 8])", "float32[12, 8]", CodeAttr},
		{"reshape(x, shape=[($n+1)*($n+1), 32])", "reshape(x, shape=[3, 32])", "float32[3, 32]", CodeAttr},
		// A position along an axis.
		{"argpartition(x, kth=5, axis=-1)", "argpartition(x, kth=5, axis=-1)", "uint32[2, 6, 8]", ""},
		{"argpartition(x, kth=-3, axis=-1)", "argpartition(x, kth=5, axis=-1)", "uint32[2, 6, 8]", ""},
		{"argpartition(x, kth=-1, axis=-1)", "argpartition(x, kth=5, axis=-1)", "uint32[2, 6, 8]", CodeAttr},
		{"argpartition(x, kth=-1, axis=1)", "argpartition(x, kth=5, axis=-2)", "uint32[2, 6, 8]", ""},
		{"argpartition(x, kth=$k, axis=-1)", "argpartition(x, kth=5, axis=-1)", "uint32[2, 6, 8]", "$k=5"},
		// Positions along several: absent ones are the ends, from wherever they are counted.
		{"slice(x, axis=-1, start=3)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", ""},
		{"slice(x, axis=-1, start=-5)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", ""},
		{"slice(x, axis=-1, start=-3)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", CodeAttr},
		{"slice(x, axis=-1, stop=8, start=3)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", ""},
		{"slice(x, axis=-1, stop=0, start=3)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", CodeAttr},
		{"slice(x, axis=-1, stop=7, start=3)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", CodeAttr},
		{"slice(x, axis=-1, stop=-1)", "slice(x, axis=-1, stop=7)", "float32[2, 6, 7]", ""},
		{"slice(x, axis=-1, start=0, stop=7)", "slice(x, axis=-1, stop=7)", "float32[2, 6, 7]", ""},
		{"slice(x, axis=-1, start=-8, stop=7)", "slice(x, axis=-1, stop=7)", "float32[2, 6, 7]", ""},
		{"slice(x, axis=-1, start=1, stop=7)", "slice(x, axis=-1, stop=7)", "float32[2, 6, 7]", CodeAttr},
		{"slice(x, axis=-1, start=2)", "slice(x, axis=-1, start=2, strides=[2])", "float32[2, 6, 3]", CodeAttr},
		{"slice(x, axis=-1, start=$k, stop=$n)", "slice(x, axis=-1, start=3)", "float32[2, 6, 5]", "$k=3 $n=8"},
		{"slice(x, axis=[-2, -1], start=[1, 2])", "slice(x, axis=[-2, -1], start=[1, 2])", "float32[2, 5, 6]", ""},
		{"slice(x, axis=[-2, -1], start=[-5, -6])", "slice(x, axis=[-2, -1], start=[1, 2])", "float32[2, 5, 6]", ""},
		{"slice(x, axis=[0, -1], start=[1, 2])", "slice(x, axis=[-3, -1], start=[1, 2])", "float32[1, 6, 6]", ""},
		{"slice(x, axis=[-2, -1], start=[1, 3])", "slice(x, axis=[-2, -1], start=[1, 2])", "float32[2, 5, 6]", CodeAttr},
		{"slice(x, axis=$axes, start=[1, 2])", "slice(x, axis=-1, start=1)", "float32[2, 6, 7]", CodeAttr},
	} {
		t.Run(c.rule+" of "+c.graph, func(t *testing.T) {
			found := find(t, compile(t, fmt.Sprintf("match: {a: %q, y: negative(a)}\n    replace: {y: negative(x)}", c.rule)),
				fmt.Sprintf("input x : float32[2, 6, 8]\n  a = %s : %s @ A\n  y = negative(a) : %s @ Y\n  output y = y", c.graph, c.shape, c.shape))
			if len(found) != 1 {
				t.Fatalf("found %q", found)
			}
			got := "" // what variables are bound to, in order of name
			if strings.HasPrefix(found[0], "match ") {
				var vars []string
				for _, name := range []string{"$k", "$n"} {
					for _, word := range strings.Fields(found[0]) {
						if strings.HasPrefix(word, name+"=") {
							vars = append(vars, word)
						}
					}
				}
				got = strings.Join(vars, " ")
			} else if strings.Contains(found[0], ": 2 nodes, "+CodeAttr+":") {
				got = CodeAttr
			} else {
				got = found[0]
			}
			if got != c.want {
				t.Errorf("%q, want %q: %s", got, c.want, found[0])
			}
		})
	}
}

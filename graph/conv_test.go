package graph

import "testing"

// The shapes of conv1d, with symbols where the number of windows can be told, and what
// is refused. Element types are in TestTypesAgainstMLX.
func TestConv1DShapes(t *testing.T) {
	l := Sym("seq_len")
	for _, c := range []struct {
		name  string
		x, w  Type
		attrs []Attr // stride, padding, dilation, groups
		want  string // "" if refused
	}{
		{"depthwise", T(Float16, Sym("batch"), l.Add(N(2)), N(8)), T(Float16, N(8), N(3), N(1)), []Attr{nil, nil, nil, N(8)}, "float16[batch, seq_len, 8]"},
		{"padded", T(BFloat16, N(1), l, N(8)), T(BFloat16, N(4), N(3), N(4)), []Attr{nil, N(1), nil, N(2)}, "bfloat16[1, seq_len, 4]"},
		{"dilated", T(Float32, N(1), l, N(8)), T(Float32, N(8), N(3), N(8)), []Attr{nil, nil, N(3)}, "float32[1, seq_len - 6, 8]"},
		{"strides", T(Float32, N(1), N(10), N(8)), T(Float32, N(8), N(3), N(8)), []Attr{N(2)}, "float32[1, 4, 8]"},
		{"one window", T(Float32, N(1), N(3), N(8)), T(Float32, N(8), N(3), N(8)), nil, "float32[1, 1, 8]"},
		{"no window", T(Float32, N(1), N(2), N(8)), T(Float32, N(8), N(3), N(8)), nil, ""},
		{"windows of an unknown number", T(Float32, N(1), l, N(8)), T(Float32, N(8), N(3), N(8)), []Attr{N(2)}, ""},
		{"channels", T(Float32, N(1), N(9), N(8)), T(Float32, N(8), N(3), N(4)), nil, ""},
		{"filters of a group and a half", T(Float32, N(1), N(9), N(8)), T(Float32, N(6), N(3), N(2)), []Attr{nil, nil, nil, N(4)}, ""},
		{"a matrix", T(Float32, N(9), N(8)), T(Float32, N(8), N(3), N(8)), nil, ""},
		{"no stride", T(Float32, N(1), N(9), N(8)), T(Float32, N(8), N(3), N(8)), []Attr{N(0)}, ""},
		{"less than no padding", T(Float32, N(1), N(9), N(8)), T(Float32, N(8), N(3), N(8)), []Attr{nil, N(-1)}, ""},
		{"no groups", T(Float32, N(1), N(9), N(0)), T(Float32, N(8), N(3), N(8)), []Attr{nil, nil, nil, N(0)}, ""},
		{"a stride that is a symbol", T(Float32, N(1), N(9), N(8)), T(Float32, N(8), N(3), N(8)), []Attr{l}, ""},
	} {
		attrs := make([]Attr, 4)
		copy(attrs, c.attrs)
		_, out, err := Infer(LookupOp("conv1d"), []Type{c.x, c.w}, attrs)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s: has type %s", c.name, out[0])
		case c.want != "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case err == nil && out[0].String() != c.want:
			t.Errorf("%s: has type %s, want %s", c.name, out[0], c.want)
		}
	}
}

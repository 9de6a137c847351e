package graph

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// signature is a line of testdata/types.jsonl: see scripts/oracle/type_goldens.py.
type signature struct {
	Op    string
	In    []*sigOperand
	Attrs map[string]any
	Rows  []string
}

type sigOperand struct {
	DType string
	Shape []int64
}

func (o *sigOperand) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&o.DType, &o.Shape})
}

// stricter tells where inference refuses a call that MLX accepts, and why.
func stricter(s *signature, t0, t1 DType) string {
	switch s.Op {
	case "softmax":
		if s.Attrs["axis"] == 0.0 && !t0.IsFloat() && t0 != Complex64 {
			return "along another axis than the last, MLX gives integers: zeros and ones"
		}
	case "logsumexp":
		if t0 == Bool && slices.Equal(s.Attrs["axis"].([]any), []any{0.0}) {
			return "along another axis than the last, MLX subtracts the largest bool as bool"
		}
	case "conv1d":
		if t := Promote(t0, t1); t0.IsFloat() && (t == Float64 || t == Complex64) {
			return "MLX computes these in float32, or fails when it computes"
		}
	case "take_along_axis":
		if !t1.IsInteger() {
			return "MLX accepts any type of index and fails when it computes"
		}
	case "put_along_axis":
		if s.In[1].DType == "$0" && !t0.IsInteger() {
			return "MLX accepts any type of index and fails when it computes"
		}
	}
	return ""
}

// Every op for every element type or pair of them has the type that MLX gives,
// and is refused where MLX refuses it.
func TestTypesAgainstMLX(t *testing.T) {
	file, err := os.Open("testdata/types.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var head struct{ Signatures int }
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	n, calls := 0, 0
	for lines.Scan() {
		s := &signature{}
		if err := json.Unmarshal(lines.Bytes(), s); err != nil {
			t.Fatal(err)
		}
		seen[s.Op] = true
		n++
		for i, row := range s.Rows {
			for j, want := range strings.Fields(row) {
				calls++
				got, err := s.infer(DType(i), DType(j))
				switch why := stricter(s, DType(i), DType(j)); {
				case got == want:
					if why != "" {
						t.Errorf("%s: is not stricter than MLX, though it should be: %s", s.text(DType(i), DType(j)), why)
					}
				case got == "-" && why != "":
				default:
					t.Errorf("%s is %s (%v), MLX gives %s", s.text(DType(i), DType(j)), got, err, want)
				}
			}
		}
	}
	if n != head.Signatures {
		t.Errorf("%d signatures, not %d", n, head.Signatures)
	}
	for _, op := range Ops() {
		if !op.IsLeaf() && !seen[op.Name] {
			t.Errorf("no signature of op %s: add it to scripts/oracle/type_goldens.py and run that", op.Name)
		}
	}
	t.Logf("%d signatures, %d calls", n, calls)
}

func (s *signature) dtype(name string, t0, t1 DType) DType {
	switch name {
	case "$0":
		return t0
	case "$1":
		return t1
	}
	t, ok := ParseDType(name)
	if !ok {
		panic("unknown element type " + name)
	}
	return t
}

func (s *signature) text(t0, t1 DType) string {
	var parts []string
	for _, o := range s.In {
		if o == nil {
			parts = append(parts, "-")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s%v", s.dtype(o.DType, t0, t1), o.Shape))
	}
	return fmt.Sprintf("%s(%s) %v", s.Op, strings.Join(parts, ", "), s.Attrs)
}

// infer returns the name of the result's type, or "-".
func (s *signature) infer(t0, t1 DType) (string, error) {
	op := LookupOp(s.Op)
	in := make([]Type, len(s.In))
	for i, o := range s.In {
		in[i].DType = NoDType
		if o != nil {
			in[i].DType = s.dtype(o.DType, t0, t1)
			for _, d := range o.Shape {
				in[i].Shape = append(in[i].Shape, N(d))
			}
		}
	}
	attrs := make([]Attr, len(op.Attrs))
	for name, v := range s.Attrs {
		i := op.AttrIndex(name)
		if i < 0 {
			panic(s.Op + " has no attribute " + name)
		}
		switch v := v.(type) {
		case bool:
			attrs[i] = Flag(v)
		case float64:
			attrs[i] = N(int64(v))
			if op.Attrs[i].Kind == KindFloat {
				attrs[i] = Float(v)
			}
		case []any:
			dims := Dims{}
			for _, d := range v {
				dims = append(dims, N(int64(d.(float64))))
			}
			attrs[i] = dims
		case string:
			attrs[i] = Str(v)
			if op.Attrs[i].Kind == KindDType {
				attrs[i] = s.dtype(v, t0, t1)
			}
		}
	}
	_, out, err := Infer(op, in, attrs)
	if err != nil {
		return "-", err
	}
	return out[0].DType.String(), nil
}

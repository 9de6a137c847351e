package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"zmlx-rewrite/graph"
)

// spell writes an operation as a call of mlx.core. Ops have its names; here is where it
// wants its arguments in another way.
func spell(c *graph.Call, in []string, out graph.Type) (string, error) {
	name := c.Op.Name
	switch name {
	case "astype":
		return in[0] + ".astype(mx." + pyDType(out.DType) + ")", nil
	case "view":
		return in[0] + ".view(mx." + pyDType(out.DType) + ")", nil
	case "arange":
		return attrs("mx.arange("+join(dim(c, "start"), dim(c, "stop"), dim(c, "step")), c, "dtype")
	case "slice":
		return spellSlice(c, in[0])
	case "concatenate":
		return attrs("mx.concatenate(["+strings.Join(in, ", ")+"]", c, "axis")
	case "reshape", "broadcast_to":
		shape, err := tuple(c.Dims("shape"))
		return fmt.Sprintf("mx.%s(%s, %s)", name, in[0], shape), err
	case "unflatten":
		return attrs("mx.unflatten("+in[0], c, "axis", "shape")
	case "transpose":
		axes, err := tuple(c.Dims("axes"))
		return fmt.Sprintf("mx.transpose(%s, %s)", in[0], axes), err
	case "expand_dims", "squeeze":
		axes, err := tuple(c.Dims("axis"))
		return fmt.Sprintf("mx.%s(%s, %s)", name, in[0], axes), err
	case "quantized_matmul":
		return attrs("mx.quantized_matmul("+join(in[0], in[1])+", scales="+in[2]+", biases="+at(in, 3), c, "transpose", "group_size", "bits", "mode")
	case "gather_qmm":
		return attrs("mx.gather_qmm("+join(in[0], in[1], in[2], at(in, 3))+", lhs_indices="+at(in, 4)+", rhs_indices="+at(in, 5), c, "transpose", "group_size", "bits", "mode", "sorted_indices")
	case "gather_mm":
		return attrs("mx.gather_mm("+join(in[0], in[1])+", lhs_indices="+at(in, 2)+", rhs_indices="+at(in, 3), c, "sorted_indices")
	case "dequantize":
		return attrs("mx.dequantize("+join(in[0], in[1])+", biases="+at(in, 2), c, "group_size", "bits", "mode")
	case "rms_norm":
		return attrs("mx.fast.rms_norm("+join(in[0], at(in, 1)), c, "eps")
	case "layer_norm":
		return attrs("mx.fast.layer_norm("+join(in[0], at(in, 1), at(in, 2)), c, "eps")
	case "rope":
		text := "mx.fast.rope(" + join(in[0], dim(c, "dims"))
		if c.Attr("base") == nil {
			text += ", base=None"
		}
		return attrs(text+", offset="+in[1]+", freqs="+at(in, 2), c, "traditional", "base", "scale")
	case "sdpa":
		return spellAttention(c, in)
	case "slice_update_dynamic":
		axes, err := tuple(c.Dims("axis"))
		return fmt.Sprintf("mx.slice_update(%s, %s, %s, axes=%s)", in[0], in[1], in[2], axes), err
	case "slice_update":
		return spellSliceUpdate(c, in)
	case "kv_append", "gated_delta", "quantize":
		return "", fmt.Errorf("%s has no spelling in mlx.core here", name)
	}
	names := make([]string, len(c.Op.Attrs))
	for i, a := range c.Op.Attrs {
		names[i] = a.Name
	}
	return attrs("mx."+name+"("+strings.Join(in, ", "), c, names...)
}

func spellAttention(c *graph.Call, in []string) (string, error) {
	if c.Attr("kv_len") != nil {
		return "", fmt.Errorf("attention over a cache of ours has no spelling in mlx.core")
	}
	mask := "None"
	switch c.Str("mask") {
	case "causal":
		mask = `"causal"`
	case "array":
		mask = at(in, 3)
	case "window":
		return "", fmt.Errorf("attention in a window has no spelling in mlx.core")
	}
	return attrs("mx.fast.scaled_dot_product_attention("+join(in[0], in[1], in[2])+", mask="+mask+", sinks="+at(in, 4), c, "scale")
}

// spellSlice writes a[:, 2:4].
func spellSlice(c *graph.Call, a string) (string, error) {
	spans, err := c.Spans()
	if err != nil {
		return "", err
	}
	parts := make([]string, c.In[0].Rank())
	for i := range parts {
		parts[i] = ":"
	}
	for _, s := range spans {
		start, ok1 := s.Start.Const()
		stop, ok2 := s.Stop.Const()
		if !ok1 || !ok2 {
			return "", fmt.Errorf("slice from %s to %s: a position has no number", s.Start, s.Stop)
		}
		parts[s.Axis] = fmt.Sprintf("%d:%d", start, stop)
		if s.Stride != 1 {
			parts[s.Axis] += fmt.Sprintf(":%d", s.Stride)
		}
	}
	return a + "[" + strings.Join(parts, ", ") + "]", nil
}

// spellSliceUpdate writes a slice update by positions that are an array: mlx.core has no other
// that gives a new one.
func spellSliceUpdate(c *graph.Call, in []string) (string, error) {
	spans, err := c.Spans()
	if err != nil {
		return "", err
	}
	starts, axes := make([]int64, len(spans)), make([]int64, len(spans))
	for i, s := range spans {
		start, ok := s.Start.Const()
		if !ok || s.Stride != 1 {
			return "", fmt.Errorf("slice_update from %s in steps of %d has no spelling in mlx.core", s.Start, s.Stride)
		}
		starts[i], axes[i] = start, int64(s.Axis)
	}
	return fmt.Sprintf("mx.slice_update(%s, %s, mx.array(%s, mx.int32), axes=%s)", in[0], in[1], ints(starts), ints(axes)), nil
}

// attrs ends a call with attributes as keyword arguments.
func attrs(text string, c *graph.Call, names ...string) (string, error) {
	for _, name := range names {
		a := c.Attr(name)
		if a == nil {
			continue
		}
		v, err := attr(a)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", c.Op.Name, name, err)
		}
		text += ", " + name + "=" + v
	}
	return text + ")", nil
}

func attr(a graph.Attr) (string, error) {
	switch a := a.(type) {
	case graph.Dim:
		n, ok := a.Const()
		if !ok {
			return "", fmt.Errorf("%s has no number", a)
		}
		return strconv.FormatInt(n, 10), nil
	case graph.Dims:
		return tuple(a)
	case graph.Float:
		return pyFloat(float64(a)), nil
	case graph.Flag:
		if a {
			return "True", nil
		}
		return "False", nil
	case graph.Str:
		return strconv.Quote(string(a)), nil
	case graph.DType:
		return "mx." + pyDType(a), nil
	}
	return "", fmt.Errorf("%s has no spelling in Python", a)
}

// pyFloat writes a number that reads back to the same float32, which is what MLX takes.
func pyFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return `float("nan")`
	case math.IsInf(v, 1):
		return `float("inf")`
	case math.IsInf(v, -1):
		return `float("-inf")`
	}
	t := strconv.FormatFloat(float64(float32(v)), 'g', -1, 32)
	if !strings.ContainsAny(t, ".e") {
		t += ".0"
	}
	return t
}

func pyDType(t graph.DType) string {
	if t == graph.Bool {
		return "bool_"
	}
	return t.String()
}

func tuple(dims []graph.Dim) (string, error) {
	parts := make([]string, len(dims))
	for i, d := range dims {
		n, ok := d.Const()
		if !ok {
			return "", fmt.Errorf("%s has no number", d)
		}
		parts[i] = strconv.FormatInt(n, 10)
	}
	if len(parts) == 1 {
		return "(" + parts[0] + ",)", nil
	}
	return "(" + strings.Join(parts, ", ") + ")", nil
}

func dim(c *graph.Call, name string) string {
	n, _ := c.Dim(name).Const()
	return strconv.FormatInt(n, 10)
}

func at(in []string, i int) string {
	if i < len(in) {
		return in[i]
	}
	return "None"
}

func join(parts ...string) string { return strings.Join(parts, ", ") }

// constantName is a name by content.
func constantName(l *graph.Literal) string {
	h := sha256.New()
	fmt.Fprint(h, l.DType, l.Shape, " ")
	h.Write(l.Data)
	return hex.EncodeToString(h.Sum(nil))[:12]
}

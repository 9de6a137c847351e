package graph

import "slices"

func inferGatedDelta(c *Call) ([]Type, error) {
	q, k, v, g, beta, state := c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5]
	if q.Rank() != 4 || v.Rank() != 4 || !slices.Equal(q.Shape, k.Shape) {
		return c.errorf("q %s, k %s and v %s must have 4 dimensions, and q those of k", dimsText(q.Shape), dimsText(k.Shape), dimsText(v.Shape))
	}
	b, l, dk, hv, dv := q.Shape[0], q.Shape[1], q.Shape[3], v.Shape[2], v.Shape[3]
	if _, ok := hv.Div(q.Shape[2]); !ok || v.Shape[0] != b || v.Shape[1] != l {
		return c.errorf("v %s does not go with q %s: its heads must be a multiple of those", dimsText(v.Shape), dimsText(q.Shape))
	}
	if each := []Dim{b, l, hv}; !slices.Equal(g.Shape, each) || !slices.Equal(beta.Shape, each) {
		return c.errorf("g %s and beta %s must be %s", dimsText(g.Shape), dimsText(beta.Shape), dimsText(each))
	}
	if want := []Dim{b, hv, dv, dk}; !slices.Equal(state.Shape, want) || state.DType != Float32 {
		return c.errorf("state %s must be float32%s", state, dimsText(want))
	}
	for _, t := range c.In[:5] {
		if !slices.Contains([]DType{Float16, BFloat16, Float32}, t.DType) {
			return c.errorf("needs float16, bfloat16 or float32, got %s", t.DType)
		}
	}
	return one(Type{Float32, []Dim{b, hv, dv, l.Add(dk)}})
}

package ref

// conv1d: each window of x against each filter of its group, in float64.
func conv1d(c *call, in []*array) (*array, error) {
	x, w := convert(in[0], c.t), convert(in[1], c.t)
	stride, padding, dilation := c.Dim("stride").Int(), c.Dim("padding").Int(), c.Dim("dilation").Int()
	length, channels := x.shape[1], x.shape[2]
	filters, taps, width := w.shape[0], w.shape[1], w.shape[2]
	perGroup := filters / c.Dim("groups").Int()
	xs, ws := x.floats(), w.floats()
	out := make([]float64, size(c.shape))
	windows := c.shape[1]
	for i := range out {
		batch, window, filter := i/filters/windows, i/filters%windows, i%filters
		var sum float64
		for tap := range taps {
			row := window*stride - padding + tap*dilation
			if row < 0 || row >= length {
				continue
			}
			from := (batch*length+row)*channels + filter/perGroup*width
			sum += dot(xs[from:from+width], ws[(filter*taps+tap)*width:])
		}
		out[i] = sum
	}
	return fromFloats(c.t, c.shape, out), nil
}

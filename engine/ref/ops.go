package ref

// emitter computes one op. Its operands have been checked by inference; absent
// optional ones are nil or beyond the end of in.
type emitter func(c *call, in []*array) (*array, error)

// emitters has a function for every op of the op table that is not a leaf.
var emitters = func() map[string]emitter {
	m := map[string]emitter{
		"arange": arange,
		"astype": astype, "where": where, "logical_not": logicalNot,
		"logical_and": logical(func(x, y int64) int64 { return x & y }),
		"logical_or":  logical(func(x, y int64) int64 { return x | y }),

		"matmul": matmul, "addmm": addmm, "gather_mm": gatherMM, "conv1d": conv1d,
		"quantized_matmul": quantizedMatmul, "gather_qmm": gatherQMM, "dequantize": dequantize,

		"sum": reduceSum, "prod": reduceProd, "max": reduceMax, "min": reduceMin, "all": reduceAll, "any": reduceAny,
		"argmax":  argReduce(func(order int) bool { return order > 0 }),
		"argmin":  argReduce(func(order int) bool { return order < 0 }),
		"softmax": softmax, "logsumexp": logSumExp, "cumsum": cumsum,

		"sort": sorted, "partition": sorted, "argsort": argSorted, "argpartition": argSorted,

		"take": take, "take_along_axis": takeAlong, "put_along_axis": putAlong,
		"slice": slice, "slice_update": sliceUpdate, "slice_update_dynamic": sliceUpdateDynamic,

		"reshape": reshape, "flatten": reshape, "unflatten": reshape, "expand_dims": reshape, "squeeze": reshape,
		"transpose": transpose, "broadcast_to": broadcastTo, "concatenate": concatenate, "view": view, "contiguous": contiguous,

		"rms_norm": rmsNorm, "layer_norm": layerNorm, "rope": rope, "sdpa": sdpa, "kv_append": kvAppend, "gated_delta": gatedDelta,
	}
	for name, u := range unaries {
		m[name] = u.emit
	}
	for name, b := range binaries {
		m[name] = b.emit
	}
	for name, k := range comparisons {
		m[name] = k.emit
	}
	return m
}()

// manyEmitters are those of ops with several results.
var manyEmitters = map[string]func(c *call, in []*array) ([]*array, error){"quantize": quantize}

// optional returns operand i, or nil.
func optional(in []*array, i int) *array {
	if i < len(in) {
		return in[i]
	}
	return nil
}

package graph

// The op table. One row an op; a row that is added here needs one function in
// each engine (engine/ref, engine/mlx), which their tests insist on.
//
// Names, operand names, attributes and defaults are those of mlx.core, with two
// differences: group_size and bits of quantized ops are always written out by
// MLX, so their defaults here are those of mode "affine"; and sdpa, kv_append
// and gated_delta are ours (see their rows), since MLX has no op for a cache or a loop.
var opTable = []*Op{
	// Leaves. Their types are given, not inferred.
	{Name: "input", Doc: "a graph input: tokens, an offset, or a cache", Results: 1, Attrs: []AttrSpec{word("name")}},
	{Name: "param", Doc: "a parameter of the program, by name", Results: 1, Attrs: []AttrSpec{word("name")}},
	{Name: "constant", Doc: "a constant", Results: 1, Attrs: []AttrSpec{{Name: "value", Kind: KindLiteral}}},
	{Name: "arange", Doc: "start, start+step, ... below stop: [(stop-start)/step]", Results: 1, Launches: 1, Numerics: Rounds, Prims: []string{"Arange"},
		Attrs: []AttrSpec{intDefault("start", 0), {Name: "stop", Kind: KindInt}, intDefault("step", 1), {Name: "dtype", Kind: KindDType, Default: Int32}}, Infer: inferArange},

	// Elementwise, one operand.
	elementwise1("abs", Rounds, unaryAbs, "Abs"),
	elementwise1("arccos", Rounds, unaryFloat, "ArcCos"),
	elementwise1("arccosh", Rounds, unaryFloat, "ArcCosh"),
	elementwise1("arcsin", Rounds, unaryFloat, "ArcSin"),
	elementwise1("arcsinh", Rounds, unaryFloat, "ArcSinh"),
	elementwise1("arctan", Rounds, unaryFloat, "ArcTan"),
	elementwise1("arctanh", Rounds, unaryFloat, "ArcTanh"),
	elementwise1("ceil", Rounds, unaryReal, "Ceil"),
	elementwise1("cos", Rounds, unaryFloat, "Cos"),
	elementwise1("cosh", Rounds, unaryFloat, "Cosh"),
	elementwise1("erf", Rounds, unaryRealFloat, "Erf"),
	elementwise1("erfinv", Rounds, unaryRealFloat, "ErfInv"),
	elementwise1("exp", Rounds, unaryFloat, "Exp"),
	elementwise1("expm1", Rounds, unaryRealFloat, "Expm1"),
	elementwise1("floor", Rounds, unaryReal, "Floor"),
	elementwise1("log", Rounds, unaryFloat, "Log:e"),
	elementwise1("log10", Rounds, unaryFloat, "Log:10"),
	elementwise1("log1p", Rounds, unaryFloat, "Log1p"),
	elementwise1("log2", Rounds, unaryFloat, "Log:2"),
	elementwise1("logical_not", Selects, unaryBool, "LogicalNot"),
	elementwise1("negative", Rounds, unaryNegative, "Negative"),
	elementwise1("round", Rounds, unarySame, "Round"),
	elementwise1("rsqrt", Rounds, unaryFloat, "Sqrt:reciprocal"),
	elementwise1("sigmoid", Rounds, unaryRealFloat, "Sigmoid"),
	elementwise1("sign", Rounds, unarySame, "Sign"),
	elementwise1("sin", Rounds, unaryFloat, "Sin"),
	elementwise1("sinh", Rounds, unaryFloat, "Sinh"),
	elementwise1("sqrt", Rounds, unaryFloat, "Sqrt"),
	elementwise1("square", Rounds, unarySame, "Square"),
	elementwise1("tan", Rounds, unaryFloat, "Tan"),
	elementwise1("tanh", Rounds, unaryFloat, "Tanh"),
	{Name: "astype", Doc: "a converted to another element type", Operands: operands("a"), Attrs: []AttrSpec{{Name: "dtype", Kind: KindDType}},
		Results: 1, Elementwise: true, Launches: 1, Numerics: Rounds, Prims: []string{"AsType"}, Infer: inferAstype},

	// Elementwise, two operands, with broadcasting.
	elementwise2("add", true, Rounds, binaryPromote, "Add"),
	elementwise2("arctan2", false, Rounds, binaryRealFloat, "ArcTan2"),
	elementwise2("bitwise_and", true, Rounds, binaryBits, "BitwiseBinary:and"),
	elementwise2("bitwise_or", true, Rounds, binaryBits, "BitwiseBinary:or"),
	elementwise2("bitwise_xor", true, Rounds, binaryBits, "BitwiseBinary:xor"),
	elementwise2("divide", false, Rounds, binaryFloat, "Divide"),
	elementwise2("equal", true, Selects, binaryBool, "Equal"),
	elementwise2("floor_divide", false, Rounds, binaryReal, "FloorDivide"),
	elementwise2("greater", false, Selects, binaryBool, "Greater"),
	elementwise2("greater_equal", false, Selects, binaryBool, "GreaterEqual"),
	elementwise2("left_shift", false, Rounds, binaryShift, "BitwiseBinary:left_shift"),
	elementwise2("less", false, Selects, binaryBool, "Less"),
	elementwise2("less_equal", false, Selects, binaryBool, "LessEqual"),
	elementwise2("logaddexp", true, Rounds, binaryFloat, "LogAddExp"),
	elementwise2("logical_and", true, Selects, binaryBool, "LogicalAnd"),
	elementwise2("logical_or", true, Selects, binaryBool, "LogicalOr"),
	// Of zeros of two signs, which compare as equal, both take the second operand.
	elementwise2("maximum", false, Selects, binaryPromote, "Maximum"),
	elementwise2("minimum", false, Selects, binaryPromote, "Minimum"),
	elementwise2("multiply", true, Rounds, binaryPromote, "Multiply"),
	elementwise2("not_equal", true, Selects, binaryBool, "NotEqual"),
	elementwise2("power", false, Rounds, binaryPromote, "Power"),
	elementwise2("remainder", false, Rounds, binaryReal, "Remainder"),
	elementwise2("right_shift", false, Rounds, binaryShift, "BitwiseBinary:right_shift"),
	elementwise2("subtract", false, Rounds, binaryPromote, "Subtract"),
	{Name: "where", Doc: "x where condition holds, else y, with broadcasting", Operands: operands("condition", "x", "y"), Results: 1, Elementwise: true, Launches: 1,
		Numerics: Selects, Prims: []string{"Select"}, Infer: inferWhere},

	// Products.
	{Name: "matmul", Doc: "a @ b: [..., m, k] x [..., k, n] -> [..., m, n]", Operands: operands("a", "b"), Results: 1, Launches: 1,
		Numerics: Sums, Prims: []string{"Matmul"}, Infer: inferMatmul},
	{Name: "addmm", Doc: "alpha * (a @ b) + beta * c", Operands: operands("c", "a", "b"), Results: 1, Launches: 1, Numerics: Sums, Prims: []string{"AddMM"},
		Attrs: []AttrSpec{floatDefault("alpha", 1), floatDefault("beta", 1)}, Infer: inferAddmm},
	{Name: "quantized_matmul", Doc: "x @ w.T with packed w: [..., m, k] x [n, k*bits/32] -> [..., m, n]",
		Operands: operands("x", "w", "scales", "biases?"), Results: 1, Launches: 1, Packed: true, Numerics: Sums, Accum: Accum{"T", "float32", "T below 8 bits"},
		Attrs: quantAttrs(flagDefault("transpose", true)), Prims: []string{"QuantizedMatmul"}, Infer: inferQuantizedMatmul},
	{Name: "gather_qmm", Doc: "quantized_matmul with a matrix chosen per index: x [..., m, k], w [e, n, k*bits/32], indices [..i] -> [..i, m, n]",
		Operands: operands("x", "w", "scales", "biases?", "lhs_indices?", "rhs_indices?"), Results: 1, Launches: 1, Packed: true, Numerics: Sums, Accum: Accum{"T", "float32", "T below 8 bits"},
		Attrs: quantAttrs(flagDefault("transpose", true), flagDefault("sorted_indices", false)), Prims: []string{"GatherQMM"}, Infer: inferGatherQMM},
	{Name: "gather_mm", Doc: "matmul with matrices chosen per index", Operands: operands("a", "b", "lhs_indices?", "rhs_indices?"), Results: 1, Launches: 1,
		Numerics: Sums, Attrs: []AttrSpec{flagDefault("sorted_indices", false)}, Prims: []string{"GatherMM"}, Infer: inferGatherMM},
	{Name: "dequantize", Doc: "unpacked w: [..., n, k*bits/32] -> [..., n, k] in the type of scales", Operands: operands("w", "scales", "biases?"), Results: 1, Launches: 1,
		Numerics: Rounds, Attrs: quantAttrs(), Prims: []string{"Quantize:dequantize"}, Infer: inferDequantize},
	// quantize is mode "affine", the one that has biases. MLX makes the three results at once.
	{Name: "quantize", Doc: "rows of w [..., k] packed, with a scale and a bias for each group: w [..., k*bits/32], scales and biases [..., k/group_size]", Operands: operands("w"), Results: 3,
		Launches: 1, Numerics: Rounds, Attrs: []AttrSpec{intDefault("group_size", 64), intDefault("bits", 4)}, Infer: inferQuantize},
	{Name: "conv1d", Doc: "a filter w [o, k, c/groups] over windows of x [n, l, c], which padding adds zeros to at both ends -> [n, 1 + (l+2*padding-dilation*(k-1)-1)/stride, o]",
		Operands: operands("x", "w"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{intDefault("stride", 1), intDefault("padding", 0), intDefault("dilation", 1), intDefault("groups", 1)}, Prims: []string{"Convolution"}, Infer: inferConv1D},

	// Reductions.
	reduce("sum", Sums, reduceSum, "Reduce:sum"),
	reduce("prod", Sums, reduceSum, "Reduce:prod"),
	reduce("max", Selects, reduceSame, "Reduce:max"),
	reduce("min", Selects, reduceSame, "Reduce:min"),
	reduce("all", Selects, reduceBool, "Reduce:and"),
	reduce("any", Selects, reduceBool, "Reduce:or"),
	{Name: "argmax", Doc: "index of the largest element, the lowest among equals; NaN counts at index 0 only", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Selects,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}, flagDefault("keepdims", false)}, Prims: []string{"ArgReduce:max"}, Infer: inferArgReduce},
	{Name: "argmin", Doc: "index of the smallest element, the lowest among equals; NaN counts at index 0 only", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Selects,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}, flagDefault("keepdims", false)}, Prims: []string{"ArgReduce:min"}, Infer: inferArgReduce},
	{Name: "logsumexp", Doc: "log of the sum of exponentials", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}, flagDefault("keepdims", false)}, Prims: []string{"LogSumExp"}, Infer: inferLogSumExp},
	{Name: "softmax", Doc: "softmax along an axis; precise keeps the sum in float32", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis, Default: N(-1)}, flagDefault("precise", false)}, Prims: []string{"Softmax"}, Infer: inferSoftmax},
	{Name: "cumsum", Doc: "running sum along an axis", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}, flagDefault("reverse", false), flagDefault("inclusive", true)}, Prims: []string{"Scan:sum"}, Infer: inferCumsum},

	// Order.
	{Name: "sort", Doc: "sorted along an axis", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Selects, Attrs: []AttrSpec{axisLast()}, Prims: []string{"Sort"}, Infer: inferSame},
	{Name: "argsort", Doc: "indices that sort along an axis", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Selects, Attrs: []AttrSpec{axisLast()}, Prims: []string{"ArgSort"}, Infer: inferIndices},
	{Name: "partition", Doc: "the element at kth is in its sorted place, smaller ones before it", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Selects,
		Attrs: []AttrSpec{{Name: "kth", Kind: KindPos}, axisLast()}, Prims: []string{"Partition"}, Infer: inferPartition},
	{Name: "argpartition", Doc: "indices that partition along an axis", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Selects,
		Attrs: []AttrSpec{{Name: "kth", Kind: KindPos}, axisLast()}, Prims: []string{"ArgPartition"}, Infer: inferPartition},

	// Indexing.
	{Name: "take", Doc: "rows of a by index: a[..., indices, ...] along axis", Operands: operands("a", "indices"), Results: 1, Launches: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}}, Prims: []string{"Gather"}, Infer: inferTake},
	{Name: "take_along_axis", Doc: "one element of a per index", Operands: operands("a", "indices"), Results: 1, Launches: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}}, Prims: []string{"GatherAxis"}, Infer: inferTakeAlong},
	{Name: "put_along_axis", Doc: "a with one element replaced per index", Operands: operands("a", "indices", "values"), Results: 1, Launches: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}}, Prims: []string{"ScatterAxis:none"}, Infer: inferPutAlong},
	{Name: "slice", Doc: "a[start:stop:strides] along the listed axes", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}, {Name: "start", Kind: KindPosList, Optional: true}, {Name: "stop", Kind: KindPosList, Optional: true},
			{Name: "strides", Kind: KindInts, Optional: true}}, Prims: []string{"Slice"}, Infer: inferSlice},
	{Name: "slice_update", Doc: "a with a[start:stop] along the listed axes replaced", Operands: operands("a", "update"), Results: 1, Launches: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}, {Name: "start", Kind: KindPosList, Optional: true}, {Name: "stop", Kind: KindPosList, Optional: true},
			{Name: "strides", Kind: KindInts, Optional: true}}, Prims: []string{"SliceUpdate:none"}, Infer: inferSliceUpdate},
	{Name: "slice_update_dynamic", Doc: "a with update written from the positions in start [len(axis)]", Operands: operands("a", "update", "start"), Results: 1, Launches: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}}, Prims: []string{"DynamicSliceUpdate"}, Infer: inferSliceUpdateDynamic},

	// Views and layout.
	{Name: "reshape", Doc: "the same elements in another shape", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "shape", Kind: KindInts}}, Prims: []string{"Reshape"}, Infer: inferReshape},
	{Name: "flatten", Doc: "axes start_axis to end_axis made one", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "start_axis", Kind: KindAxis}, {Name: "end_axis", Kind: KindAxis, Default: N(-1)}}, Prims: []string{"Flatten"}, Infer: inferFlatten},
	{Name: "unflatten", Doc: "one axis made several", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}, {Name: "shape", Kind: KindInts}}, Prims: []string{"Unflatten"}, Infer: inferUnflatten},
	{Name: "transpose", Doc: "axes permuted", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axes", Kind: KindInts}}, Prims: []string{"Transpose"}, Infer: inferTranspose},
	{Name: "expand_dims", Doc: "axes of length 1 added", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}}, Prims: []string{"ExpandDims"}, Infer: inferExpandDims},
	{Name: "squeeze", Doc: "axes of length 1 removed", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}}, Prims: []string{"Squeeze"}, Infer: inferSqueeze},
	{Name: "broadcast_to", Doc: "axes of length 1 repeated", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "shape", Kind: KindInts}}, Prims: []string{"Broadcast"}, Infer: inferBroadcastTo},
	{Name: "concatenate", Doc: "operands one after the other along an axis", Operands: operands("arrays"), Variadic: true, Results: 1, Launches: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxis}}, Prims: []string{"Concatenate"}, Infer: inferConcatenate},
	{Name: "view", Doc: "the same bytes as another element type", Operands: operands("a"), Results: 1, Numerics: Moves,
		Attrs: []AttrSpec{{Name: "dtype", Kind: KindDType}}, Prims: []string{"View"}, Infer: inferView},
	{Name: "contiguous", Doc: "a copied to row-major layout, if it is not", Operands: operands("a"), Results: 1, Launches: 1, Numerics: Moves, Infer: inferSame},

	// mlx.core.fast.
	{Name: "rms_norm", Doc: "x / sqrt(mean(x^2) + eps) * weight over the last axis, the mean in float32", Operands: operands("x", "weight?"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{{Name: "eps", Kind: KindFloat}}, Prims: []string{"RMSNorm"}, Infer: inferNorm},
	{Name: "layer_norm", Doc: "(x - mean) / sqrt(var + eps) * weight + bias over the last axis, in float32", Operands: operands("x", "weight?", "bias?"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{{Name: "eps", Kind: KindFloat}}, Prims: []string{"LayerNorm"}, Infer: inferNorm},
	{Name: "rope", Doc: "rotary position embedding of x [batch, heads, seq_len, head_dim] from position offset on", Operands: operands("x", "offset", "freqs?"), Results: 1, Launches: 1, Numerics: Rounds,
		Attrs: []AttrSpec{{Name: "dims", Kind: KindInt}, flagDefault("traditional", false), {Name: "base", Kind: KindFloat, Optional: true}, floatDefault("scale", 1)},
		Prims: []string{"RoPE"}, Infer: inferRope},
	// sdpa is mlx.core.fast.scaled_dot_product_attention over the first kv_len rows
	// of k and v (all of them if absent). mask "causal" lets query i of L see rows
	// up to kv_len-L+i; "window" the last window of these; "array" adds the operand
	// mask (or, if bool, keeps where it holds).
	{Name: "sdpa", Doc: "softmax(scale * q @ k.T + mask) @ v: q [b, h, l, d], k and v [b, g, n, d], g divides h", Operands: operands("q", "k", "v", "mask_array?", "sinks?"), Results: 1, Launches: 1, Numerics: Sums,
		Attrs: []AttrSpec{{Name: "scale", Kind: KindFloat}, {Name: "mask", Kind: KindWord, Default: Str("none"), Words: []string{"none", "causal", "window", "array"}},
			{Name: "window", Kind: KindInt, Optional: true}, {Name: "kv_len", Kind: KindInt, Optional: true}},
		Prims: []string{"ScaledDotProductAttention"}, Infer: inferSDPA},
	// gated_delta is ours too: mlx_lm/models/gated_delta.py, which has no op but a loop over
	// the tokens of a call. One result, so that it is an op like others: the outputs of the
	// steps, and the state after the last behind them.
	{Name: "gated_delta", Doc: "the gated delta rule over l tokens: q, k [b, l, hk, dk], v [b, l, hv, dv], g, beta [b, l, hv], state [b, hv, dv, dk] -> [b, hv, dv, l+dk] in float32",
		Operands: operands("q", "k", "v", "g", "beta", "state"), Results: 1, Launches: 1, Numerics: Sums, Infer: inferGatedDelta},
	// kv_append writes new rows behind the offset rows that a cache holds. Engines
	// and export lower it to a donated slice update; nothing writes into an input.
	{Name: "kv_append", Doc: "cache [b, g, capacity, d] with new [b, g, l, d] written at rows offset to offset+l", Operands: operands("cache", "new", "offset"), Results: 1, Launches: 1, Numerics: Moves,
		Infer: inferKVAppend},
}

func operands(names ...string) []Operand {
	ops := make([]Operand, len(names))
	for i, n := range names {
		ops[i].Name = n
		if n[len(n)-1] == '?' {
			ops[i] = Operand{n[:len(n)-1], true}
		}
	}
	return ops
}

func elementwise1(name string, n Numerics, infer func(*Call) ([]Type, error), prim string) *Op {
	return &Op{Name: name, Doc: name + " of each element", Operands: operands("a"), Results: 1, Elementwise: true, Launches: 1, Numerics: n, Prims: []string{prim}, Infer: infer}
}

func elementwise2(name string, commutative bool, n Numerics, infer func(*Call) ([]Type, error), prim string) *Op {
	return &Op{Name: name, Doc: name + " of matching elements, with broadcasting", Operands: operands("a", "b"), Results: 1, Commutative: commutative, Elementwise: true, Launches: 1,
		Numerics: n, Prims: []string{prim}, Infer: infer}
}

func reduce(name string, n Numerics, infer func(*Call) ([]Type, error), prim string) *Op {
	return &Op{Name: name, Doc: name + " over the listed axes", Operands: operands("a"), Results: 1, Launches: 1, Numerics: n, Prims: []string{prim},
		Attrs: []AttrSpec{{Name: "axis", Kind: KindAxes}, flagDefault("keepdims", false)}, Infer: infer}
}

func word(name string) AttrSpec { return AttrSpec{Name: name, Kind: KindWord} }
func intDefault(name string, n int64) AttrSpec {
	return AttrSpec{Name: name, Kind: KindInt, Default: N(n)}
}
func floatDefault(name string, v Float) AttrSpec {
	return AttrSpec{Name: name, Kind: KindFloat, Default: v}
}
func flagDefault(name string, v Flag) AttrSpec {
	return AttrSpec{Name: name, Kind: KindFlag, Default: v}
}
func axisLast() AttrSpec { return AttrSpec{Name: "axis", Kind: KindAxis, Default: N(-1)} }

// QuantModes are the quantization modes of MLX, in the order of its enum.
var QuantModes = []string{"affine", "mxfp4", "mxfp8", "nvfp4"}

func quantAttrs(more ...AttrSpec) []AttrSpec {
	return append(more,
		intDefault("group_size", 64),
		intDefault("bits", 4),
		AttrSpec{Name: "mode", Kind: KindWord, Default: Str("affine"), Words: QuantModes})
}

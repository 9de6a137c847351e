//go:build mlx

package mlx

import "zmlx-rewrite/graph"

// An emitter makes the MLX calls of one op, as mlx-lm makes them: a graph has
// mlx.core's names and conventions, so for nearly all of them that is one call.
// It is asked once for each node when a program is loaded, and returns what runs
// in each step.
type emitter func(n *node) emit

// emit adds one node to the lazy graph. in are the node's operands; absent ones
// are zero arrays.
type emit func(f *frame, in []array) array

// emitMany is emit for nodes with several results.
type emitMany func(f *frame, in []array) []array

// emitters has a function for every op of the op table that is not a leaf.
var emitters = map[string]emitter{
	"arange": arangeOf,

	"abs": unaryOp((*scope).abs), "arccos": unaryOp((*scope).arccos), "arccosh": unaryOp((*scope).arccosh),
	"arcsin": unaryOp((*scope).arcsin), "arcsinh": unaryOp((*scope).arcsinh), "arctan": unaryOp((*scope).arctan),
	"arctanh": unaryOp((*scope).arctanh), "ceil": unaryOp((*scope).ceil), "cos": unaryOp((*scope).cos),
	"cosh": unaryOp((*scope).cosh), "erf": unaryOp((*scope).erf), "erfinv": unaryOp((*scope).erfinv),
	"exp": unaryOp((*scope).exp), "expm1": unaryOp((*scope).expm1), "floor": unaryOp((*scope).floor),
	"log": unaryOp((*scope).log), "log10": unaryOp((*scope).log10), "log1p": unaryOp((*scope).log1p),
	"log2": unaryOp((*scope).log2), "logical_not": unaryOp((*scope).logicalNot), "negative": unaryOp((*scope).negative),
	"rsqrt": unaryOp((*scope).rsqrt), "sigmoid": unaryOp((*scope).sigmoid), "sign": unaryOp((*scope).sign),
	"sin": unaryOp((*scope).sin), "sinh": unaryOp((*scope).sinh), "sqrt": unaryOp((*scope).sqrt),
	"square": unaryOp((*scope).square), "tan": unaryOp((*scope).tan), "tanh": unaryOp((*scope).tanh),
	"contiguous": unaryOp((*scope).contiguous),
	"round":      func(*node) emit { return func(f *frame, in []array) array { return f.round(in[0], 0) } },
	"astype":     typed((*scope).astype), "view": typed((*scope).view),

	"add": binaryOp((*scope).add), "arctan2": binaryOp((*scope).arctan2), "bitwise_and": binaryOp((*scope).bitwiseAnd),
	"bitwise_or": binaryOp((*scope).bitwiseOr), "bitwise_xor": binaryOp((*scope).bitwiseXor), "divide": binaryOp((*scope).divide),
	"equal": binaryOp((*scope).equal), "floor_divide": binaryOp((*scope).floorDivide), "greater": binaryOp((*scope).greater),
	"greater_equal": binaryOp((*scope).greaterEqual), "left_shift": binaryOp((*scope).leftShift), "less": binaryOp((*scope).less),
	"less_equal": binaryOp((*scope).lessEqual), "logaddexp": binaryOp((*scope).logaddexp), "logical_and": binaryOp((*scope).logicalAnd),
	"logical_or": binaryOp((*scope).logicalOr), "maximum": binaryOp((*scope).maximum), "minimum": binaryOp((*scope).minimum),
	"multiply": binaryOp((*scope).multiply), "not_equal": binaryOp((*scope).notEqual), "power": binaryOp((*scope).power),
	"remainder": binaryOp((*scope).remainder), "right_shift": binaryOp((*scope).rightShift), "subtract": binaryOp((*scope).subtract),
	"matmul": binaryOp((*scope).matmul),
	"where":  func(*node) emit { return func(f *frame, in []array) array { return f.where(in[0], in[1], in[2]) } },

	"addmm": addmmOf, "gather_mm": gatherMMOf, "conv1d": conv1dOf,
	"quantized_matmul": quantizedMatmulOf, "gather_qmm": gatherQMMOf, "dequantize": dequantizeOf,

	"sum": reduction((*scope).sum), "prod": reduction((*scope).prod), "max": reduction((*scope).max), "min": reduction((*scope).min),
	"all": reduction((*scope).all), "any": reduction((*scope).any), "logsumexp": reduction((*scope).logsumexp),
	"argmax": argReduction((*scope).argmax), "argmin": argReduction((*scope).argmin),
	"softmax": softmaxOf, "cumsum": cumsumOf,

	"sort": along((*scope).sort), "argsort": along((*scope).argsort),
	"partition": partitioned((*scope).partition), "argpartition": partitioned((*scope).argpartition),

	"take": takeOf, "take_along_axis": takeAlongOf, "put_along_axis": putAlongOf,
	"slice": sliceOf, "slice_update": sliceUpdateOf, "slice_update_dynamic": sliceUpdateDynamicOf,

	"reshape": reshapeOf, "broadcast_to": broadcastOf, "flatten": flattenOf, "unflatten": unflattenOf,
	"transpose": transposeOf, "expand_dims": expandDimsOf, "squeeze": squeezeOf, "concatenate": concatenateOf,

	"rms_norm": rmsNormOf, "layer_norm": layerNormOf, "rope": ropeOf, "sdpa": sdpaOf, "kv_append": kvAppendOf,
	"gated_delta": gatedDeltaOf,
}

// manyEmitters are those of ops with several results.
var manyEmitters = map[string]func(n *node) emitMany{"quantize": quantizeOf}

// Families of ops that differ in the function only.

func unaryOp(op func(*scope, array) array) emitter {
	return func(*node) emit { return func(f *frame, in []array) array { return op(f.scope, in[0]) } }
}

func binaryOp(op func(*scope, array, array) array) emitter {
	return func(*node) emit { return func(f *frame, in []array) array { return op(f.scope, in[0], in[1]) } }
}

func typed(op func(*scope, array, graph.DType) array) emitter {
	return func(n *node) emit {
		t := n.Attr("dtype").(graph.DType)
		return func(f *frame, in []array) array { return op(f.scope, in[0], t) }
	}
}

func reduction(op func(*scope, array, []int, bool) array) emitter {
	return func(n *node) emit {
		axes, keep := n.numbers("axis"), n.flag("keepdims")
		return func(f *frame, in []array) array { return op(f.scope, in[0], axes, keep) }
	}
}

func argReduction(op func(*scope, array, int, bool) array) emitter {
	return func(n *node) emit {
		axis, keep := n.number("axis"), n.flag("keepdims")
		return func(f *frame, in []array) array { return op(f.scope, in[0], axis, keep) }
	}
}

func along(op func(*scope, array, int) array) emitter {
	return func(n *node) emit {
		axis := n.number("axis")
		return func(f *frame, in []array) array { return op(f.scope, in[0], axis) }
	}
}

func partitioned(op func(*scope, array, int, int) array) emitter {
	return func(n *node) emit {
		kth, axis := n.dim("kth"), n.number("axis")
		return func(f *frame, in []array) array { return op(f.scope, in[0], kth.in(f), axis) }
	}
}

func arangeOf(n *node) emit {
	start, stop, step, t := n.dim("start"), n.dim("stop"), n.dim("step"), n.Attr("dtype").(graph.DType)
	return func(f *frame, in []array) array {
		return f.arange(float64(start.in(f)), float64(stop.in(f)), float64(step.in(f)), t)
	}
}

func softmaxOf(n *node) emit {
	axis, precise := []int{n.number("axis")}, n.flag("precise")
	return func(f *frame, in []array) array { return f.softmax(in[0], axis, precise) }
}

func cumsumOf(n *node) emit {
	axis, reverse, inclusive := n.number("axis"), n.flag("reverse"), n.flag("inclusive")
	return func(f *frame, in []array) array { return f.cumsum(in[0], axis, reverse, inclusive) }
}

// Products.

func addmmOf(n *node) emit {
	alpha, beta := n.float("alpha"), n.float("beta")
	return func(f *frame, in []array) array { return f.addmm(in[0], in[1], in[2], alpha, beta) }
}

func gatherMMOf(n *node) emit {
	sorted := n.flag("sorted_indices")
	return func(f *frame, in []array) array { return f.gatherMM(in[0], in[1], in[2], in[3], sorted) }
}

func quantizedMatmulOf(n *node) emit {
	q, transpose := n.quantization(), n.flag("transpose")
	return func(f *frame, in []array) array {
		return f.quantizedMatmul(in[0], in[1], in[2], in[3], transpose, q)
	}
}

func gatherQMMOf(n *node) emit {
	q, transpose, sorted := n.quantization(), n.flag("transpose"), n.flag("sorted_indices")
	return func(f *frame, in []array) array {
		return f.gatherQMM(in[0], in[1], in[2], in[3], in[4], in[5], transpose, sorted, q)
	}
}

func conv1dOf(n *node) emit {
	stride, padding, dilation, groups := n.number("stride"), n.number("padding"), n.number("dilation"), n.number("groups")
	return func(f *frame, in []array) array { return f.conv1d(in[0], in[1], stride, padding, dilation, groups) }
}

func dequantizeOf(n *node) emit {
	q := n.quantization()
	return func(f *frame, in []array) array { return f.dequantize(in[0], in[1], in[2], q, graph.NoDType) }
}

func quantizeOf(n *node) emitMany {
	q := quantization{mode: "affine", groupSize: n.number("group_size"), bits: n.number("bits")}
	return func(f *frame, in []array) []array {
		packed, scales, biases := f.quantize(in[0], q)
		return []array{packed, scales, biases}
	}
}

// Indexing. MLX reads and writes wherever an index points, so those whose values
// are known here are checked here. An index that the graph computed is trusted.

func takeOf(n *node) emit {
	axis := n.number("axis")
	indices, length := n.In[1], n.length(0, axis)
	return func(f *frame, in []array) array {
		if !f.within("take", indices, length.in(f)) {
			return array{}
		}
		return f.takeAxis(in[0], in[1], axis)
	}
}

func takeAlongOf(n *node) emit {
	axis := n.number("axis")
	indices, length := n.In[1], n.length(0, axis)
	return func(f *frame, in []array) array {
		if !f.within("take_along_axis", indices, length.in(f)) {
			return array{}
		}
		return f.takeAlongAxis(in[0], in[1], axis)
	}
}

func putAlongOf(n *node) emit {
	axis := n.number("axis")
	indices, length := n.In[1], n.length(0, axis)
	return func(f *frame, in []array) array {
		if !f.within("put_along_axis", indices, length.in(f)) {
			return array{}
		}
		return f.putAlongAxis(in[0], in[1], in[2], axis)
	}
}

func sliceOf(n *node) emit {
	start, stop, step := n.spans()
	return func(f *frame, in []array) array { return f.slice(in[0], start.in(f), stop.in(f), step) }
}

func sliceUpdateOf(n *node) emit {
	start, stop, step := n.spans()
	return func(f *frame, in []array) array { return f.sliceUpdate(in[0], in[1], start.in(f), stop.in(f), step) }
}

func sliceUpdateDynamicOf(n *node) emit {
	axes, whole, update := n.numbers("axis"), n.shape(0), n.shape(1)
	start := n.In[2]
	return func(f *frame, in []array) array {
		whole, update := whole.in(f), update.in(f)
		at := f.host[start].values
		for i, a := range axes {
			size := 1 // of the update along the axis
			if -a <= len(update) {
				size = update[len(update)+a]
			}
			if n := whole[len(whole)+a]; i < len(at) && (at[i] < 0 || at[i]+int64(size) > int64(n)) {
				return f.refuse("slice_update", "position %d and a length of %d leave an axis of %d", at[i], size, n)
			}
		}
		return f.sliceUpdateDynamic(in[0], in[1], in[2], axes)
	}
}

// Views.

func reshapeOf(n *node) emit {
	shape := n.dims("shape")
	return func(f *frame, in []array) array { return f.reshape(in[0], shape.in(f)) }
}

func broadcastOf(n *node) emit {
	shape := n.dims("shape")
	return func(f *frame, in []array) array { return f.broadcastTo(in[0], shape.in(f)) }
}

func flattenOf(n *node) emit {
	start, end := n.number("start_axis"), n.number("end_axis")
	return func(f *frame, in []array) array { return f.flatten(in[0], start, end) }
}

func unflattenOf(n *node) emit {
	axis, shape := n.number("axis"), n.dims("shape")
	return func(f *frame, in []array) array { return f.unflatten(in[0], axis, shape.in(f)) }
}

func transposeOf(n *node) emit {
	axes := n.numbers("axes")
	return func(f *frame, in []array) array { return f.transpose(in[0], axes) }
}

func expandDimsOf(n *node) emit {
	axes := n.numbers("axis")
	return func(f *frame, in []array) array { return f.expandDims(in[0], axes) }
}

func squeezeOf(n *node) emit {
	axes := n.numbers("axis")
	return func(f *frame, in []array) array { return f.squeeze(in[0], axes) }
}

func concatenateOf(n *node) emit {
	axis := n.number("axis")
	return func(f *frame, in []array) array { return f.concatenate(in, axis) }
}

// mlx.core.fast, and caches.

func rmsNormOf(n *node) emit {
	eps := n.float("eps")
	return func(f *frame, in []array) array { return f.rmsNorm(in[0], in[1], eps) }
}

func layerNormOf(n *node) emit {
	eps := n.float("eps")
	return func(f *frame, in []array) array { return f.layerNorm(in[0], in[1], in[2], eps) }
}

// ropeOf gives MLX the offset as a number where it is known: mlx-lm does, and the
// Metal kernel for one row asks for it.
func ropeOf(n *node) emit {
	args := ropeArgs{dims: n.number("dims"), traditional: n.flag("traditional"), base: n.float("base"), scale: n.float("scale")}
	offset, scalar := n.In[1], n.types[1].Rank() == 0
	return func(f *frame, in []array) array {
		a := args
		a.freqs = in[2]
		if at := f.host[offset].values; scalar && len(at) == 1 {
			if at[0] != int64(int32(at[0])) {
				return f.refuse("rope", "offset %d", at[0])
			}
			a.offset = int(at[0])
		} else {
			a.at = in[1]
		}
		return f.rope(in[0], a)
	}
}

// sdpaOf attends to the first kv_len rows of the caches, as mlx-lm does with the
// slices that KVCache.update_and_fetch returns.
func sdpaOf(n *node) emit {
	scale, mask := n.float("scale"), n.str("mask")
	window := 0
	if mask == "window" {
		window = n.number("window")
	}
	queries, rows := n.length(0, -2), n.length(1, -2)
	kvLen := rows
	if n.Attr("kv_len") != nil {
		kvLen = n.dim("kv_len")
	}
	kShape, vShape := n.shape(1), n.shape(2)
	return func(f *frame, in []array) array {
		k, v := in[1], in[2]
		if length, rows := kvLen.in(f), rows.in(f); length > rows {
			return f.refuse("sdpa", "kv_len is %d, but k has %d rows", length, rows)
		} else if length < rows {
			k, v = f.firstRows(k, kShape, length), f.firstRows(v, vShape, length)
		}
		if mask == "window" && kvLen.in(f) <= window { // create_attention_mask: no row is outside
			return f.sdpa(in[0], k, v, scale, "causal", array{}, in[4])
		}
		switch mask {
		case "causal":
			return f.sdpa(in[0], k, v, scale, "causal", array{}, in[4])
		case "array":
			return f.sdpa(in[0], k, v, scale, "array", in[3], in[4])
		case "window":
			return f.sdpa(in[0], k, v, scale, "array", f.windowMask(queries.in(f), kvLen.in(f), window), in[4])
		}
		return f.sdpa(in[0], k, v, scale, "", array{}, in[4])
	}
}

// firstRows is a[..., :rows, :].
func (f *frame) firstRows(a array, shape dims, rows int) array {
	stop := shape.in(f)
	stop = f.some(stop...) // shape may be the node's own
	stop[len(stop)-2] = rows
	return f.slice(a, f.some(make([]int, len(stop))...), stop, nil)
}

// windowMask is mlx-lm's create_causal_mask with a window: query i of n stands at
// row kvLen-n+i. A window of kvLen rows is as good as any larger one, whose sums
// might not fit.
func (f *frame) windowMask(n, kvLen, window int) array {
	rows := f.expandDims(f.arange(0, float64(kvLen), 1, graph.Int32), []int{0})
	at := f.expandDims(f.arange(float64(kvLen-n), float64(kvLen), 1, graph.Int32), []int{1})
	causal := f.greaterEqual(at, rows)
	return f.bitwiseAnd(causal, f.less(at, f.add(rows, f.constant(int32(min(window, kvLen))))))
}

// kvAppendOf is KVCache.update_and_fetch: keys[..., offset:offset+l, :] = new. MLX
// writes into the cache's own memory if nothing else holds the cache by the time
// that it is evaluated.
func kvAppendOf(n *node) emit {
	cache, rows, offset := n.shape(0), n.length(1, -2), n.In[2]
	return func(f *frame, in []array) array {
		stop, l := f.some(cache.in(f)...), rows.in(f)
		at, ok := f.value(offset, in[2])
		if capacity := stop[2]; !ok {
			return array{}
		} else if at < 0 || at > capacity-l {
			return f.refuse("kv_append", "rows %d to %d do not fit a cache of %d rows", at, at+l, capacity)
		}
		start := f.some(0, 0, at, 0)
		stop[2] = at + l
		return f.sliceUpdate(in[0], in[1], start, stop, nil)
	}
}

package mlxfn

import (
	"slices"
	"strconv"
	"strings"
)

// Releases lists the MLX releases whose layouts the table below states. They were
// read off the headers of each release's wheel and checked against files that it
// wrote (probes-*.tar.gz in testdata), and the names by asking it to import each. A development build ("0.32.5.dev2026...") is none of them.
var Releases = []string{"0.31.2", "0.32.0", "0.32.1", "0.32.2", "0.32.3", "0.32.4"}

// metadataSince is the first release whose header ends with a metadata string.
const metadataSince = "0.32.1"

// Primitive is a row of the table: a primitive that MLX can serialize.
type Primitive struct {
	Name   string
	In     Arity  // number of inputs
	Out    Arity  // number of outputs
	Since  string // first release that has it; "" means all in the table
	Fields []FieldSpec
}

// Arity is an inclusive range. Max -1 means no limit.
type Arity struct{ Min, Max int }

func (a Arity) holds(n int) bool { return n >= a.Min && (a.Max < 0 || n <= a.Max) }

func (a Arity) String() string {
	switch {
	case a.Max < 0:
		return strconv.Itoa(a.Min) + " or more"
	case a.Min == a.Max:
		return strconv.Itoa(a.Min)
	}
	return strconv.Itoa(a.Min) + " to " + strconv.Itoa(a.Max)
}

// Enumerations of MLX, by number. Their orders differ from class to class.
var (
	quantModes   = []string{"affine", "mxfp4", "mxfp8", "nvfp4"}
	argReduces   = []string{"ArgMin", "ArgMax"}
	bitOps       = []string{"And", "Or", "Xor", "LeftShift", "RightShift"}
	logBases     = []string{"two", "ten", "e"}
	reduces      = []string{"And", "Or", "Sum", "Prod", "Min", "Max"}
	scans        = []string{"Max", "Min", "Sum", "Prod", "LogAddExp"}
	updates      = []string{"Max", "Min", "Sum", "Prod", "None"}
	axisScatters = []string{"Sum", "None"}
	mathModes    = []string{"Safe", "Relaxed", "Fast"}
)

// The table: every primitive of MLX's PrimitiveFactory with the members of its
// state() in order, and the mlx.core function that it is the trace of. Where one
// primitive serves several functions, the comment says which field decides.
//
// In MLX but not serializable, and so not here: BitwiseInvert (bitwise_invert),
// Compiled, Contiguous, ConvertFP8 (to_fp8, from_fp8), CrossEntropy, CustomTransforms
// (custom_function, checkpoint), GatedDeltaUpdate, GatherQQMM, Load, LUF, QQMatmul,
// SegmentedMM, ScaledDotProductAttentionVJP and the distributed ones.
var table = rows(
	op1("Abs"), // abs
	op2("Add"), // add
	row("AddMM", 3, 1, f32("alpha"), f32("beta")),               // addmm; inputs a, b, c
	row("Arange", 0, 1, f64("start"), f64("stop"), f64("step")), // arange
	op1("ArcCos"),  // arccos
	op1("ArcCosh"), // arccosh
	op1("ArcSin"),  // arcsin
	op1("ArcSinh"), // arcsinh
	op1("ArcTan"),  // arctan
	op2("ArcTan2"), // arctan2
	op1("ArcTanh"), // arctanh
	op1("ArgPartition", num("kth"), num("axis")),                      // argpartition; kth counted from 0
	op1("ArgReduce", enum("type", argReduces), num("axis")),           // argmin, argmax: type. The reduced axis stays, a Squeeze follows
	op1("ArgSort", num("axis")),                                       // argsort
	op1("AsType", dtype("dtype")),                                     // astype, and every promotion
	op1("AsStrided", ints("shape"), longs("strides"), size("offset")), // as_strided; in elements
	op2("BitwiseBinary", enum("op", bitOps)),                          // bitwise_and, bitwise_or, bitwise_xor, left_shift, right_shift: op
	row("BlockMaskedMM", 0, 1, num("block_size")).in(2, 5),            // block_masked_mm; inputs a, b, then the masks that are given
	row("Broadcast", 0, 1, ints("shape")).in(1, -1),                   // broadcast_to, and every implicit one; inputs after the first only in shapeless traces
	row("BroadcastAxes", 0, 1, ints("ignore_axes")).in(1, -1),         // broadcasting of all but some axes (matmul, gather), shapeless traces only
	op1("Ceil"),                                     // ceil
	row("Cholesky", 1, 1, boolean("upper")),         // linalg.cholesky
	row("Concatenate", 0, 1, num("axis")).in(1, -1), // concatenate, stack after ExpandDims
	op1("Conjugate"),                                // conjugate
	row("Convolution", 2, 1, ints("stride"), ints("padding_lo"), ints("padding_hi"), ints("kernel_dilation"), ints("input_dilation"), num("groups"), boolean("flip")), // conv1d, conv2d, conv3d, conv_general, conv_transpose*: the input's rank, input_dilation
	op1("Copy"), // copy, in C++ only; MLX simplifies it away before it writes a file
	op1("Cos"),  // cos
	op1("Cosh"), // cosh
	row("CustomKernel", 0, 0, text("name"), text("source"), dim3("grid"), dim3("threadgroup"),
		FieldSpec{Name: "shape_infos", Kind: ShapeUses}, boolean("ensure_row_contiguous"),
		FieldSpec{Name: "init_value", Kind: OptFloat}, FieldSpec{Name: "scalar_arguments", Kind: ScalarArgs},
		boolean("is_precompiled"), num("shared_memory"),
		enum("math_mode", mathModes).since("0.32.0", "Safe")).in(0, -1).out(1, -1), // fast.metal_kernel, fast.cuda_kernel, fast.precompiled_cuda_kernel: source, is_precompiled
	row("Depends", 0, 0).in(1, -1).out(1, -1), // depends
	op2("Divide"),       // divide; before 0.32.4 also floor_divide: a Floor follows for floats, nothing for integers
	row("DivMod", 2, 2), // divmod; outputs quotient, remainder
	row("DynamicSlice", 2, 1, ints("axes"), ints("slice_size")),                         // slice; inputs a, start
	row("DynamicSliceUpdate", 3, 1, ints("axes")),                                       // slice_update; inputs a, update, start
	row("Eig", 0, 0, boolean("compute_eigenvectors")).in(1, 1).out(1, 2),                // linalg.eig, linalg.eigvals: compute_eigenvectors
	row("Eigh", 0, 0, text("uplo"), boolean("compute_eigenvectors")).in(1, 1).out(1, 2), // linalg.eigh, linalg.eigvalsh: compute_eigenvectors
	op2("Equal", boolean("equal_nan")),                                                  // equal; array_equal(equal_nan=True) before an all
	op1("Erf"),                                                                          // erf
	op1("ErfInv"),                                                                       // erfinv
	op1("Exp"),                                                                          // exp
	op1("ExpandDims", ints("axes")),                                                     // expand_dims
	op1("Expm1"),                                                                        // expm1
	op1("FFT", FieldSpec{Name: "axes", Kind: Sizes}, boolean("inverse"), boolean("real"), boolean("odd_out").since("0.32.4", false)), // fft.fftn, ifftn, rfftn, irfftn and their 1-d and 2-d forms: inverse, real
	op1("Flatten", num("start_axis"), num("end_axis")), // flatten
	op1("Floor"),                       // floor
	op2("FloorDivide").since("0.32.4"), // floor_divide
	op1("Full"),                        // full, zeros, ones: input is the broadcast value
	row("Gather", 0, 1, ints("axes"), ints("slice_sizes")).in(1, -1),       // take, indexing by arrays; inputs a, then one index array per axis
	row("GatherAxis", 2, 1, num("axis")),                                   // take_along_axis; inputs a, indices
	row("GatherMM", 4, 1, boolean("left_sorted"), boolean("right_sorted")), // gather_mm; inputs a, b, lhs_indices, rhs_indices
	row("GatherQMM", 0, 1, num("group_size"), num("bits"), enum("mode", quantModes), boolean("transpose"), boolean("left_sorted"), boolean("right_sorted")).in(5, 7), // gather_qmm; inputs x, w, scales, [biases], lhs_indices, rhs_indices; one more for a global_scale (from 0.32.3, GPU)
	op2("Greater"),                // greater
	op2("GreaterEqual"),           // greater_equal
	op1("Hadamard", f32("scale")), // hadamard_transform
	op1("Imag"),                   // imag
	row("Inverse", 1, 1, boolean("tri"), boolean("upper")), // linalg.inv, linalg.tri_inv: tri
	row("LayerNorm", 3, 1, f32("eps")),                     // fast.layer_norm on a GPU; inputs x, weight, bias (a 1 and a 0 of rank 0 where not given)
	row("LayerNormVJP", 4, 3, f32("eps")),                  // gradient of fast.layer_norm; inputs x, weight, bias, cotangent
	op2("Less"),                                            // less
	op2("LessEqual"),                                       // less_equal
	op1("Log", enum("base", logBases)),                     // log2, log10, log: base
	op1("Log1p"),                                           // log1p
	op2("LogAddExp"),                                       // logaddexp
	op2("LogicalAnd"),                                      // logical_and
	op1("LogicalNot"),                                      // logical_not
	op2("LogicalOr"),                                       // logical_or
	op1("LogSumExp"),                                       // logsumexp over the last axis; keeps it
	row("MaskedScatter", 3, 1),                             // a[mask] = b; inputs a, mask, b
	op2("Matmul"),                                          // matmul
	op2("Maximum"),                                         // maximum
	op2("Minimum"),                                         // minimum
	op2("Multiply"),                                        // multiply
	op1("Negative"),                                        // negative
	op2("NotEqual"),                                        // not_equal
	op1("NumberOfElements", ints("axes"), boolean("inverted"), dtype("dtype")), // the divisor of mean and var in shapeless traces
	row("Pad", 2, 1, ints("axes"), ints("low"), ints("high")),                  // pad; inputs a, value
	op1("Partition", num("kth"), num("axis")),                                  // partition, topk after a Slice
	op2("Power"),     // power
	row("QRF", 1, 2), // linalg.qr
	row("Quantize", 0, 0, num("group_size"), num("bits"), enum("mode", quantModes), boolean("dequantize")).in(1, 4).out(1, 3), // quantize, dequantize: dequantize; inputs w, [global_scale] or w, scales, [biases], [global_scale]. The CPU has quantize in affine mode only, the rest is decomposed
	row("QuantizedMatmul", 0, 1, num("group_size"), num("bits"), enum("mode", quantModes), boolean("transpose")).in(3, 5),     // quantized_matmul; inputs x, w, scales, [biases]; room for a global_scale
	op1("RandomBits", ints("shape"), num("width")), // random.bits, under every other random function; input key, width in bytes
	op1("Real"), // real
	op1("Reduce", enum("type", reduces), ints("axes")), // all, any, sum, prod, min, max: type. Reduced axes stay, a Squeeze follows
	op2("Remainder"),                    // remainder
	op1("Reshape", ints("shape")),       // reshape
	row("RMSNorm", 2, 1, f32("eps")),    // fast.rms_norm on a GPU; inputs x, weight (a 1 of rank 0 if not given)
	row("RMSNormVJP", 3, 2, f32("eps")), // gradient of fast.rms_norm; inputs x, weight, cotangent
	row("RoPE", 0, 1, num("dims"), boolean("traditional"), f32("base"), f32("scale"), boolean("forward")).in(2, 3), // fast.rope on a GPU; inputs x, offset, [freqs]
	op1("Round"), // round; decimals are a Multiply and a Divide around it
	row("ScaledDotProductAttention", 0, 0, f32("scale"), boolean("do_causal"), boolean("has_sinks"), boolean("output_logsumexp"),
		boolean("force_fused").since("0.32.2", false)).in(3, 5).out(1, 2), // fast.scaled_dot_product_attention on a GPU; inputs q, k, v, [mask], [sinks]
	op1("Scan", enum("type", scans), num("axis"), boolean("reverse"), boolean("inclusive")), // cummax, cummin, cumsum, cumprod: type. logcumsumexp cannot be exported
	row("Scatter", 0, 1, enum("type", updates), ints("axes")).in(2, -1),                     // a[i] = b, array.at[i].maximum, minimum, add, multiply: type; inputs a, one index array per axis, updates
	row("ScatterAxis", 3, 1, enum("type", axisScatters), num("axis")),                       // put_along_axis: None; gradient of take_along_axis: Sum; inputs a, indices, updates
	row("SearchSorted", 2, 1, boolean("right")).since("0.32.1"),                             // searchsorted; inputs a, v
	row("Select", 3, 1), // where; inputs condition, x, y
	op1("Sigmoid"),      // sigmoid
	op1("Sign"),         // sign
	op1("Sin"),          // sin
	op1("Sinh"),         // sinh
	op1("Slice", ints("start"), ints("end"), ints("strides")),                                    // slices with numbers; one of each per axis
	row("SliceUpdate", 2, 1, enum("type", updates), ints("start"), ints("end"), ints("strides")), // slices set (None) or combined by array.at; the type was added in 0.31.2; inputs a, update
	op1("Softmax", boolean("precise")),                                                           // softmax over the last axis
	op1("Sort", num("axis")),                                                                     // sort
	row("Split", 0, 0, ints("indices"), num("axis")).in(1, 1).out(1, -1),                         // split, unstack before Squeezes; one more output than indices
	op1("Sqrt", boolean("reciprocal")),                                                           // sqrt, rsqrt: reciprocal
	op1("Square"),                                                                                // square
	op1("Squeeze", ints("axes")),                                                                 // squeeze
	op1("StopGradient"),                                                                          // stop_gradient; MLX simplifies it away before it writes a file
	op2("Subtract"),                                                                              // subtract
	row("SVD", 0, 0, boolean("compute_uv")).in(1, 1).out(1, 3),                                   // linalg.svd; outputs U, S, Vt, or S
	op1("Tan"),                     // tan
	op1("Tanh"),                    // tanh
	op1("Transpose", ints("axes")), // transpose, swapaxes, moveaxis
	op1("Unflatten", num("axis"), ints("shape")), // unflatten
	op1("View", dtype("dtype")),                  // array.view
)

// Constructors, so that a row of the table fits on a line.

func row(name string, in, out int, fields ...FieldSpec) Primitive {
	return Primitive{Name: name, In: Arity{in, in}, Out: Arity{out, out}, Fields: fields}
}
func op1(name string, fields ...FieldSpec) Primitive { return row(name, 1, 1, fields...) }
func op2(name string, fields ...FieldSpec) Primitive { return row(name, 2, 1, fields...) }

func (p Primitive) in(low, high int) Primitive     { p.In = Arity{low, high}; return p }
func (p Primitive) out(low, high int) Primitive    { p.Out = Arity{low, high}; return p }
func (p Primitive) since(release string) Primitive { p.Since = release; return p }

func num(name string) FieldSpec     { return FieldSpec{Name: name, Kind: Int} }
func boolean(name string) FieldSpec { return FieldSpec{Name: name, Kind: Bool} }
func f32(name string) FieldSpec     { return FieldSpec{Name: name, Kind: Float} }
func f64(name string) FieldSpec     { return FieldSpec{Name: name, Kind: Double} }
func text(name string) FieldSpec    { return FieldSpec{Name: name, Kind: String} }
func dtype(name string) FieldSpec   { return FieldSpec{Name: name, Kind: DType} }
func ints(name string) FieldSpec    { return FieldSpec{Name: name, Kind: Ints} }
func longs(name string) FieldSpec   { return FieldSpec{Name: name, Kind: Longs} }
func size(name string) FieldSpec    { return FieldSpec{Name: name, Kind: Size} }
func dim3(name string) FieldSpec    { return FieldSpec{Name: name, Kind: Dim3} }

func enum(name string, names []string) FieldSpec {
	return FieldSpec{Name: name, Kind: Enum, Names: names}
}

func (f FieldSpec) since(release string, absent any) FieldSpec {
	f.Since, f.Default = release, absent
	return f
}

func rows(all ...Primitive) map[string]*Primitive {
	m := make(map[string]*Primitive, len(all))
	for k := range all {
		m[all[k].Name] = &all[k]
	}
	return m
}

// Primitives returns the table's rows by name, sorted.
func Primitives() []Primitive {
	all := make([]Primitive, 0, len(table))
	for _, p := range table {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b Primitive) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// layout is the table as one release writes it.
type layout struct {
	version  string
	metadata bool
	rows     map[string]*Primitive // Fields cut to those of the release
}

// layoutOf returns the layout of a release of the table.
func layoutOf(release string) *layout { return layouts[slices.Index(Releases, release)] }

// newest is the layout that proofs of other releases try.
func newest() *layout { return layouts[len(layouts)-1] }

var layouts = func() []*layout {
	var all []*layout
	for n, release := range Releases {
		has := func(since string) bool { return since == "" || slices.Index(Releases, since) <= n }
		l := &layout{version: release, metadata: has(metadataSince), rows: map[string]*Primitive{}}
		for name, p := range table {
			if !has(p.Since) {
				continue
			}
			cut := *p
			cut.Fields = slices.DeleteFunc(slices.Clone(p.Fields), func(f FieldSpec) bool { return !has(f.Since) })
			l.rows[name] = &cut
		}
		all = append(all, l)
	}
	return all
}()

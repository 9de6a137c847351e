package models

import (
	"maps"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
)

// Quantization is the block "quantization" of an MLX config.json.
type Quantization struct {
	Default QuantSpec
	// Modules says what differs by module path. A nil entry is a module that is
	// not quantized.
	Modules map[string]*QuantSpec
	// Skip are modules that are not quantized, with all below them, in files that were not
	// made by MLX. A * stands for one name. mlx-lm looks at the weights instead.
	Skip []string
}

// of returns how a module is quantized as far as the configuration says; named is false
// where that is the default.
func (q *Quantization) of(module string) (spec *QuantSpec, named bool) {
	if spec, named = q.Modules[module]; named {
		return spec, true
	}
	names := strings.Split(module, ".")
	for _, s := range q.Skip {
		pattern := strings.Split(s, ".")
		same := len(pattern) <= len(names)
		for i := 0; same && i < len(pattern); i++ {
			same = pattern[i] == "*" || pattern[i] == names[i]
		}
		if same {
			return nil, false
		}
	}
	return &q.Default, false
}

// QuantSpec is how one matrix is quantized.
type QuantSpec struct {
	Mode      string // one of graph.QuantModes
	Bits      int
	GroupSize int
}

// quantDefaults are bits and group size of each mode where a file leaves them out
// (mlx.nn, _defaults_for_mode). Modes other than affine allow no other.
var quantDefaults = map[string]QuantSpec{
	"affine": {"affine", 4, 64},
	"mxfp4":  {"mxfp4", 4, 32},
	"nvfp4":  {"nvfp4", 4, 16},
	"mxfp8":  {"mxfp8", 8, 32},
}

func readQuantization(f *fields) *Quantization {
	if q := f.object("quantization"); q != nil {
		return q.quantization()
	}
	// Checkpoints that were not made by MLX: the block names the method of whoever
	// made them. mlx_lm.convert copies its own block there too, without a method.
	q := f.object("quantization_config")
	if q == nil {
		return nil
	}
	if !q.has("quant_method") {
		return q.quantization()
	}
	switch method := q.textOr("quant_method", ""); method {
	case "mxfp4", "mxfp8":
		return &Quantization{Default: quantDefaults[method], Skip: q.texts("modules_to_not_convert")}
	default:
		q.fail("quant_method", "unsupported", "%q is not supported", method).
			WithHint("supported: mxfp4, mxfp8; convert the original model with mlx_lm.convert -q")
		return nil
	}
}

func (f *fields) quantization() *Quantization {
	for _, key := range []string{"group_size", "bits"} {
		f.missing(key)
	}
	if len(f.values) > maxModules {
		f.fail("", "invalid", "has %d entries; no model has so many modules", len(f.values))
		return nil
	}
	q := &Quantization{Default: f.quantSpec(), Modules: map[string]*QuantSpec{}}
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		v := f.values[key]
		switch {
		case key == "group_size" || key == "bits" || key == "mode":
		case string(v.raw) == "false":
			q.Modules[key] = nil
		case string(v.raw) == "true":
			q.Modules[key] = &q.Default
		case v.raw[0] == '{':
			s := f.object(key).quantSpec()
			q.Modules[key] = &s
		}
		// Anything else ("quant_method": null, "linear_class") is no module's.
	}
	return q
}

func (f *fields) quantSpec() QuantSpec {
	mode := f.textOr("mode", "affine")
	d, ok := quantDefaults[mode]
	if !ok {
		f.fail("mode", "invalid", "mode %q is not one of affine, mxfp4, mxfp8, nvfp4", mode)
		return quantDefaults["affine"]
	}
	s := QuantSpec{mode, f.intOr("bits", d.Bits, 2, 8), f.intOr("group_size", d.GroupSize, 16, 128)}
	switch {
	case mode != "affine" && s != d:
		f.fail("mode", "invalid", "mode %s has %d bits in groups of %d, not %d in groups of %d", mode, d.Bits, d.GroupSize, s.Bits, s.GroupSize)
		return d
	case s.Bits == 7:
		f.fail("bits", "invalid", "must be 2, 3, 4, 5, 6 or 8, not 7")
		return d
	case mode == "affine" && !slices.Contains([]int{32, 64, 128}, s.GroupSize):
		f.fail("group_size", "invalid", "must be 32, 64 or 128, not %d", s.GroupSize)
		return d
	}
	return s
}

// inferQuant recovers how saved weights were packed from their types, for a
// module that the configuration does not name (mlx_lm.utils.infer_quant_config).
// columns is the unpacked length of the last axis.
func inferQuant(weight, scales graph.Type, columns int) (QuantSpec, bool) {
	packed, okW := weight.Dim(-1)
	groups, okS := scales.Dim(-1)
	if !okW || !okS || groups.Is(0) {
		return QuantSpec{}, false
	}
	s := QuantSpec{"affine", packed.Int() * 32 / columns, columns / groups.Int()}
	if scales.DType == graph.Uint8 {
		for _, mode := range []string{"nvfp4", "mxfp4", "mxfp8"} {
			if d := quantDefaults[mode]; s.Bits == d.Bits && s.GroupSize == d.GroupSize {
				return d, true
			}
		}
		return s, false
	}
	return s, s.Bits >= 2 && s.Bits <= 8 && s.Bits != 7 && slices.Contains([]int{32, 64, 128}, s.GroupSize)
}

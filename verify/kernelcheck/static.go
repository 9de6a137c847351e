package kernelcheck

import (
	"context"
	"errors"
	"fmt"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Architectures are the NVIDIA GPUs that sources are compiled for: A100, H100 and RTX 50.
// A source is the same text for all, so that the first is enough for most sets of types.
var Architectures = []string{"sm_80", "sm_90a", "sm_120a"}

// Types checks a source as Metal, for every set of element types that its spec allows, with
// small inputs in the constant address space and without, and once as it is launched. The error is the source's
// fault, or ErrNoClang.
func Types(ctx context.Context, s *kernels.Spec) (units int, err error) {
	for _, t := range samples(s, 0) {
		v, err := t.Values()
		if err != nil {
			return units, err
		}
		for _, small := range []bool{false, true} {
			if err := ctx.Err(); err != nil {
				return units, err
			}
			text, err := s.MetalCheckUnit(v, t.ResultTypes(), small)
			if err != nil {
				return units, err
			}
			if err := typeCheck(ctx, text); err != nil {
				return units, err
			}
			units++
		}
		text, err := s.MinifiedCheckUnit(v, t.ResultTypes(), false)
		if err != nil {
			return units, err
		}
		if err := typeCheck(ctx, text); err != nil {
			if errors.Is(err, ErrNoClang) {
				return units, err
			}
			return units, fmt.Errorf("the text as it is launched, without what nothing reads: %w", err)
		}
	}
	return units, nil
}

// CUDA compiles a source with NVRTC as MLX does: for sets of element types on the first
// architecture, and one set on each of the others, and for a spec with the key early as a launch that
// begins early. limit bounds the sets; 0 is all.
func CUDA(ctx context.Context, s *kernels.Spec, limit int) (units int, err error) {
	for i, t := range samples(s, limit) {
		v, err := t.Values()
		if err != nil {
			return units, err
		}
		text, _, err := s.CUDAUnit(v, t.ResultTypes())
		if err != nil {
			return units, err
		}
		for k, arch := range Architectures {
			if i > 0 && k > 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return units, err
			}
			if _, err := nvrtc(ctx, text, arch); err != nil {
				return units, fmt.Errorf("%s: %w", arch, err)
			}
			units++
		}
		if len(s.Early) > 0 {
			if err := earlyUnit(ctx, t); err != nil {
				return units, err
			}
			units++
		}
	}
	return units, nil
}

// samples returns one call for each set of element types, with optional inputs there and
// not, and word attributes each way, as far as the spec allows: those change what is
// compiled. limit bounds them, spread evenly; 0 is all.
func samples(s *kernels.Spec, limit int) []*kernels.Trial {
	var list []*kernels.Trial
	seen := map[string]bool{}
	for c := range s.Choices() {
		t, err := s.Trial(c)
		if err != nil {
			if c.Dims = someDims(s, c); c.Dims == nil {
				continue
			}
			if t, err = s.Trial(c); err != nil {
				continue
			}
		}
		key := ""
		for _, x := range t.Inputs {
			key += fmt.Sprint(x.DType, " ")
		}
		for _, a := range t.Attrs {
			if w, ok := a.(graph.Str); ok {
				key += string(w) + " "
			}
		}
		if !seen[key] {
			seen[key] = true
			list = append(list, t)
		}
	}
	if limit == 0 || len(list) <= limit {
		return list
	}
	var some []*kernels.Trial
	for i := range limit {
		some = append(some, list[i*len(list)/limit])
	}
	return some
}

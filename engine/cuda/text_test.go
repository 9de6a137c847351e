package cuda

import (
	"errors"
	"strings"
	"testing"

	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// NVRTC takes what replays launch: moves alone, and kernels with moves and small kernels in front of
// them, each front with a barrier behind it. Nothing is read by way of the cache for constants, in
// which what a front wrote might be missing.
func TestTexts(t *testing.T) {
	compile := func(name, text string) string {
		ptx, err := kernelcheck.NVRTC(text, "sm_90a")
		if errors.Is(err, kernelcheck.ErrNoNVRTC) || errors.Is(err, kernelcheck.ErrNoCompiler) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		return string(ptx)
	}
	compile("moves", movesText())
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	some := func(name string) (*replay.Source, kernels.Geometry) {
		spec := catalog.Spec(name)
		for c := range spec.Choices() {
			trial, err := spec.Trial(c)
			if err != nil {
				continue
			}
			v, err := trial.Values()
			if err != nil {
				t.Fatal(err)
			}
			g, err := spec.Geometry(trial.Ints)
			if err != nil {
				t.Fatal(err)
			}
			return &replay.Source{Spec: spec, Values: v, Results: trial.ResultTypes()}, g
		}
		t.Fatalf("%s: no trial", name)
		return nil, kernels.Geometry{}
	}
	for _, list := range []string{
		"moves sdpa_decode_split", "moves sdpa_decode_quantized", "moves mla_decode_split", "qk_norm_rope moves sdpa_decode", "rope_freqs moves sdpa_decode", "rope moves rope moves mla_decode",
		"router_softmax_topk rms_norm_gather_qmm_swiglu", "router_sigmoid_topk rms_norm_gather_qmm_swiglu", "router_sigmoid_topk_first gather_qmm_swiglu",
		"router_topk_softmax gather_qmm_swiglu_oai", "scale add_rounded swiglu",
	} {
		names := strings.Fields(list)
		last := len(names) - 1
		whole, _ := some(names[last])
		_, suffix, text, err := unit(whole)
		if err != nil || suffix != "" {
			t.Fatalf("%s: %q, %v", names[last], suffix, err)
		}
		_, body, _ := strings.Cut(compile(names[last], text), ".entry")
		alone := strings.Count(body, "bar.sync")
		for _, name := range names[:last] {
			f := replay.FrontSource{}
			if name != "moves" {
				source, g := some(name)
				groups, ok := source.Spec.Frontable(g)
				if !ok {
					t.Fatalf("%s can be in front of no kernel", name)
				}
				f = replay.FrontSource{Source: source, Groups: groups}
			}
			whole.Fronts = append(whole.Fronts, f)
		}
		if _, suffix, text, err = unit(whole); err != nil || suffix == "" {
			t.Fatalf("%s: %q, %v", list, suffix, err)
		}
		_, body, _ = strings.Cut(compile(list, text), ".entry")
		if n := strings.Count(body, "bar.sync"); n != alone+last {
			t.Errorf("%s: %d barriers, %d in %s alone", list, n, alone, names[last])
		}
		if strings.Contains(body, "ld.global.nc") {
			t.Errorf("%s: reads by way of the cache for constants", list)
		}
	}
}

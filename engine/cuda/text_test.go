package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// NVRTC takes what replays launch: moves alone, and each kernel that reads a cache with moves in
// front, which come before all that it reads, and behind the launch in front. Nothing is read by way
// of the cache for constants, in which what the moves wrote might be missing.
func TestTexts(t *testing.T) {
	compile := func(name, text string) string {
		ptx, err := kernelcheck.NVRTC(text, "sm_90a")
		if errors.Is(err, kernelcheck.ErrNoNVRTC) || errors.Is(err, kernelcheck.ErrNoCompiler) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return string(ptx)
	}
	compile("moves", movesText(replay.MostMoves))
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, name := range []string{"sdpa_decode", "sdpa_decode_split", "sdpa_decode_window", "sdpa_decode_quantized", "mla_decode", "mla_decode_split"} {
		spec := catalog.Spec(name)
		var trial *kernels.Trial
		for c := range spec.Choices() {
			if x, err := spec.Trial(c); err == nil {
				trial = x
				break
			}
		}
		v, err := trial.Values()
		if err != nil {
			t.Fatal(err)
		}
		source := replay.Source{Spec: spec, Values: v, Results: trial.ResultTypes()}
		shapes := [][]replay.MoveShape{nil, {{Unit: 16, Shape: [4]int64{1, 1, 4, 16}}, {Unit: 2, Shape: [4]int64{1, 2, 3, 5}}}}
		var barriers [2]int
		var body string
		for i := range barriers {
			source.Ahead = shapes[i]
			function, suffix, text, err := unit(&source)
			if err != nil || (suffix == "") != (i == 0) {
				t.Fatalf("%s: %q, %q, %v", name, function, suffix, err)
			}
			_, body, _ = strings.Cut(compile(name, text), ".entry")
			barriers[i] = strings.Count(body, "bar.sync")
		}
		wait, follow := strings.Index(body, "griddepcontrol.wait"), strings.Index(body, "griddepcontrol.launch_dependents")
		if wait < 0 || follow < wait || strings.Index(body, "ld.global") < wait {
			t.Errorf("%s: a launch waits, then others may follow, and then it reads", name)
		}
		if barriers[1] != barriers[0]+1 {
			t.Errorf("%s: %d barriers without moves in front, %d with them", name, barriers[0], barriers[1])
		}
		if strings.Contains(body, "ld.global.nc") {
			t.Errorf("%s: reads by way of the cache for constants", name)
		}
	}
}

// What begins early asks for weights, waits, and then lets others follow.
func TestEarlyTexts(t *testing.T) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, name := range []string{"rms_norm_qmv", "gather_qmm_combine_add"} {
		spec := catalog.Spec(name)
		for c := range spec.Choices() {
			trial, err := spec.Trial(c)
			if err != nil || trial.ResultTypes()[0] != graph.BFloat16 {
				continue
			}
			v, err := trial.Values()
			if err != nil {
				t.Fatal(err)
			}
			_, _, text, err := unit(&replay.Source{Spec: spec, Values: v, Results: trial.ResultTypes(), Early: true})
			if err != nil {
				t.Fatal(err)
			}
			ptx, err := kernelcheck.NVRTC(text, "sm_90a")
			if errors.Is(err, kernelcheck.ErrNoNVRTC) || errors.Is(err, kernelcheck.ErrNoCompiler) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(string(ptx), ".entry")
			ask, wait, follow := strings.Index(body, "ld.global"), strings.Index(body, "griddepcontrol.wait"), strings.Index(body, "griddepcontrol.launch_dependents")
			if ask < 0 || wait < ask || follow < wait {
				t.Errorf("%s asks at %d, waits at %d and lets others follow at %d", name, ask, wait, follow)
			}
			break
		}
	}
}

// A launch of a kernel may begin early if it waits for one launch only, for which no other waits.
func TestFollows(t *testing.T) {
	s := &replay.Source{}
	for _, x := range []struct {
		name string
		list []replay.Launch
		want []bool
	}{
		{"a chain", []replay.Launch{{Source: s}, {Source: s, After: []int{0}}, {Source: s, After: []int{1}}}, []bool{false, true, true}},
		{"behind moves", []replay.Launch{{}, {Source: s, After: []int{0}}, {After: []int{1}}}, []bool{false, true, false}},
		{"a fork", []replay.Launch{{Source: s}, {Source: s, After: []int{0}}, {Source: s, After: []int{0}}}, []bool{false, false, false}},
		{"a join", []replay.Launch{{Source: s}, {Source: s}, {Source: s, After: []int{0, 1}}}, []bool{false, false, false}},
	} {
		if got := follows(x.list); !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
	}
}

package kernelcheck

import (
	"context"
	"errors"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// What begins before the launch in front of it has ended reads nothing but its weights until it
// waits, and the check says so where it is not so.
func TestEarly(t *testing.T) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	trial := func(name string, allowed ...string) error {
		spec := *catalog.Spec(name)
		spec.Early = allowed
		for _, x := range samples(&spec, 0) {
			if x.ResultTypes()[0] == graph.BFloat16 {
				return earlyUnit(context.Background(), x)
			}
		}
		t.Fatalf("%s: no call in bfloat16", name)
		return nil
	}
	for _, x := range []struct {
		kernel  string
		allowed []string
		want    string // "" for none
	}{
		{"rms_norm_qmv", []string{"w", "scales", "biases"}, ""},
		{"rms_norm_qmv", []string{"w", "scales"}, "biases is read before ready()"},
		{"qmv_swiglu", []string{"wg", "sg", "bg", "wu", "su"}, "bu is read before ready()"},
		{"gather_qmm_swiglu", []string{"wg", "sg", "bg", "wu", "su", "bu"}, "idx is read before ready()"},
		{"rms_norm", []string{"weight"}, "does not call ready()"},
	} {
		err := trial(x.kernel, x.allowed...)
		if errors.Is(err, ErrNoNVRTC) || errors.Is(err, ErrNoCompiler) {
			t.Skip(err)
		}
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s, early %v: %v, want %q", x.kernel, x.allowed, err, x.want)
		}
	}
	const wait = "griddepcontrol.wait;\n"
	head := ".visible .entry f(\n.param .u64 f_param_0,\n.param .u64 f_param_1\n)\n{\nld.param.u64 \t%rd1, [f_param_0];\nld.param.u64 \t%rd2, [f_param_1];\ncvta.to.global.u64 \t%rd3, %rd1;\ncvta.to.global.u64 \t%rd4, %rd2;\n"
	for _, x := range []struct{ text, want string }{
		{"ld.global.nc.v4.u32 \t{%r1, %r2, %r3, %r4}, [%rd3+16];\n" + wait + "ld.global.f32 \t%f1, [%rd4];\nst.global.f32 \t[%rd4], %f1;\nret;\n", ""},
		{"ld.global.f32 \t%f1, [%rd4];\n" + wait, "x is read before ready()"},
		{"add.s64 \t%rd5, %rd4, 8;\n@%p1 ld.u32 \t%r1, [%rd5];\n" + wait, "x is read before ready()"},
		{"ld.global.u32 \t%r1, [%rd3];\nmul.wide.s32 \t%rd5, %r1, 4;\nadd.s64 \t%rd6, %rd4, %rd5;\nld.global.u32 \t%r2, [%rd6];\n" + wait, "x is read before ready()"},
		{"st.global.u32 \t[%rd3], %r1;\n" + wait, "writes before ready()"},
		{"st.shared.u32 \t[%rd3], %r1;\n" + wait, ""},
		{wait + "griddepcontrol.launch_dependents;\nret;\n", ""},
		{"griddepcontrol.launch_dependents;\n" + wait, "may begin before ready()"},
		{"@%p1 bra \t$L__BB0_2;\n" + wait + "$L__BB0_2:\nret;\n", "may go past ready()"},
		{"@%p1 ret;\n" + wait, "may end before ready()"},
		{"$L__BB0_1:\n" + wait + "@%p1 bra \t$L__BB0_1;\n", "in a loop"},
		{"@%p1 griddepcontrol.wait;\n", "not in each thread"},
		{"ret;\n", "does not call ready()"},
		{"ld.global.L2::cache_hint.u32 \t%r1, [%rd4], %rd3;\n" + wait, "x is read before ready()"},
		{"ld.param.u64 \t%rd7, [retval0];\nld.global.u32 \t%r1, [%rd7];\n" + wait, "made of no parameter"},
		{"cp.async.ca.shared.global \t[%r1], [%rd4], 16;\n" + wait, "is not understood"},
		{"call.uni \tg, (%rd4);\n" + wait, "is not understood"},
		{"brx.idx \t%r1, ts;\n" + wait, "is not understood"},
		{"{ ld.global.b16 \t%rs1, [%rd4]; }\n" + wait, "x is read before ready()"},
	} {
		err := tooEarly(head+x.text, []string{"w", "x"}, []string{"w"})
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: %v, want %q", x.text, err, x.want)
		}
	}
}

package convert

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/graph/mlxfn"
)

// conv1d is written as MLX records it, and read back as it was. What conv1d cannot
// say, other paddings at the two ends and flipped filters, is refused.
func TestConv1D(t *testing.T) {
	python, dir := oracle(t), t.TempDir()
	const script = `
import sys
import mlx.core as mx
x, w = mx.zeros((2, 9, 8), mx.bfloat16), mx.zeros((4, 3, 2), mx.bfloat16)
for name, f in dict(
    plain=lambda x, w: mx.conv1d(x, w, groups=4),
    all=lambda x, w: mx.conv1d(x, w, stride=2, padding=3, dilation=2, groups=4),
    wider=lambda x, w: mx.conv1d(x, w.astype(mx.float32), groups=4),
    ends=lambda x, w: mx.conv_general(x, w, padding=([2], [0]), groups=4),
    flip=lambda x, w: mx.conv_general(x, w, groups=4, flip=True),
    spread=lambda x, w: mx.conv_general(x, w, input_dilation=2, groups=4),
    plane=lambda x, w: mx.conv2d(x[:, None], w[:, None], groups=4),
).items():
    mx.export_function(f"{sys.argv[1]}/{name}.mlxfn", f, x, w)
`
	if out, err := exec.Command(python, "-c", script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read := func(name string) *mlxfn.File {
		f, err := mlxfn.ReadFile(filepath.Join(dir, name+".mlxfn"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, want := range map[string]string{
		"plain": "conv1d(in0, in1, groups=4)",
		"all":   "conv1d(in0, in1, stride=2, padding=3, dilation=2, groups=4)",
		"wider": "conv1d(v0, v1, groups=4)",
	} {
		f := read(name)
		p := mustImport(t, f)
		out, err := Export(p, ExportOptions{Version: f.Version, Metadata: f.Metadata})
		if err != nil {
			t.Fatal(err)
		}
		if want, got := dump(t, f), dump(t, out); want != got {
			t.Errorf("%s: recorded\n%s\nexported\n%s", name, want, got)
		}
		g := p.Cases[0].Graph
		if a, b := g.Hash(), mustImport(t, out).Cases[0].Graph.Hash(); a != b {
			t.Errorf("%s: %x is read back as %x", name, a, b)
		}
		if !strings.Contains(g.String(), want) {
			t.Errorf("%s is\n%s, without %s", name, g, want)
		}
	}
	for _, name := range []string{"ends", "flip", "spread", "plane"} {
		if p, err := Import(name, read(name), ImportOptions{}); err == nil {
			t.Errorf("%s is imported:\n%s", name, p.Cases[0].Graph)
		}
	}
}

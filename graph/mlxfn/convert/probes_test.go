package convert

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/normal"
)

// notTheSame are probes that come out otherwise, to the same effect: MLX records
// conversions to the same type, splits and copies that graphs have no op for, views that
// cancel, ends of slices that change nothing; and the fast operations of a GPU come out as their fallbacks.
var notTheSame = []string{
	"Copy", "Depends", "Full", "Slice", "SliceUpdate.None", "Split", "Squeeze", "StopGradient",
	"LayerNorm", "RMSNorm", "RoPE.freqs", "ScaledDotProductAttention", "ScaledDotProductAttention.fused", "ScaledDotProductAttention.sinks",
}

// noOp are probes of primitives, or states of them, that graphs have no op for. The
// dequantizing ones and one of GatherQMM are of types that MLX refuses to run.
var noOp = strings.Fields(`Arange AsStrided BlockMaskedMM Broadcast.shapeless BroadcastAxes Cholesky Conjugate Convolution CustomKernel
	CustomKernel.fast CustomKernel.relaxed CustomKernel.scalars DivMod DynamicSlice Eig Eig.values Eigh Eigh.values Equal.nan FFT FFT.inverse FFT.odd
	FFT.real GatherQMM.affine Hadamard Imag Inverse Inverse.lower Inverse.upper LayerNormVJP MaskedScatter NumberOfElements Pad QRF Quantize
	Quantize.dequantize_affine RMSNormVJP RandomBits Real RoPE SVD SVD.values ScaledDotProductAttention.lse Scan.Max Scan.Min Scan.Prod Scatter.Max
	Scatter.Min Scatter.None Scatter.Prod Scatter.Sum ScatterAxis.Sum SearchSorted SearchSorted.left SliceUpdate.Max SliceUpdate.Min SliceUpdate.Prod
	SliceUpdate.Sum`)

// wrongTypes are probes of our own making whose types MLX would not give.
var wrongTypes = strings.Fields(`GatherQMM.mxfp4 GatherQMM.mxfp8 GatherQMM.nvfp4 Quantize.dequantize_mxfp4 Quantize.dequantize_mxfp8 Quantize.dequantize_nvfp4`)

// TestProbes imports and exports the small functions that each release of MLX
// recorded, one for every primitive: what has an op comes out as it was, entry by entry.
func TestProbes(t *testing.T) {
	for _, release := range mlxfn.Releases {
		for name, data := range probes(t, release) {
			f, err := mlxfn.Read(name, data)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Import(name, f, ImportOptions{})
			if slices.Contains(noOp, name) || slices.Contains(wrongTypes, name) {
				if err == nil {
					t.Errorf("%s %s is imported", release, name)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %s: %v", release, name, err)
				continue
			}
			if _, _, err := normal.Raise(p.Cases[0].Graph); err != nil {
				t.Fatal(err)
			}
			out, err := Export(p, ExportOptions{Version: release, Metadata: f.Metadata})
			if err != nil {
				t.Errorf("%s %s: %v", release, name, err)
				continue
			}
			if !slices.Contains(notTheSame, name) {
				if want, got := dump(t, f), dump(t, out); want != got {
					t.Errorf("%s %s: recorded\n%s\nexported\n%s", release, name, want, got)
				}
			}
			again := mustImport(t, out)
			if _, _, err := normal.Raise(again.Cases[0].Graph); err != nil {
				t.Fatal(err)
			}
			if a, b := p.Cases[0].Graph, again.Cases[0].Graph; a.Hash() != b.Hash() {
				t.Errorf("%s %s: once\n%s\ntwice\n%s", release, name, a, b)
			}
		}
	}
}

func dump(t *testing.T, f *mlxfn.File) string {
	t.Helper()
	var b strings.Builder
	if err := mlxfn.Dump(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// probes returns the files of an archive that scripts/oracle/mlxfn_goldens.py made.
func probes(t *testing.T, release string) map[string][]byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("..", "testdata", "probes-"+release+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[strings.TrimSuffix(h.Name, ".mlxfn")], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

package convert_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/models"
)

// traced is a model of experts, built here and exported for calls of batch, tokens and
// rows of the caches.
func traced(t *testing.T, calls ...[3]int64) string {
	t.Helper()
	p := newParity(t, "qwen3_moe")
	var specs []convert.Spec
	for _, c := range calls {
		env := map[string]int64{"batch": c[0], "seq_len": c[1], "kv_cap": c[2]}
		k, err := p.built.Select(env)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.built.Cases {
			if p.built.Cases[i].Graph == k.Graph {
				specs = append(specs, convert.Spec{Case: i, Env: env})
			}
		}
	}
	f, err := convert.Export(p.built, convert.ExportOptions{Version: p.file.Version, Specs: specs})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qwen3_moe.mlxfn")
	if err := mlxfn.WriteFile(path, f); err != nil {
		t.Fatal(err)
	}
	return path
}

// A case holds between two of its traces. (With 4 experts a token, from 16 tokens on
// they are sorted; the traces alone say so.)
func TestMergeConditions(t *testing.T) {
	for name, c := range map[string]struct {
		calls [][3]int64
		cases []string
		notes string
	}{
		"one length":        {[][3]int64{{2, 1, 16}, {3, 1, 32}}, []string{"decode: batch >= 2 && batch <= 3 && seq_len == 1"}, ""},
		"one trace in it":   {[][3]int64{{1, 1, 8}, {2, 1, 16}, {3, 1, 32}}, []string{"decode: batch >= 1 && batch <= 3 && seq_len == 1"}, ""},
		"capacity alone":    {[][3]int64{{1, 1, 16}, {1, 1, 32}}, []string{"decode: batch == 1 && seq_len == 1"}, ""},
		"both kinds":        {[][3]int64{{2, 1, 16}, {3, 1, 32}, {2, 3, 16}, {3, 5, 32}}, []string{"decode: batch >= 2 && batch <= 3 && seq_len == 1", "prefill: batch >= 2 && batch <= 3 && seq_len >= 3 && seq_len <= 5"}, ""},
		"neither below":     {[][3]int64{{1, 5, 16}, {2, 3, 32}}, []string{"prefill: batch == 1 && seq_len == 5 || batch == 2 && seq_len == 3"}, ""},
		"a step in between": {[][3]int64{{2, 1, 16}, {3, 1, 32}, {16, 1, 16}, {20, 1, 32}}, []string{"decode: batch >= 2 && batch <= 3 && seq_len == 1", "decode2: batch >= 16 && batch <= 20 && seq_len == 1"}, ""},
		"alone":             {[][3]int64{{2, 1, 16}, {2, 3, 16}}, []string{"trace0: batch == 2 && seq_len == 1", "trace1: batch == 2 && seq_len == 3"}, ""},
		"not told apart":    {[][3]int64{{2, 2, 16}, {3, 3, 32}}, []string{"trace0: batch == 2 && seq_len == 2", "trace1: batch == 3 && seq_len == 3"}, "trace0 and trace1 have the same nodes, but stay apart: .* may be batch or seq_len"},
	} {
		p, notes, err := convert.Load(traced(t, c.calls...), convert.ImportOptions{})
		if err != nil {
			t.Fatal(name, err)
		}
		var got []string
		for _, k := range p.Cases {
			got = append(got, k.Name+": "+k.When.String())
		}
		if strings.Join(got, "; ") != strings.Join(c.cases, "; ") {
			t.Errorf("%s: %s\nwant %s", name, strings.Join(got, "; "), strings.Join(c.cases, "; "))
		}
		said := ""
		for _, n := range notes {
			said += n.What + "\n"
		}
		if (c.notes == "") != (said == "") || !regexp.MustCompile(c.notes).MatchString(said) {
			t.Errorf("%s: says %q, want %q", name, said, c.notes)
		}
		// Each trace finds its case, and nothing beyond them has one.
		for _, call := range c.calls {
			if _, err := p.Select(map[string]int64{"batch": call[0], "seq_len": call[1], "kv_cap": call[2]}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if k, err := p.Select(map[string]int64{"batch": 30, "seq_len": 1, "kv_cap": 16}); err == nil {
			t.Errorf("%s: batch 30 is case %s", name, k.Name)
		}
	}
}

// A model in a folder goes through the script and import, and is what is built from the
// folder: names and records of its weights, cases and all. The file has no weights in it.
func TestCaptureScript(t *testing.T) {
	python, root := filepath.Join("..", "..", "..", ".cache", "oracle", "venv", "bin", "python"), filepath.Join("..", "..", "..")
	folder := filepath.Join(root, ".cache", "oracle", "tiny", "qwen3_moe-bf16-4bit")
	if _, err := os.Stat(python); err != nil {
		t.Skip("missing capability: Python with mlx 0.32.2 and mlx-lm 0.32.0 in .cache/oracle/venv")
	}
	if _, err := os.Stat(folder); err != nil {
		t.Skip("missing capability: the tiny models; scripts/oracle/tiny_models.py makes them")
	}
	script := filepath.Join(root, "python", "zmlx_capture.py")
	os.ReadFile(script) // so that go test knows that it is read
	out := filepath.Join(t.TempDir(), "m.mlxfn")
	if text, err := exec.Command(python, script, folder, "--out", out).CombinedOutput(); err != nil || !strings.Contains(string(text), "7 traces, each equal to the model in every bit") {
		t.Fatalf("%v\n%s", err, text)
	}
	if info, err := os.Stat(out); err != nil || info.Size() > 1<<19 {
		t.Fatal(err, info.Size())
	}
	p, notes, err := convert.Load(out, convert.ImportOptions{})
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	m, err := models.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, call := range []map[string]int64{{"batch": 2, "seq_len": 1}, {"batch": 2, "seq_len": 3}, {"batch": 3, "seq_len": 16}} {
		a, err := p.Select(call)
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Program.Select(call)
		if err != nil {
			t.Fatal(err)
		}
		if a.Graph.Hash() != b.Graph.Hash() {
			t.Errorf("%v: %s", call, difference(a.Graph, b.Graph))
		}
	}
	// What cannot be right is said, and leaves no file.
	for _, bad := range [][]string{{"--shapes", "1x"}, {"--shapes", "1x5x5"}, {"--shapes", "0x5"}} {
		none := filepath.Join(t.TempDir(), "none.mlxfn")
		text, err := exec.Command(python, append([]string{script, folder, "--out", none}, bad...)...).CombinedOutput()
		left, _ := os.ReadDir(filepath.Dir(none))
		if err == nil || !strings.HasPrefix(string(text), "zmlx_capture: ") || strings.Contains(string(text), "Traceback") || len(left) > 0 {
			t.Errorf("%v: %v, %v\n%s", bad, err, left, text)
		}
	}
}

// What a trace cannot hold is refused by name, and so is a trace that is not the model.
func TestCaptureRefuses(t *testing.T) {
	python, root := filepath.Join("..", "..", "..", ".cache", "oracle", "venv", "bin", "python"), filepath.Join("..", "..", "..")
	if _, err := os.Stat(python); err != nil {
		t.Skip("missing capability: Python with mlx 0.32.2 and mlx-lm 0.32.0 in .cache/oracle/venv")
	}
	os.ReadFile(filepath.Join(root, "python", "zmlx_capture.py"))
	const text = `
import os, sys
import mlx.core as mx, mlx.nn as nn
from mlx_lm.models import cache, llama
import zmlx_capture

def model():
    m = llama.Model(llama.ModelArgs(model_type="llama", hidden_size=32, num_hidden_layers=1, intermediate_size=32, num_attention_heads=2,
                                    rms_norm_eps=1e-5, vocab_size=32))
    return m

def refused(says, capture, *args, **more):
    try:
        capture(*args, **more)
    except zmlx_capture.CaptureError as e:
        if says not in str(e):
            sys.exit(f"{says!r} is not in {e}")
    else:
        sys.exit(f"captured, instead of {says!r}")
    if os.listdir():
        sys.exit(f"left {os.listdir()}")

def with_cache(make):
    m = model()
    type(m).make_cache = lambda self: [make()]
    refused(says, zmlx_capture.capture_model, m, "m.mlxfn", [(1, 1, 8)])
    del type(m).make_cache

os.chdir(sys.argv[1])
for says, make in [
    ("cache.0 is a ChunkedKVCache", lambda: cache.ChunkedKVCache(8)),
    ("cache.0 is a ConcatenateKVCache", cache.ConcatenateKVCache),
    ("keeps the first 4 rows", lambda: cache.RotatingKVCache(max_size=8, keep=4)),
]:
    with_cache(make)

# An attention that stands at a place of its own: the place of the trace is in the trace.
m = model()
rope = m.model.layers[0].self_attn.rope
class Baked(nn.Module):
    def __call__(self, x, offset=0):
        return rope(x, offset=calls[0])
calls = [0]
m.model.layers[0].self_attn.rope = Baked()
class Moving(llama.Model):
    def __call__(self, *args, **more):
        calls[0] += 1
        return super().__call__(*args, **more)
m.__class__ = Moving
refused("the recorded step differs from the model on functional caches in", zmlx_capture.capture_model, m, "m.mlxfn", [(1, 5, 8)])

class Counting(nn.Module):
    n = 0
    def __call__(self, x):
        Counting.n += 1
        return x * Counting.n
refused("call 0: the recorded step differs from the module in out0", zmlx_capture.capture_module, Counting(), "m.mlxfn", [(mx.ones((2, 2)),)])
refused("not all calls have 2 arguments: a, b", zmlx_capture.capture_module, lambda a, b: a + b, "m.mlxfn", [(mx.ones(2), mx.ones(2)), (mx.ones(2),)], ["a", "b"])
refused("cannot record it", zmlx_capture.capture_module, lambda a: a * a.sum().item(), "m.mlxfn", [(mx.ones(2),)])
refused("is no folder", zmlx_capture.capture_module, lambda a: a + 1, "there/m.mlxfn", [(mx.ones(2),)])

# A constant that is not contiguous is held as it is.
class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self._table = mx.arange(6).reshape(2, 3).T
    def __call__(self, x):
        return [x + self._table, x]
zmlx_capture.capture_module(Turned(), "m.mlxfn", [(mx.ones((3, 2)),)], ["x"])
if os.listdir() != ["m.mlxfn"]:
    sys.exit(f"left {os.listdir()}")
print("as it should be")
`
	cmd := exec.Command(python, "-", t.TempDir())
	cmd.Stdin = strings.NewReader(text)
	absolute, err := filepath.Abs(filepath.Join(root, "python"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PYTHONPATH="+absolute, "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "as it should be\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Models that have no builder here come in as well: captured, each bit compared with
// mlx-lm's, imported, with attention raised in every layer and symbols recovered.
func TestCaptureOthers(t *testing.T) {
	python, root := filepath.Join("..", "..", "..", ".cache", "oracle", "venv", "bin", "python"), filepath.Join("..", "..", "..")
	if _, err := os.Stat(python); err != nil {
		t.Skip("missing capability: Python with mlx 0.32.2 and mlx-lm 0.32.0 in .cache/oracle/venv")
	}
	os.ReadFile(filepath.Join(root, "python", "zmlx_capture.py"))
	const text = `
import sys
import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.utils import _get_classes
import zmlx_capture

common = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
              rms_norm_eps=1e-6, vocab_size=64, rope_theta=10000.0, max_position_embeddings=512, tie_word_embeddings=False)
experts = dict(num_experts=8, num_experts_per_tok=4, moe_intermediate_size=64, norm_topk_prob=True)
for name, more in {
    "qwen2": {},
    "phi3": {},
    "olmoe": experts,
    # State of two kinds, and an op that MLX cannot write.
    "qwen3_next": dict(experts, linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=32, linear_value_head_dim=32,
                       linear_conv_kernel_dim=4, decoder_sparse_step=1, shared_expert_intermediate_size=64, mlp_only_layers=[],
                       partial_rotary_factor=0.25, full_attention_interval=2),
    # Two caches a layer, of one of which rows are chosen.
    "deepseek_v32": dict(index_head_dim=32, index_n_heads=4, index_topk=16, moe_intermediate_size=64, n_shared_experts=1, n_routed_experts=8,
                         routed_scaling_factor=2.5, kv_lora_rank=32, q_lora_rank=48, qk_rope_head_dim=16, v_head_dim=32, qk_nope_head_dim=32,
                         topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True, n_group=2, topk_group=1, num_experts_per_tok=4,
                         moe_layer_freq=1, first_k_dense_replace=1, num_key_value_heads=4),
}.items():
    config = dict(common, **more, model_type=name)
    mx.random.seed(1)
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    model.update(tree_map(lambda w: w if w.ndim > 1 else w + mx.random.normal(w.shape) / 8, model.parameters()))
    zmlx_capture.capture_model(model, f"{sys.argv[1]}/{name}.mlxfn", zmlx_capture.parse_shapes(zmlx_capture.SHAPES), config)
`
	dir := t.TempDir()
	absolute, err := filepath.Abs(filepath.Join(root, "python"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-", dir)
	cmd.Stdin = strings.NewReader(text)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+absolute, "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, cases := range map[string]string{"qwen2": "decode prefill", "phi3": "decode prefill", "olmoe": "decode prefill prefill2", "deepseek_v32": "decode prefill prefill2"} {
		p, notes, err := convert.Load(filepath.Join(dir, name+".mlxfn"), convert.ImportOptions{})
		if err != nil || len(notes) > 0 {
			t.Errorf("%s: %v %v", name, err, notes)
			continue
		}
		var got []string
		for _, c := range p.Cases {
			got = append(got, c.Name)
			if err := c.Graph.Verify(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if n := strings.Count(c.Graph.String(), "= sdpa("); n != 2 {
				t.Errorf("%s: case %s has %d sdpa", name, c.Name, n)
			}
		}
		if strings.Join(got, " ") != cases {
			t.Errorf("%s: cases %s, want %s", name, strings.Join(got, " "), cases)
		}
	}
}

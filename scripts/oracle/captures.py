"""Capture tiny models and single fast operations as .mlxfn, for graph/mlxfn/convert.

    python captures.py DIR [NAME...]

writes, gzipped, with the pinned mlx and mlx-lm on the CPU, where MLX records the
fallbacks of its fast operations, all of these or those that are named:

    the models of MODELS   a step of each as python/zmlx_capture.py records it, which
                           compares it with the model first; several call shapes
    block_*                one block of a model by itself, see BLOCKS
    fast                   one trace for each variant of rms_norm, layer_norm,
                           rope, scaled_dot_product_attention and dequantize;
                           the metadata lists them

Ids are addresses, so the bytes differ from run to run; what Go's Dump prints does not.
"""
import gzip
import importlib
import json
import os
import pathlib
import sys
import tempfile

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import lfm2_moe
from mlx_lm.models.switch_layers import SwitchGLU
from mlx_lm.utils import load_model

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import tiny_models
import zmlx_capture

# Batch, tokens and rows of the caches: one token, several, and so many that the
# experts of their tokens are sorted (64 and more are chosen).
ONE, SEVERAL, MANY = [(1, 1, 32), (2, 1, 40), (3, 1, 48)], [(1, 5, 40), (2, 3, 32), (3, 5, 48)], [(2, 17, 40), (3, 18, 48)]
DENSE, EXPERTS = ONE + SEVERAL, ONE + SEVERAL + MANY
# Behind a window of 16 rows: rings that are full, and that are not yet.
RINGS = [(1, 1, 12), (2, 1, 40), (3, 1, 14), (2, 3, 8), *SEVERAL]

# A row is a family: which of its models in scripts/oracle/tiny is captured, and the shapes.
# (In half types MLX records the scale of attention rounded, which import takes back only if it
# is that of the head's size: where it is not, a model in float32.)
FAMILIES = {
    "deepseek_v3": ("deepseek_v3-f32-4bit", EXPERTS),
    "deepseek_v32": ("deepseek_v32-f32-4bit", EXPERTS),
    "gemma": ("gemma-bf16-4bit", DENSE),
    "gemma2": ("gemma2-bf16-4bit", DENSE),
    "gemma3": ("gemma3-f32", RINGS),
    "gemma3_text": ("gemma3_text-f32-4bit", RINGS),
    "glm4_moe_lite": ("glm4_moe_lite-f32-4bit", EXPERTS),
    "gpt_oss": ("gpt_oss-bf16-4bit", RINGS + MANY),
    "kimi_k2": ("kimi_k2-f32-4bit", EXPERTS),
    "kimi_k25": ("kimi_k25-f32-4bit", EXPERTS),
    "lfm2": ("lfm2-bf16-4bit", DENSE),
    "lfm2_moe": ("lfm2_moe-bf16-4bit", EXPERTS),
    "llama": ("llama-f32", DENSE),
    "mixtral": ("mixtral-bf16-4bit", EXPERTS),
    "qwen3": ("qwen3-bf16-4bit", DENSE),
    "qwen3_moe": ("qwen3_moe-bf16-4bit", EXPERTS),
    # Several tokens are a loop, which MLX records unrolled, and one op where it is built.
    "qwen3_next": ("qwen3_next-f32-4bit", ONE),
}

# The files that tiny models are in, by their names: a file may have those of two types.
TINY = {name: family for family in map(importlib.import_module, (f"tiny.{f}" for f in tiny_models.FAMILIES)) for name in getattr(family, "MODELS", {})}

# A family whose tiny models are not there yet has no capture.
MODELS = {name: row for name, row in FAMILIES.items() if row[0] in TINY}


def model_step(name, path):
    tiny, shapes = MODELS[name]
    family = TINY[tiny]
    with tempfile.TemporaryDirectory() as folder:
        tiny_models.OUT = pathlib.Path(folder)
        tiny_models.make(family, tiny, *family.MODELS[tiny])
        model, config = load_model(tiny_models.OUT / tiny)
    zmlx_capture.capture_model(model, path, shapes, config)


class SoftmaxRouting(nn.Module):
    """The experts of LFM2 as mlx-lm up to 0.31 had them: the router's weights are a
    softmax over all experts, and the bias that helps to choose them stays in the
    weights. mlx-lm 0.32 has the sigmoid of the reference, without the bias and scaled."""

    def __init__(self, args):
        super().__init__()
        self.chosen = args.num_experts_per_tok
        self.gate = nn.Linear(args.hidden_size, args.num_experts, bias=False)
        self.switch_mlp = SwitchGLU(args.hidden_size, args.moe_intermediate_size, args.num_experts)
        self.expert_bias = mx.zeros((args.num_experts,))

    def __call__(self, x):
        weights = mx.softmax(self.gate(x).astype(mx.float32), axis=-1) + self.expert_bias
        experts = mx.argpartition(weights, kth=-self.chosen, axis=-1)[..., -self.chosen :]
        weights = mx.take_along_axis(weights, experts, axis=-1)
        weights = weights / (mx.sum(weights, axis=-1, keepdims=True) + 1e-20)
        y = self.switch_mlp(x, experts)
        return (y * weights.astype(x.dtype)[..., None]).sum(axis=-2)


class Holder(nn.Module):
    """A model of one block, so that its parameters have a path."""

    def __init__(self, block):
        super().__init__()
        self.feed_forward = block

    def __call__(self, x):
        return self.feed_forward(x)


LFM2_MOE = dict(model_type="lfm2_moe", vocab_size=64, hidden_size=64, intermediate_size=128, moe_intermediate_size=64, num_hidden_layers=1,
                num_experts=8, num_experts_per_tok=4, norm_topk_prob=True, num_attention_heads=2, num_key_value_heads=1,
                max_position_embeddings=128, use_expert_bias=True, num_dense_layers=0, norm_eps=1e-5, conv_bias=False, conv_L_cache=3,
                routed_scaling_factor=1.0, rope_theta=1e6, layer_types=["full_attention"])

# Two definitions of one block, of one name and with the same parameters.
BLOCKS = {"block_lfm2_moe_softmax": SoftmaxRouting, "block_lfm2_moe_sigmoid": lfm2_moe.Lfm2MoeSparseMoeBlock}


def block(name, path):
    mx.random.seed(0)
    model = Holder(BLOCKS[name](lfm2_moe.ModelArgs.from_dict(LFM2_MOE)))
    model.set_dtype(mx.bfloat16)
    model.feed_forward.expert_bias = mx.random.normal((LFM2_MOE["num_experts"],))  # float32, as in the published models
    nn.quantize(model, group_size=64, bits=4, class_predicate=lambda p, m: hasattr(m, "to_quantized"))
    calls = [(mx.random.normal((batch, length, LFM2_MOE["hidden_size"])).astype(mx.bfloat16),) for batch, length in [(1, 1), (2, 1), (3, 1)]]
    zmlx_capture.capture_module(model, path, calls, ["x"])


def arrays(*types):
    return [mx.zeros(shape, dtype) for dtype, *shape in types]


B, H, F = mx.bfloat16, mx.float16, mx.float32


def variants():
    """Yields name, function and arguments. Arguments tell traces apart, so no two are alike."""
    for n, t in enumerate([B, H, F]):
        x = (t, 2, 3 + n, 32)
        yield f"rms_norm {t}", lambda x, w: mx.fast.rms_norm(x, w, 1e-5), arrays(x, (t, 32))
        yield f"rms_norm {t} without weight", lambda x: mx.fast.rms_norm(x, None, 1e-6), arrays(x)
        yield f"layer_norm {t}", lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5), arrays(x, (t, 32), (t, 32))
        yield f"layer_norm {t} without bias", lambda x, w: mx.fast.layer_norm(x, w, None, 1e-5), arrays((t, 3, 4 + n, 32), (t, 32))
        yield f"layer_norm {t} without both", lambda x: mx.fast.layer_norm(x, None, None, 1e-5), arrays((t, 4, 4 + n, 32))
    yield "rms_norm with a weight of another type", lambda x, w: mx.fast.rms_norm(x, w, 1e-5), arrays((B, 3, 32), (F, 32))
    offset = (mx.int32,)
    for n, t in enumerate([B, H, F]):
        for traditional in (False, True):
            x = (t, 1 + traditional, 2, 3 + n, 16)
            word = " traditional" if traditional else ""
            yield (f"rope {t}{word}", lambda x, o, traditional=traditional:
                   mx.fast.rope(x, 16, traditional=traditional, base=10000.0, scale=1.0, offset=o), arrays(x, offset))
            x = (t, 1 + traditional, 3, 3 + n, 16)
            yield (f"rope {t}{word} partial, scaled", lambda x, o, traditional=traditional:
                   mx.fast.rope(x, 8, traditional=traditional, base=500000.0, scale=0.25, offset=o), arrays(x, offset))
    for n, base in enumerate([10000.0, 1e6, 500000.0, 150000.0, 5e6, 1e4 / 3, 1e7, 8e6, 25000.0]):
        yield (f"rope base {base:g}", lambda x, o, base=base, n=n:
               mx.fast.rope(x, 64 + 2 * n, traditional=False, base=base, scale=1.0, offset=o), arrays((F, 1, 1, 2, 64 + 2 * n), offset))
    yield ("rope with freqs", lambda x, o, f: mx.fast.rope(x, 16, traditional=False, base=None, scale=1.0, offset=o, freqs=f),
           arrays((B, 1, 4, 1, 16), offset, (F, 8)))
    yield ("rope with an offset for each sequence", lambda x, o: mx.fast.rope(x, 16, traditional=False, base=1e4, scale=1.0, offset=o),
           arrays((B, 3, 4, 1, 16), (mx.int32, 3)))
    yield ("rope from a number", lambda x: mx.fast.rope(x, 16, traditional=False, base=1e4, scale=1.0, offset=7), arrays((B, 3, 4, 2, 16)))
    sdpa = mx.fast.scaled_dot_product_attention
    for n, t in enumerate([B, H, F]):
        for heads in (2, 4):  # over 2 heads of keys
            q, k = (t, 1, heads, 3 + n, 16), (t, 1, 2, 9, 16)
            word = f"sdpa {t} {heads} heads"
            yield word, lambda q, k, v: sdpa(q, k, v, scale=0.25), arrays(q, k, k)
            yield f"{word} causal", lambda q, k, v: sdpa(q, k, v, scale=0.3, mask="causal"), arrays(q, (t, 1, 2, 10, 16), (t, 1, 2, 10, 16))
            yield f"{word} bool mask", lambda q, k, v, m: sdpa(q, k, v, scale=16**-0.5, mask=m), arrays(q, k, k, (mx.bool_, 3 + n, 9))
            yield f"{word} added mask", lambda q, k, v, m: sdpa(q, k, v, scale=16**-0.5, mask=m), arrays(q, k, k, (t, 1, 1, 3 + n, 9))
            yield f"{word} mask by head", lambda q, k, v, m: sdpa(q, k, v, scale=16**-0.5, mask=m), arrays(q, k, k, (t, heads, 3 + n, 9))
            yield f"{word} sinks", lambda q, k, v, s: sdpa(q, k, v, scale=16**-0.5, sinks=s), arrays(q, k, k, (t, heads))
            yield (f"{word} causal, sinks", lambda q, k, v, s: sdpa(q, k, v, scale=16**-0.5, mask="causal", sinks=s),
                   arrays(q, (t, 1, 2, 11, 16), (t, 1, 2, 11, 16), (t, heads)))
    yield "sdpa of a scale that bfloat16 rounds", lambda q, k, v: sdpa(q, k, v, scale=80**-0.5), arrays(*[(B, 1, 2, 4, 80)] * 3)
    for bits in (2, 3, 4, 5, 6, 8):
        group = 32 if bits % 2 else 64
        w, s = (mx.uint32, 3, 64 * bits // 32), (B if bits % 4 else F, 3, 64 // group)
        yield (f"dequantize {bits} bits", lambda w, s, b, bits=bits, group=group:
               mx.dequantize(w, s, b, group_size=group, bits=bits), arrays(w, s, s))


def fast(path):
    all = list(variants())
    # One trace calls the function of its variant; the exporter takes only one function.
    current = [None]
    with mx.exporter(path, lambda *args: current[0](*args), metadata=json.dumps([name for name, _, _ in all])) as e:
        for name, fn, args in all:
            current[0] = fn
            try:
                e(*args)
            except Exception as problem:
                sys.exit(f"{name}: {problem}")


def main(folder, *names):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        for name in names or [*MODELS, *BLOCKS, "fast"]:
            path = os.path.join(tmp, name)
            if name == "fast":
                fast(path)
            elif name in BLOCKS:
                block(name, path)
            else:
                model_step(name, path)
            with open(path, "rb") as f, open(os.path.join(folder, f"{name}.mlxfn.gz"), "wb") as out:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0) as z:
                    z.write(f.read())


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""Makes tiny random models and what mlx-lm computes with them.

    .cache/oracle/venv/bin/python scripts/oracle/tiny_models.py [--check]

Each model goes to .cache/oracle/tiny/NAME as an MLX folder (config.json,
model.safetensors, a few hundred KB), with logits.safetensors beside it: the logits
of every call, as RUN.prefill.CHUNK and RUN.decode.STEP. testdata/tiny_models.json,
which is committed, has for each run the prompt, the greedy tokens, the margins
(largest minus second largest logit of each row) and the sha256 of the logits of
each call in their own element type, row-major and little-endian.

The hashes hold for the kind of CPU that the file names: MLX's matrix products add
up in an order that depends on it. --check makes everything again and compares:
tokens and hashes on the same CPU, on another one the tokens of each row up to the
first near-tie.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import sys

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes, load_model, quantize_model, save_config, save_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / ".cache/oracle/tiny"
GOLDENS = ROOT / "testdata/tiny_models.json"
STEPS = 8

# Margins below which another order of sums may choose another token.
NEAR_TIE = {"bfloat16": 0.25, "float16": 0.05, "float32": 1e-3}

COMMON = dict(
    hidden_size=64,
    num_hidden_layers=2,
    intermediate_size=128,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rms_norm_eps=1e-6,
    vocab_size=320,
    rope_theta=10000.0,
    max_position_embeddings=512,
    tie_word_embeddings=True,
    eos_token_id=0,
)
LLAMA = dict(COMMON, model_type="llama")
QWEN3 = dict(COMMON, model_type="qwen3", rope_theta=1000000.0)
MOE = dict(
    COMMON,
    model_type="qwen3_moe",
    num_experts=8,
    num_experts_per_tok=4,
    moe_intermediate_size=64,
    decoder_sparse_step=1,
    mlp_only_layers=[],
    norm_topk_prob=True,
    tie_word_embeddings=False,
)
MIXTRAL = dict(
    COMMON,
    model_type="mixtral",
    intermediate_size=64,
    head_dim=16,  # of 4 heads of 64: mlx-lm knows no other
    num_local_experts=8,
    num_experts_per_tok=2,
    tie_word_embeddings=False,
)
LLAMA3_ROPE = dict(
    rope_theta=500000.0,
    rope_scaling=dict(
        rope_type="llama3",
        factor=32.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=64,
    ),
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "llama-bf16": (LLAMA, "bfloat16", None),
    "llama-f16": (LLAMA, "float16", None),
    "llama-f32": (LLAMA, "float32", None),
    "llama-f16-4bit": (LLAMA, "float16", (4, 32, "affine")),
    "llama-biases-bf16": (dict(LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=False), "bfloat16", None),
    "llama-biases-bf16-8bit": (dict(LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=False), "bfloat16", (8, 64, "affine")),
    "llama-llama3-rope-f32": (dict(LLAMA, **LLAMA3_ROPE), "float32", None),
    "llama-linear-rope-f32": (dict(LLAMA, rope_scaling=dict(type="linear", factor=3.0)), "float32", None),
    "qwen3-bf16": (QWEN3, "bfloat16", None),
    "qwen3-f16": (QWEN3, "float16", None),
    "qwen3-f32": (QWEN3, "float32", None),
    "qwen3-bf16-4bit": (QWEN3, "bfloat16", (4, 64, "affine")),
    "qwen3-f16-4bit": (QWEN3, "float16", (4, 64, "affine")),
    "qwen3-f32-4bit": (QWEN3, "float32", (4, 64, "affine")),
    "qwen3-bf16-mxfp4": (QWEN3, "bfloat16", (4, 32, "mxfp4")),
    # MLX on the CPU has gather_mm, of experts that are not quantized, for float32 only.
    "qwen3_moe-f32": (MOE, "float32", None),
    "qwen3_moe-bf16-4bit": (MOE, "bfloat16", (4, 64, "affine")),
    "qwen3_moe-f16-4bit": (MOE, "float16", (4, 64, "affine")),
    "qwen3_moe-f32-4bit": (MOE, "float32", (4, 64, "affine")),
    # One layer without experts, scores that are not normalised.
    "qwen3_moe-mixed-f32": (dict(MOE, mlp_only_layers=[0], norm_topk_prob=False, tie_word_embeddings=True), "float32", None),
    "mixtral-f32": (MIXTRAL, "float32", None),
    "mixtral-f32-4bit": (dict(MIXTRAL, tie_word_embeddings=True), "float32", (4, 64, "affine")),
    # All experts, each weighed: a choice among them would be another one wherever an
    # engine that rounds half types otherwise meets a near-tie.
    "mixtral-bf16-4bit": (dict(MIXTRAL, num_experts_per_tok=8), "bfloat16", (4, 64, "affine")),
    # One module an expert, as Mistral published it, and as mlx-lm once quantized it.
    "mixtral-experts-f32": (MIXTRAL, "float32", None),
    "mixtral-experts-f16-4bit": (dict(MIXTRAL, num_experts_per_tok=8), "float16", (4, 64, "affine")),
}

# batch, lengths of the prompt's chunks. With 4 experts a token, 16 tokens in one
# call are sorted by expert: the last two runs have sorted prefill, the last one
# sorted decode too. (With 2 experts a token, 32 tokens are.)
RUNS = [(1, [5]), (2, [4, 3]), (4, [24]), (16, [3])]


def cpu():
    flags = ""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        line = next((l for l in info.read_text().splitlines() if l.startswith("flags")), "")
        flags = " ".join(f for f in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in line + " ")
    return f"{platform.system()} {platform.machine()} {flags}".strip()


def sha256(*arrays):
    h = hashlib.sha256()
    for a in arrays:
        h.update(bytes(memoryview(mx.contiguous(a).view(mx.uint8))) if a.size else b"")
    return h.hexdigest()


def make(name, config, dtype, quant):
    """Writes the model's folder."""
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(name.split("-")[0].encode(), "little")))
    weights = []
    for path, p in sorted(tree_flatten(model.parameters())):
        if path.endswith("norm.weight"):
            w = 1 + 0.1 * rng.standard_normal(p.shape)
        elif path.endswith("embed_tokens.weight"):
            # Small beside what the layers add, or a tied head repeats its input for ever.
            w = 0.15 * rng.standard_normal(p.shape)
        elif path.endswith("bias"):
            w = 0.1 * rng.standard_normal(p.shape)
        else:
            w = rng.standard_normal(p.shape) * 1.5 / np.sqrt(p.shape[-1])
        weights.append((path, mx.array(w.astype(np.float32)).astype(getattr(mx, dtype))))
    model.load_weights(weights)
    config = dict(config, torch_dtype=dtype)
    if quant:
        bits, group_size, mode = quant
        model, config = quantize_model(model, config, group_size, bits, mode)
    (OUT / name).mkdir(parents=True, exist_ok=True)
    save_model(OUT / name, model)
    save_config(config, OUT / name / "config.json")
    if "-experts-" in name:
        unstack(OUT / name)


def unstack(folder):
    """Gives each expert modules of its own, under the names of Mistral's checkpoint."""
    out = {}
    for path, x in mx.load(str(folder / "model.safetensors")).items():
        if ".switch_mlp." not in path:
            out[path] = x
            continue
        block, rest = path.split(".switch_mlp.")
        module, part = rest.split(".")
        w = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[module]
        out.update({f"{block}.experts.{e}.{w}.{part}": x[e] for e in range(x.shape[0])})
    mx.eval(out)  # before the file that it is read from is written over
    mx.save_safetensors(str(folder / "model.safetensors"), out, {"format": "mlx"})
    (folder / "model.safetensors.index.json").unlink()


def run(name, model, index, batch, chunks, logits_out):
    rng = np.random.Generator(np.random.PCG64(100 + index))
    prompt = rng.integers(1, COMMON["vocab_size"], (batch, sum(chunks)))
    cache = make_prompt_cache(model)
    calls, tokens, margins = [], [], []

    def call(key, ids):
        logits = model(mx.array(ids, mx.int32), cache=cache)
        mx.eval(logits)
        logits_out[f"{index}.{key}"] = logits
        calls.append(sha256(logits))
        last = logits[:, -1].astype(mx.float32)
        top = mx.sort(last, axis=-1)[:, -2:]
        return mx.argmax(last, axis=-1).tolist(), [float(f"{m:.6g}") for m in (top[:, 1] - top[:, 0]).tolist()]

    at = 0
    for i, n in enumerate(chunks):
        token, margin = call(f"prefill.{i}", prompt[:, at : at + n].tolist())
        at += n
    for step in range(STEPS):
        tokens.append(token)
        margins.append(margin)
        token, margin = call(f"decode.{step}", [[t] for t in token])
    return dict(
        batch=batch,
        chunks=chunks,
        prompt=prompt.tolist(),
        tokens=[list(row) for row in zip(*tokens)],
        margins=[list(row) for row in zip(*margins)],
        logits=calls,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with testdata/tiny_models.json instead of writing it")
    check = parser.parse_args().check
    mx.set_default_device(mx.cpu)
    goldens = dict(mlx=mx.__version__, mlx_lm=mlx_lm.__version__, cpu=cpu(), steps=STEPS, models={})
    for name, (config, dtype, quant) in MODELS.items():
        make(name, config, dtype, quant)
        model, _ = load_model(OUT / name)
        logits = {}
        runs = [run(name, model, i, *r, logits) for i, r in enumerate(RUNS)]
        mx.save_safetensors(str(OUT / name / "logits.safetensors"), logits)
        weights = sha256(*(p for _, p in sorted(tree_flatten(model.parameters()))))
        goldens["models"][name] = dict(dtype=str(next(iter(logits.values())).dtype).split(".")[-1], weights=weights, runs=runs)
    if not check:
        # One line a run keeps differences readable.
        text = json.dumps({k: v for k, v in goldens.items() if k != "models"})[:-1] + ', "models": {\n'
        models = []
        for name, m in goldens["models"].items():
            rows = ",\n".join("    " + json.dumps(r, separators=(",", ":")) for r in m["runs"])
            models.append(f'  "{name}": {{"dtype": "{m["dtype"]}", "weights": "{m["weights"]}", "runs": [\n{rows}]}}')
        GOLDENS.parent.mkdir(exist_ok=True)
        GOLDENS.write_text(text + ",\n".join(models) + "}}\n")
        return
    want = json.loads(GOLDENS.read_text())
    same_cpu = want["cpu"] == goldens["cpu"]
    bad = 0
    for name, m in want["models"].items():
        got = goldens["models"].get(name, dict(weights="", runs=[]))
        problems = []
        if got["weights"] != m["weights"]:
            problems.append("weights")
        for i, (g, w) in enumerate(zip(got["runs"], m["runs"])):
            for row, (got_tokens, tokens, margins) in enumerate(zip(g["tokens"], w["tokens"], w["margins"])):
                n = len(tokens) if same_cpu else next((k for k, x in enumerate(margins) if x < NEAR_TIE[m["dtype"]]), len(tokens))
                if got_tokens[:n] != tokens[:n]:
                    problems.append(f"tokens of row {row} of run {i}")
            if same_cpu and g["logits"] != w["logits"]:
                problems.append(f"logits of run {i}")
        if problems or len(got["runs"]) != len(m["runs"]):
            bad += 1
            print(f"{name}: differs in {', '.join(problems) or 'runs'}")
    print(f"{len(want['models'])} models, {bad} differ; hashes of logits {'compared' if same_cpu else 'not compared: another CPU'}")
    sys.exit(bad > 0)


main()

#!/usr/bin/env python3
"""What mlx-lm generates with quantized caches on the CPU.

    nice .cache/oracle/venv/bin/python scripts/oracle/kv_goldens.py [--check]

testdata/kv.json has runs of mlx_lm.generate.generate_step with kv_bits, kv_group_size,
quantized_kv_start and prefill_step_size, for SmolLM2-135M-Instruct and for tiny models
of scripts/oracle/tiny_models.py: the prompt, the greedy tokens, the margin of each
(largest minus second largest logit), and the first 16 digits of the sha256 of the row of
logits that each was chosen from, as float32. "attention" has small calls of
quantized_scaled_dot_product_attention, for each kind of mask. "turns" has two
prompts that share a cache. "rings" are runs with max_kv_size. "refused" has what mlx-lm raises for models
whose caches it cannot quantize.

--check makes all of it again and compares: on the CPU that the file names everything, on
another one the tokens up to the first near-tie.
"""

import argparse
import hashlib
import importlib
import itertools
import json
import sys

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.models.base import quantized_scaled_dot_product_attention
from mlx_lm.utils import load_model

import smollm2_to_mlx
from tiny_models import COMMON, NEAR_TIE, OUT, ROOT, cpu

GOLDENS = ROOT / "testdata/kv.json"
SMOLLM2 = "SmolLM2-135M-Instruct"
TEXTS = ["What is the capital of France?", "List three uses of a paper clip. Then say which you like best, and why."]

# model, bits, group size, start, prompt (tokens of a tiny model, or which text), chunk, tokens
RUNS = [
    (SMOLLM2, 8, 64, 0, 0, 2048, 24),
    (SMOLLM2, 4, 32, 45, 1, 16, 24),
    (SMOLLM2, 8, 32, 0, 1, 16, 24),
    (SMOLLM2, 4, 64, 48, 0, 2048, 24),
    ("llama-f32", 8, 32, 0, 1, 2048, 12),  # one token: the first call is never quantized
    ("llama-f32", 4, 32, 0, 250, 100, 24),  # grows behind the first 256 rows
    ("llama-f32", 8, 32, 260, 250, 2048, 24),
    ("llama-f32", 4, 32, 512, 511, 200, 12),  # quantized when full to the last row
    ("qwen3-bf16", 8, 32, 0, 40, 2048, 12),
    ("qwen3-f16-4bit", 4, 32, 10, 40, 7, 12),
    ("qwen3_moe-f32-4bit", 8, 32, 20, 90, 30, 12),
    ("gemma-f32", 4, 32, 0, 20, 2048, 8),
    ("gemma-bf16", 8, 32, 0, 20, 8, 8),  # as many heads in the cache as queries
    ("qwen3-f32", 8, 32, 5000, 20, 2048, 4),  # never reached
]
# model, max_kv_size, tokens of the prompt, chunk, tokens
RINGS = [("qwen3-f32", 16, 40, 2048, 16), ("qwen3-f32", 16, 40, 7, 16), ("qwen3-bf16", 12, 5, 2048, 20), ("qwen3_moe-f32-4bit", 300, 290, 2048, 16),
         ("mixtral-f32", 8, 33, 8, 12), ("gemma-f32", 20, 1, 2048, 30)]
# heads, heads of the cache, queries, rows, bits, mask
ATTENTION = [(2, 2, 1, 3, 8, "none"), (4, 2, 2, 5, 4, "causal"), (2, 2, 3, 3, 8, "causal"), (4, 2, 2, 4, 4, "bool"), (4, 1, 2, 4, 8, "add"), (2, 2, 2, 3, 4, "add")]
TURNS = [("llama-f32", None), ("llama-f32", 8), ("gpt_oss-f32", None)]
REFUSED = ["gpt_oss-f32", "gemma2-f32", "gemma3_text-f32", "deepseek_v3-f32", "glm4_moe_lite-f32"]


def digest(a):
    return hashlib.sha256(bytes(memoryview(mx.contiguous(a.astype(mx.float32).reshape(-1)).view(mx.uint8)))).hexdigest()[:16]


def load(name):
    if name != SMOLLM2:
        family = importlib.import_module("tiny." + name.split("-")[0])
        (mx.enable_compile if getattr(family, "COMPILE", True) else mx.disable_compile)()
        return load_model(OUT / name)[0], None
    mx.enable_compile()
    if not (smollm2_to_mlx.OUT / "tokenizer_config.json").exists():
        smollm2_to_mlx.convert(smollm2_to_mlx.GGUF, smollm2_to_mlx.OUT)
    return mlx_lm.load(str(smollm2_to_mlx.OUT))


def run(model, tokenizer, name, bits, group_size, start, prompt, chunk, n, size=None):
    if tokenizer:
        ids = tokenizer.apply_chat_template([{"role": "user", "content": TEXTS[prompt]}], add_generation_prompt=True, return_dict=False)
    else:
        rng = np.random.Generator(np.random.PCG64(300 + prompt))
        ids = rng.integers(1, COMMON["vocab_size"], prompt).tolist()
    rows, margins, types = [], [], set()

    def watch(_, logits):
        top = mx.sort(logits[0].astype(mx.float32))[-2:].tolist()
        margins.append(float(f"{top[1] - top[0]:.6g}"))
        rows.append(digest(logits))
        types.add(str(logits.dtype).split(".")[-1])
        return logits

    steps = generate_step(mx.array(ids, mx.int32), model, max_tokens=n, max_kv_size=size, kv_bits=bits, kv_group_size=group_size,
                          quantized_kv_start=start, prefill_step_size=chunk, logits_processors=[watch])
    tokens = [t for t, _ in steps]
    if size:
        return dict(model=name, dtype=types.pop(), size=size, chunk=chunk, prompt=ids, tokens=tokens, margins=margins[:n], logits=rows[:n])
    return dict(model=name, dtype=types.pop(), bits=bits, group_size=group_size, start=start, chunk=chunk, prompt=ids, tokens=tokens, margins=margins[:n], logits=rows[:n])


def turns(name, bits):
    """Two prompts, one after the other in one cache, as mlx_lm.chat has them: 6 tokens each."""
    model = load(name)[0]
    rng = np.random.Generator(np.random.PCG64(500))
    cache, out = make_prompt_cache(model), []
    for n in (20, 7):
        prompt, rows = rng.integers(1, COMMON["vocab_size"], n).tolist(), []

        def watch(_, logits):
            rows.append(digest(logits))
            return logits

        steps = generate_step(mx.array(prompt, mx.int32), model, max_tokens=6, prompt_cache=cache, kv_bits=bits, kv_group_size=32,
                              quantized_kv_start=0, logits_processors=[watch])
        # stream_generate does not come back for more behind the last token.
        out.append(dict(prompt=prompt, tokens=[t for t, _ in itertools.islice(steps, 6)], logits=rows[:6]))
    return dict(model=name, bits=bits or 0, turns=out)


def refusal(name):
    model = load(name)[0]
    try:
        for _ in generate_step(mx.array([1, 2, 3], mx.int32), model, max_tokens=2, kv_bits=8, kv_group_size=32, quantized_kv_start=0):
            pass
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return None


def attention(heads, groups, queries, rows, bits, kind):
    """One call, with all arrays in float32, row-major; None for an absent mask."""
    rng = np.random.Generator(np.random.PCG64(heads * 100 + queries))
    q, k, v = (mx.array(np.round(rng.standard_normal(s), 2).astype(np.float32)) for s in [(2, heads, queries, 32), (2, groups, rows, 32), (2, groups, rows, 32 if heads > groups else 64)])
    mask = dict(none=None, causal="causal", bool=mx.array(rng.random((queries, rows)) < 0.7),
                add=mx.array(np.round(rng.standard_normal((2, heads // groups, queries, rows)), 2).astype(np.float32)))[kind]
    if kind == "add":
        mask = mask[:, :1]
    packed = [mx.quantize(x, group_size=32, bits=bits) for x in (k, v)]
    out = quantized_scaled_dot_product_attention(q * 1, *packed, 0.17, mask, 32, bits)
    flat = lambda a: [float(f"{x:.7g}") for x in a.astype(mx.float32).reshape(-1).tolist()]
    return dict(mask=kind, q=list(q.shape), k=list(k.shape), v=list(v.shape), bits=bits, scale=0.17,
                arrays=dict(q=flat(q), k=flat(k), v=flat(v), **({"mask": flat(mask)} if kind in ("bool", "add") else {})),
                mask_shape=list(mask.shape) if kind in ("bool", "add") else [], out=flat(out))


def make():
    out = dict(mlx=mx.__version__, mlx_lm=mlx_lm.__version__, cpu=cpu(), refused={n: refusal(n) for n in REFUSED}, runs=[],
               attention=[attention(*a) for a in ATTENTION], turns=[turns(*a) for a in TURNS],
               rings=[run(*load(name), name, None, 64, 0, prompt, chunk, n, size) for name, size, prompt, chunk, n in RINGS])
    loaded = None
    for r in RUNS:
        if not loaded or loaded[0] != r[0]:
            loaded = (r[0], *load(r[0]))
        out["runs"].append(run(*loaded[1:], *r))
        if loaded[2]:
            print(repr(loaded[2].decode(out["runs"][-1]["tokens"])), file=sys.stderr)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with testdata/kv.json instead of writing it")
    check = parser.parse_args().check
    mx.set_default_device(mx.cpu)
    got = make()
    if not check:
        head = {k: v for k, v in got.items() if k not in ("runs", "attention", "turns", "rings")}
        rows = {k: ",\n".join(json.dumps(r, separators=(",", ":")) for r in got[k]) for k in ("runs", "attention", "turns", "rings")}
        GOLDENS.write_text(json.dumps(head)[:-1] + "".join(f', "{k}": [\n{v}\n]' for k, v in rows.items()) + "}\n")
        return
    want = json.loads(GOLDENS.read_text())
    same_cpu = want["cpu"] == got["cpu"]
    failed = got["refused"] != want["refused"]
    if failed:
        print(f"refused: {got['refused']}")
    for i, (g, w) in enumerate(zip(got["attention"], want["attention"], strict=True)):
        if {**g, "out": 0} != {**w, "out": 0} or not np.allclose(g["out"], w["out"], rtol=0, atol=1e-5):
            failed += 1
            print(f"attention {i}: another result")
    for g, w in zip(got["turns"], want["turns"], strict=True):
        if same_cpu and g != w or [t["tokens"] for t in g["turns"]] != [t["tokens"] for t in w["turns"]]:
            failed += 1
            print(f"turns of {g['model']}: others")
    for i, (g, w) in enumerate(zip(got["runs"] + got["rings"], want["runs"] + want["rings"], strict=True)):
        n = len(w["tokens"])
        if not same_cpu:
            n = next((k for k, m in enumerate(w["margins"]) if m < NEAR_TIE[w["dtype"]]), n)
        keys = [k for k in w if k not in ("tokens", "margins", "logits")] + (["margins", "logits"] if same_cpu else [])
        bad = [k for k in keys if g[k] != w[k]] + (["tokens"] if g["tokens"][:n] != w["tokens"][:n] else [])
        failed += bool(bad)
        if bad:
            print(f"run {i} ({w['model']}): differs in {', '.join(bad)}")
    print(f"{len(want['runs'] + want['rings'])} runs, {int(failed)} differ; logits {'compared' if same_cpu else 'not compared: another CPU'}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

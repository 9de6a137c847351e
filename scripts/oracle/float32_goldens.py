#!/usr/bin/env python3
"""What mlx-lm generates in float32 on the CPU, with SmolLM2 and with the mixture of
experts that models/upcycle makes of it.

    nice .cache/oracle/venv/bin/python scripts/oracle/float32_goldens.py [--check]

All floating-point parameters, scales and biases of quantized matrices too, are
converted to float32 before anything runs (Module.set_dtype). testdata/float32.json
has, for each model and each of five prompts: the text, its tokens (chat template
included), 256 greedy tokens, end tokens being tokens like others, and the margin of
each (largest minus second largest logit).

A whole run takes a quarter of an hour. --check makes the first 48 tokens of two prompts again, or all
with ZMLX_SOAK=1, and compares: tokens and margins on the CPU that the file names, on
another one the tokens up to the first near-tie, since MLX adds up in an order that
depends on the CPU.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

import mlx.core as mx
import mlx_lm
from mlx_lm.models.cache import make_prompt_cache

import smollm2_to_mlx

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "testdata/float32.json"
MIXTURE = ROOT / ".cache/models/SmolLM2-135M-MoE"
PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain in two sentences why the sky is blue.",
    "def fibonacci(n):",
    "List three uses of a paper clip. Then say which you like best, and why.",
]
TOKENS, CHECKED_PROMPTS, CHECKED_TOKENS = 256, 2, 48
NEAR_TIE = 1e-3


def cpu():
    flags = ""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        line = next((l for l in info.read_text().splitlines() if l.startswith("flags")), "")
        flags = " ".join(f for f in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in line + " ")
    return f"{platform.system()} {platform.machine()} {flags}".strip()


def folders():
    if not (smollm2_to_mlx.OUT / "tokenizer_config.json").exists():
        smollm2_to_mlx.convert(smollm2_to_mlx.GGUF, smollm2_to_mlx.OUT)
    subprocess.run(["go", "run", "./scripts/upcycle", str(smollm2_to_mlx.GGUF), str(MIXTURE)], cwd=ROOT, check=True)
    return {"smollm2": smollm2_to_mlx.OUT, "mixture": MIXTURE}


def run(model, tokenizer, text, n):
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False)
    cache = make_prompt_cache(model)
    mx.eval(model(mx.array(prompt[:-1], mx.int32)[None], cache=cache), [c.state for c in cache])
    tokens, margins = [], []
    last = prompt[-1]
    for _ in range(n):
        logits = model(mx.array([[last]], mx.int32), cache=cache)[0, -1]
        assert logits.dtype == mx.float32
        top = mx.sort(logits)[-2:].tolist()
        # As mlx_lm.generate does: the largest of the log-probabilities.
        last = mx.argmax(logits - mx.logsumexp(logits, keepdims=True)).item()
        tokens.append(last)
        margins.append(float(f"{top[1] - top[0]:.6g}"))
    return dict(text=text, prompt=prompt, tokens=tokens, margins=margins)


def compare(got, want, same_cpu):
    n = len(got["tokens"])
    if not same_cpu:
        n = next((i for i, m in enumerate(want["margins"][:n]) if m < NEAR_TIE), n)
    bad = [k for k in ["text", "prompt"] if got[k] != want[k]]
    for key in ["tokens"] + (["margins"] if same_cpu else []):
        bad += [f"{key}[{i}]" for i in range(n) if got[key][i] != want[key][i]][:1]
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with testdata/float32.json instead of writing it")
    check = parser.parse_args().check
    mx.set_default_device(mx.cpu)
    head = dict(mlx=mx.__version__, mlx_lm=mlx_lm.__version__, cpu=cpu())
    want = json.loads(GOLDENS.read_text()) if check else None
    prompts, tokens = len(PROMPTS), TOKENS
    if check and not os.environ.get("ZMLX_SOAK"):
        prompts, tokens = CHECKED_PROMPTS, CHECKED_TOKENS
    models, failed = {}, 0
    for name, folder in folders().items():
        model, tokenizer = mlx_lm.load(str(folder))
        model.set_dtype(mx.float32)
        models[name] = [run(model, tokenizer, text, tokens) for text in PROMPTS[:prompts]]
        for i, r in enumerate(models[name]):
            if not check:
                print(name, repr(tokenizer.decode(r["tokens"])), file=sys.stderr)
                continue
            bad = compare(r, want["models"][name][i], want["cpu"] == head["cpu"])
            failed += bool(bad)
            if bad:
                print(f"{name}: prompt {i}: differs in {', '.join(bad)}")
    if not check:
        rows = ",\n".join(
            f'  "{name}": [\n    ' + ",\n    ".join(json.dumps(r, separators=(",", ":")) for r in runs) + "]" for name, runs in models.items()
        )
        GOLDENS.write_text(json.dumps(head)[:-1] + ', "models": {\n' + rows + "}}\n")
        return
    how = "compared" if want["cpu"] == head["cpu"] else "not compared: another CPU"
    print(f"2 models, {prompts} prompts of {tokens} tokens, {failed} differ; margins {how}")
    sys.exit(failed > 0)


main()

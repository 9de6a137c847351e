#!/usr/bin/env python3
"""What mlx-lm generates with SmolLM2-135M-Instruct on the CPU.

    nice .cache/oracle/venv/bin/python scripts/oracle/smollm2_goldens.py [--check]

testdata/smollm2.json has, for each of five prompts: the text, its tokens (chat
template included), 128 greedy tokens, the margin of each (largest minus second
largest logit), and the first 16 digits of the sha256 of the logits that each was
chosen from, row-major and little-endian; "prefill" is that of all logits of the
first call, which takes the prompt but its last token, as mlx_lm.generate does.

A whole run takes minutes. --check makes the first 48 tokens of two prompts again,
or all with ZMLX_SOAK=1, and compares: on the CPU that the file names everything,
on another one the tokens up to the first near-tie, since MLX adds up in an order
that depends on the CPU.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import sys

import mlx.core as mx
import mlx_lm
from mlx_lm.models.cache import make_prompt_cache

import smollm2_to_mlx

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "testdata/smollm2.json"
PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain in two sentences why the sky is blue.",
    "def fibonacci(n):",
    "List three uses of a paper clip. Then say which you like best, and why.",
]
TOKENS, CHECKED_PROMPTS, CHECKED_TOKENS = 128, 2, 48
NEAR_TIE = 0.05


def cpu():
    flags = ""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        line = next((l for l in info.read_text().splitlines() if l.startswith("flags")), "")
        flags = " ".join(f for f in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in line + " ")
    return f"{platform.system()} {platform.machine()} {flags}".strip()


def digest(a):
    return hashlib.sha256(bytes(memoryview(mx.contiguous(a).view(mx.uint8)))).hexdigest()[:16]


def run(model, tokenizer, text, n):
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False)
    cache = make_prompt_cache(model)
    prefill = model(mx.array(prompt[:-1], mx.int32)[None], cache=cache)
    mx.eval(prefill, [c.state for c in cache])
    tokens, margins, logits_of = [], [], []
    last = prompt[-1]
    for _ in range(n):
        logits = model(mx.array([[last]], mx.int32), cache=cache)
        top = mx.sort(logits[0, -1].astype(mx.float32))[-2:].tolist()
        last = mx.argmax(logits[0, -1]).item()
        tokens.append(last)
        margins.append(float(f"{top[1] - top[0]:.6g}"))
        logits_of.append(digest(logits))
    return dict(text=text, prompt=prompt, prefill=digest(prefill), tokens=tokens, margins=margins, logits=logits_of)


def compare(got, want, same_cpu):
    n = len(got["tokens"])
    if not same_cpu:
        n = next((i for i, m in enumerate(want["margins"][:n]) if m < NEAR_TIE), n)
    keys = ["text", "prompt"] + (["prefill"] if same_cpu else [])
    bad = [k for k in keys if got[k] != want[k]]
    for key in ["tokens"] + (["margins", "logits"] if same_cpu else []):
        bad += [f"{key}[{i}]" for i in range(n) if got[key][i] != want[key][i]][:1]
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with testdata/smollm2.json instead of writing it")
    check = parser.parse_args().check
    mx.set_default_device(mx.cpu)
    if not (smollm2_to_mlx.OUT / "tokenizer_config.json").exists():
        smollm2_to_mlx.convert(smollm2_to_mlx.GGUF, smollm2_to_mlx.OUT)
    model, tokenizer = mlx_lm.load(str(smollm2_to_mlx.OUT))
    head = dict(mlx=mx.__version__, mlx_lm=mlx_lm.__version__, cpu=cpu(), model=smollm2_to_mlx.GGUF.name)
    if not check:
        runs = []
        for text in PROMPTS:
            runs.append(run(model, tokenizer, text, TOKENS))
            print(repr(tokenizer.decode(runs[-1]["tokens"])), file=sys.stderr)
        rows = ",\n".join(json.dumps(r, separators=(",", ":")) for r in runs)
        GOLDENS.write_text(json.dumps(head)[:-1] + ', "runs": [\n' + rows + "\n]}\n")
        return
    prompts, tokens = (len(PROMPTS), TOKENS) if os.environ.get("ZMLX_SOAK") else (CHECKED_PROMPTS, CHECKED_TOKENS)
    want = json.loads(GOLDENS.read_text())
    same_cpu = want["cpu"] == head["cpu"]
    failed = 0
    for i in range(prompts):
        bad = compare(run(model, tokenizer, PROMPTS[i], tokens), want["runs"][i], same_cpu)
        failed += bool(bad)
        if bad:
            print(f"prompt {i}: differs in {', '.join(bad)}")
    print(f"{prompts} prompts of {tokens} tokens, {failed} differ; logits {'compared' if same_cpu else 'not compared: another CPU'}")
    sys.exit(failed > 0)


main()

#!/usr/bin/env python3
"""What mlx-lm generates with the small trained models on the CPU.

    nice .cache/oracle/venv/bin/python scripts/oracle/trained_goldens.py [--check] [FAMILY...]

testdata/trained/FAMILY.json has, for the folder as it is (float32) and cast to bfloat16,
ten prompts: the text, its tokens, 256 greedy tokens, the margin of each (largest minus
second largest logit), and the first 16 digits of the sha256 of the logits of all
calls: the prompt but its last token, as mlx_lm.generate has it, then one token a call.

--check makes the first two prompts again, or all with ZMLX_SOAK=1, and compares: on the
CPU that the file names everything, on another one the tokens up to the first near-tie.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import sys
import tempfile

import mlx.core as mx
import mlx_lm
from mlx_lm.models.cache import make_prompt_cache

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/train"))
from convert import TRAINED, cast  # noqa: E402

PROMPTS = [
    "It is a truth universally acknowledged, that",
    "She was not in the least surprised, when Mr. Elliot",
    "Emma Woodhouse, handsome, clever, and rich,",
    '"My dear Mr. Bennet," said his lady to him one day,',
    "The evening was spent in",
    "Captain Wentworth",
    '"I cannot imagine," cried Fanny, "how',
    "Their mother, who had been sitting by the window,",
    "Elinor could not help",
    "There was a letter on the table. It was from her sister, and it said:",
]
TOKENS, CHECKED_PROMPTS = 256, 2
NEAR_TIE = {"float32": 1e-3, "bfloat16": 0.25}


def cpu():
    flags = ""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        line = next((l for l in info.read_text().splitlines() if l.startswith("flags")), "")
        flags = " ".join(f for f in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in line + " ")
    return f"{platform.system()} {platform.machine()} {flags}".strip()


def run(model, tokenizer, text):
    prompt = tokenizer.encode(text)
    cache = make_prompt_cache(model)
    sha = hashlib.sha256()

    def call(ids):
        logits = model(mx.array([ids], mx.int32), cache=cache)
        sha.update(bytes(memoryview(mx.contiguous(logits).view(mx.uint8))))
        return logits[0, -1].astype(mx.float32)

    call(prompt[:-1])
    tokens, margins, last = [], [], prompt[-1]
    for _ in range(TOKENS):
        logits = call([last])
        low, high = mx.sort(logits)[-2:].tolist()
        last = mx.argmax(logits).item()
        tokens.append(last)
        margins.append(float(f"{high - low:.4g}"))
    return dict(text=text, prompt=prompt, tokens=tokens, margins=margins, logits=sha.hexdigest()[:16])


def runs(folder, prompts):
    """By element type."""
    out = {}
    with tempfile.TemporaryDirectory() as work:
        cast(folder, "bfloat16", pathlib.Path(work))
        for dtype, path in dict(float32=folder, bfloat16=work).items():
            model, tokenizer = mlx_lm.load(str(path))
            out[dtype] = [run(model, tokenizer, text) for text in prompts]
    return out


def compare(got, want, same_cpu):
    bad = []
    for dtype, rows in want.items():
        for i, (g, w) in enumerate(zip(got[dtype], rows[: len(got[dtype])], strict=True)):
            n = TOKENS if same_cpu else next((k for k, m in enumerate(w["margins"]) if m < NEAR_TIE[dtype]), TOKENS)
            same = g["prompt"] == w["prompt"] and g["tokens"][:n] == w["tokens"][:n]
            if not same or same_cpu and g != w:
                bad.append(f"prompt {i} in {dtype}")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("family", nargs="*")
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    families = args.family or sorted(p.parent.name for p in TRAINED.glob("*/config.json"))
    prompts = PROMPTS if not args.check or os.environ.get("ZMLX_SOAK") else PROMPTS[:CHECKED_PROMPTS]
    failed = 0
    for family in families:
        path = TRAINED / f"{family}.json"
        head = dict(mlx=mx.__version__, mlx_lm=mlx_lm.__version__, cpu=cpu())
        got = runs(TRAINED / family, prompts)
        if args.check:
            want = json.loads(path.read_text())
            bad = compare(got, want["runs"], want["cpu"] == head["cpu"])
            failed += bool(bad)
            print(f"{family}: {', '.join(bad) + ' differ' if bad else 'the same'}")
            continue
        rows = ",\n".join(f'"{k}": [\n' + ",\n".join(json.dumps(r, separators=(",", ":")) for r in v) + "]" for k, v in got.items())
        path.write_text(json.dumps(head)[:-1] + ', "runs": {\n' + rows + "}}\n")
        least = {k: min(min(r["margins"]) for r in v) for k, v in got.items()}
        print(f"{family}: least margins {least}", file=sys.stderr)
    if args.check:
        print(f"{len(families)} models, {len(prompts)} prompts, {failed} differ")
        sys.exit(failed > 0)


main()

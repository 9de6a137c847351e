#!/usr/bin/env python3
"""Makes a model of a reference configuration with random weights, to time.

    python3 scripts/device/random_model.py Qwen3-30B-A3B-4bit /tmp/models/qwen3

NAME-8bit is NAME-4bit with 8 bits, where the reference configurations have no such model.

Weights have the standard deviation of a usual initialization, so that activations keep
their size; the text means nothing. The tokenizer has a word of its own for each token.
Needs PyTorch with a GPU, and zmlx-rewrite on the PATH, which says what parameters there are.
"""

import json
import pathlib
import re
import string
import struct
import subprocess
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = re.compile(r'param `?([^`\s]+)`? : (\w+)\[([\d, ]*)\](?: quant\("[^"]*", part="(\w+)", mode="(\w+)", bits=(\d+), group_size=(\d+)\))?(.*)')
SIZES = {"uint32": ("U32", 4), "uint8": ("U8", 1), "bfloat16": ("BF16", 2), "float16": ("F16", 2), "float32": ("F32", 4)}
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def params(name):
    text = subprocess.run(["zmlx-rewrite", "graph", "--model", name], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        if line.startswith("case"):
            return
        m = LINE.fullmatch(line)
        if m and not m[8].strip():  # others are made from these
            shape = [int(d) for d in m[3].split(",") if d.strip()]
            yield m[1], m[2], shape, m[4], m[5], int(m[6] or 0)


def values(dtype, shape, part, mode, bits, columns):
    """columns is the length of a row before it was packed."""
    n = 1
    for d in shape:
        n *= d
    if part == "weight":
        return torch.randint(-(2**31), 2**31, (n,), dtype=torch.int32, device="cuda")
    if part in ("scales", "biases") and mode == "affine":
        # Codes are uniform, so their deviation is 2^bits / sqrt(12).
        scale = 12**0.5 / 2**bits / columns**0.5
        v = scale if part == "scales" else -scale * (2**bits - 1) / 2
        return torch.full((n,), v, dtype=HALVES[dtype], device="cuda")
    if part == "scales":  # mxfp4: e8m0, codes of deviation 2.9
        return torch.full((n,), 127 - round(0.5 * torch.log2(torch.tensor(8.4 * columns)).item()), dtype=torch.uint8, device="cuda")
    if len(shape) == 1:  # norms; biases are as good for the time it takes
        return torch.ones(n, dtype=HALVES[dtype], device="cuda")
    return (torch.randn(n, device="cuda") / shape[-1] ** 0.5).to(HALVES[dtype])


def main(name, out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    reference = ROOT / f"models/reference/{name}.json"
    if not reference.exists():  # in 8 bits, where it is kept in 4
        reference = ROOT / f"models/reference/{name.removesuffix('-8bit')}-4bit.json"
    text = reference.read_text()
    if name.endswith("-8bit"):
        text = text.replace('"bits": 4', '"bits": 8')
    (out / "config.json").write_text(text)
    config = json.loads((out / "config.json").read_text())
    config = config.get("text_config", config)
    vocab = {f"<{i}>": i for i in range(config["vocab_size"])}
    for i, letter in enumerate(string.ascii_lowercase, 1):  # prompts of one token each
        vocab[letter] = vocab.pop(f"<{i}>")
    (out / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }))
    table = list(params(out / "config.json"))
    columns = {n.removesuffix(".weight"): s[-1] * 32 // b for n, _, s, part, _, b in table if part == "weight"}
    header, at = {}, 0
    for n, dtype, shape, *_ in table:
        code, size = SIZES[dtype]
        for d in shape:
            size *= d
        header[n] = {"dtype": code, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    torch.manual_seed(1)
    with open(out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for n, dtype, shape, part, mode, bits in table:
            x = values(dtype, shape, part, mode, bits, columns.get(n.rpartition(".")[0], 0))
            f.write(x.view(torch.uint8).cpu().numpy().data)
    print(f"{name}: {len(table)} parameters, {at / 1e9:.1f} GB in {out}")


main(*sys.argv[1:])

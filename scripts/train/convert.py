#!/usr/bin/env python3
"""Makes the MLX folders of testdata/trained from what train.py trained.

    .cache/oracle/venv/bin/python scripts/train/convert.py DIR [--family F] [--out testdata/trained]
    .cache/oracle/venv/bin/python scripts/train/convert.py --cast bfloat16 [--family F] --out OUT

DIR holds train.py's F.tar.gz. Each one is converted by mlx_lm.convert, quantized to 4
bits with its defaults: groups of 64, routers 8 bits where the family has it so. The experts
of gpt_oss are in mxfp4 before that, in the layout that OpenAI published.

Before anything is written, the logits of mlx-lm's model with the unquantized weights
must be those that Transformers computed. Losses on held-out text, before and after
quantization, and some greedy text are printed and go to OUT/train.json.

The folders are float32, since that is what token identity is stated for. --cast makes
others out of those in testdata/trained, with the same packed weights.
"""

import argparse
import contextlib
import io
import json
import pathlib
import shutil
import sys
import tarfile
import tempfile

import mlx.core as mx
import mlx.nn as nn
import mlx_lm
import numpy as np
from mlx_lm.convert import convert
from mlx_lm.utils import load_model, load_tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINED = ROOT / "testdata/trained"
DATA = ROOT / ".cache/train/device"
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
LIMIT = 2_000_000  # bytes of model.safetensors
TOLERANCE = 5e-3  # of logits, between two frameworks in float32
KEPT = ("expert_bias", "e_score_correction_bias")  # float32 whatever the others are
PROMPTS = ["It is a truth universally acknowledged, that", "She was not in the least surprised, when Mr. Elliot"]


def gate_and_up(weights, pack):
    """The weights of gpt_oss with each expert matrix, output channels first, replaced by
    what pack makes of its name and itself."""
    out = {}
    for name, w in weights.items():
        if name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
            out.update(pack(name, mx.contiguous(w.swapaxes(-1, -2))))
        else:
            out[name] = w
    return out


def mxfp4(name, w):
    packed, scales = mx.quantize(w, 32, 4, mode="mxfp4")
    blocks = packed.view(mx.uint8).reshape(*scales.shape, 16)
    return {f"{name}_blocks": blocks, f"{name}_scales": scales}


def plain(name, w):
    if "down_proj" in name:
        return {f"{name}.weight": w}
    return {name.replace("gate_up_proj", part) + ".weight": mx.contiguous(w[:, i::2]) for i, part in enumerate(("gate_proj", "up_proj"))}


def plain_biases(weights):
    out = {}
    for name, w in weights.items():
        if name.endswith("gate_up_proj_bias"):
            for i, part in enumerate(("gate_proj", "up_proj")):
                out[name.replace("gate_up_proj_bias", part) + ".bias"] = mx.contiguous(w[:, i::2])
        else:
            out[name.replace("down_proj_bias", "down_proj.bias")] = w
    return out


def rewrite(folder, change, config=None):
    """Changes the weights of a folder, and its configuration."""
    path = folder / "model.safetensors"
    weights = change(mx.load(str(path)))
    mx.eval(weights)  # before the file that they are read from is written over
    mx.save_safetensors(str(path), weights, {"format": "pt"})
    if config:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config, indent=2) + "\n")


def distance(folder, model):
    """The greatest difference between the model's logits and Transformers'."""
    want = np.load(folder / "reference.npz")
    got = model(mx.array(want["ids"][None], mx.int32))[0, -len(want["logits"]) :]
    return float(np.abs(np.array(got) - want["logits"]).max())


def loss(model, tokens):
    total = [nn.losses.cross_entropy(model(w[None, :-1]), w[None, 1:], reduction="mean").item() for w in tokens]
    return round(sum(total) / len(total), 4)


def size(folder):
    return (folder / "model.safetensors").stat().st_size


def one(archive, family, out):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter="data")
        hf, unquantized, quantized = work / family, work / "unquantized", work / "quantized"
        shutil.copytree(hf, unquantized)
        if family == "gpt_oss":
            rewrite(unquantized, lambda w: plain_biases(gate_and_up(w, plain)))
            rewrite(hf, lambda w: gate_and_up(w, mxfp4), dict(quantization_config=dict(quant_method="mxfp4")))
        held = np.load(DATA / "tokens.npz")["validation"].astype(np.int32)
        windows = mx.array(held[: 16 * 512].reshape(16, 512))

        model, _ = load_model(unquantized)
        far = distance(hf, model)
        if not far < TOLERANCE:
            sys.exit(f"error: {family}: logits of mlx-lm are {far} away from Transformers'")
        report = dict(distance=far, loss=loss(model, windows))

        with contextlib.redirect_stdout(io.StringIO()):
            convert(str(hf), str(quantized), quantize=True)
        model, _ = load_model(quantized)
        report |= dict(quantized_loss=loss(model, windows), bytes=size(quantized))
        if report["bytes"] > LIMIT:
            sys.exit(f"error: {family}: {report['bytes']} bytes, more than {LIMIT}")
        tokenizer = load_tokenizer(quantized)
        report["text"] = [p + mlx_lm.generate(model, tokenizer, p, max_tokens=96) for p in PROMPTS]
        print(f"{family}: {json.dumps(report, indent=1)}", flush=True)

        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(hf / name, quantized)  # as trained, not as written again
        (out / family).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(quantized / name, out / family / name)
            (out / family / name).chmod(0o644)
        return report


def cast(folder, dtype, out):
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(folder / name, out / name)
    to = getattr(mx, dtype)
    change = lambda k, w: w.astype(to) if mx.issubdtype(w.dtype, mx.floating) and not k.endswith(KEPT) else w
    rewrite(out, lambda weights: {k: change(k, w) for k, w in weights.items()}, dict(torch_dtype=dtype))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=pathlib.Path, nargs="?")
    parser.add_argument("--family", help="only this one")
    parser.add_argument("--out", type=pathlib.Path, default=TRAINED)
    parser.add_argument("--cast", choices=["bfloat16", "float16"])
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    if args.cast:
        if args.out.resolve() == TRAINED:
            parser.error("--cast needs another --out")
        for folder in sorted(p.parent for p in TRAINED.glob(f"{args.family or '*'}/config.json")):
            cast(folder, args.cast, args.out / folder.name)
        return
    if not args.dir:
        parser.error("DIR is missing")
    archives = sorted(args.dir.glob(f"{args.family or '*'}.tar.gz"))
    if not archives:
        parser.error(f"no .tar.gz in {args.dir}")
    trained = json.loads((args.dir / "train.json").read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "train.json"
    reports = json.loads(path.read_text()) if path.exists() else {}
    for archive in archives:
        family = archive.name.removesuffix(".tar.gz")
        reports[family] = trained[family] | one(archive, family, args.out)
    path.write_text(json.dumps(dict(sorted(reports.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()

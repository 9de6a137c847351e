#!/usr/bin/env python3
"""Makes tiny random models and what mlx-lm computes with them.

    .cache/oracle/venv/bin/python scripts/oracle/tiny_models.py [--check] [FAMILY...]

Each model goes to .cache/oracle/tiny/NAME as an MLX folder (config.json,
model.safetensors, a few hundred KB), with logits.safetensors beside it: the logits
of every call, as RUN.prefill.CHUNK and RUN.decode.STEP. testdata/tiny/FAMILY.json,
which is committed, has for each run the prompt, the greedy tokens, the margins
(largest minus second largest logit of each row) and the sha256 of the logits of
each call in their own element type, row-major and little-endian.

The hashes hold for the kind of CPU that the file names: MLX's matrix products add
up in an order that depends on it. --check makes everything again and compares:
tokens and hashes on the same CPU, on another one the tokens of each row up to the
first near-tie.

The models are in scripts/oracle/tiny/FAMILY.py, a file for each model_type.
"""

import argparse
import hashlib
import importlib
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

from tiny import COMMON
from tiny import RUNS as USUAL_RUNS

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / ".cache/oracle/tiny"
GOLDENS = ROOT / "testdata/tiny"
FAMILIES = sorted(p.stem for p in (ROOT / "scripts/oracle/tiny").glob("*.py") if not p.stem.startswith("_"))
STEPS = 8

# Margins below which another order of sums may choose another token.
NEAR_TIE = {"bfloat16": 0.25, "float16": 0.05, "float32": 1e-3}


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
        # Flat: MLX views the bytes of a last axis of 1 by strides that may be any.
        h.update(bytes(memoryview(mx.contiguous(a.reshape(-1)).view(mx.uint8))) if a.size else b"")
    return h.hexdigest()


def make(family, name, config, dtype, quant):
    """Writes the model's folder."""
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(name.split("-")[0].encode(), "little")))
    weights = []
    special = getattr(family, "weight", lambda path, shape, rng: None)
    for path, p in sorted(tree_flatten(model.parameters())):
        if (w := special(path, p.shape, rng)) is not None:
            pass
        elif path.endswith("norm.weight"):
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
        choose = getattr(family, "quantize", None)
        predicate = choose and (lambda path, _: choose(name, path))
        model, config = quantize_model(model, config, group_size, bits, mode, predicate)
    (OUT / name).mkdir(parents=True, exist_ok=True)
    save_model(OUT / name, model)
    save_config(config, OUT / name / "config.json")
    getattr(family, "finish", lambda name, folder: None)(name, OUT / name)


def run(model, index, batch, chunks, logits_out):
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


def golden(name):
    """Makes the models of a family and what mlx-lm computes with them."""
    family = importlib.import_module(f"tiny.{name}")
    (mx.enable_compile if getattr(family, "COMPILE", True) else mx.disable_compile)()
    runs = getattr(family, "RUNS", USUAL_RUNS)
    out = dict(mlx=mx.__version__, mlx_lm=mlx_lm.__version__, cpu=cpu(), steps=STEPS, models={})
    for model_name, (config, dtype, quant) in family.MODELS.items():
        folder = OUT / model_name
        make(family, model_name, config, dtype, quant)
        model, _ = load_model(folder)
        logits = {}
        done = [run(model, i, *r, logits) for i, r in enumerate(runs(model_name) if callable(runs) else runs)]
        mx.save_safetensors(str(folder / "logits.safetensors"), logits)
        weights = sha256(*(p for _, p in sorted(tree_flatten(model.parameters()))))
        out["models"][model_name] = dict(dtype=str(next(iter(logits.values())).dtype).split(".")[-1], weights=weights, runs=done)
    return out


def write(path, goldens):
    # One line a run keeps differences readable.
    text = json.dumps({k: v for k, v in goldens.items() if k != "models"})[:-1] + ', "models": {\n'
    models = []
    for name, m in goldens["models"].items():
        rows = ",\n".join("    " + json.dumps(r, separators=(",", ":")) for r in m["runs"])
        models.append(f'  "{name}": {{"dtype": "{m["dtype"]}", "weights": "{m["weights"]}", "runs": [\n{rows}]}}')
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + ",\n".join(models) + "}}\n")


def compare(want, goldens):
    """Prints what differs, and returns how many models do."""
    same_cpu = want["cpu"] == goldens["cpu"]
    bad = 0
    for name in sorted(want["models"].keys() | goldens["models"].keys()):
        got, m = (x["models"].get(name, dict(weights="", runs=[])) for x in (goldens, want))
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
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with testdata/tiny/FAMILY.json instead of writing it")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"only these; all: {' '.join(FAMILIES)}")
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    bad = 0
    for name in args.families or FAMILIES:
        made = golden(name)
        if args.check:
            print(f"{name}: ", end="")
            bad += compare(json.loads((GOLDENS / f"{name}.json").read_text()), made)
        else:
            write(GOLDENS / f"{name}.json", made)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()

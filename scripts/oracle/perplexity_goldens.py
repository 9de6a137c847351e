#!/usr/bin/env python3
"""Writes decode/testdata/perplexity.json: what mlx_lm.perplexity says of some tokens.

    nice .cache/oracle/venv/bin/python scripts/oracle/perplexity_goldens.py [--check]

Each case has a tiny model of scripts/oracle/tiny_models.py or SmolLM2-135M-Instruct, rows
of tokens, the batch size, and the two numbers of eval_ppl: perplexity and standard error.
"""

import contextlib
import importlib
import io
import json
import math

import golden
import mlx.core as mx
import mlx_lm
import numpy as np
import smollm2_to_mlx
from mlx_lm.perplexity import eval_ppl
from mlx_lm.utils import load_model

from tiny_models import COMMON, OUT

mx.set_default_device(mx.cpu)
SMOLLM2 = "SmolLM2-135M-Instruct"
TEXT = """A lighthouse stands on a rock, a mile from the shore. Every evening its keeper climbed the stairs and lit the lamp.
In winter, when the sea was rough, no boat came for weeks, and he read the same three books again and again."""
CASES = [("llama-f32", 6, 40, 4), ("qwen3_moe-f32-4bit", 3, 70, 1), ("gemma3_text-f32", 2, 50, 2), ("lfm2-f32", 2, 30, 8), (SMOLLM2, None, 24, 2)]


def case(name, rows, length, batch):
    if name == SMOLLM2:
        mx.enable_compile()
        if not (smollm2_to_mlx.OUT / "tokenizer_config.json").exists():
            smollm2_to_mlx.convert(smollm2_to_mlx.GGUF, smollm2_to_mlx.OUT)
        model, tokenizer = mlx_lm.load(str(smollm2_to_mlx.OUT))
        ids = tokenizer.encode(TEXT)
        data = np.array(ids[: len(ids) // length * length]).reshape(-1, length)
    else:
        family = importlib.import_module("tiny." + name.split("-")[0])
        (mx.enable_compile if getattr(family, "COMPILE", True) else mx.disable_compile)()
        model, _ = load_model(OUT / name)
        data = np.random.Generator(np.random.PCG64(900 + rows)).integers(1, COMMON["vocab_size"], (rows, length))
    with contextlib.redirect_stdout(io.StringIO()):
        ppl, error = eval_ppl(model, mx.array(data, mx.int32), batch)
    return dict(model=name, batch=batch, rows=data.tolist(), perplexity=float(f"{ppl:.7g}"), error=float(f"{error:.5g}"))


def make(out):
    rows = [json.dumps(case(*c), separators=(",", ":")) for c in CASES]
    (out / "perplexity.json").write_text(json.dumps({"text": TEXT})[:-1] + ', "cases": [\n' + ",\n".join(rows) + "\n]}\n")


def compare(old, new):
    a, b = (json.loads(p.read_text()) for p in (old, new))
    if a["text"] != b["text"] or len(a["cases"]) != len(b["cases"]):
        return "other cases"
    for x, y in zip(a["cases"], b["cases"]):
        if {**x, "perplexity": 0, "error": 0} != {**y, "perplexity": 0, "error": 0}:
            return f"{x['model']}: other tokens"
        if any(not math.isclose(x[k], y[k], rel_tol=1e-3) for k in ("perplexity", "error")):
            return f"{x['model']}: {y['perplexity']} ± {y['error']}"


golden.run(__doc__, "decode/testdata", make, compare)

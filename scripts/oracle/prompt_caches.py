#!/usr/bin/env python3
"""Prompt cache files of mlx-lm, for decode's TestPromptCacheBothWays.

    .cache/oracle/venv/bin/python scripts/oracle/prompt_caches.py make FOLDER
    .cache/oracle/venv/bin/python scripts/oracle/prompt_caches.py continue FOLDER

"make" processes a prompt with each of some tiny models and writes NAME.safetensors as
mlx_lm.cache_prompt does, and prints, as JSON, prompts and the tokens with which mlx-lm
goes on from the file behind a second prompt. "continue" loads ours-NAME.safetensors
instead and prints the tokens. Nothing of it is kept.
"""

import json
import pathlib
import sys

import mlx.core as mx
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import load_prompt_cache, make_prompt_cache, save_prompt_cache
from mlx_lm.utils import load_model

from tiny_models import COMMON, NEAR_TIE, OUT

# model, bits of the cache (None: plain), tokens
CASES = [("llama-f32", None, 300), ("llama-f32", 8, 40), ("qwen3-f32", 4, 256), ("gpt_oss-f32", None, 37), ("gpt_oss-f32", None, 9),
         ("lfm2-f32", None, 20), ("qwen3_next-f32", None, 20), ("glm4_moe_lite-f32", None, 20), ("gemma3_text-f32", None, 50)]


def go_on(model, cache, prompt):
    rows = []

    def watch(_, logits):
        top = mx.sort(logits[0].astype(mx.float32))[-2:].tolist()
        rows.append(top[1] - top[0])
        return logits

    tokens = [t for t, _ in generate_step(mx.array(prompt, mx.int32), model, max_tokens=8, prompt_cache=cache, logits_processors=[watch])]
    return tokens, rows[: len(tokens)]


def main():
    mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    mx.set_default_device(mx.cpu)
    out = []
    for name, bits, n in CASES:
        model, _ = load_model(OUT / name)
        rng = np.random.Generator(np.random.PCG64(700 + n))
        prompt, more = (rng.integers(1, COMMON["vocab_size"], k).tolist() for k in (n, 3))
        file = f"{name}-{bits}-{n}.safetensors"
        if mode == "make":
            cache = make_prompt_cache(model)
            for _ in generate_step(mx.array(prompt, mx.int32), model, max_tokens=0, prompt_cache=cache, kv_bits=bits, kv_group_size=32, quantized_kv_start=0):
                pass
            save_prompt_cache(str(folder / file), cache, dict(model=name, tokenizer_config="{}"))
        else:
            file = "ours-" + file
        cache, meta = load_prompt_cache(str(folder / file), return_metadata=True)
        assert meta == dict(model=name, tokenizer_config="{}"), meta
        tokens, margins = go_on(model, cache, more)
        tie = next((i for i, m in enumerate(margins) if m < NEAR_TIE["float32"]), len(tokens))
        out.append(dict(model=name, bits=bits or 0, file=file, prompt=prompt, more=more, tokens=tokens[:tie]))
    print(json.dumps(out))


main()

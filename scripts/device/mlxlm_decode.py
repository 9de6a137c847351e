#!/usr/bin/env python3
"""Times mlx-lm's own loop, mlx_lm.generate.generate_step, on token numbers: no tokenizer is
loaded. Prints one JSON object a run; needs mlx and mlx-lm, and with --patch zmlx_rewrite.

    python3 scripts/device/mlxlm_decode.py MODEL [--prompt 1] [--depth 0,8192] [--tokens 128] [--rounds 1] [--patch]

The prompt is N times token 1, which is `--prompt aaa...` to zmlx-rewrite on a model of
random_model.py. --depth puts random keys and values into the caches first: MLX's products
of many rows, which it compiles for a minute, are not needed then. What is timed is the
time from the first new token to the last; a run before it, which is not timed, warms up.
"""

import argparse
import hashlib
import json
import os
import pathlib
import time

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache
from mlx_lm.utils import load_model


def filled(model, depth):
    """Caches as they are behind depth tokens. What has no keys, such as a convolution's
    last inputs, is what one token leaves."""
    mx.random.seed(1)
    caches = make_prompt_cache(model)
    if not depth:
        return caches
    mx.eval(model(mx.array([[1]]), cache=caches))
    for c in caches:
        if not isinstance(c, (KVCache, RotatingKVCache)):
            continue
        rows = depth
        if isinstance(c, RotatingKVCache):
            c._idx = rows = min(depth, c.max_size)
        c.keys, c.values = (mx.random.normal((*x.shape[:2], rows, x.shape[3])).astype(x.dtype) for x in (c.keys, c.values))
        c.offset = depth
        mx.eval(c.keys, c.values)
    return caches


def run(model, args, n, depth):
    caches = filled(model, depth)
    start = time.perf_counter()
    tokens, first = [], 0.0
    for token, _ in generate_step(mx.array([args.token] * args.prompt), model, max_tokens=n, prompt_cache=caches):
        first = first or time.perf_counter()
        tokens.append(token)
    end = time.perf_counter()
    return tokens, args.prompt / (first - start), (n - 1) / (end - first)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model", help="folder of a model")
    p.add_argument("--prompt", type=int, default=1, help="tokens of the prompt")
    p.add_argument("--token", type=int, default=1, help="which one")
    p.add_argument("--depth", default="0", help="rows in the caches before it; a list with commas")
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--warm-up", type=int, default=16, help="tokens that are not timed")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--patch", action="store_true", help="then patch the model, and the last depth once more")
    p.add_argument("--patch-seconds", type=float, default=20.0)
    args = p.parse_args()
    start = time.perf_counter()
    model, _ = load_model(pathlib.Path(args.model))
    loaded = time.perf_counter() - start
    settings = {k: v for k, v in os.environ.items() if k.startswith("MLX_MAX_")}

    def rounds(what, depth):
        begin = time.perf_counter()
        if args.warm_up:
            run(model, args, args.warm_up, depth)
        warm = time.perf_counter() - begin
        for _ in range(args.rounds):
            mx.reset_peak_memory()
            tokens, prompt_tps, tps = run(model, args, args.tokens, depth)
            print(json.dumps(dict(what=what, model=pathlib.Path(args.model).name, prompt=args.prompt, depth=depth, tokens=args.tokens, settings=settings,
                                  load_s=round(loaded, 1), warm_up_s=round(warm, 1), prompt_tps=round(prompt_tps, 1), tps=round(tps, 2), peak_gb=round(mx.get_peak_memory() / 1e9, 2),
                                  sha=hashlib.sha256(str(tokens).encode()).hexdigest()[:12], first=tokens[:8], mlx=mx.__version__)), flush=True)
        return tokens, tps

    depths = [int(d) for d in args.depth.split(",")]
    for depth in depths:
        tokens, tps = rounds("mlx-lm", depth)
    if not args.patch:
        return
    import zmlx_rewrite

    begin = time.perf_counter()
    report = zmlx_rewrite.patch(model, seconds=args.patch_seconds)
    patch_s = time.perf_counter() - begin
    run(model, args, args.tokens, depth)
    with_tokens = time.perf_counter() - begin
    after, patched = rounds("patched", depth)
    print(json.dumps(dict(what="bridge", model=pathlib.Path(args.model).name, speedup=round(patched / tps, 2), patch_s=round(patch_s, 1),
                          patch_and_tokens_s=round(with_tokens, 1), equal=tokens == after, same=next((i for i, (a, b) in enumerate(zip(tokens, after)) if a != b), len(after)),
                          phases={k: round(v, 1) for k, v in report.phases.items()}, state=report.state, reason=report.reason,
                          shapes=[(s.batch, s.caches, s.state, s.launches_before, s.launches_after, s.speedup and round(s.speedup, 2)) for s in report.shapes], calls=report.calls)))
    print(report, flush=True)


main()

#!/usr/bin/env python3
"""Times mlx-lm's own loops, mlx_lm.generate.generate_step and, for several sequences side by
side, BatchGenerator, on token numbers: no tokenizer is loaded. Prints one JSON object a run; needs
mlx and mlx-lm, and with --patch zmlx_rewrite.

    python3 scripts/device/mlxlm_decode.py MODEL [--prompt 1] [--depth 0,8192] [--batch 1,4] [--tokens 128] [--rounds 1] [--patch]

A prompt of one token is token 1, which is `--prompt a` to zmlx-rewrite on a model of
random_model.py; longer ones, and those of several sequences, have random tokens, which go to
different experts. --depth puts random keys and
values into the caches first: MLX's products of many rows, which it compiles for a minute, are not
needed then. What is timed is the time from the first new token to the last; a run before it, which
is not timed, warms up. tps is of all sequences.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import statistics
import time

import mlx.core as mx
from mlx_lm.generate import BatchGenerator, generate_step
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


def randoms(args, n, seed=1):
    rng = random.Random(seed)
    return [rng.randrange(args.vocabulary) for _ in range(n)]


def run(model, args, n, depth, prompt):
    caches = filled(model, depth)
    start = time.perf_counter()
    tokens, first = [], 0.0
    for token, _ in generate_step(mx.array([args.token] if prompt == 1 else randoms(args, prompt)), model, max_tokens=n, prompt_cache=caches):
        first = first or time.perf_counter()
        tokens.append(token)
    end = time.perf_counter()
    return tokens, prompt / (first - start), (n - 1) / (end - first)


def run_batch(model, args, n, depth, prompt, batch):
    """All sequences begin together: mlx-lm's own default reads eight prompts at a time."""
    prompts = [randoms(args, prompt, i) for i in range(batch)]
    generator = BatchGenerator(model, max_tokens=n, completion_batch_size=batch, prefill_batch_size=batch)
    start, first, tokens = time.perf_counter(), 0.0, []
    generator.insert(prompts, [n] * batch, caches=[filled(model, depth) for _ in prompts] if depth else None)
    if depth:
        start = time.perf_counter()
    while responses := generator.next_generated():
        first = first or time.perf_counter()
        tokens += [r.token for r in responses]
    end = time.perf_counter()
    generator.close()
    if len(tokens) != n * batch:
        raise SystemExit(f"{len(tokens)} tokens of {batch} sequences, {n * batch} were asked for")
    return tokens, batch * prompt / (first - start), batch * (n - 1) / (end - first)


def split(model, args, what):
    """Where the host's time of a step goes: Python makes the graph, MLX starts what is in it, and the
    host waits for the token before. In mlx-lm's order, less its sampler."""
    caches, y, before = make_prompt_cache(model), mx.array([[args.token]]), None
    took = [0.0, 0.0, 0.0]
    for i in range(args.warm_up + args.tokens):
        start = time.perf_counter()
        logits = model(y, cache=caches)[:, -1, :]
        scores = logits - mx.logsumexp(logits, keepdims=True)
        y = mx.argmax(scores, axis=-1)[None]
        made = time.perf_counter()
        mx.async_eval(y, scores)
        started = time.perf_counter()
        if before is not None:
            before.item()
        before = y
        if i >= args.warm_up:
            took = [a + b for a, b in zip(took, (made - start, started - made, time.perf_counter() - started))]
    build, submit, wait = (round(t / args.tokens * 1e3, 3) for t in took)
    print(json.dumps(dict(what="host", of=what, build_ms=build, submit_ms=submit, wait_ms=wait, tps=round(1e3 / max(build + submit + wait, 1e-9), 1))), flush=True)


def mend(config):
    """Models whose attention has latent rows die of mx.fast.rope on CUDA, which writes behind the result
    where its input is a part of mx.split (docs/UPSTREAM.md): here it gets a copy of it."""
    if "kv_lora_rank" not in config or mx.default_device() == mx.cpu:
        return {}
    rope = mx.fast.rope
    mx.fast.rope = lambda x, *args, **kwargs: rope(mx.contiguous(x), *args, **kwargs)
    return {"mended": "rope"}


def main():
    numbers = lambda s: [int(d) for d in s.split(",")]  # noqa: E731
    p = argparse.ArgumentParser()
    p.add_argument("model", help="folder of a model")
    p.add_argument("--prompt", default="1", type=numbers, help="tokens of the prompt; a list with commas")
    p.add_argument("--token", type=int, default=1, help="which one")
    p.add_argument("--depth", default="0", type=numbers, help="rows in the caches before it; a list with commas")
    p.add_argument("--batch", default="1", type=numbers, help="sequences side by side; a list with commas")
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--warm-up", type=int, default=16, help="tokens that are not timed")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--patch", action="store_true", help="then patch the model, and compare it with the unpatched one in turns")
    p.add_argument("--patch-prompt", type=int, default=0, help="compare the reading of a prompt of so many tokens, too")
    p.add_argument("--patch-seconds", type=float, default=20.0)
    args = p.parse_args()
    start = time.perf_counter()
    model, config = load_model(pathlib.Path(args.model))
    loaded = time.perf_counter() - start
    args.vocabulary = config.get("vocab_size") or config["text_config"]["vocab_size"]
    settings = {k: v for k, v in os.environ.items() if k.startswith("MLX_MAX_")} | mend(config)

    def once(n, depth, prompt, batch):
        return run(model, args, n, depth, prompt) if batch == 1 else run_batch(model, args, n, depth, prompt, batch)

    def rounds(what, depth, prompt, batch):
        begin = time.perf_counter()
        if args.warm_up:
            once(args.warm_up, depth, prompt, batch)
        warm = time.perf_counter() - begin
        for _ in range(args.rounds):
            mx.reset_peak_memory()
            tokens, prompt_tps, tps = once(args.tokens, depth, prompt, batch)
            print(json.dumps(dict(what=what, model=pathlib.Path(args.model).name, prompt=prompt, depth=depth, batch=batch, tokens=args.tokens, settings=settings,
                                  load_s=round(loaded, 1), warm_up_s=round(warm, 1), prompt_tps=round(prompt_tps, 1), tps=round(tps, 2), peak_gb=round(mx.get_peak_memory() / 1e9, 3),
                                  sha=hashlib.sha256(str(tokens).encode()).hexdigest()[:12], first=tokens[:8], mlx=mx.__version__)), flush=True)
        return tokens, tps

    for batch in args.batch:
        for depth in args.depth:
            for prompt in args.prompt:
                tokens, tps = rounds("mlx-lm", depth, prompt, batch)
    if args.patch:
        bridge(model, args, tokens, tps)


def bridge(model, args, tokens, tps):
    """Patches the model. What a user waits for: the patch and as many tokens as the unpatched
    model made, beside those tokens alone."""
    import zmlx_rewrite
    from zmlx_rewrite import compare

    split(model, args, "unpatched")
    begin = time.perf_counter()
    report = zmlx_rewrite.patch(model, seconds=args.patch_seconds)
    patch_s = time.perf_counter() - begin
    after, _, _ = run(model, args, args.tokens, args.depth[-1], args.prompt[-1])
    with_tokens, alone = time.perf_counter() - begin, args.tokens / tps
    row = dict(what="bridge", model=pathlib.Path(args.model).name, tokens=args.tokens, patch_s=round(patch_s, 1), patch_and_tokens_s=round(with_tokens, 1), unpatched_tokens_s=round(alone, 1),
               within_25_s=with_tokens < alone + 25, equal=tokens == after, same=next((i for i, (a, b) in enumerate(zip(tokens, after)) if a != b), len(after)),
               phases={k: round(v, 1) for k, v in report.phases.items()}, state=report.state, reason=report.reason,
               shapes=[(s.batch, s.caches, s.state, s.launches_before, s.launches_after, s.speedup and round(s.speedup, 2)) for s in report.shapes], calls=report.calls)
    print(json.dumps(row), flush=True)
    split(model, args, "patched")
    for prompt in [1] + [args.patch_prompt] * bool(args.patch_prompt):
        made = args.tokens if prompt == 1 else 1
        s = compare.benchmark(model, args.vocabulary, prompt_tokens=prompt, generation_tokens=made, pairs=4)
        print(json.dumps(dict(what="bridge pairs", model=row["model"], prompt=prompt, tokens=made, prompt_tps=s.prompt, generation_tps=s.generation,
                              speedups=[round(x, 3) for x in s.speedups], speedup=round(statistics.median(s.speedups), 3), prompt_speedup=round(s.prompt[1] / s.prompt[0], 3))), flush=True)
    print(report, flush=True)


main()

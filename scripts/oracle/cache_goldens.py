#!/usr/bin/env python3
"""Writes engine/cache/testdata/caches.json: what mlx-lm's KVCache and RotatingKVCache hold.

    .cache/oracle/venv/bin/python scripts/oracle/cache_goldens.py [--check]

A case has the number of rows that the ring sees (0: a KVCache), how many of these stay for
good, and the lengths of calls.
Token t of the sequence is a row of t+1. For each call, as of the call's own update:

    at        the row that is written first
    capacity  the rows that the cache has room for
    seen      the rows that attention is given, in their order: "1-16 33" are 17 rows
"""

import json
import random

import golden
import mlx.core as mx
from mlx_lm.models.cache import KVCache, RotatingKVCache

mx.set_default_device(mx.cpu)


def ranges(rows):
    out = []
    for r in rows:
        if out and r == out[-1][1] + 1:
            out[-1][1] = r
        else:
            out.append([r, r])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def case(window, lengths, keep=0):
    cache = RotatingKVCache(max_size=window, keep=keep) if window else KVCache()
    calls, token = [], 0
    for n in lengths:
        rows = mx.arange(token + 1, token + n + 1, dtype=mx.float32).reshape(1, 1, n, 1)
        token += n
        keys, values = cache.update_and_fetch(rows, -rows)
        seen = [int(r) for r in keys.flatten().tolist()]
        assert [-r for r in seen] == values.flatten().tolist() and cache.offset == token
        end = cache._idx if window else cache.offset
        calls.append([end - n, cache.keys.shape[2], ranges(seen)])
    return dict(window=window, **(dict(keep=keep) if keep else {}), lengths=lengths, calls=calls)


def cases():
    ones = lambda n: [1] * n
    for window in (1, 2, 4, 16):
        yield window, ones(2 * window + 3)  # a ring from the first token on
        for first in (window - 1, window, window + 1, 3 * window):
            if first > 1:
                yield window, [first] + ones(window + 2)
        yield window, [5, 3, 1, 2, 1, 1, 7] + ones(window) + [2, window + 2, 1, 3]
        yield window, ones(window // 2 + 1) + [window + 1, 1, 2 * window, 2]
    yield 300, [250] + ones(60) + [2, 1]  # grows by 256, less near its end
    yield 300, ones(260) + [3] + ones(45)
    yield 300, [300, 1, 1, 299, 1, 2, 1]
    yield 300, [2, 310, 1, 5, 1]
    yield 600, [255, 1, 1, 256, 2, 90] + ones(4)
    yield 0, ones(3) + [5, 250, 1, 1, 255, 1]
    yield 0, [256, 1, 255, 300, 1]
    yield 0, [512, 1]
    yield 0, [1, 300, 200, 11, 1, 1]
    yield 0, [200, 56, 256, 1]
    yield 0, [300, 300, 168, 100, 1]  # a whole number of steps, and room behind it
    for window in (5, 16):
        yield window, ones(3 * window), 4
        for first in (3, window - 1, window, window + 1, 3 * window):
            yield window, [first] + ones(2 * window), 4
        yield window, [5, 3, 1, 2, 1, 1, 7] + ones(window) + [2, window + 2, 1, 3] + ones(5), 4
    yield 300, [250] + ones(60) + [2, 1, 1], 4
    yield 300, ones(320) + [3] + ones(45), 4
    yield 300, [300, 1, 1, 299, 1, 2, 1], 4
    yield 300, [2, 310, 1, 5, 1], 4
    rng = random.Random(5)
    for window in (0, 3, 8, 16, 260):
        for _ in range(4):
            yield window, [rng.choice((1, 1, 1, 2, 5, rng.randint(2, 2 * window + 40))) for _ in range(30)]
    for window in (8, 16, 260):
        for _ in range(4):
            yield window, [rng.choice((1, 1, 1, 2, 5, rng.randint(2, 2 * window + 40))) for _ in range(30)], 4


def make(out):
    rows = [json.dumps(case(*c), separators=(",", ":")) for c in cases()]
    (out / "caches.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


golden.run(__doc__, "engine/cache/testdata", make)

"""Run two .mlxfn files on the same inputs and compare the results bit by bit.

    python mlxfn_run.py A.mlxfn B.mlxfn < CALLS.json

CALLS is a list of {"args": [type, ...], "kwargs": {name: type}} with types such as
"bfloat16[2,64]". Inputs are drawn from a fixed seed: normal floats, any 32 bits for
uint32 (packed weights), 0 to 7 for other integers, 0 to 5 for a single one: where the
rows of a call begin in a cache, of which the smallest has room for 8, and MLX does not look
whether they fit. Exits 1 at the first difference.
uint32 (packed weights), 0 to 5 for other integers, which are places in rings of 8 rows where 3
are written, too. Exits 1 at the first difference.
"""
import json
import sys

import mlx.core as mx


def draw(text):
    dtype, dims = text.rstrip("]").split("[")
    shape = [int(d) for d in dims.split(",") if d]
    dtype = getattr(mx, {"bool": "bool_"}.get(dtype, dtype))
    if dtype == mx.uint32:
        high = mx.random.randint(0, 1 << 16, shape).astype(mx.uint32)
        return high * (1 << 16) + mx.random.randint(0, 1 << 16, shape).astype(mx.uint32)
    if dtype == mx.bool_ or mx.issubdtype(dtype, mx.integer):
        return mx.random.randint(0, 2 if dtype == mx.bool_ else 8 if shape else 6, shape).astype(dtype)
        return mx.random.randint(0, 2 if dtype == mx.bool_ else 6, shape).astype(dtype)
    return (mx.random.normal(shape) * 0.5).astype(dtype)


def bits(a):
    raw = a.view(mx.uint16) if a.dtype == mx.bfloat16 else a
    return a.dtype, tuple(a.shape), bytes(memoryview(raw))


def telling(a):
    return a.size and mx.all(mx.isfinite(a)).item() and mx.any(a != 0).item()


def main(a, b):
    first, second = mx.import_function(a), mx.import_function(b)
    for number, call in enumerate(json.load(sys.stdin)):
        mx.random.seed(number)
        args = [draw(t) for t in call["args"]]
        kwargs = {name: draw(t) for name, t in sorted(call["kwargs"].items())}
        x, y = first(*args, **kwargs), second(*args, **kwargs)
        mx.eval(x, y)
        for k, (p, q) in enumerate(zip(x, y, strict=True)):
            if bits(p) != bits(q):
                sys.exit(f"call {number}: output {k} differs")
        if not any(telling(p) for p in x):
            sys.exit(f"call {number}: the results are all zeros or not finite, which proves nothing")
    print("equal")


if __name__ == "__main__":
    main(*sys.argv[1:])

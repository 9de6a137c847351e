#!/usr/bin/env python3
"""Shows that mx.fast.rope of a part of mx.split writes behind its result on CUDA (MLX 0.32.2).

    python3 scripts/device/rope_overflow.py

mx.split gives each part the strides of the whole and, as its data_size, the elements of the part. Where
rope cannot use its input's memory, because the other part is still wanted, it allocates data_size
elements and writes by the input's strides (mlx/backend/cuda/rope.cu, RoPE::eval_gpu). The shapes are
those of GLM-4.7-Flash: 20 heads of 256, of which the last 64 are rotated. Each case is a process of its
own. It allocates arrays of zeros around the result, and says how many of them are zeros no longer; more than
the allocator's room, and the process dies. Exits with 1 where nothing is wrong.
"""

import subprocess
import sys

import mlx.core as mx

HEADS, WIDTH, ROTATED = 20, 256, 64


def case(tokens, copied):
    q = mx.random.normal((1, tokens, HEADS, WIDTH)).astype(mx.bfloat16).transpose(0, 2, 1, 3)
    plain, turned = mx.split(q, [WIDTH - ROTATED], axis=-1)
    mx.eval(plain, turned)
    shape = (HEADS * tokens * ROTATED,)
    zeros = [mx.zeros(shape, mx.bfloat16) for _ in range(64)]
    mx.eval(zeros)
    del zeros[::2]  # there is room between them for what comes now
    out = mx.fast.rope(mx.contiguous(turned) if copied else turned, ROTATED, traditional=True, base=1e6, scale=1.0, offset=0)
    mx.eval(out)
    wrong = sum(int(mx.any(z != 0).item()) for z in zeros)
    print(f"{wrong} of {len(zeros)} other arrays were written to" if wrong else "right")


def main():
    if len(sys.argv) > 1:
        return case(int(sys.argv[1]), sys.argv[2] == "copied")
    found = False
    for tokens in (1, 128, 8192):
        for what in ("split", "copied"):
            done = subprocess.run([sys.executable, __file__, str(tokens), what], capture_output=True, text=True)
            last = (done.stderr.strip().splitlines() or [""])[-1]
            said = done.stdout.strip() or f"exit {done.returncode}: {last}"
            found = found or what == "split" and said != "right"
            print(f"{tokens} tokens, {'a part of split' if what == 'split' else 'a copy of the part'}: {said}", flush=True)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Writes decode/testdata/sampling.json: which tokens mlx-lm's sampling filters leave.

    .cache/oracle/venv/bin/python scripts/oracle/sampling_goldens.py [--check]

Each case has log-probabilities (float32, little-endian, base64), their element type, the arguments of
mlx_lm.sample_utils.make_sampler, and the tokens whose log-probability is not minus
infinity when it draws, in order: all filters, as it chains them. xtc_probability is 1, so that
no random number decides.
"""

import base64
import json

import golden
import mlx.core as mx
import numpy as np
from mlx_lm import sample_utils

mx.set_default_device(mx.cpu)
drawn = []
sample_utils.categorical_sampling = lambda logits, temp: drawn.append(logits) or mx.argmax(logits, axis=-1)


def case(logprobs, **args):
    drawn.clear()
    before = np.array(logprobs.astype(mx.float32))
    sample_utils.make_sampler(0.7, **args)(logprobs)
    left = np.array(drawn[0].astype(mx.float32))[0]
    kept = np.flatnonzero(left > -np.inf).tolist()
    assert (left[kept] == before[0][kept]).all()
    return dict(args=args, dtype=str(logprobs.dtype).split(".")[-1], logprobs=base64.b64encode(before.tobytes()).decode(), kept=kept)


def cases():
    rng = np.random.default_rng(20261128)
    for dtype, vocab, scale in ((mx.float32, 150, 3.0), (mx.float32, 40, 0.5), (mx.bfloat16, 150, 3.0), (mx.float16, 60, 8.0)):
        for args in (dict(top_p=0.9), dict(top_p=0.3), dict(top_p=0.999), dict(top_p=1.0), dict(min_p=0.05), dict(min_p=0.9), dict(min_p=1.0),
                     dict(min_p=0.5, min_tokens_to_keep=7), dict(top_k=1), dict(top_k=20), dict(top_p=0.8, min_p=0.1), dict(top_p=0.5, top_k=3),
                     dict(top_p=0.4, min_p=0.2, min_tokens_to_keep=12), dict(min_p=0.02, top_k=5), dict(top_p=0.95, min_p=0.01, top_k=10)):
            logits = mx.array((rng.standard_normal((1, vocab)) * scale).astype(np.float32)).astype(dtype)
            logprobs = logits - mx.logsumexp(logits, keepdims=True)
            if "top_k" in args and dtype != mx.float32:
                # Which of equals a partition leaves is its own business: none at the border.
                order = np.sort(np.array(logprobs.astype(mx.float32))[0])[::-1]
                args = dict(args, top_k=next(k for k in range(args["top_k"], vocab) if order[k - 1] > order[k]))
            yield case(logprobs, **args)
    # In half types the threshold is rounded, and many are close to it.
    for dtype in (mx.bfloat16, mx.float16):
        for min_p in (0.3, 0.17, 0.011, 0.6):
            logits = mx.array((rng.standard_normal((1, 300)) * 0.8).astype(np.float32)).astype(dtype)
            yield case(logits - mx.logsumexp(logits, keepdims=True), min_p=min_p)
    # XTC: before top_k, behind the others, and never a special token. Half types add up in themselves.
    for dtype, vocab, scale in ((mx.float32, 150, 3.0), (mx.float32, 40, 0.5), (mx.bfloat16, 150, 3.0), (mx.bfloat16, 500, 1.5), (mx.float16, 200, 2.0)):
        for args in (dict(xtc_threshold=0.1), dict(xtc_threshold=0.02), dict(xtc_threshold=0.5), dict(xtc_threshold=0.0), dict(xtc_threshold=0.004),
                     dict(xtc_threshold=0.01, xtc_special_tokens=[3, 17, 9]), dict(xtc_threshold=0.05, top_p=0.8), dict(xtc_threshold=0.02, min_p=0.1),
                     dict(xtc_threshold=0.01, top_p=0.95, min_p=0.01, xtc_special_tokens=[0, 1, 2, 5])):
            logits = mx.array((rng.standard_normal((1, vocab)) * scale).astype(np.float32)).astype(dtype)
            logprobs = logits - mx.logsumexp(logits, keepdims=True)
            if "xtc_special_tokens" in args:  # the likeliest is special, too
                args = dict(args, xtc_special_tokens=args["xtc_special_tokens"] + [mx.argmax(logprobs).item()])
            yield case(logprobs, xtc_probability=1.0, **args)
            if dtype == mx.float32:
                yield case(logprobs, xtc_probability=1.0, top_k=4, **args)
    ties = mx.array([[-1.0, -2.0, -1.0, -2.0, -2.0, -9.0]])
    ties = ties - mx.logsumexp(ties, keepdims=True)
    for args in (dict(top_p=0.2), dict(top_p=0.6), dict(top_p=0.75), dict(min_p=0.36), dict(min_p=0.37), dict(top_k=2), dict(top_k=5)):
        yield case(ties, **args)


def make(out):
    rows = [json.dumps(c, separators=(",", ":")) for c in cases()]
    (out / "sampling.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


golden.run(__doc__, "decode/testdata", make)

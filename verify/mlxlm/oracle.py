"""What mlx-lm makes of tokens, told to zmlx-rewrite: a line of JSON for each line of JSON.

The first line names the model; each further one is a prompt. Logits go to a file, as rows
of little-endian float32, since they are too many for JSON.
"""

import json
import os
import sys
import time

# What libraries print must not get between the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(**fields):
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


def load(path, dtype):
    import pathlib

    from mlx_lm.utils import load_model

    loaded = load_model(pathlib.Path(path))
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    if dtype:
        import mlx.core as mx

        model.set_dtype(getattr(mx, dtype))
    return model


def generate(model, prompt, max_tokens, prefill_step, eos, logits, kv):
    import mlx.core as mx
    import numpy as np
    from mlx_lm.generate import generate_step

    rows, tokens = [], []

    def keep(_, row):
        rows.append(row.squeeze(0).astype(mx.float32))
        return row

    start = time.perf_counter()
    first = last = start
    for token, _ in generate_step(mx.array(prompt), model, max_tokens=max_tokens, prefill_step_size=prefill_step, logits_processors=[keep], **kv):
        last = time.perf_counter()
        tokens.append(int(token))
        if len(tokens) == 1:
            first = last
        if token in eos:
            break
    with open(logits, "wb") as f:
        for row in rows[: len(tokens)]:
            f.write(np.array(row).astype("<f4").tobytes())
    answer(tokens=tokens, vocab=rows[0].size, prompt_seconds=first - start, seconds=last - first)


def main():
    request = json.loads(sys.stdin.readline())
    try:
        import mlx.core as mx
        import mlx_lm
    except ImportError as e:
        return answer(missing=str(e))
    try:
        model = load(request["model"], request["dtype"])
        answer(mlx_lm=mlx_lm.__version__, mlx=mx.__version__, device=mx.default_device().type.name)
        for line in sys.stdin:
            generate(model, **json.loads(line))
    except Exception as e:  # whatever it is, the other side must hear of it
        answer(error=f"{type(e).__name__}: {e}")


main()

#!/usr/bin/env python3
"""Finds the operation of MLX at which a model dies, and whether it dies alone.

    python3 scripts/device/first_fault.py GLM-4.7-Flash-4bit --tokens 128 --decode 16 --layers 3 --out $OUT

A GPU reports an illegal access some operations later, and none is to be used after it. So the
model, mlx-lm's own with random weights and few layers, runs in a process of its own, in which each
operation of mlx.core waits for its result; what it is given is kept until it is there. The last one
is then tried again by itself, with the same arrays, in two more processes: as it is, and with
arrays made anew of random numbers. Arguments that are indices are looked at first: one beyond
what it points into is the fault of whoever made it.

Prints what was found, and writes the operation's arguments into --out. The exit status is 0 if the model
runs or the operation was found, 2 if it dies elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ("core", "core.fast")
LEFT_ALONE = {"eval", "async_eval", "synchronize", "compile", "export_function", "array", "stream", "set_default_device", "default_device", "save_safetensors", "load",
              "disable_compile", "enable_compile", "checkpoint", "grad", "value_and_grad", "vmap", "custom_function", "new_stream", "default_stream"}


def described(x):
    import mlx.core as mx

    if isinstance(x, mx.array):
        text = f"{str(x.dtype).rpartition('.')[2]}{list(x.shape)}"
        if mx.issubdtype(x.dtype, mx.integer) and x.size:
            text += f" of {x.min().item()} to {x.max().item()}"
        elif mx.issubdtype(x.dtype, mx.floating) and x.size and not mx.all(mx.isfinite(x)).item():
            text += f" with {int(mx.sum(~mx.isfinite(x)).item())} that are not finite"
        return text
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(described(v) for v in x) + "]"
    return repr(x)


def plain(x):
    """x without arrays of MLX, to be kept in a file."""
    import mlx.core as mx
    import numpy as np

    if isinstance(x, mx.array):
        data = np.array(x.view(mx.uint16) if x.dtype == mx.bfloat16 else x)
        return ("array", data, str(x.dtype).rpartition(".")[2])
    if isinstance(x, (list, tuple)):
        return ("list", [plain(v) for v in x])
    return ("dtype", str(x).rpartition(".")[2]) if isinstance(x, mx.Dtype) else ("value", x)


def restored(x, anew):
    import mlx.core as mx
    import numpy as np

    kind, *rest = x
    if kind == "list":
        return [restored(v, anew) for v in rest[0]]
    if kind == "dtype":
        return getattr(mx, rest[0])
    if kind == "value":
        return rest[0]
    data, dtype = rest
    if anew and dtype in ("bfloat16", "float16", "float32"):
        return mx.random.normal(data.shape).astype(getattr(mx, dtype))
    a = mx.array(np.ascontiguousarray(data))
    return a.view(mx.bfloat16) if dtype == "bfloat16" else a


def watched(folder):
    """Has each operation wait, and say in a file what it is about to do."""
    import mlx.core as mx

    log = open(folder / "log", "w")
    count, inside = 0, False

    def arrays(x):
        return [x] if isinstance(x, mx.array) else [v for y in x for v in arrays(y)] if isinstance(x, (list, tuple)) else []

    def wrap(name, f):
        def call(*args, **kwargs):
            nonlocal count, inside
            given = arrays([*args, *kwargs.values()])
            if inside or not given:
                return f(*args, **kwargs)
            inside, count = True, count + 1
            try:
                # What is wrong here is of an operator or a method since the call before.
                print(f"{count} what is given to {name}", file=log, flush=True)
                mx.eval(given)
                with open(folder / "call", "wb") as out:
                    pickle.dump((name, [plain(a) for a in args], {k: plain(v) for k, v in kwargs.items()}), out)
                print(f"{count} {name}({', '.join([described(a) for a in args] + [f'{k}={described(v)}' for k, v in kwargs.items()])})", file=log, flush=True)
                out = f(*args, **kwargs)
                mx.eval(out)
                return out
            finally:
                inside = False

        return call

    for module in MODULES:
        m = importlib.import_module("mlx." + module)
        for name in dir(m):
            f = getattr(m, name)
            if not name.startswith("_") and name not in LEFT_ALONE and type(f).__name__ in ("nb_func", "builtin_function_or_method"):
                setattr(m, name, wrap(module.removeprefix("core").lstrip(".") + "." * (module != "core") + name, f))


def model(a, folder):
    import mlx.core as mx
    import mlx.nn as nn
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import _get_classes

    path = pathlib.Path(a.model)
    path = path if path.exists() else ROOT / f"models/reference/{a.model}.json"
    config = json.loads((path / "config.json" if path.is_dir() else path).read_text())
    config["num_hidden_layers"] = min(a.layers, config["num_hidden_layers"])
    quantization = config.get("quantization")
    kind, arguments = _get_classes(config)
    made = kind(arguments.from_dict(config))
    made.set_dtype(mx.bfloat16)
    if quantization:
        nn.quantize(made, quantization["group_size"], quantization["bits"])
    made.eval()
    mx.eval(made.parameters())
    tokens = mx.random.randint(0, config["vocab_size"], (1, a.tokens))
    mx.eval(tokens)
    if not a.free:
        mx.disable_compile()
        watched(folder)
    cache = make_prompt_cache(made)
    out = made(tokens, cache=cache)
    mx.eval(out)
    for _ in range(a.decode):  # as mlx-lm does: the next step is under way before the last token is read
        token = mx.argmax(out[:, -1:], axis=-1)
        out = made(token, cache=cache)
        mx.async_eval(out)
        token.tolist()
    mx.eval(out)
    print(f"the model runs, {a.tokens} tokens and {a.decode} behind them, {config['num_hidden_layers']} layers{'' if a.free else ', one operation after the other'}: {described(out)}")


def alone(file, anew):
    import mlx.core as mx

    name, args, kwargs = pickle.loads(pathlib.Path(file).read_bytes())
    f = mx
    for part in name.split("."):
        f = getattr(f, part)
    for _ in range(3):
        mx.eval(f(*[restored(x, anew) for x in args], **{k: restored(v, anew) for k, v in kwargs.items()}))
    print("it runs")


def child(*more):
    done = subprocess.run([sys.executable, __file__, *more], capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return done.returncode, done.stdout.strip(), last


def main():
    sys.stdout.reconfigure(line_buffering=True)  # what there is of it counts, if it is stopped
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--decode", type=int, default=16, help="tokens to make behind the prompt")
    p.add_argument("--layers", type=int, default=3)
    p.add_argument("--out", default=".")
    p.add_argument("--step", choices=["model", "alone", "anew"], help=argparse.SUPPRESS)
    p.add_argument("--free", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--folder", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.step == "model":
        return model(a, pathlib.Path(a.folder))
    if a.step:
        return alone(a.model, a.step == "anew")
    same = [a.model, "--tokens", str(a.tokens), "--decode", str(a.decode), "--layers", str(a.layers), "--step", "model"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        code, said, why = child(*same, "--folder", name, "--free")
        print("as it is:", said if code == 0 else f"exit {code}: {why}")
        if code == 0:
            return 0
        code, said, why = child(*same, "--folder", name)
        print("each operation waited for:", said if code == 0 else f"exit {code}: {why}")
        if code == 0:
            return 2
        log = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
        if not log or " what is given to " in log[-1]:
            print("it dies in", log[-1].split(" ", 1)[1] if log else "the making of the model", "behind" if log else "", log[-2] if len(log) > 1 else "")
            return 2
        print("the operation is the last of\n    " + "\n    ".join(log[-4:]))
        kept = pathlib.Path(a.out) / f"first_fault_{a.layers}.pickle"
        if (size := (folder / "call").stat().st_size) < 200 << 20:
            kept.write_bytes((folder / "call").read_bytes())
            print(f"its arguments, {size} bytes, are in {kept}")
        else:
            print(f"its arguments are {size} bytes, too many to keep")
        for step in ("alone", "anew"):
            code, said, why = child(str(folder / "call"), "--step", step)
            print(f"{'alone, the same numbers' if step == 'alone' else 'alone, random numbers in place of those with a point'}:", said if code == 0 else f"exit {code}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

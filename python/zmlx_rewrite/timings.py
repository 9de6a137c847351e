"""What was timed on this device, kept for the next process.

A timing belongs to the text of all functions of a step, the shapes of its weights, the device
and the versions: whatever is another one, is timed anew. Nothing else is kept; that a step is
the model is checked each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import platform
import tempfile
from typing import Any

import mlx.core as mx


def path() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "zmlx-rewrite" / "python" / "timings.json"


def device() -> str:
    """The device, by what MLX says of it."""
    try:
        info: Any = mx.device_info() if hasattr(mx, "device_info") else mx.metal.device_info()
        return str(info.get("device_name") or info.get("architecture") or info)
    except (RuntimeError, ValueError, AttributeError):
        return f"{mx.default_device()} {platform.processor() or platform.machine()}"


def key(sources: list[str], weights: dict[str, mx.array], program: str, mlx_lm: str) -> str:
    h = hashlib.sha256()
    for text in (device(), mx.__version__, mlx_lm, program, *sources, *(f"{k} {v.shape} {v.dtype}" for k, v in sorted(weights.items()))):
        h.update(text.encode() + b"\0")
    return h.hexdigest()


def _read() -> dict[str, float]:
    try:
        kept = json.loads(path().read_text())
        return {k: float(v) for k, v in kept["speedups"].items()} if kept.get("version") == 1 else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def find(name: str) -> float | None:
    return _read().get(name)


def keep(name: str, speedup: float) -> None:
    """Writes one timing beside the others, whole or not at all."""
    kept = _read()
    kept[name] = speedup
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(dir=path().parent, prefix=".new-")
        with os.fdopen(handle, "w") as f:
            json.dump({"version": 1, "speedups": kept}, f)
        os.replace(made, path())
    except OSError:
        pass  # it is timed again

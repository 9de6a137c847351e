"""A model's steps, recorded for several numbers of sequences at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from .record import KeepWhole, Recording, Refused, export, names_of, record

PROMPT = 4  # tokens in the caches when a step is recorded
DISTINCT = 4  # sequences that are made for them; further ones are the same again


def original(model: nn.Module) -> Any:
    """The model's own __call__, patched or not."""
    made = getattr(type(model), "_zmlx_patch", None)
    return (made.original if made else type(model)).__call__


def model_type(model: nn.Module) -> str:
    name = getattr(getattr(model, "args", None), "model_type", None) or getattr(model, "model_type", None)
    return str(name or type(model).__module__.rpartition(".")[2])


def vocabulary(model: nn.Module) -> int:
    args = getattr(model, "args", None)
    sources = [args, getattr(args, "text_config", None), getattr(getattr(model, "language_model", None), "args", None)]
    for source in sources:
        n = source.get("vocab_size") if isinstance(source, dict) else getattr(source, "vocab_size", None)
        if isinstance(n, int):
            return n
    return 2


def caches_of(model: nn.Module, kind: str, batch: int, pool: list[Any] | None = None) -> list[Any]:
    """Caches with a short text in them, as generate makes them, or as the server does, of
    the sequences in pool, which is filled up."""
    try:
        from mlx_lm.models.cache import make_prompt_cache
    except ImportError as e:
        raise Refused("mlx-lm is not installed") from e

    def filled(batch: int, length: int, seed: int) -> list[Any]:
        caches = make_prompt_cache(model)
        tokens = mx.random.randint(0, vocabulary(model), (batch, length), key=mx.random.key(seed))
        for i in range(length):  # one by one: what that needs compiled is needed anyway
            mx.eval(original(model)(model, tokens[:, i : i + 1], cache=caches))
        return caches

    if kind == "alone":
        if batch == 1:
            return filled(1, PROMPT, 0)
        # A step of several sequences has MLX compile other kernels, which takes seconds for each
        # number of them, and most are never asked for again.
        ones = pool if pool is not None else []
        while len(ones) < min(batch, DISTINCT):
            ones.append(filled(1, PROMPT, len(ones)))
        try:
            return [joined(layer) for layer in zip(*(ones[i % DISTINCT] for i in range(batch)))]
        except Apart:
            return filled(batch, PROMPT, 0)
    rows = pool if pool is not None else []
    while len(rows) < batch:
        rows.append(filled(1, PROMPT - len(rows) % 3, 0))  # so that there is something to pad
    merged = []
    for layer in zip(*rows[:batch]):
        if not hasattr(layer[0], "merge"):
            raise Refused(f"a {type(layer[0]).__name__} has no batches")
        merged.append(layer[0].merge(list(layer)))
    return merged


class Apart(Exception):
    """Caches that are not those of one sequence each, but for their arrays."""


def joined(caches: Sequence[Any]) -> Any:
    """Caches of one sequence each as the cache of all of them."""
    first = caches[0]
    if isinstance(first, mx.array):
        if any(c.shape != first.shape or c.dtype != first.dtype for c in caches):
            raise Apart
        if first.ndim > 1 and first.shape[0] == 1:
            return mx.concatenate(list(caches), axis=0)
        if not all(bool(mx.array_equal(c, first)) for c in caches):
            raise Apart
        return first
    if isinstance(first, (list, tuple)):
        if any(len(c) != len(first) for c in caches):
            raise Apart
        return type(first)(joined(x) for x in zip(*caches))
    if first is None or isinstance(first, (bool, int, float, str)):
        if any(c != first for c in caches):
            raise Apart
        return first
    if not hasattr(first, "__dict__") or any(type(c) is not type(first) or vars(c).keys() != vars(first).keys() for c in caches):
        raise Apart
    made = copy.copy(first)
    for name in vars(first):
        setattr(made, name, joined([getattr(c, name) for c in caches]))
    return made


def capture(model: nn.Module, path: str, rows: int, kind: str = "alone") -> tuple[dict[int, Recording], dict[int, str]]:
    """Writes the step of up to rows sequences to a file, one trace for some of the batches."""
    # Between two batches that were recorded, all are alike: a case is made of them. Experts
    # sort tokens from 64 chosen ones on, which is at 8, 16 or 32 sequences in most models.
    batches = sorted({b for b in (1, 2, 3, 7, 8, 15, 16, 31, 32, rows - 1, rows) if 1 <= b <= rows})
    pool: list[Any] = []
    ids = {name: i for i, name in names_of(model).items()}
    whole: dict[int, str] = {}
    recordings: dict[int, Recording] = {}
    while True:  # until all batches agree on what has to stay Python
        known = len(whole)
        for b in batches:
            tokens = mx.random.randint(0, vocabulary(model), (b, 1), key=mx.random.key(b))
            recordings[b] = record(model, tokens, caches_of(model, kind, b, pool), whole)
            whole |= {ids[name]: why for name, why in recordings[b].whole.items()}
        if len(whole) > known and len(batches) > 1:
            continue
        try:
            export(model, list(recordings.values()), whole, path, model_type(model))
            return recordings, whole
        except KeepWhole as e:
            if id(e.module) in whole:
                raise Refused(e.why) from e
            whole[id(e.module)] = e.why
        except Refused:
            raise
        except Exception as e:  # what MLX cannot write, or the model cannot do without numbers
            raise Refused(f"MLX cannot record it: {e}") from e

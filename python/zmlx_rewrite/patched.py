"""A patched model: which of its calls a rewritten step takes."""

from __future__ import annotations

import itertools
import operator
import weakref
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from .functions import Later, Step
from .record import names_of
from .report import Report


class Patched:
    """What a patched model's class knows."""

    def __init__(self, model: nn.Module, report: Report):
        self.original = type(model)
        self.model = weakref.ref(model)
        self.report = report
        self.steps: dict[tuple[Any, ...], Step] = {}
        self.stale = ""
        self.looked = 0  # shapes that were looked at
        self.tiles: set[str] = set()  # MLX's modules that they launched, which MLX compiles once
        self.edges = _edges(model)
        self.snapshot()

    def snapshot(self) -> None:
        """Keeps what all holders hold now, so that a change is seen by going over their live views."""
        holders = {id(holder): holder for holder, _, _ in self.edges}.values()
        # The last one tells where they end.
        self.now = [h.values() if isinstance(h, dict) else h for h in holders] + [[self]]
        self.before = list(itertools.chain.from_iterable(self.now))

    def fresh(self, model: nn.Module) -> str:
        """Why the model is another one than was recorded, or "" ."""
        if all(map(operator.is_, itertools.chain.from_iterable(self.now), self.before)):
            return ""
        for holder, key, held in self.edges:
            now = holder.get(key) if isinstance(holder, dict) else holder[key] if key < len(holder) else None
            if now is not held:
                return f"{names_of(model).get(id(holder), 'a list of modules') or 'the model'}: {key} was replaced"
        self.snapshot()  # something was added that is not looked at: a norm that keeps what it made of its weight
        return ""

    def call(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        why = self.stale
        if not why:
            tokens = args[0] if args else kwargs.get("inputs")
            cache = kwargs.get("cache", args[1] if len(args) > 1 else None)
            plain = len(args) <= 2 and all(k in ("cache", "inputs") or v is None for k, v in kwargs.items())
            if not plain or not isinstance(cache, list) or not isinstance(tokens, mx.array) or tokens.ndim != 2:
                why = "another kind of call"
            elif model is not self.model():
                why = "a copy of the patched model"
            elif model.training:
                why = "training"
            else:
                step = self.steps.get((*tokens.shape, tokens.dtype, *map(type, cache)))
                if step is None:
                    why = "another shape"
                elif changed := self.fresh(model):
                    self.stale = why = f"stale: {changed}"
                    self.report.state = why
                else:
                    try:
                        got = step.run(tokens, cache, step.prepare(cache))
                        self.count("rewritten")
                        return got
                    except Later as e:
                        why = str(e)
        self.count(why)
        return self.original.__call__(model, *args, **kwargs)

    def count(self, what: str) -> None:
        self.report.calls[what] = self.report.calls.get(what, 0) + 1


def _edges(model: nn.Module) -> list[tuple[Any, Any, Any]]:
    """All arrays, modules, dictionaries and lists of the model: what holds each, by which key, and itself."""
    edges: list[tuple[Any, Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):  # a module is a dictionary
            if isinstance(value, (mx.array, dict, list)):
                edges.append((node, key, value))
                if not isinstance(value, mx.array):
                    walk(value)

    walk(model)
    return edges


__all__ = ["Patched"]

"""What mlx-lm's cache of one sequence and its attention do for one token: the same operations
of MLX, written so that Python and MLX's binding need half the time for them, which is a tenth of a
rewritten step.

KVCache writes to keys[..., n:m, :] and reads keys[..., :m, :]. Most of that time is the reading of indices; keys[:, :, n:m]
is the same place and is read faster, and each layer can use the same slices. Functions of another text
than is known here are called as they are.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import Any, Callable

import mlx.core as mx

# By sha256 of their texts. Another version of mlx-lm goes in here when it was read, and
# tests.test_patch has passed with it.
KNOWN = {
    "KVCache": {"49b74ed303cb4ab8"},  # 0.32.0
    "scaled_dot_product_attention": {"8deba4a8a8fb4e29"},  # 0.32.0
}
_ALL = slice(None)
_METHODS = "update_and_fetch", "keys_and_values"


@functools.lru_cache(None)
def _text(*functions: Callable[..., Any]) -> str:
    try:  # of the very function: getsource of it would look through a decorator
        return hashlib.sha256("".join(inspect.getsource(f.__code__) for f in functions).encode()).hexdigest()[:16]
    except (AttributeError, OSError, TypeError):  # no source
        return ""


def methods(kind: type) -> tuple[Any, ...]:
    """The functions of a class in place of which add is."""
    return tuple(kind.__dict__.get(name) for name in _METHODS)


def known_cache(kind: type) -> bool:
    """Whether instances of exactly this class may be given rows by add."""
    return kind.__module__ == "mlx_lm.models.cache" and kind.__name__ in KNOWN and _text(*methods(kind)) in KNOWN[kind.__name__]


def known_attention(function: Callable[..., Any]) -> bool:
    """Whether a function is mx.fast's of that name for a cache without bits."""
    return getattr(function, "__module__", "") == "mlx_lm.models.base" and _text(function) in KNOWN.get(getattr(function, "__name__", ""), ())


def changed(held: dict[type, tuple[Any, ...]], caches: list[Any]) -> str:
    """What somebody put in place of functions that were known, or ""."""
    for kind, known in held.items():
        if methods(kind) != known:
            return f"{kind.__name__} was changed"
    for c in caches:
        if "update_and_fetch" in c.__dict__ or "keys_and_values" in c.__dict__:
            return "a cache was changed"
    return ""


class Places(dict[int, Any]):
    """Of a cache of n rows: where the next one goes, and all rows with it."""

    def __missing__(self, n: int) -> Any:
        made = self[n] = (_ALL, _ALL, slice(n, n + 1)), (_ALL, _ALL, slice(None, n + 1))
        return made


def add(cache: Any, keys: mx.array, values: mx.array, places: Places) -> tuple[mx.array, mx.array]:
    """cache.update_and_fetch(keys, values), of a known cache. keys, values: [batch, heads, 1, ...]."""
    held, n = cache.keys, cache.offset
    if held is None or n >= held.shape[2] or keys.shape[2] != 1:  # it has to grow
        return cache.update_and_fetch(keys, values)  # type: ignore[no-any-return]
    where, whole = places[n]
    rows = cache.values
    cache.offset = n + 1
    held[where] = keys
    rows[where] = values
    return (held[whole], rows[whole]) if n + 1 < held.shape[2] else (held, rows)


__all__ = ["Places", "add", "changed", "known_attention", "known_cache", "methods"]

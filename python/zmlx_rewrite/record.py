"""What a model computes between its calls to the cache, recorded.

A step of an mlx-lm model is run with its caches behind proxies. Each thing that the model
asks of a cache, and each attention over what a cache gave, is an event: it stays Python,
and is done again, live, in each step. What lies between the events is a function of
arrays, and MLX records all of it as one: the results of events are its inputs, and the
arrays that events take are its results. Nothing in it has the length of the cache.

An attention that computes with cached rows itself (in latent attention, or where scores
are capped) cannot be cut there: the module that does it stays Python as a whole, as one
event. The names of all such modules are in the recording.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import sys
import threading
from typing import Any, Callable, Iterator

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

FORMAT = 1  # of the metadata, as zmlx-rewrite reads it

_lock = threading.RLock()  # recording replaces functions of MLX and mlx-lm for a moment


class Refused(Exception):
    """Why a model, or a call, is left as it is."""


class KeepWhole(Exception):
    """A module has to stay Python: where, and why."""

    def __init__(self, module: nn.Module, why: str):
        super().__init__(why)
        self.module, self.why = module, why


@dataclasses.dataclass(frozen=True)
class Slot:
    """An array of a step: "s3.0" is taken by event 3, "e3.0" came of it."""

    name: str


@dataclasses.dataclass(frozen=True)
class Held:
    """What only events see: cached rows, a mask over them."""

    name: str


@dataclasses.dataclass(frozen=True)
class CacheRef:
    """A cache by its place: (3,), or (3, 0) in a CacheList."""

    path: tuple[int, ...]


@dataclasses.dataclass
class Event:
    kind: str  # read, mask, update, attention, get, set, call, module
    path: tuple[int, ...]  # of the cache; () of a module
    name: str  # of the attribute, method or module
    args: Any  # a tree whose leaves are Slot, Held, CacheRef and plain values
    kwargs: Any
    result: Any  # a tree of the same leaves
    module: Any = None
    do: Any = None  # the function, of attention
    where: str = ""  # of a module: its name in the model

    @property
    def name_of(self) -> str:
        return self.where or self.name

    def slots(self) -> list[str]:
        return [x.name for x in _leaves((self.args, self.kwargs)) if isinstance(x, Slot)]


@dataclasses.dataclass
class Recording:
    """A step of one shape: its events, and what tells a call that it is for."""

    batch: int
    length: int
    kinds: tuple[type, ...]
    caches: list[Any]  # as they were before
    tokens: mx.array
    events: list[Event]
    inputs: list[tuple[str, tuple[int, ...], mx.Dtype]]
    constants: dict[tuple[tuple[int, ...], str], Any]  # attributes of caches that the model looked at
    whole: dict[str, str]  # modules that stay Python, and why

    def after(self, at: int) -> int:
        """The event behind which the one at this place may be done: for a read of a cache's
        length that is the last one that has to do with the same cache, or -1. A model
        asks as late as it can, which would cut a stage in two."""
        path = self.events[at].path
        if self.events[at].kind != "read":
            return at
        same = lambda other: other[: len(path)] == path[: len(other)]  # noqa: E731
        return max((i for i, e in enumerate(self.events[:at]) if e.kind != "read" and (same(e.path) if e.path else e.kind == "module")), default=-1)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for v in tree.values():
            yield from _leaves(v)
    elif isinstance(tree, (list, tuple)):
        for v in tree:
            yield from _leaves(v)
    else:
        yield tree


def tree_of(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """The tree with leaf applied to its leaves."""
    if isinstance(tree, dict):
        return {k: tree_of(v, leaf) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        made = [tree_of(v, leaf) for v in tree]
        return type(tree)(made) if type(tree) in (list, tuple) else tuple(made)
    return leaf(tree)


class _Opaque:
    """Stands for what the recorded function must not look at."""

    def __init__(self, name: str, what: str, real: Any = None):
        self.__dict__.update(_name=name, _what=what, _real=real)

    @property
    def __class__(self):  # models ask whether a mask is an array
        return mx.array

    def __getattr__(self, name: str) -> Any:
        raise Refused(f"it looks at {name} of {self._what}")

    def _refuse(self, *_: Any) -> Any:
        raise Refused(f"it computes with {self._what}")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = __truediv__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __invert__ = __neg__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __getitem__ = __setitem__ = __iter__ = __len__ = __bool__ = __int__ = __float__ = _refuse
    __hash__ = object.__hash__


def _opaque(x: Any) -> bool:
    return type(x) is _Opaque


class _Proxy:
    """What stands before a cache: a subclass of the cache's class and of this one."""

    _zr: "_Behind"

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        behind = object.__getattribute__(self, "_zr")
        return behind if name == "_zr" else behind.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__getattribute__(self, "_zr").put(name)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, i: int) -> Any:
        return object.__getattribute__(self, "_zr").item(i)

    def __setitem__(self, i: int, value: Any) -> None:
        object.__getattribute__(self, "_zr").set_item(i, value)


def _proxy(step: "_Step", path: tuple[int, ...], real: Any) -> Any:
    cls = type(real)
    twin = type("Recorded" + cls.__name__, (_Proxy, cls), {})
    p = object.__new__(twin)
    object.__setattr__(p, "_zr", _Behind(step, path, real))
    return p


class _Behind:
    """What a proxy does. real is the cache in the first pass, and in the second, in which
    MLX records, only there to be asked what it is."""

    def __init__(self, step: "_Step", path: tuple[int, ...], real: Any):
        self.step, self.path, self.real = step, path, real
        self.items: dict[int, Any] = {}
        self.offset: mx.array | None = None  # as read last, until the cache moves on
        self.children: dict[int, Any] = {}

    def get(self, name: str) -> Any:
        value = getattr(self.real, name)
        if name == "offset":
            if self.offset is None:
                self.offset = self.step.event("read", self.path, name, (), {}, lambda: _as_array(value))
            return self.offset
        if name in ("update_and_fetch", "make_mask", "advance") and callable(value):
            return lambda *args, **kwargs: self.call(name, args, kwargs)
        if value is None or isinstance(value, (bool, int, float, str)):
            self.step.constants.setdefault((self.path, name), value)
            return value
        raise Refused(f"it asks a {type(self.real).__name__} for {name}")

    def call(self, name: str, args: Any, kwargs: Any) -> Any:
        kind = {"update_and_fetch": "update", "make_mask": "mask"}.get(name, "call")
        if kind != "mask":
            self.offset = None
        return self.step.event(kind, self.path, name, args, kwargs, lambda *a, **k: getattr(self.real, name)(*a, **k))

    def put(self, name: str) -> None:
        raise Refused(f"it sets {name} of a {type(self.real).__name__}")

    def item(self, i: int) -> Any:
        if i in self.items:
            return self.items[i]
        value = self.real[i]
        if hasattr(value, "update_and_fetch") or hasattr(value, "make_mask"):
            if i not in self.children:
                self.children[i] = _proxy(self.step, (*self.path, i), value)
            return self.children[i]
        return self.step.event("get", self.path, str(i), (i,), {}, lambda i: self.real[i])

    def set_item(self, i: int, value: Any) -> None:
        self.items[i] = value
        self.step.event("set", self.path, str(i), (i, value), {}, lambda i, x: self.real.__setitem__(i, x))


def _as_array(offset: Any) -> mx.array:
    return offset if isinstance(offset, mx.array) else mx.array(offset, mx.int32)


class _Step:
    """One pass over the model: live, when given nothing, else with the events of a live
    pass, whose results come from arrays instead."""

    def __init__(self, whole: dict[int, str], events: list[Event] | None = None, arrays: dict[str, mx.array] | None = None):
        self.whole, self.known, self.arrays = whole, events, arrays or {}
        self.events: list[Event] = []
        self.constants: dict[tuple[tuple[int, ...], str], Any] = {}
        self.inputs: list[tuple[str, tuple[int, ...], mx.Dtype]] = []
        self.taken: list[tuple[str, mx.array]] = []
        self.busy = False  # doing an event: nothing in it is one

    def event(self, kind: str, path: tuple[int, ...], name: str, args: Any, kwargs: Any, do: Callable[..., Any], module: Any = None) -> Any:
        at = len(self.events)
        count = 0

        def describe(x: Any) -> Any:
            nonlocal count
            if _opaque(x):
                return Held(x._name)
            if isinstance(x, _Proxy):
                return CacheRef(object.__getattribute__(x, "_zr").path)
            if isinstance(x, mx.array):
                slot = Slot(f"s{at}.{count}")
                count += 1
                self.taken.append((slot.name, x))
                return slot
            if x is None or isinstance(x, (bool, int, float, str, mx.Dtype)):
                return x
            raise Refused(f"{name} is given a {type(x).__name__}")

        e = Event(kind, path, name, tree_of(args, describe), tree_of(kwargs, describe), None, module, do)
        self.events.append(e)
        if self.known is not None:
            return self._again(at, e)
        real = lambda x: x._real if _opaque(x) else object.__getattribute__(x, "_zr").real if isinstance(x, _Proxy) else x  # noqa: E731
        self.busy = True
        try:
            got = do(*tree_of(args, real), **tree_of(kwargs, real))
        finally:
            self.busy = False
        hidden = kind in ("update", "mask")
        n = 0

        def result(x: Any) -> Any:
            nonlocal n
            if not isinstance(x, mx.array):
                if x is None or isinstance(x, (bool, int, float, str)):
                    return x, x
                raise Refused(f"{name} gives a {type(x).__name__}")
            key = f"e{at}.{n}"
            n += 1
            if hidden:
                return Held(key), _Opaque(key, "the mask" if kind == "mask" else "cached rows", x)
            self.inputs.append((key, tuple(x.shape), x.dtype))
            return Slot(key), x

        if hidden and kind == "update":
            # However many arrays the cache keeps them in: the model gets two things.
            got = tuple(got)
            pair = [(Held(f"e{at}.{i}"), _Opaque(f"e{at}.{i}", "cached rows", x)) for i, x in enumerate(got)]
            e.result = tuple(p[0] for p in pair)
            return tuple(p[1] for p in pair)
        both = tree_of(got, lambda x: _Pair(*result(x)))
        e.result = tree_of(both, lambda p: p.first)
        return tree_of(both, lambda p: p.second)

    def _again(self, at: int, e: Event) -> Any:
        known = self.known or []
        if at >= len(known) or _sketch(known[at]) != _sketch(e):
            raise Refused(f"it does other things in a second pass: {e.name} of {e.path or 'a module'}")
        e.result = known[at].result

        def leaf(x: Any) -> Any:
            if isinstance(x, Slot):
                return self.arrays[x.name]
            if isinstance(x, Held):
                return _Opaque(x.name, "the mask" if e.kind == "mask" else "cached rows")
            return x

        return tree_of(e.result, leaf)


@dataclasses.dataclass
class _Pair:
    first: Any
    second: Any


def _sketch(e: Event) -> Any:
    return e.kind, e.path, e.name, e.args, e.kwargs


def _attention(step: _Step, original: Callable[..., Any]) -> Callable[..., Any]:
    def attention(*args: Any, **kwargs: Any) -> Any:
        if step.busy or not any(_opaque(x) for x in _leaves((args, kwargs))):
            return original(*args, **kwargs)
        return step.event("attention", (), original.__name__, args, kwargs, original)

    return attention


@contextlib.contextmanager
def _watched(model: nn.Module, step: _Step) -> Iterator[None]:
    """Attention and modules with caches lead to events while this lasts."""
    undo: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)))
        setattr(owner, name, value)

    try:
        replace(mx.fast, "scaled_dot_product_attention", _attention(step, mx.fast.scaled_dot_product_attention))
        for name, module in list(sys.modules.items()):
            if module is None or not name.startswith("mlx_lm."):
                continue
            for key, value in list(module.__dict__.items()):
                if key == "scaled_dot_product_attention" and callable(value):
                    replace(module, key, _attention(step, value))
                elif getattr(value, "__name__", "") == "numpy":
                    replace(module, key, _NoArrays(value))
        classes = {type(m) for m in model.modules() if m is not model}
        owners = {next((k for k in c.__mro__ if "__call__" in k.__dict__), None) for c in classes}
        for owner in owners - {None}:  # a module that only holds others has none
            if issubclass(owner, nn.Module):
                replace(owner, "__call__", _module_call(step, owner.__dict__["__call__"]))
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


class _NoArrays:
    """numpy, without MLX's arrays: asking one for its numbers while MLX records ends the
    process (0.32.2)."""

    def __init__(self, numpy: Any):
        self._numpy = numpy

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._numpy, name)
        if not callable(value) or isinstance(value, type):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            if any(isinstance(x, mx.array) for x in _leaves((args, kwargs))):
                raise Refused(f"it takes arrays to numpy.{name}")
            return value(*args, **kwargs)

        return call


def _module_call(step: _Step, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if step.busy or not any(isinstance(x, _Proxy) or _opaque(x) for x in _leaves((args, kwargs))):
            return original(self, *args, **kwargs)
        if id(self) in step.whole:
            return step.event("module", (), type(self).__name__, args, kwargs, self, module=self)
        try:
            return original(self, *args, **kwargs)
        except KeepWhole:
            raise
        except Exception as e:  # whatever an array cannot do that a number can
            raise KeepWhole(self, _reason(e)) from e

    return call


def _reason(e: Exception) -> str:
    text = (str(e).strip().splitlines() or [""])[0]
    if isinstance(e, Refused):
        return text
    if "incompatible function arguments" in text:  # a function of MLX was given a stand-in
        return f"it computes with cached rows or their mask: {text.partition('(')[0]}"
    return f"{type(e).__name__}: {text}"


def names_of(model: nn.Module) -> dict[int, str]:
    return {id(m): name for name, m in model.named_modules()}


def proxies(step: _Step, caches: list[Any]) -> list[Any]:
    return [_proxy(step, (i,), c) for i, c in enumerate(caches)]


def record(model: nn.Module, tokens: mx.array, caches: list[Any], whole: dict[int, str] | None = None) -> Recording:
    """Runs one step live on copies of the caches and returns what it did."""
    whole = dict(whole or {})
    names = names_of(model)
    with _lock:
        while True:
            step = _Step(whole)
            try:
                with _watched(model, step):
                    logits = model(tokens, cache=proxies(step, copy.deepcopy(caches)))
                break
            except KeepWhole as e:
                if id(e.module) in whole:
                    raise Refused(f"{names.get(id(e.module))}: {e.why}") from e
                whole[id(e.module)] = e.why
            except Exception as e:  # the model's own, or what arrays cannot do outside of any module
                raise Refused(_reason(e)) from e
    if not isinstance(logits, mx.array):
        raise Refused(f"the model gives a {type(logits).__name__}, not logits")
    for e in step.events:
        if e.kind == "module":
            e.where = names.get(id(e.module), "?")
    if not step.events:
        raise Refused("the model asks nothing of its caches")
    _check_order(step.events)
    return Recording(tokens.shape[0], tokens.shape[1], tuple(type(c) for c in caches), caches, tokens, step.events, step.inputs, step.constants,
                     {names.get(k, "?"): why for k, why in whole.items()})


def _check_order(events: list[Event]) -> None:
    """Masks and states are looked at before anything is written, so that a call that turns
    out to be another can still be left to the model."""
    written: set[tuple[int, ...]] = set()
    for e in events:
        if e.kind in ("update", "set", "call"):
            written.add(e.path)
        elif e.kind == "mask" and e.path in written:
            raise Refused("a mask is asked for behind the cache's update")


def export(model: nn.Module, recordings: list[Recording], whole: dict[int, str], path: str, model_type: str) -> None:
    """Writes the recorded functions, one trace for each recording."""
    weights = dict(tree_flatten(model.parameters()))
    first = recordings[0]
    inputs = ["tokens", *(name for name, _, _ in first.inputs)]
    outputs = [name for e in first.events for name in e.slots()] + ["logits"]
    need = [int(name[1:].split(".")[0]) for name in outputs[:-1]] + [len(first.events)]
    available = [-1] + [first.after(int(name[1:].split(".")[0])) for name in inputs[1:]]
    metadata = {"zmlx_capture": FORMAT, "inputs": inputs, "outputs": outputs, "config": {"model_type": model_type},
                "stages": {"inputs": available, "outputs": need, "end": len(first.events)}}
    caches: list[Any] = []
    current = first

    def function(tokens: mx.array, *arrays: mx.array, **weights: mx.array) -> list[mx.array]:
        model.update(tree_unflatten(list(weights.items())))
        step = _Step(whole, current.events, dict(zip(inputs[1:], arrays)))
        with _watched(model, step):
            logits = model(tokens, cache=proxies(step, caches))
        if len(step.events) != len(current.events):
            raise Refused("it does less in a second pass")
        return [x for _, x in step.taken] + [logits]

    private = _private_arrays(model)
    contiguous = mx.contiguous
    with _lock:
        try:
            for module, key, value in private:
                # MLX writes a constant that is not contiguous with the wrong elements.
                made = contiguous(value)
                mx.eval(made)
                module[key] = made
            with mx.exporter(path, function, metadata=json.dumps(metadata, sort_keys=True)) as exporter:
                for current in recordings:
                    if [name for name, _, _ in current.inputs] != inputs[1:] or [n for e in current.events for n in e.slots()] != outputs[:-1]:
                        raise Refused("it does other things with another number of rows")
                    caches = current.caches
                    mx.contiguous = lambda x, *args, **more: x  # MLX cannot write it
                    try:
                        # As a list and a dict: a call of MLX takes at most 1024 by keyword.
                        exporter([current.tokens, *(mx.zeros(shape, dtype) for _, shape, dtype in current.inputs)], weights)
                    finally:
                        mx.contiguous = contiguous
        finally:
            for module, key, value in private:
                module[key] = value
            model.update(tree_unflatten(list(weights.items())))


def _private_arrays(model: nn.Module) -> list[tuple[Any, str, mx.array]]:
    return [(m, k, v) for m in model.modules() for k, v in m.items() if isinstance(v, mx.array) and k.startswith("_")]

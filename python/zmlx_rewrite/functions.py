"""Functions of mlx.core as the program wrote them, and steps made of them."""

from __future__ import annotations

import base64
import inspect
import keyword
from typing import Any, Callable

import mlx.core as mx

from . import host, nvrtc, shortcuts
from .record import CacheRef, Event, Held, Recording, Slot


class Later(Exception):
    """A call that the recording is not for; the model itself has to do it."""


def constant(c: dict[str, Any]) -> mx.array:
    data = mx.array(list(base64.b64decode(c["data"])), mx.uint8)
    dtype = getattr(mx, "bool_" if c["dtype"] == "bool" else c["dtype"])
    if dtype == mx.bool_:
        return data.astype(mx.bool_).reshape(c["shape"])
    return data.view(dtype).reshape(c["shape"])


class _Few:
    """mlx.core for a check: what MLX would compile a kernel for on CUDA, which takes seconds, is
    done by the kernels that it has."""

    def __getattr__(self, name: str) -> Any:
        return getattr(mx, name)

    @staticmethod
    def gather_qmm(x: mx.array, w: mx.array, scales: mx.array, biases: mx.array | None = None, lhs_indices: mx.array | None = None, rhs_indices: mx.array | None = None, **how: Any) -> mx.array:
        """From 8 products of one row each on, MLX multiplies tiles; these are fewer at once."""
        call = lambda x, i: mx.gather_qmm(x, w, scales, biases, lhs_indices=None, rhs_indices=i, **how)  # noqa: E731
        if lhs_indices is not None or rhs_indices is None or x.ndim < 3 or x.shape[-2] > 1:
            return mx.gather_qmm(x, w, scales, biases, lhs_indices=lhs_indices, rhs_indices=rhs_indices, **how)
        k = rhs_indices.shape[-1]
        rows = rhs_indices.size // k
        at_once = 7 // rows
        if rhs_indices.size < 8 or at_once == 0 or x.shape[-3] not in (1, k):
            return call(x, rhs_indices)
        parts = [call(x if x.shape[-3] == 1 else x[..., i : i + at_once, :, :], rhs_indices[..., i : i + at_once]) for i in range(0, k, at_once)]
        return mx.concatenate(parts, axis=-3)

    @staticmethod
    def quantized_matmul(x: mx.array, w: mx.array, scales: mx.array, biases: mx.array | None = None, **how: Any) -> mx.array:
        """The same, of 8 rows and more."""
        if w.ndim > 2 or x.size < 8 * x.shape[-1]:
            return mx.quantized_matmul(x, w, scales, biases, **how)
        rows = x.reshape(-1, x.shape[-1])
        out = mx.concatenate([mx.quantized_matmul(rows[i : i + 7], w, scales, biases, **how) for i in range(0, rows.shape[0], 7)])
        return out.reshape(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def take(a: mx.array, indices: mx.array, axis: int | None = None) -> mx.array:
        """Rows of float32 are rows of words, which the embedding's packed weights are, too."""
        if a.dtype != mx.float32:
            return mx.take(a, indices, axis=axis)
        return mx.take(a.view(mx.uint32), indices, axis=axis).view(mx.float32)


def namespace(module: dict[str, Any], target: str, core: Any = mx, units: nvrtc.Units | None = None) -> dict[str, Any]:
    """The functions of a module, ready to be called. core is what they find under mx; units
    are its kernels, compiled without MLX."""
    names: dict[str, Any] = {"mx": core, "known": {}, "kernels": "units" if units is not None else "texts"}
    for name, c in module["constants"].items():
        names[name] = constant(c)
    mx.eval([v for k, v in names.items() if k.startswith("c_")])
    for k in module["kernels"]:
        if k.get("hash"):
            names["k_" + k["name"]] = host.Kernel(k["kernel"], k["hash"], names["known"])
            continue
        if units is not None:
            names["k_" + k["name"]] = units.kernels[k["name"]]
            continue
        make = mx.fast.cuda_kernel if target == "cuda" else mx.fast.metal_kernel
        header, source = _shorter(k) if target == "cuda" else (k["header"], k["source"])
        names["k_" + k["name"]] = make(name=k["name"], input_names=k["inputs"], output_names=k["results"], source=source, header=header)
    for f in module["functions"]:
        exec(compile(f["source"], f"<zmlx-rewrite {f['name']}>", "exec"), names)
    return names


def _shorter(k: dict[str, Any]) -> tuple[str, str]:
    """A kernel's text as two #include lines: MLX hashes the text at each launch, and 13 kB
    take it 4 µs. The files are named by content; where none can be written, the text."""
    folder = nvrtc.cache()
    if any(c in str(folder) for c in '"\\\n'):
        return k["header"], k["source"]
    lines = []
    for ending, text in ((".h", k["header"]), (".inc", k["source"])):
        path = folder / (k["name"] + ending)
        try:
            if not path.is_file() or path.read_text() != text:
                nvrtc.place(path, text.encode())
        except OSError:
            return k["header"], k["source"]
        lines.append(f'#include "{path}"\n')
    return lines[0], lines[1]


def in_float32(module: dict[str, Any], target: str) -> dict[str, Any]:
    """The functions of a module, to be called once, with what MLX compiles least for."""
    return namespace({**module, "kernels": []}, target, _Few())


def derive(weights: dict[str, mx.array], how: dict[str, dict[str, Any]], name: str) -> mx.array:
    """A weight that is made of others, as the rule says."""
    w = how[name]
    args = [weights[a] if a in weights else derive(weights, how, a) for a in w["args"]]
    op, axis = w["op"], w["axis"]
    if op == "concat":
        return mx.concatenate(args, axis=axis)
    if op == "stack":
        return mx.stack(args, axis=axis)
    if op == "split":
        return mx.split(args[0], [w["start"], w["stop"]], axis=axis)[1]
    if op == "transpose":
        return mx.contiguous(mx.transpose(args[0], w["perm"]))
    if op == "permute":
        return mx.take(args[0], mx.array(w["perm"]), axis=axis)
    if op == "reshape":
        return mx.reshape(args[0], w["shape"])
    if op == "increment":
        return args[0] + mx.array(1, args[0].dtype)
    raise Later(f"weights are made by {op}, which this package does not know")


# For the life of the process. MLX knows a compiled function by the address of the Python function,
# in a cache of each thread, of which only the one that called it last forgets it with the
# function: another function at that address would be taken for it. So none is ever freed. What
# they were traced with are placeholders; weights are arguments, so that a change of one in
# place is seen.
_compiled: dict[tuple[str, str], Callable[..., Any]] = {}


def compiled(source: str, function: Callable[..., Any], kernels: str) -> Callable[..., Any]:
    """mx.compile of a function, once for each text and each way to run kernels: names in a text
    say what they stand for by its content."""
    key = source, kernels
    if key not in _compiled:
        _compiled[key] = mx.compile(function)
    return _compiled[key]


class Step:
    """A step of the model: stages and, between them, what the model did with its caches."""

    def __init__(self, recording: Recording, step: dict[str, Any], functions: dict[str, Any], module: dict[str, Any], weights: Callable[[str], mx.array], any_type: bool = False,
                 compiled: bool = False):
        self.any_type = any_type  # take states of another element type than was recorded
        # mx.compile keeps the graph of a function and copies it, which is faster than calling for
        # each operation anew: a kernel's text is put together at every call.
        self.compiled = compiled
        self.functions, self.weights = module["functions"], weights
        self.names: dict[str, Any] = {"mx": mx, "Later": Later, "array": mx.array, "int32": mx.int32, "add": shortcuts.add, "Places": shortcuts.Places, "changed": shortcuts.changed}
        self.count = 0
        self.taken: dict[str, str] = step["taken"]
        self.constants = {k: v for k, v in functions.items() if k.startswith("c_")}
        self.texts = [self.functions[c["function"]]["source"] for c in step["calls"]]
        self.source = self._write(recording, step["calls"], functions)
        exec(compile(self.source, "<zmlx-rewrite step>", "exec"), self.names)
        self.prepare: Callable[[list[Any]], tuple[Any, ...]] = self.names["prepare"]
        self.run: Callable[[mx.array, list[Any], tuple[Any, ...]], mx.array] = self.names["step"]

    def _hold(self, value: Any, kind: str) -> str:
        name = f"{kind}{self.count}"
        self.count += 1
        self.names[name] = value
        return name

    def _cache(self, path: tuple[int, ...]) -> str:
        return "caches" + "".join(f"[{i}]" for i in path)

    def _var(self, name: str) -> str:
        text = name.replace(".", "_")
        return text + "_" if keyword.iskeyword(text) else text

    def _value(self, x: Any) -> str:
        if isinstance(x, Slot):
            name = self.taken[x.name]
            if name.startswith("weight:"):
                return self._hold(self.weights(name[7:]), "weight")
            if name.startswith("constant:"):
                return self._hold(self.constants[name[9:]], "constant")
            return self._var(name)
        if isinstance(x, Held):
            return self._var(x.name)
        if isinstance(x, CacheRef):
            return self._cache(x.path)
        if x is None or isinstance(x, (bool, int, str)):
            return repr(x)
        return self._hold(x, "value")

    def _tree(self, t: Any) -> str:
        if isinstance(t, dict):
            return "{" + ", ".join(f"{k!r}: {self._tree(v)}" for k, v in t.items()) + "}"
        if isinstance(t, list):
            return "[" + ", ".join(self._tree(v) for v in t) + "]"
        if isinstance(t, tuple):
            return "(" + "".join(self._tree(v) + ", " for v in t) + ")"
        return self._value(t)

    def _args(self, e: Event) -> str:
        return ", ".join([self._tree(a) for a in e.args] + [f"{k}={self._tree(v)}" for k, v in e.kwargs.items()])

    @staticmethod
    def _adds(recording: Recording, e: Event) -> bool:
        """Whether shortcuts.add does what the event is."""
        return e.kind == "update" and recording.length == 1 and len(e.path) == 1 and len(e.args) == 2 and not e.kwargs and shortcuts.known_cache(recording.kinds[e.path[0]])

    def _attention(self, e: Event, short: dict[tuple[int, ...], Any]) -> str | None:
        """What mx.fast's attention is given, where mlx-lm's does nothing but to call it."""
        if not shortcuts.known_attention(e.do):
            return None
        try:
            given = inspect.signature(e.do).bind(*e.args, **e.kwargs).arguments
        except TypeError:
            return None
        cache = given.pop("cache", None)
        if not isinstance(cache, CacheRef) or cache.path not in short:
            return None
        return ", ".join([self._tree(given.pop(k)) for k in ("queries", "keys", "values")] + [f"{k}={self._tree(v)}" for k, v in given.items() if v is not None])

    def _targets(self, t: Any) -> str:
        if isinstance(t, (tuple, list)):
            return "(" + "".join(self._targets(v) + ", " for v in t) + ")"
        if isinstance(t, (Slot, Held)):
            return self._var(t.name)
        return "_"

    def _write(self, recording: Recording, calls: list[dict[str, Any]], functions: dict[str, Any]) -> str:
        shapes = {name: (shape, dtype) for name, shape, dtype in recording.inputs}
        before, masks = [], []
        short = {e.path: recording.kinds[e.path[0]] for e in recording.events if self._adds(recording, e)}
        if short:
            held = self._hold({kind: shortcuts.methods(kind) for kind in short.values()}, "held")
            before += [f"x = changed({held}, [{', '.join(self._cache(path) for path in sorted(short))}])", "if x: raise Later(x)"]
        for (path, name), value in sorted(recording.constants.items()):
            before.append(f"if {self._cache(path)}.{name} != {self._value(value)}: raise Later('{name} of a cache is another one')")
        for e in recording.events:
            if e.kind == "mask":
                text = f"{self._cache(e.path)}.{e.name}({self._args(e)})"
                if isinstance(e.result, Held):
                    name = self._var(e.result.name)
                    before += [f"{name} = {text}", f"if not isinstance({name}, array): raise Later('another kind of mask')"]
                    masks.append(name)
                else:
                    before.append(f"if {text} != {e.result!r}: raise Later('another kind of mask')")
            elif e.kind == "get":
                read = f"{self._cache(e.path)}[{e.args[0]}]"
                if isinstance(e.result, Slot):
                    shape, dtype = shapes[e.result.name]
                    wanted = self._hold((shape, dtype) if not self.any_type else shape, "type")
                    is_ = "x.shape" if self.any_type else "(x.shape, x.dtype)"
                    before += [f"x = {read}", f"if x is None or {is_} != {wanted}: raise Later('a cache holds another state')"]
                else:
                    before.append(f"if {read} is not None: raise Later('a cache holds a state')")
        lines = [f"({''.join(m + ', ' for m in masks)}) = masks"] if masks else []
        reads: dict[int, list[Event]] = {}
        for i, e in enumerate(recording.events):
            if e.kind == "read":
                reads.setdefault(recording.after(i), []).append(e)
        by_event: dict[int, list[dict[str, Any]]] = {}
        for c in calls:
            by_event.setdefault(c["event"], []).append(c)
        offsets = 0
        for i in range(len(recording.events) + 1):
            for e in reads.get(i - 1, []):
                # Caches of one length share one array.
                x = self._var(e.result.name)
                lines.append(f"n = {self._cache(e.path)}.offset")
                if shapes[e.result.name][0] == ():
                    lines += [f"{x} = offsets.get(n)", f"if {x} is None: {x} = offsets[n] = array(n, int32)"]
                    offsets += 1
                else:
                    lines.append(f"{x} = n")
            for c in by_event.get(i, []):
                f, source = (self.functions[c["function"]][k] for k in ("name", "source"))
                self.names[f] = functions[f] if not self.compiled else compiled(source, functions[f], functions["kernels"])
                held = tuple(self.weights(w) for w in c["weights"])
                if any(isinstance(k, host.Kernel) for k in functions.values()):
                    host.remember(held, functions["known"])
                weights = self._hold(held, "weights") if held else ""
                args = ", ".join([self._var(a) for a in c["in"]] + ([f"*{weights}"] if weights else []))
                lines.append(f"{''.join(self._var(o) + ', ' for o in c['out'])}= {f}({args})")
            if i == len(recording.events):
                break
            e = recording.events[i]
            cache = self._cache(e.path) if e.path else ""
            if self._adds(recording, e):
                lines.append(f"{self._targets(e.result)} = add({cache}, {self._args(e)}, places)")
            elif e.kind in ("update", "call"):
                lines.append(f"{self._targets(e.result)} = {cache}.{e.name}({self._args(e)})")
            elif e.kind == "get" and isinstance(e.result, Slot):
                lines.append(f"{self._var(e.result.name)} = {cache}[{e.args[0]}]")
            elif e.kind == "set":
                lines.append(f"{cache}[{e.args[0]}] = {self._value(e.args[1])}")
            elif e.kind == "attention" and (given := self._attention(e, short)) is not None:
                lines.append(f"{self._targets(e.result)} = mx.fast.scaled_dot_product_attention({given})")
            elif e.kind in ("attention", "module"):
                do = self._hold(e.module if e.kind == "module" else e.do, e.kind)
                lines.append(f"{self._targets(e.result)} = {do}({self._args(e)})")
        if offsets:
            lines.insert(0, "offsets = {}")
        if short:
            lines.insert(0, "places = Places()")
        before.append(f"return ({''.join(m + ', ' for m in masks)})")
        lines.append(f"return {self._value(Slot('logits'))}")
        return ("def prepare(caches):\n    " + "\n    ".join(before) + "\n\ndef step(tokens, caches, masks):\n    " + "\n    ".join(lines) + "\n")


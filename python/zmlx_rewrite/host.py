"""Kernels for CPUs, called from Python.

The library libzmlx-kernels knows nothing of MLX: a kernel gets addresses of numbers and writes
its results (kernels/cpu/zmlx_kernel.h). MLX's arrays say by DLPack where their numbers are. So a
call computes what it needs at once, runs the kernel, and gives arrays that are there. On a
CPU, where MLX has no vector code for packed weights, that is still many times faster.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import os
import pathlib
import sys
from typing import Any, Sequence

import mlx.core as mx

from . import binary
from .record import Refused


class _Call(ctypes.Structure):
    _fields_ = [("inputs", ctypes.c_void_p), ("outputs", ctypes.c_void_p), ("ints", ctypes.c_void_p), ("floats", ctypes.c_void_p), ("types", ctypes.c_void_p),
                ("grid", ctypes.c_void_p), ("group", ctypes.c_void_p), ("workers", ctypes.c_int)]


class _Kernel(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("hash", ctypes.c_char_p), ("run", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Call)))]


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_Words = ctypes.POINTER(ctypes.c_int64)


def file() -> str | None:
    """Where the library is: $ZMLX_KERNELS, in this package, or beside the program."""
    name = "libzmlx-kernels.dylib" if sys.platform == "darwin" else "libzmlx-kernels.so"
    places = [os.environ.get("ZMLX_KERNELS"), str(pathlib.Path(__file__).parent / "bin" / name)]
    try:
        places.append(str(pathlib.Path(binary.program()).resolve().parent / name))
    except binary.ToolError:
        pass
    return next((p for p in places if p and os.path.isfile(p)), None)


@functools.lru_cache(None)
def library(path: str) -> tuple[dict[str, _Kernel], Any]:
    """The kernels of a library, and why the last call failed."""
    try:
        lib = ctypes.CDLL(path)
        listed, why = lib.zmlx_kernels, lib.zmlx_error
    except (OSError, AttributeError) as e:
        raise Refused(f"{path}: {e}") from e
    listed.restype, listed.argtypes = ctypes.POINTER(_Kernel), [ctypes.POINTER(ctypes.c_int)]
    why.restype = ctypes.c_char_p
    count = ctypes.c_int()
    first = listed(ctypes.byref(count))
    return {first[i].name.decode(): first[i] for i in range(count.value)}, why


def address(x: mx.array) -> tuple[int, bool]:
    """Where an array's numbers are, and whether they lie row by row. It is computed."""
    capsule = x.__dlpack__()
    words = ctypes.cast(_pointer(capsule, b"dltensor"), _Words)
    # data, device, ndim and type, shape, strides, byte_offset
    data, strides, offset = words[0], words[4], words[5]
    whole = True
    if strides:
        steps, n = ctypes.cast(strides, _Words), 1
        for i in range(x.ndim - 1, -1, -1):
            if x.shape[i] != 1:
                whole = whole and steps[i] == n
            n *= x.shape[i]
    return data + offset, whole


class Kernel:
    """One kernel. known are arrays, by id, that are held and stay where they are: weights."""

    def __init__(self, name: str, hash: str, known: dict[int, tuple[mx.array, mx.array, int]]):
        path = file()
        if path is None:
            raise Refused("there is no libzmlx-kernels beside the program; ZMLX_KERNELS names one")
        kernels, self.why = library(path)
        found = kernels.get(name)
        if found is None or found.hash.decode() != hash:
            raise Refused(f"{path} has no kernel {name} of this version: build it again")
        self.name, self.run = name, found.run
        self.known = known
        self.numbers: dict[Any, tuple[Any, ...]] = {}
        self.workers = os.cpu_count() or 1

    def __call__(self, inputs: Sequence[mx.array | None], ints: tuple[int, ...], floats: tuple[float, ...], types: tuple[int, ...], grid: tuple[int, ...],
                 group: tuple[int, ...], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[mx.Dtype]) -> list[mx.array]:
        out = [mx.zeros(s, t) for s, t in zip(shapes, dtypes)]
        known = self.known
        mx.eval(out, [x for x in inputs if x is not None and id(x) not in known])
        given = (ctypes.c_void_p * max(len(inputs), 1))()
        held = []
        for i, x in enumerate(inputs):
            if x is None:
                continue
            entry = known.get(id(x))
            if entry is not None:
                given[i] = entry[2]
                continue
            where, whole = address(x)
            if not whole:
                x = mx.contiguous(x)
                where, _ = address(x)
            held.append(x)
            given[i] = where
        results = (ctypes.c_void_p * len(out))(*[address(x)[0] for x in out])
        key = (ints, floats, types, grid, group)
        fixed = self.numbers.get(key)
        if fixed is None:
            fixed = self.numbers[key] = ((ctypes.c_int64 * max(len(ints), 1))(*ints), (ctypes.c_double * max(len(floats), 1))(*floats), (ctypes.c_int32 * max(len(types), 1))(*types),
                                         (ctypes.c_int64 * 3)(*grid), (ctypes.c_int64 * 3)(*group))
        call = _Call(ctypes.addressof(given), ctypes.addressof(results), *(ctypes.addressof(f) for f in fixed), self.workers)
        if self.run(ctypes.byref(call)):
            raise RuntimeError(f"kernel {self.name}: {self.why().decode()}")
        return out


def remember(arrays: Sequence[mx.array], known: dict[int, tuple[mx.array, mx.array, int]]) -> None:
    """Looks weights up once. A copy of each is held, which shares its numbers: where a weight is changed in
    place, the array gets others, and those that are known have to stay."""
    mx.eval(arrays)
    for x in arrays:
        where, whole = address(x)
        if whole:
            known[id(x)] = (x, copy.copy(x), where)

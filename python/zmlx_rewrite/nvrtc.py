"""CUDA kernels compiled ahead of their first launch, several at a time, and kept on disk.

mx.fast.cuda_kernel compiles a text when it is first launched, one after the other, behind
headers of MLX's that take two seconds each, and keeps nothing: of a patch of
Qwen3-30B-A3B on an H200 that was 22 of 31 seconds, in each process. The program writes each
kernel a second time as a unit that needs none of those headers and compiles in a fifth of a
second; NVRTC, which MLX has loaded, makes machine code of it here.

How MLX gets the code: before it compiles a module, MLX looks for NAME_HASH.ptx in its folder of
compiled texts, HASH being std::hash of what it was given as the text
(mlx/backend/cuda/jit_module.cpp, 0.32.1: JitModule, read_cached_ptx). So the file is put there, and
mx.fast.precompiled_cuda_kernel is given a short word in place of the code: MLX hashes
it at every launch. What was launched once stays in MLX's memory, and the files are taken
away again. Where any of this is otherwise, a launch fails, and patch takes the kernels' texts.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import functools
import hashlib
import os
import pathlib
import tempfile
from typing import Any, Sequence

import mlx.core as mx


class Unavailable(RuntimeError):
    """A kernel has to be compiled by MLX."""


def cache() -> pathlib.Path:
    """Where compiled and written kernels are; the program's own replay has its there, too."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "zmlx-rewrite" / "cuda"


def place(path: pathlib.Path, data: bytes) -> None:
    """Writes a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.replace(made, path)
    except OSError:
        pathlib.Path(made).unlink(missing_ok=True)
        raise


def std_hash(data: bytes) -> int:
    """std::hash of a string as libstdc++ has it on machines of 64 bits: MurmurHash64A
    (libsupc++/hash_bytes.cc)."""
    mul, most = 0xC6A4A7935BD1E995, 2**64 - 1
    mix = lambda v: v ^ (v >> 47)  # noqa: E731
    h = 0xC70F6907 ^ (len(data) * mul & most)
    whole = len(data) & ~7
    for i in range(0, whole, 8):
        h = (h ^ (mix(int.from_bytes(data[i : i + 8], "little") * mul & most) * mul & most)) * mul & most
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * mul & most
    return mix(mix(h) * mul & most)


def loaded() -> pathlib.Path | None:
    """The NVRTC that this process has loaded: MLX's."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as f:
            return next((pathlib.Path(path) for line in f if (path := line.split(maxsplit=5)[-1].strip()).startswith("/") and pathlib.Path(path).name.startswith("libnvrtc.so")), None)
    except OSError:
        return None


def includes(library: pathlib.Path) -> list[str]:
    """Folders that have cuda_fp16.h, where MLX looks for it, too."""
    lib = library.parent
    places = [lib / "../include", lib / "../../include", lib / "../../cuda_runtime/include"]
    places += [pathlib.Path(os.environ[v]) / "include" for v in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(v)]
    return [str(p) for p in [*places, pathlib.Path("/usr/local/cuda/include")] if (p / "cuda_fp16.h").is_file()]


@functools.lru_cache(None)
def _library(path: str) -> ctypes.CDLL:
    return ctypes.CDLL(path)


def compile(library: pathlib.Path, name: str, text: str, arch: str) -> bytes:
    """Machine code of a text for an architecture such as sm_90a. Other threads go on meanwhile."""
    lib, program = _library(str(library)), ctypes.c_void_p()
    options = ["--device-as-default-execution-space", "--gpu-architecture=" + arch, *("--include-path=" + d for d in includes(library))]

    def do(rc: int) -> None:
        if rc:
            raise Unavailable(f"{name}: NVRTC says {rc}")

    do(lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), (name + ".cu").encode(), 0, None, None))
    try:
        do(lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*(o.encode() for o in options))))
        size = ctypes.c_size_t()
        do(lib.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        code = ctypes.create_string_buffer(size.value)
        do(lib.nvrtcGetCUBIN(program, code))
        return code.raw
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def mlx_folder() -> pathlib.Path:
    """Where MLX looks for compiled modules (ptx_cache_dir)."""
    if given := os.environ.get("MLX_PTX_CACHE_DIR"):
        return pathlib.Path(given)
    temporary = next((os.environ[v] for v in ("TMPDIR", "TMP", "TEMP", "TEMPDIR") if os.environ.get(v)), "/tmp")
    return pathlib.Path(temporary) / "mlx" / ".".join(mx.__version__.split(".")[:3]) / "ptx"


class Kernel:
    """A kernel, called as one of mx.fast.cuda_kernel is."""

    def __init__(self, name: str, word: bytes, ready: concurrent.futures.Future[None]):
        self.name, self.word, self.ready = name, word, ready

    def __call__(self, inputs: Sequence[mx.array], grid: tuple[int, ...], threadgroup: tuple[int, ...], output_shapes: Sequence[Sequence[int]], output_dtypes: Sequence[mx.Dtype]) -> list[mx.array]:
        if self.ready is not None:
            try:
                self.ready.result()
            except concurrent.futures.CancelledError as e:
                raise Unavailable(f"{self.name} was not compiled") from e
            self.ready = None
        return mx.fast.precompiled_cuda_kernel(name=self.name, compiled_source=self.word, inputs=inputs, output_shapes=output_shapes, output_dtypes=output_dtypes, scalars=[],
                                               grid=grid, threadgroup=threadgroup, shared_memory=0, ensure_row_contiguous=True)


class Units:
    """The kernels of a module, compiled in the background in the order of the module. Close it
    when all that is used was launched once."""

    def __init__(self, kernels: list[dict[str, Any]]):
        library = loaded()
        if library is None or not includes(library) or not hasattr(mx.fast, "precompiled_cuda_kernel"):
            raise Unavailable("there is no NVRTC, or no precompiled_cuda_kernel in this MLX")
        arch = str(mx.device_info()["architecture"])
        if arch.removeprefix("sm_").isdigit() and int(arch.removeprefix("sm_")) >= 90:
            arch += "a"  # as MLX does
        self.library, self.arch, self.folder = library, arch, mlx_folder()
        self.placed: list[pathlib.Path] = []
        self.pool = concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 16), thread_name_prefix="nvrtc")
        self.kernels = {}
        for k in kernels:
            sum_ = hashlib.sha256((k["unit"] + "0").encode()).hexdigest()[:16]  # no limit of registers: the program's replay, whose files these are, too, may set one
            word = f"{k['name']} {arch} {sum_} {os.getpid()}".encode()
            self.kernels[k["name"]] = Kernel(k["name"], word, self.pool.submit(self.make, k["name"], k["unit"], sum_, word))

    def make(self, name: str, text: str, sum_: str, word: bytes) -> None:
        kept = cache() / f"{name}-{self.arch}-{sum_}.cubin"
        try:
            code = kept.read_bytes()
        except OSError:
            code = compile(self.library, name, text, self.arch)
            try:
                place(kept, code)
            except OSError:
                pass  # it is compiled again next time
        module = self.folder / f"{name}_{std_hash(word):x}.ptx"
        self.placed += [module, module.with_suffix(".txt")]
        try:
            place(module.with_suffix(".txt"), f"{name}\t{name}\n".encode())
            place(module, code)
        except OSError as e:
            raise Unavailable(f"{module}: {e}") from e

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        for path in self.placed:
            path.unlink(missing_ok=True)


__all__ = ["Kernel", "Unavailable", "Units", "std_hash"]

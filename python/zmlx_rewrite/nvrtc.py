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
import contextlib
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
    """Where compiled and written kernels are; the program's own replay keeps its there, too."""
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "zmlx-rewrite" / "cuda"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def place(path: pathlib.Path, data: bytes) -> None:
    """Writes a file, whole or not at all."""
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
def _library(path: str) -> tuple[ctypes.CDLL, str]:
    """NVRTC and its version."""
    lib, major, minor = ctypes.CDLL(path), ctypes.c_int(), ctypes.c_int()
    lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return lib, f"{major.value}.{minor.value}"


def compile(library: pathlib.Path, name: str, text: str, arch: str) -> bytes:
    """Machine code of a text for an architecture such as sm_90a. Other threads go on meanwhile."""
    (lib, _), program = _library(str(library)), ctypes.c_void_p()
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

    def __init__(self, name: str, word: bytes):
        self.name, self.word, self.placed = name, word, False

    def __call__(self, inputs: Sequence[mx.array], grid: tuple[int, ...], threadgroup: tuple[int, ...], output_shapes: Sequence[Sequence[int]], output_dtypes: Sequence[mx.Dtype]) -> list[mx.array]:
        if not self.placed:
            raise Unavailable(f"{self.name} was not compiled")
        return mx.fast.precompiled_cuda_kernel(name=self.name, compiled_source=self.word, inputs=inputs, output_shapes=output_shapes, output_dtypes=output_dtypes, scalars=[],
                                               grid=grid, threadgroup=threadgroup, shared_memory=0, ensure_row_contiguous=True)


class Units:
    """The kernels of a module. Unavailable, where MLX has to compile them."""

    def __init__(self, kernels: list[dict[str, Any]]):
        try:
            library = loaded()
            if library is None or not includes(library) or not hasattr(mx.fast, "precompiled_cuda_kernel"):
                raise Unavailable("there is no NVRTC, or no precompiled_cuda_kernel in this MLX")
            self.arch = str(mx.device_info()["architecture"])
            if int(self.arch.removeprefix("sm_")) >= 90:
                self.arch += "a"  # as MLX does
            self.library, self.folder = library, mlx_folder()
            self.version = _library(str(library))[1]
        except (OSError, AttributeError, KeyError, ValueError) as e:
            raise Unavailable(f"{type(e).__name__}: {e}") from e
        self.kernels, self.texts = {}, {}
        self.files: list[pathlib.Path] = []  # in MLX's folder
        for k in kernels:
            self.texts[k["name"]] = k["unit"]
            self.kernels[k["name"]] = Kernel(k["name"], f"{k['name']} {self.arch} {self.sum(k['name'])} {os.getpid()}".encode())

    def sum(self, name: str) -> str:
        return hashlib.sha256(self.texts[name].encode()).hexdigest()[:16]

    def kept(self, name: str) -> pathlib.Path:
        """The file of a kernel's code in the user's cache."""
        return cache() / f"{name}-{self.arch}-nvrtc-{self.version}-{self.sum(name)}.cubin"

    def prepare(self, sources: Sequence[str]) -> None:
        """Compiles what functions with these texts launch, if it is not there, several at a time."""
        wanted = [k for name, k in self.kernels.items() if not k.placed and any(f"k_{name}(" in text for text in sources)]
        with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 16), thread_name_prefix="nvrtc") as pool:
            try:
                list(pool.map(self.make, wanted))
            except (OSError, AttributeError) as e:
                raise Unavailable(f"{type(e).__name__}: {e}") from e

    def make(self, k: Kernel) -> None:
        kept, code = self.kept(k.name), b""
        try:
            code = kept.read_bytes()
        except OSError:
            pass
        if not code.startswith(b"\x7fELF"):
            code = compile(self.library, k.name, self.texts[k.name], self.arch)
            try:
                place(kept, code)
            except OSError:
                pass  # it is compiled again next time
        module = self.folder / f"{k.name}_{std_hash(k.word):x}.ptx"
        self.files += [module, module.with_suffix(".txt")]
        self.folder.mkdir(parents=True, exist_ok=True)
        place(module.with_suffix(".txt"), f"{k.name}\t{k.name}\n".encode())
        place(module, code)
        k.placed = True

    def forget(self) -> None:
        """Throws away what was kept: a launch failed."""
        self.remove([self.kept(name) for name, k in self.kernels.items() if k.placed])

    def close(self) -> None:
        """Takes the files out of MLX's folder: what was launched once stays in its memory."""
        self.remove(self.files)

    @staticmethod
    def remove(files: list[pathlib.Path]) -> None:
        for path in files:
            with contextlib.suppress(OSError):
                path.unlink()


__all__ = ["Kernel", "Unavailable", "Units", "std_hash"]

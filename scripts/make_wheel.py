#!/usr/bin/env python3
"""Makes wheels of python/zmlx_rewrite with the program in them: python3 scripts/make_wheel.py [PLATFORM...]

PLATFORM is linux-amd64, linux-arm64 or darwin-arm64; all if left out. The program is built
without cgo, since planning and rewriting need no MLX. The wheel of this machine's platform has
the library of CPU kernels in it, too, as scripts/build-kernels.sh left it in bin/; on Linux it is
then for machines with this one's C library, or a newer one. Wheels are written into dist/,
or $DIST.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pathlib
import platform as machine_of
import re
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PLATFORMS = {
    "linux-amd64": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "linux-arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "darwin-arm64": "macosx_14_0_arm64",
}
DIST = pathlib.Path(os.environ.get("DIST") or ROOT / "dist")
EPOCH = (1980, 1, 1, 0, 0, 0)


def version() -> str:
    """The one version, which both languages have to say."""
    go = re.search(r'^const version = "([^"]+)"', (ROOT / "cmd/zmlx-rewrite/version.go").read_text(), re.M)
    python = re.search(r'^__version__ = "([^"]+)"', (ROOT / "python/zmlx_rewrite/__init__.py").read_text(), re.M)
    if not go or not python or go[1] != python[1]:
        sys.exit(f"make_wheel: the program is {go and go[1]}, the package {python and python[1]}")
    return go[1]


def program(platform: str) -> bytes:
    system, machine = platform.split("-")
    out = DIST / f".zmlx-rewrite-{platform}"
    subprocess.run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(out), "./cmd/zmlx-rewrite"], cwd=ROOT, check=True,
                   env={**os.environ, "CGO_ENABLED": "0", "GOOS": system, "GOARCH": machine})
    data = out.read_bytes()
    out.unlink()
    return data


def library(platform: str) -> pathlib.Path | None:
    """The library of CPU kernels, if this machine is of the platform and has it."""
    here = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine_of.machine(), "")
    if platform != f"{sys.platform}-{here}":
        return None
    path = ROOT / "bin" / ("libzmlx-kernels.dylib" if sys.platform == "darwin" else "libzmlx-kernels.so")
    return path if path.is_file() else None


def wheel(platform: str) -> pathlib.Path:
    name, number = "zmlx_rewrite", version()
    info = f"{name}-{number}.dist-info"
    files: dict[str, bytes] = {}
    for path in sorted((ROOT / "python" / name).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[str(path.relative_to(ROOT / "python"))] = path.read_bytes()
    files[f"{name}/bin/zmlx-rewrite"] = program(platform)
    tags, kernels = PLATFORMS[platform], library(platform)
    if kernels is not None:
        files[f"{name}/bin/{kernels.name}"] = kernels.read_bytes()
        if sys.platform == "linux":
            tags = "manylinux_2_{}_{}".format(machine_of.libc_ver()[1].split(".")[1], machine_of.machine())
    files[f"{info}/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files[f"{info}/METADATA"] = (f"Metadata-Version: 2.1\nName: zmlx-rewrite\nVersion: {number}\nSummary: Models of mlx-lm, rewritten by rules\n"
                                 "License: MIT\nRequires-Python: >=3.9\nRequires-Dist: mlx>=0.32.1\nDescription-Content-Type: text/markdown\n\n"
                                 + (ROOT / "docs/MLX_LM.md").read_text()).encode()
    files[f"{info}/WHEEL"] = ("Wheel-Version: 1.0\nGenerator: make_wheel.py\nRoot-Is-Purelib: false\n"
                              + "".join(f"Tag: py3-none-{p}\n" for p in tags.split("."))).encode()
    record = "".join(f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    for old in DIST.glob(f"{name}-{number}-py3-none-*{tags.rpartition('_')[2] if 'macosx' in tags else tags[-7:]}.whl"):
        old.unlink()  # of the same platform
    out = DIST / f"{name}-{number}-py3-none-{tags}.whl"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = (0o100755 if path.endswith("bin/zmlx-rewrite") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(entry, data)
    return out


def main() -> None:
    DIST.mkdir(exist_ok=True)
    for platform in sys.argv[1:] or PLATFORMS:
        if platform not in PLATFORMS:
            sys.exit(f"make_wheel: {platform} is none of {', '.join(PLATFORMS)}")
        made = wheel(platform)
        print(f"{os.path.relpath(made)}: {made.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()

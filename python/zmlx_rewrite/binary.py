"""The Go program that plans and rewrites. It needs no MLX and opens no model."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any, Sequence

FORMAT = 2  # of what `zmlx-rewrite bridge` prints


class ToolError(Exception):
    """The program is not there, or did not do what was asked."""


def program() -> str:
    """Where it is: $ZMLX_REWRITE, in this package (a wheel has it there), or on the PATH."""
    named = os.environ.get("ZMLX_REWRITE")
    if named:
        return named
    inside = pathlib.Path(__file__).parent / "bin" / "zmlx-rewrite"
    if inside.is_file():
        return str(inside)
    found = shutil.which("zmlx-rewrite")
    if not found:
        raise ToolError("there is no program zmlx-rewrite: install the wheel, or set ZMLX_REWRITE to it")
    return found


def run(args: Sequence[str], allowed: tuple[int, ...] = (0,)) -> str:
    name = os.path.abspath(program())
    try:
        # Elsewhere than in the working folder, whose rules/ would be used over the built-in ones.
        with tempfile.TemporaryDirectory(prefix="zmlx-rewrite-") as empty:
            done = subprocess.run([name, *args], capture_output=True, text=True, check=False, cwd=empty)
    except OSError as e:
        raise ToolError(f"{name}: {e}") from e
    if done.returncode not in allowed:
        raise ToolError((done.stderr or done.stdout).strip())
    return done.stdout


def bridge(path: str, calls: Sequence[tuple[int, int]], kernels_as: str, flags: Sequence[str]) -> dict[str, Any]:
    """Rewrites a recording and returns it as functions."""
    shapes = ["--calls", ",".join(f"{b}x{n}" for b, n in calls)] if calls else []
    out = json.loads(run(["bridge", path, *shapes, "--kernels-as", kernels_as, *flags]))
    if out.get("zmlx_bridge") != FORMAT:
        raise ToolError(f"{program()} writes form {out.get('zmlx_bridge')}, this package reads {FORMAT}: they belong to different versions")
    return out

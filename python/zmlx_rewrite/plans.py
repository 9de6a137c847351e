"""What patch would do, and why a rule does not apply, without doing it."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any, Sequence

import mlx.nn as nn

from . import binary
from .capture import capture
from .install import Options, report_of


def plan(model: nn.Module, profile: str | None = None, mode: str = "inference", target: str | None = None, exclude: Sequence[str] = (),
         rules: str | os.PathLike[str] | None = None, *, only: Sequence[str] = (), rows: int = 8, kernels_as: str | None = None) -> list[dict[str, Any]]:
    """What patch would do, case by case, as `zmlx-rewrite apply -o json` says it. The model
    is left as it is, and nothing is compared or timed."""
    o = Options(profile, mode, target, exclude, only, rules, rows, kernels_as=kernels_as)
    report = report_of(model, o)
    with tempfile.TemporaryDirectory(prefix="zmlx-rewrite-") as folder:
        path = str(pathlib.Path(folder) / f"{report.model}.mlxfn")
        capture(model, path, rows)
        plans: list[dict[str, Any]] = binary.bridge(path, [], report.kernels_as, o.flags(report.target))["plans"]
    return plans


def explain(model: nn.Module, rule: str, profile: str | None = None, mode: str = "inference", target: str | None = None, *,
            rules: str | os.PathLike[str] | None = None, site: str | None = None, rows: int = 3) -> str:
    """Where a rule applies in the model, and where not, why."""
    o = Options(profile or "all", mode, target, rules=rules, rows=rows)
    report = report_of(model, o)
    with tempfile.TemporaryDirectory(prefix="zmlx-rewrite-") as folder:
        path = str(pathlib.Path(folder) / f"{report.model}.mlxfn")
        capture(model, path, rows)
        more = ["--site", site] if site else []
        return binary.run(["explain", "--model", path, "--rule", rule, *more, *o.flags(report.target)]).replace(folder + "/", "")

"""patch and unpatch: rewritten steps beside a model, chosen by the shape of a call."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from typing import Any, Sequence

import mlx.core as mx
import mlx.nn as nn

from . import binary, check, host
from .capture import model_type
from .family import Family
from .options import Options
from .patched import Patched
from .record import Refused
from .report import Report

MINIMUM = (0, 32, 1)  # of MLX: older ones write no names into a recording


class PatchError(Exception):
    """With strict=True: nothing was rewritten. The report is in .report."""

    def __init__(self, report: Report):
        super().__init__(f"{report.model}: {report.reason or 'no rule applies'}")
        self.report = report


def patch_of(model: nn.Module) -> Patched | None:
    return getattr(type(model), "_zmlx_patch", None)


def patch(model: nn.Module, profile: str | None = None, mode: str = "inference", target: str | None = None, exclude: Sequence[str] = (),
          rules: str | os.PathLike[str] | None = None, *, only: Sequence[str] = (), rows: int = 8, batched: bool = True, strict: bool = False,
          kernels_as: str | None = None, measure: bool = True, accept_compiled: bool = False, seconds: float | None = 20.0) -> Report:
    """Rewrites a model of mlx-lm where rules apply, and returns the account of it.

    profile: which rules; chosen by the model's type if left out, "all" for every rule.
    mode: inference, or minimal for exact rules only.
    target: cpu, metal or cuda; this machine's if left out.
    exclude, only: names of rules.
    rules: a file or folder of rules to use over the built-in ones.
    rows: sequences of a call, of one token each, up to which it is rewritten.
    batched: also on the caches that the server and batch_generate use.
    strict: an error (PatchError) if nothing is rewritten.
    kernels_as: none, reference, source (on a GPU) or host (on a CPU): how kernels run.
    measure: time each shape against the model, and leave slower ones to it.
    accept_compiled: also where mx.compile rounds otherwise inside the model.
    seconds: when they are over, the shapes that were not looked at yet stay the model's; the
        first one is looked at in any case. None: take the time.
    """
    options = Options(profile, mode, target, exclude, only, rules, rows, batched, kernels_as, measure, accept_compiled, seconds)
    old = patch_of(model)
    if old is not None and not old.stale:
        return old.report
    if old is not None:
        unpatch(model)
    start = time.perf_counter()
    if seconds is not None:
        options.end = start + seconds
    report = report_of(model, options)
    try:
        made = _make(model, options, report)
        if made is not None:
            model.__class__ = type(type(model).__name__, (type(model),), {"__call__": _call, "_zmlx_patch": made, "__module__": type(model).__module__})
            report.state = "patched"
        else:
            report.reason = next((s.state for s in report.shapes), "no rule applies")
    except (Refused, binary.ToolError) as e:
        report.reason = str(e)
    report.seconds = time.perf_counter() - start
    if strict and report.state != "patched":
        raise PatchError(report)
    return report


def _call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return type(self)._zmlx_patch.call(self, args, kwargs)


def unpatch(model: nn.Module) -> bool:
    """Gives the model back as it was. False: it was not patched."""
    made = patch_of(model)
    if made is None:
        return False
    model.__class__ = made.original
    made.report.state = "unpatched"
    return True


def smart_patch(model: nn.Module, sample: mx.array | None = None, **options: Any) -> Report:
    """patch, with time to search: rules without which a step is faster are left out, one after
    the other. sample is a call, tokens [batch, 1], whose batch is what is timed; one sequence
    if left out."""
    batch = 1 if sample is None else sample.shape[0]
    options = {**options, "rows": batch, "batched": False, "measure": True}
    exclude = list(options.pop("exclude", ()))

    def timed(without: list[str]) -> tuple[float, Report]:
        unpatch(model)
        report = patch(model, exclude=without, **options)
        speeds = [s.speedup for s in report.shapes if s.batch == batch and s.speedup]
        return max(speeds, default=0.0), report

    best, report = timed(exclude)
    notes = []
    for rule in [r.name for r in report.rules if r.matches and r.state == "on"]:
        speed, _ = timed([*exclude, rule])
        if speed > best * 1.02:  # more than timings differ by
            notes.append(f"without {rule}: {speed:.2f} x the speed, not {best:.2f}")
            exclude.append(rule)
            best = speed
    _, report = timed(exclude)
    report.notes += notes
    return report


def report_of(model: nn.Module, o: Options) -> Report:
    device = "cpu" if mx.default_device() == mx.cpu else "metal" if mx.metal.is_available() else "cuda"
    target = o.target or device
    try:
        lm = importlib.metadata.version("mlx-lm")
    except importlib.metadata.PackageNotFoundError:
        lm = "-"
    return Report(model=model_type(model), device=device, target=target, kernels_as=o.kernels_as or ("source" if device != "cpu" else "host" if host.file() else "none"), mlx=mx.__version__,
                  mlx_lm=lm, program="", profile="")


def _make(model: nn.Module, o: Options, report: Report) -> Patched | None:
    if tuple(int(x) for x in mx.__version__.split(".")[:3] if x.isdigit()) < MINIMUM:
        raise Refused(f"MLX {mx.__version__} is older than {'.'.join(map(str, MINIMUM))}")
    if model.training:
        raise Refused("the model is in training: model.eval() first")
    for name, module in model.named_modules():
        if getattr(module, "sharding_group", None) is not None or "ToSharded" in type(module).__name__ or "ShardedTo" in type(module).__name__:
            raise Refused(f"{name}: {type(module).__name__} is one shard of several")
        if isinstance(getattr(module, "pipeline_size", None), int) and module.pipeline_size > 1:
            raise Refused(f"{name or 'the model'} is one part of a pipeline of {module.pipeline_size}")
    made = Patched(model, report)
    with contextlib.ExitStack() as closing:
        try:
            alone = Family(model, o, report, made, "alone", closing)
            alone.look(most=1)
        except (Refused, check.Differs) as e:
            raise Refused(str(e)) from e
        # Several sequences are side by side in the server's caches, and seldom in plain ones.
        if o.batched and made.looked and time.perf_counter() > o.end:
            report.notes.append(f"batches of the server were not looked at: {o.seconds:.0f} s were over")
        elif o.batched:
            try:
                Family(model, o, report, made, "batched", closing).look()
            except (Refused, check.Differs) as e:
                report.notes.append(f"batches of the server: {e}")
        try:
            alone.look()
        except (Refused, check.Differs) as e:
            report.notes.append(f"several sequences in plain caches: {e}")
    report.shapes.sort(key=lambda s: (s.caches, s.batch))
    return made if made.steps else None


__all__ = ["Options", "PatchError", "patch", "patch_of", "report_of", "smart_patch", "unpatch"]

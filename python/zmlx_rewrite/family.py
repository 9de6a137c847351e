"""Shapes of call on one kind of caches: recorded, rewritten by the program, held against the model
and timed."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import tempfile
import time
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from . import binary, check, nvrtc, timings
from .capture import caches_of, capture, original, vocabulary
from .functions import Later, Step, derive, in_float32, namespace
from .options import Options
from .patched import Patched
from .record import Recording, Refused, record
from .report import Report, Rule, Shape

COMPILED = ("source",)  # ways of running kernels where mx.compile may keep the functions; the CPU's kernels run at once


class Family:
    """The shapes of call of a model on caches of one kind, "alone" or "batched". What is not needed
    any more when all is looked at is for closing."""

    def __init__(self, model: nn.Module, o: Options, report: Report, made: Patched, kind: str, closing: contextlib.ExitStack):
        self.model, self.o, self.report, self.made, self.kind = model, o, report, made, kind
        self.last = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="zmlx-rewrite-") as folder:
            path = str(pathlib.Path(folder) / "step.mlxfn")
            self.recordings, self.whole = capture(model, path, o.rows, kind)
            self.lap("recording")
            self.out = binary.bridge(path, [(b, 1) for b in range(1, o.rows + 1)], report.kernels_as, o.flags(report.target))
        self.left = iter(self.out["steps"])
        self.first = self.recordings[min(self.recordings)]
        self.pool: list[Any] = []  # of caches, from which those of larger batches are put together
        self.lap("rewriting")
        self.tell()
        self.units = _units(self.out["module"], report)
        if self.units is not None:
            closing.callback(self.units.close)
        try:
            self.names = namespace(self.out["module"], report.target, units=self.units)
        except RuntimeError as e:  # no back end for the kernels
            raise Refused(f"the kernels cannot be made here: {e}") from e
        self.weights = dict(tree_flatten(model.parameters()))
        self.made_of: dict[str, mx.array] = {}
        self.took = 0.0  # by the last shape
        self.launches = 0  # of the first shape that was looked at, unrewritten

    def lap(self, what: str) -> None:
        """Says what the time since the last call was for."""
        now = time.perf_counter()
        self.report.phases[what] = self.report.phases.get(what, 0) + now - self.last
        self.last = now

    def tell(self) -> None:
        """Puts what the program said into the report."""
        out, report = self.out, self.report
        used = {e.name_of for e in self.first.events if e.kind == "module"}
        report.kept |= {name: why for name, why in self.first.whole.items() if name in used}
        report.program, report.profile = out["version"], out["profile"]
        report.notes += [n for n in out["notes"] if n not in report.notes]
        if self.kind == "alone":
            report.rules = _rules(out["plans"])

    def weight(self, name: str) -> mx.array:
        """A parameter of the model, or one that rules make of others."""
        if name in self.weights:
            return self.weights[name]
        if name not in self.made_of:
            self.made_of[name] = derive(self.weights, self.out["weights"], name)
            mx.eval(self.made_of[name])
        return self.made_of[name]

    def look(self, most: int | None = None) -> None:
        """Looks at shapes that there is time for, at most so many further ones, and keeps steps that hold
        and are faster."""
        self.last = time.perf_counter()  # another family may have been looked at
        for written in itertools.islice(self.left, most):
            shape = Shape(written["batch"], 1, self.kind, "", written["launches"]["before"], written["launches"]["after"])
            self.report.shapes.append(shape)
            shape.state = self.skipped(written, shape)
            if shape.state:
                shape.launches_after = 0
                continue
            self.made.looked += 1
            self.launches = self.launches or shape.launches_before
            begin = time.perf_counter()
            step = self.checked(written, shape)
            if step is not None:
                self.timed(step, shape)
            self.took = time.perf_counter() - begin

    def skipped(self, written: dict[str, Any], shape: Shape) -> str:
        """Why a shape is not looked at, or ""."""
        if written["refused"] or not written["rewritten"]:
            return written["refused"] or "no rule applies"
        if not self.made.looked or self.o.seconds is None:
            return ""
        if time.perf_counter() + 1.5 * self.took > self.o.end:  # shapes are looked at by their size, and a host is slow at times
            return f"not looked at: {self.o.seconds:.0f} s would not suffice"
        if self.report.device != "cuda":
            return ""
        if self.launches and shape.launches_before != self.launches:
            return "not looked at: MLX does it by other operations, which it compiles for up to a minute first (seconds=None takes the time)"
        if self.to_compile(written["tiles"]):
            return "not looked at: MLX compiles its products for up to a minute first (seconds=None takes the time)"
        return ""

    def to_compile(self, tiles: list[str]) -> list[str]:
        """Those of MLX's modules that it has not compiled, as far as is seen: for a shape before, or in its folder."""
        folder = nvrtc.mlx_folder()
        return [t for t in tiles if t not in self.made.tiles and not (folder / f"{t}.ptx").is_file()]

    def checked(self, written: dict[str, Any], shape: Shape) -> Step | None:
        """The rewritten step, if it is the model; else shape.state says why it is not."""
        recording = self.recorded(shape.batch)
        if [e.slots() for e in recording.events] != [e.slots() for e in self.first.events]:
            shape.state = "it does other things with this batch"
            return None
        self.made.tiles.update(written["tiles"])
        compiled = self.report.kernels_as in COMPILED
        try:
            while True:
                try:
                    return self.compared(recording, written, shape, compiled)
                except (check.Otherwise, RuntimeError, ValueError, TypeError) as e:
                    if self.units is not None and not isinstance(e, check.Otherwise):
                        self.report.notes.append(f"MLX compiles the kernels: {_first_line(e)}")
                        self.units.forget()
                        self.units, self.names = None, namespace(self.out["module"], self.report.target)
                    elif compiled:
                        compiled = False  # mx.compile may have joined operations, and rounded otherwise
                    else:
                        raise
                    self.lap("compiled in vain")
        except (check.Differs, Later) as e:
            shape.state = str(e)
        except (RuntimeError, ValueError, TypeError) as e:  # a kernel that does not compile, or launch
            shape.state = f"it does not run: {_first_line(e)}"
        self.lap("checked in vain")
        return None

    def recorded(self, batch: int) -> Recording:
        recording = self.recordings.get(batch)
        if recording is None:
            tokens = mx.random.randint(0, vocabulary(self.model), (batch, 1), key=mx.random.key(batch))
            recording = self.recordings[batch] = record(self.model, tokens, caches_of(self.model, self.kind, batch, self.pool), self.whole)
        self.lap("recording")
        return recording

    def compared(self, recording: Recording, written: dict[str, Any], shape: Shape, compiled: bool) -> Step:
        """The rewritten step, held against the model."""
        module, plan = self.out["module"], self.out["plans"][written["plan"]]
        if self.units is not None:
            self.units.prepare([module["functions"][c["function"]]["source"] for c in written["rewritten"]["calls"]])
            self.lap("compiling")
        before = Step(recording, written["before"], self.names, module, self.weight)
        after = Step(recording, written["rewritten"], self.names, module, self.weight, compiled=compiled)
        self.lap("weights")  # that rules make of others
        exact = lambda w: Step(recording, written["before"], in_float32(module, self.report.target), module, w, True)  # noqa: E731
        shape.numerics = check.same(self.model, recording, before, after, plan["numerics"], self.weights, exact, self.o.accept_compiled, self.lap)
        return after

    def timed(self, step: Step, shape: Shape) -> None:
        """Has the step take the shape's calls, if it is faster."""
        recording = self.recordings[shape.batch]
        if self.o.measure:
            shape.speedup = self.speedup(step, recording)
            if shape.speedup < 1:
                shape.state = "not faster here"
                return
        shape.state = "rewritten"
        self.made.steps[(shape.batch, 1, recording.tokens.dtype, *recording.kinds)] = step
        for other in (mx.int32, mx.uint32, mx.int64):
            self.made.steps.setdefault((shape.batch, 1, other, *recording.kinds), step)

    def speedup(self, step: Step, recording: Recording) -> float:
        """By what a step is faster than the model's; timed once on each machine."""
        how = ["compiled"] * step.compiled + ["ahead"] * (self.units is not None)
        name = timings.key([step.source, *step.texts, *how], self.weights, self.report.program, self.report.mlx_lm)
        known = timings.find(name)
        if known is None:
            known = check.speedup(original(self.model), self.model, recording, step)
            timings.keep(name, known)
            self.lap("timing")
        return known


def _units(module: dict[str, Any], report: Report) -> nvrtc.Units | None:
    """The kernels, compiled without MLX, where that is possible."""
    if report.target != "cuda" or not module["kernels"] or not all(k.get("unit") for k in module["kernels"]):
        return None
    try:
        return nvrtc.Units(module["kernels"])
    except nvrtc.Unavailable as e:
        report.notes.append(f"MLX compiles the kernels: {e}")
        return None


def _first_line(e: Exception) -> str:
    return f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else ''}"


def _rules(plans: list[dict[str, Any]]) -> list[Rule]:
    rules: dict[str, Rule] = {}
    for plan in plans:
        for r in plan["rules"]:
            near = r["near_misses"][0] if r["near_misses"] else None
            text = f"{near['scope'] or 'the graph'}: {near['matched']} of {near['of']} ops, expected {near['expected']}, observed {near['observed']}" if near else ""
            new = Rule(r["name"], r["matches"], r["numerics"], [k for k in r["kernel"].split(", ") if k], r.get("off") or "on", [s["scope"] for s in r["sites"]], text)
            if r["name"] not in rules or new.matches > rules[r["name"]].matches:
                rules[r["name"]] = new
    return list(rules.values())


__all__ = ["Family"]

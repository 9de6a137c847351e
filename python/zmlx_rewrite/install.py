"""patch and unpatch: rewritten steps beside a model, chosen by the shape of a call."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import itertools
import operator
import os
import pathlib
import tempfile
import time
import weakref
from typing import Any, Sequence

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from . import binary, check, host, nvrtc, timings
from .capture import caches_of, capture, model_type, original, vocabulary
from .functions import Later, Step, derive, in_float32, namespace
from .record import Recording, Refused, names_of, record
from .report import Report, Rule, Shape

MINIMUM = (0, 32, 1)  # of MLX: older ones write no names into a recording
COMPILED = ("source",)  # ways of running kernels where mx.compile may keep the functions; the CPU's kernels run at once


class PatchError(Exception):
    """With strict=True: nothing was rewritten. The report is in .report."""

    def __init__(self, report: Report):
        super().__init__(f"{report.model}: {report.reason or 'no rule applies'}")
        self.report = report


class _Patch:
    """What a patched model's class knows."""

    def __init__(self, model: nn.Module, report: Report):
        self.original = type(model)
        self.model = weakref.ref(model)
        self.report = report
        self.steps: dict[tuple[Any, ...], Step] = {}
        self.stale = ""
        self.looked = 0  # shapes that were looked at
        self.edges = _edges(model)
        self.look()

    def look(self) -> None:
        """Keeps what all holders hold now, so that a change is seen by going over their live views."""
        holders = {id(holder): holder for holder, _, _ in self.edges}.values()
        # The last one tells where they end.
        self.now = [h.values() if isinstance(h, dict) else h for h in holders] + [[self]]
        self.before = list(itertools.chain.from_iterable(self.now))

    def fresh(self, model: nn.Module) -> str:
        """Why the model is another one than was recorded, or "" ."""
        if all(map(operator.is_, itertools.chain.from_iterable(self.now), self.before)):
            return ""
        for holder, key, held in self.edges:
            now = holder.get(key) if isinstance(holder, dict) else holder[key] if key < len(holder) else None
            if now is not held:
                return f"{names_of(model).get(id(holder), 'a list of modules') or 'the model'}: {key} was replaced"
        self.look()  # something was added that is not looked at: a norm that keeps what it made of its weight
        return ""

    def call(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        why = self.stale
        if not why:
            tokens = args[0] if args else kwargs.get("inputs")
            cache = kwargs.get("cache", args[1] if len(args) > 1 else None)
            plain = len(args) <= 2 and all(k in ("cache", "inputs") or v is None for k, v in kwargs.items())
            if not plain or not isinstance(cache, list) or not isinstance(tokens, mx.array) or tokens.ndim != 2:
                why = "another kind of call"
            elif model is not self.model():
                why = "a copy of the patched model"
            elif model.training:
                why = "training"
            else:
                step = self.steps.get((*tokens.shape, tokens.dtype, *map(type, cache)))
                if step is None:
                    why = "another shape"
                elif changed := self.fresh(model):
                    self.stale = why = f"stale: {changed}"
                    self.report.state = why
                else:
                    try:
                        got = step.run(tokens, cache, step.prepare(cache))
                        self.count("rewritten")
                        return got
                    except Later as e:
                        why = str(e)
        self.count(why)
        return self.original.__call__(model, *args, **kwargs)

    def count(self, what: str) -> None:
        self.report.calls[what] = self.report.calls.get(what, 0) + 1


def _edges(model: nn.Module) -> list[tuple[Any, Any, Any]]:
    """All arrays, modules, dictionaries and lists of the model: what holds each, by which key, and itself."""
    edges: list[tuple[Any, Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):  # a module is a dictionary
            if isinstance(value, (mx.array, dict, list)):
                edges.append((node, key, value))
                if not isinstance(value, mx.array):
                    walk(value)

    walk(model)
    return edges


def patch_of(model: nn.Module) -> _Patch | None:
    return getattr(type(model), "_zmlx_patch", None)


@dataclasses.dataclass
class Options:
    """What a patch is made with."""

    profile: str | None = None
    mode: str = "inference"
    target: str | None = None
    exclude: Sequence[str] = ()
    only: Sequence[str] = ()
    rules: str | os.PathLike[str] | None = None
    rows: int = 8
    batched: bool = True
    kernels_as: str | None = None
    measure: bool = True
    accept_compiled: bool = False
    seconds: float | None = 20.0
    end: float = float("inf")

    def flags(self, target: str) -> list[str]:
        flags = ["--preset", self.mode, "--target", target]
        if self.profile:
            flags += ["--profile", self.profile]
        for name in self.exclude:
            flags += ["--exclude", name]
        for name in self.only:
            flags += ["--only", name]
        if self.rules:
            flags += ["--rules", os.path.abspath(self.rules)]
        return flags


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


def _make(model: nn.Module, o: Options, report: Report) -> _Patch | None:
    if tuple(int(x) for x in mx.__version__.split(".")[:3] if x.isdigit()) < MINIMUM:
        raise Refused(f"MLX {mx.__version__} is older than {'.'.join(map(str, MINIMUM))}")
    if model.training:
        raise Refused("the model is in training: model.eval() first")
    for name, module in model.named_modules():
        if getattr(module, "sharding_group", None) is not None or "ToSharded" in type(module).__name__ or "ShardedTo" in type(module).__name__:
            raise Refused(f"{name}: {type(module).__name__} is one shard of several")
        if isinstance(getattr(module, "pipeline_size", None), int) and module.pipeline_size > 1:
            raise Refused(f"{name or 'the model'} is one part of a pipeline of {module.pipeline_size}")
    made = _Patch(model, report)
    with contextlib.ExitStack() as closing:
        for kind in ("alone", "batched") if o.batched else ("alone",):
            if made.looked and time.perf_counter() > o.end:
                report.notes.append(f"batches of the server were not looked at: {o.seconds:.0f} s were over")
                break
            try:
                _family(model, o, report, made, kind, closing)
            except (Refused, check.Differs) as e:
                if kind == "alone":
                    raise Refused(str(e)) from e
                report.notes.append(f"batches of the server: {e}")
    return made if made.steps else None


def _family(model: nn.Module, o: Options, report: Report, made: _Patch, kind: str, closing: contextlib.ExitStack) -> None:
    """Records the shapes of one kind of caches, has them rewritten, and keeps what holds. What is
    not needed any more when all is looked at is for closing."""
    last = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal last
        now = time.perf_counter()
        report.phases[what] = report.phases.get(what, 0) + now - last
        last = now

    with tempfile.TemporaryDirectory(prefix="zmlx-rewrite-") as folder:
        path = str(pathlib.Path(folder) / "step.mlxfn")
        recordings, whole = capture(model, path, o.rows, kind)
        lap("recording")
        out = binary.bridge(path, [(b, 1) for b in range(1, o.rows + 1)], report.kernels_as, o.flags(report.target))
    batches = sorted(recordings)
    pool: list[Any] = []
    lap("rewriting")
    used = {e.name_of for e in recordings[batches[0]].events if e.kind == "module"}
    report.kept |= {name: why for name, why in recordings[batches[0]].whole.items() if name in used}
    report.program, report.profile = out["version"], out["profile"]
    report.notes += [n for n in out["notes"] if n not in report.notes]
    if kind == "alone":
        report.rules = _rules(out["plans"])
    units = _units(out["module"], report)
    if units is not None:
        closing.callback(units.close)
    try:
        names = namespace(out["module"], report.target, units=units)
    except RuntimeError as e:  # no back end for the kernels
        raise Refused(f"the kernels cannot be made here: {e}") from e
    took = 0.0  # by the last shape
    weights = dict(tree_flatten(model.parameters()))
    made_of: dict[str, mx.array] = {}

    def weight(name: str) -> mx.array:
        if name in weights:
            return weights[name]
        if name not in made_of:
            made_of[name] = derive(weights, out["weights"], name)
            mx.eval(made_of[name])
        return made_of[name]

    for written in out["steps"]:
        b = written["batch"]
        shape = Shape(b, 1, kind, "", written["launches"]["before"], written["launches"]["after"])
        report.shapes.append(shape)
        if written["refused"] or not written["rewritten"]:
            shape.state, shape.launches_after = written["refused"] or "no rule applies", 0
            continue
        begin = time.perf_counter()
        if made.looked and begin + took > o.end:
            shape.state, shape.launches_after = f"not looked at: {o.seconds:.0f} s were over", 0
            continue
        if made.looked and report.device == "cuda" and o.seconds is not None and shape.launches_before != report.shapes[0].launches_before:
            shape.state, shape.launches_after = "not looked at: MLX does it by other operations, which it compiles for up to a minute first (seconds=None takes the time)", 0
            continue
        made.looked += 1
        recording = recordings.get(b)
        if recording is None:
            tokens = mx.random.randint(0, vocabulary(model), (b, 1), key=mx.random.key(b))
            recording = record(model, tokens, caches_of(model, kind, b, pool), whole)
        if [e.slots() for e in recording.events] != [e.slots() for e in recordings[batches[0]].events]:
            shape.state = "it does other things with this batch"
            continue
        lap("recording")
        plan = out["plans"][written["plan"]]

        def checked(compiled: bool) -> Step:
            before = Step(recording, written["before"], names, out["module"], weight)
            step = Step(recording, written["rewritten"], names, out["module"], weight, compiled=compiled)
            lap("weights")  # that rules make of others
            exact = lambda w: Step(recording, written["before"], in_float32(out["module"], report.target), out["module"], w, True)  # noqa: E731
            shape.numerics = check.same(model, recording, before, step, plan["numerics"], weights, exact, o.accept_compiled, lap)
            return step

        compiled = report.kernels_as in COMPILED
        try:
            while True:
                try:
                    after = checked(compiled)
                    break
                except (check.Otherwise, RuntimeError, ValueError, TypeError) as e:
                    if units is not None and not isinstance(e, check.Otherwise):
                        report.notes.append(f"MLX compiles the kernels: {_first_line(e)}")
                        units, names = None, namespace(out["module"], report.target)
                    elif compiled:
                        compiled = False  # mx.compile may have joined operations, and rounded otherwise
                    else:
                        raise
                    lap("compiled in vain")
        except (check.Differs, Later) as e:
            shape.state = str(e)
        except (RuntimeError, ValueError, TypeError) as e:  # a kernel that does not compile, or launch
            shape.state = f"it does not run: {_first_line(e)}"
        took = time.perf_counter() - begin
        if shape.state:
            lap("checked in vain")
            continue
        if o.measure:
            name = timings.key([after.source, *after.texts, *["compiled"] * after.compiled, *["ahead"] * (units is not None)], weights, report.program, report.mlx_lm)
            shape.speedup = timings.find(name)
            if shape.speedup is None:
                shape.speedup = check.speedup(original(model), model, recording, after)
                timings.keep(name, shape.speedup)
                lap("timing")
                took = time.perf_counter() - begin
            if shape.speedup < 1:
                shape.state = "not faster here"
                continue
        shape.state = "rewritten"
        made.steps[(b, 1, recording.tokens.dtype, *recording.kinds)] = after
        for other in (mx.int32, mx.uint32, mx.int64):
            made.steps.setdefault((b, 1, other, *recording.kinds), after)


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


__all__ = ["Options", "PatchError", "patch", "patch_of", "report_of", "smart_patch", "unpatch"]

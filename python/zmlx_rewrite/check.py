"""Steps compared with the model that they stand for, and timed against it."""

from __future__ import annotations

import copy
import time
from typing import Any, Callable

import mlx.core as mx
import mlx.nn as nn

from .capture import original
from .functions import Step
from .record import Recording

STEPS = 3  # one after the other, so that what is written into caches is read again
MANY = 16  # where errors are compared: of a few steps they differ by more than a fault would make of them
FLOAT32 = 1e-5  # of the logits: what another order of float32 sums may do to them


class Differs(Exception):
    """The step is not the model."""


class Otherwise(Differs):
    """The rewritten step is not, though what was recorded is."""


def arrays(caches: list[Any]) -> list[mx.array]:
    """All arrays that caches hold."""
    found: list[mx.array] = []

    def walk(x: Any) -> None:
        if isinstance(x, mx.array):
            found.append(x)
        elif isinstance(x, (list, tuple)):
            for v in x:
                walk(v)
        elif isinstance(x, dict):
            for v in x.values():
                walk(v)

    for c in caches:
        walk(_state(c))
    return found


def _state(c: Any) -> Any:
    if hasattr(c, "caches"):
        return [_state(x) for x in c.caches]
    return c.state


def _run(do: Callable[[mx.array, list[Any]], mx.array], recording: Recording, convert: Any = None, steps: int = STEPS) -> list[mx.array]:
    """The logits of several steps and what the caches hold behind them."""
    caches = copy.deepcopy(recording.caches)
    if convert is not None:
        convert(caches)
    out = []
    for i in range(steps):
        tokens = recording.tokens if i == 0 else (recording.tokens + i) % 2
        out.append(do(tokens, caches))
        mx.eval(out[-1], arrays(caches))
    return out + arrays(caches)


def _stepper(step: Step) -> Callable[[mx.array, list[Any]], mx.array]:
    return lambda tokens, caches: step.run(tokens, caches, step.prepare(caches))


def equal(a: list[mx.array], b: list[mx.array]) -> bool:
    return len(a) == len(b) and all(bits(x, y) for x, y in zip(a, b))


def bits(a: mx.array, b: mx.array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.size == 0:
        return True
    x, y = (mx.contiguous(v).reshape(-1).view(mx.uint8) for v in (a, b))
    return bool(mx.array_equal(x, y))


def rms(x: mx.array) -> float:
    return float(mx.sqrt(mx.mean(mx.square(x.astype(mx.float32)))))


def same(model: nn.Module, recording: Recording, before: Step, after: Step, numerics: str, weights: dict[str, mx.array],
         make: Callable[[Callable[[str], mx.array]], Step], accept_compiled: bool, lap: Callable[[str], None] = lambda what: None) -> str:
    """What the rewritten step is to the model, or Differs. lap is told what was just done.

    The unrewritten functions have to be the model, bit for bit, logits and caches. The
    rewritten ones, too, if all their rules are exact. Else their error is judged: in
    float32 by its size, in half types by the error that the model itself has against
    float32.
    """
    live = lambda tokens, caches: original(model)(model, tokens, cache=caches)  # noqa: E731
    want = _run(live, recording)
    lap("the model")
    plain = _run(_stepper(before), recording)
    lap("as recorded")
    note = ""
    if not equal(plain, want):
        mx.disable_compile()
        try:
            uncompiled = _run(live, recording)
        finally:
            mx.enable_compile()
        lap("the model")
        if not equal(plain, uncompiled):
            raise Differs("the recorded step is not the model, bit for bit")
        if not accept_compiled:
            raise Differs("mx.compile rounds otherwise inside the model (accept_compiled=True takes it)")
        want, note = uncompiled, " (without mx.compile)"
    got = _run(_stepper(after), recording)
    lap("rewritten")
    if equal(got, want):
        return "bit-equal" + note
    if numerics == "exact":
        raise Otherwise("its rules are exact, and the bits are others")
    logits, mine = want[:STEPS], got[:STEPS]
    numbers = lambda logits: all(bool(mx.all(mx.isfinite(x))) for x in logits)  # noqa: E731
    if not numbers(mine):
        raise Otherwise("it gives what is no number")
    if logits[0].dtype == mx.float32:
        size = max(rms(a - b) / max(rms(b), 1e-30) for a, b in zip(mine, logits))
        if size > FLOAT32:
            raise Otherwise(f"it differs by {size:.1e} of the logits in float32")
        return f"{size:.0e} of the logits{note}"
    exact = make(lambda name: _float32(weights[name]))
    truth = _run(_stepper(exact), recording, _convert, MANY)[:MANY]
    lap("in float32")

    def error(step: Step) -> float:
        logits = _run(_stepper(step), recording, steps=MANY)[:MANY]
        if not numbers(logits):
            raise Otherwise("it gives what is no number")
        return rms(mx.stack([a.astype(mx.float32) - t for a, t in zip(logits, truth)]))

    theirs, ours = error(before), error(after)
    lap("errors")
    if not ours <= 2 * theirs:
        raise Otherwise(f"its error against float32 is {ours / max(theirs, 1e-30):.1f} times the model's")
    return f"{ours / max(theirs, 1e-30):.2f} x the model's own error{note}"


def _float32(x: mx.array) -> mx.array:
    return x.astype(mx.float32) if mx.issubdtype(x.dtype, mx.floating) else x


def _convert(caches: list[Any]) -> None:
    """Makes caches of half types ones of float32."""
    for c in caches:
        if hasattr(c, "caches"):
            _convert(list(c.caches))
            continue
        for key, value in list(vars(c).items()):
            if isinstance(value, mx.array):
                setattr(c, key, _float32(value))
            elif isinstance(value, list):
                setattr(c, key, [_float32(v) if isinstance(v, mx.array) else v for v in value])


def speedup(live: Any, model: nn.Module, recording: Recording, step: Step, seconds: float = 1.0) -> float:
    """The model's time for a step by the rewritten one's, in turns. Of each the shortest is
    taken, which other programs on the machine have prolonged least."""
    ways = [lambda t, c: live(model, t, cache=c), _stepper(step)]
    caches = [copy.deepcopy(recording.caches) for _ in ways]
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 5 or (time.perf_counter() < end and rounds < 60):
        for i in (0, 1) if rounds % 2 else (1, 0):
            start = time.perf_counter()
            mx.eval(ways[i](recording.tokens, caches[i]), arrays(caches[i]))
            took = time.perf_counter() - start
            if rounds:  # the first warms up
                best[i] = min(best[i], took)
        rounds += 1
    return best[0] / best[1]


__all__ = ["Differs", "same", "speedup"]

"""The table of all architectures of mlx-lm: python python/tests/table.py [NAME...]

Each is built with a tiny configuration and random weights, patched with all rules, compared
with an unpatched twin, and unpatched. On a CPU, where Python launches no kernels, they run as
their reference graphs, so that every rule is put to the test.

  rewritten   the functions took the call, with this largest error of its logits
  prefill     five tokens at once, which no function takes: the model's own bits
  unpatched   bit-equal again

It ends with an error if a patched model is not its twin, or if fewer than --least were
rewritten.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import signal
import sys
from typing import Any

import mlx.core as mx

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import zmlx_rewrite
from tests import architectures
from zmlx_rewrite.check import arrays, bits, rms

BATCHES = (1, 2, 3, 4)
LIMIT = 2e-5  # of float32 logits, over eight steps


class Wrong(Exception):
    """A patched model is not its twin."""


def steps(model: Any, batch: int, count: int = 8) -> tuple[mx.array, list[mx.array], list[mx.array]]:
    """Logits of a prompt, of tokens behind it, and what the caches hold."""
    from mlx_lm.models.cache import make_prompt_cache

    caches = make_prompt_cache(model)
    prompt = mx.random.randint(0, 100, (batch, 5), key=mx.random.key(batch))
    first = model(prompt, cache=caches)
    mx.eval(first, arrays(caches))
    out = []
    for i in range(count):
        out.append(model(mx.random.randint(0, 100, (batch, 1), key=mx.random.key(100 + i)), cache=caches))
        mx.eval(out[-1], arrays(caches))
    return first, out, arrays(caches)


def row(name: str, dtype: mx.Dtype, quantized: bool, kernels_as: str) -> tuple[str, str]:
    """One architecture: what became of it, and the text of its row."""
    model, twin = (architectures.build(name, dtype, quantized) for _ in range(2))
    if model is None or twin is None:
        return "no model", ""
    want = {b: steps(twin, b) for b in BATCHES}
    report = zmlx_rewrite.patch(model, profile="all", kernels_as=kernels_as, measure=False, rows=max(BATCHES), batched=False, accept_compiled=True, seconds=None)
    worst = 0.0
    for b in BATCHES:
        prompt, logits, held = steps(model, b)
        if not bits(prompt, want[b][0]):
            raise Wrong(f"batch {b}: the prompt's logits are others")
        for x, y in zip(logits, want[b][1]):
            worst = max(worst, rms(x.astype(mx.float32) - y.astype(mx.float32)) / max(rms(y), 1e-30))
    calls = report.calls.get("rewritten", 0)
    zmlx_rewrite.unpatch(model)
    for b in BATCHES:
        again = steps(model, b)
        if not all(bits(x, y) for x, y in zip([again[0], *again[1], *again[2]], [want[b][0], *want[b][1], *want[b][2]])):
            raise Wrong(f"batch {b}: unpatched, it is another model")
    if report.state == "unpatched" and not calls:
        raise Wrong("patched, and no call was rewritten")
    if dtype == mx.float32 and worst > LIMIT:
        raise Wrong(f"its logits differ by {worst:.1e}")
    if not calls:
        if worst:
            raise Wrong("not patched, and its logits are others")
        why = report.reason or next((s.state for s in report.shapes), "no rule applies")
        return "as it was", f"{name:<20} as it was   {why[:110]}"
    best = report.rewritten[0]
    matches = collections.Counter({r.name.partition(".")[2]: r.matches for r in report.rules if r.matches and r.state == "on"})
    rules = ", ".join(f"{n} {k}" for n, k in matches.most_common(5))
    error = "bit-equal" if not worst else f"{worst:.0e}"
    return "rewritten", f"{name:<20} rewritten   {len(report.rewritten)}/{len(BATCHES)} batches, {best.launches_before:>3} → {best.launches_after:<3} {error:<10} {len(report.kept)} stay Python; {rules}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; all if left out")
    parser.add_argument("--quantized", action="store_true", help="in 4 bits, groups of 32")
    parser.add_argument("--kernels-as", default="reference", help="reference, or host: the library of CPU kernels")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--least", type=int, default=0, help="how many have to be rewritten")
    args = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()

    def late(*_: Any) -> None:
        raise TimeoutError("takes more than two minutes")

    signal.signal(signal.SIGALRM, late)
    for name in args.names or architectures.modules():
        signal.alarm(120)
        try:
            what, text = row(name, getattr(mx, args.dtype), args.quantized, args.kernels_as)
        except Wrong as e:
            what, text = "WRONG", f"{name:<20} WRONG       {e}"
        except (Exception, SystemExit) as e:  # the configuration is not enough for it, or MLX has not what it needs here
            if args.names:
                raise
            what, text = "not built", f"{name:<20} not built   {type(e).__name__}: {str(e).splitlines()[0][:100] if str(e) else ''}"
        finally:
            signal.alarm(0)
        counts[what] += 1
        if text:
            print(text, flush=True)
    print(", ".join(f"{n} {what}" for what, n in counts.most_common() if what != "no model"))
    return 1 if counts["WRONG"] or counts["rewritten"] < args.least else 0


if __name__ == "__main__":
    sys.exit(main())

"""A patched model beside the unpatched one, with mlx-lm doing the generating."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any, Iterable, Sequence

import mlx.core as mx
import mlx.nn as nn

from .install import patch_of

PROMPTS = (
    "It was", "Once upon a time", "The capital of France is", "def main():", "1, 2, 3, 4,", "Dear Sir or Madam,", "In the beginning", "To make bread, first",
    "The three laws of", "Q: Why is the sky blue? A:",
)


@dataclasses.dataclass
class Validation:
    """The tokens of both, prompt by prompt."""

    prompts: int = 0
    tokens: int = 0
    rewritten: int = 0  # calls that functions took
    parted: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.parted and self.rewritten > 0

    def __str__(self) -> str:
        if not self.rewritten:
            return "no call was rewritten: there is nothing to validate"
        lines = [f"{self.prompts - len(self.parted)} of {self.prompts} prompts have the same tokens, {self.tokens} in all; {self.rewritten} calls were rewritten"]
        for p in self.parted:
            lines.append(f"  {p['prompt']!r} parts at token {p['at']}: margin of the unpatched model {p['margin']:.2e}, largest difference of logits {p['difference']:.2e}")
        return "\n".join(lines)


class _Unpatched:
    """The model as it was, while this lasts."""

    def __init__(self, model: nn.Module):
        self.model, self.cls, self.made = model, type(model), patch_of(model)

    def __enter__(self) -> None:
        if self.made is not None:
            self.model.__class__ = self.made.original

    def __exit__(self, *_: Any) -> None:
        self.model.__class__ = self.cls


def generate(model: nn.Module, prompt: Sequence[int], count: int, eos: Iterable[int] = ()) -> tuple[list[int], list[mx.array]]:
    """Greedy tokens of mlx_lm's own loop, and the log-probabilities that chose them."""
    from mlx_lm.generate import generate_step

    tokens, logprobs, ends = [], [], set(eos)
    for token, probs in generate_step(mx.array(list(prompt)), model, max_tokens=count):
        tokens.append(int(token))
        logprobs.append(probs)
        if tokens[-1] in ends:
            break
    return tokens, logprobs


def validate(model: nn.Module, tokenizer: Any = None, prompts: Sequence[Any] = PROMPTS, max_tokens: int = 256) -> Validation:
    """Generates with the patched model and with the unpatched one. A prompt is a text, or a
    list of tokens; then no tokenizer is needed."""
    result = Validation()
    made = patch_of(model)
    before = made.report.calls.get("rewritten", 0) if made else 0
    eos = getattr(tokenizer, "eos_token_ids", ())
    for prompt in prompts:
        ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        with _Unpatched(model):
            want, theirs = generate(model, ids, max_tokens, eos)
        got, ours = generate(model, ids, max_tokens, eos)
        result.prompts += 1
        result.tokens += len(want)
        if got != want:
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)) - 1)
            best = mx.sort(theirs[at].astype(mx.float32).reshape(-1))[-2:]
            result.parted.append({"prompt": prompt, "at": at, "margin": float(best[1] - best[0]),
                                  "difference": float(mx.abs(ours[at].astype(mx.float32) - theirs[at].astype(mx.float32)).max())})
    result.rewritten = (made.report.calls.get("rewritten", 0) if made else 0) - before
    return result


@dataclasses.dataclass
class Speed:
    """Tokens a second of both, in turns."""

    prompt: tuple[float, float]  # unpatched, patched
    generation: tuple[float, float]
    speedups: list[float]  # of the generation, pair by pair

    @property
    def speedup(self) -> float:
        return statistics.median(self.speedups)

    def __str__(self) -> str:
        low, high = min(self.speedups), max(self.speedups)
        return (f"prompt      {self.prompt[0]:9.1f} → {self.prompt[1]:9.1f} tok/s\n"
                f"generation  {self.generation[0]:9.1f} → {self.generation[1]:9.1f} tok/s, {self.speedup:.2f} x ({low:.2f} to {high:.2f} in {len(self.speedups)} pairs)")


def benchmark(model: nn.Module, vocabulary: int, prompt_tokens: int = 512, generation_tokens: int = 128, pairs: int = 5, batch: int = 1) -> Speed:
    """As mlx_lm.benchmark measures: random tokens, and nothing ends a text."""
    from mlx_lm.models.cache import make_prompt_cache

    def once() -> tuple[float, float]:
        prompt = mx.random.randint(0, vocabulary, (batch, prompt_tokens), key=mx.random.key(0))
        caches = make_prompt_cache(model)
        start = time.perf_counter()
        y = mx.argmax(model(prompt, cache=caches)[:, -1:], axis=-1)
        mx.eval(y)
        middle = time.perf_counter()
        for _ in range(generation_tokens):  # the next step is under way before a token is read
            following = mx.argmax(model(y, cache=caches)[:, -1:], axis=-1)
            mx.async_eval(following)
            y.tolist()
            y = following
        mx.eval(y)
        end = time.perf_counter()
        return batch * prompt_tokens / (middle - start), batch * generation_tokens / (end - middle)

    stock: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    for i in range(pairs + 1):
        for which in ((stock, ours) if i % 2 else (ours, stock)):
            if which is stock:
                with _Unpatched(model):
                    figures = once()
            else:
                figures = once()
            if i:  # the first warms up
                which.append(figures)
    middle = lambda list_, k: statistics.median(x[k] for x in list_)  # noqa: E731
    return Speed((middle(stock, 0), middle(ours, 0)), (middle(stock, 1), middle(ours, 1)), [b[1] / a[1] for a, b in zip(stock, ours)])

"""What patch did: for people as text, for programs as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass
class Rule:
    """One rule, in the shape of call where it applied most."""

    name: str
    matches: int
    numerics: str
    kernels: list[str]
    state: str  # "on", or why it is not
    sites: list[str]
    nearest: str  # where it nearly applied, and what was missing


@dataclasses.dataclass
class Shape:
    """One shape of call: batch x tokens, on one kind of caches."""

    batch: int
    tokens: int
    caches: str
    state: str  # "rewritten", or why calls like it go to the model
    launches_before: int = 0  # between the caches: attention and caches are the model's own
    launches_after: int = 0
    numerics: str = ""  # "bit-equal", or the difference
    speedup: float | None = None


@dataclasses.dataclass
class Report:
    """The account of one patch. matches is 0 if nothing was rewritten."""

    model: str
    device: str
    target: str
    kernels_as: str
    mlx: str
    mlx_lm: str
    program: str
    profile: str
    state: str = "unchanged"  # patched, unchanged, unpatched, or stale and why
    reason: str = ""  # why it is unchanged
    kept: dict[str, str] = dataclasses.field(default_factory=dict)  # modules that stay Python, and why
    notes: list[str] = dataclasses.field(default_factory=list)
    rules: list[Rule] = dataclasses.field(default_factory=list)
    shapes: list[Shape] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    phases: dict[str, float] = dataclasses.field(default_factory=dict)  # and what took them
    calls: dict[str, int] = dataclasses.field(default_factory=dict)  # what became of the calls since: "rewritten", or why not

    @property
    def matches(self) -> int:
        return sum(r.matches for r in self.rules)

    @property
    def rewritten(self) -> list[Shape]:
        return [s for s in self.shapes if s.state == "rewritten"]

    def to_dict(self) -> dict[str, Any]:
        return {"version": 1, **dataclasses.asdict(self), "matches": self.matches}

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.state}{': ' + self.reason if self.reason else ''}"
                 f" · profile {self.profile or '-'} · {self.device} · MLX {self.mlx}, mlx-lm {self.mlx_lm} · {self.seconds:.1f} s"]
        if self.rules:
            width = max(len(r.name) for r in self.rules)
            lines.append(f"  {'rule':<{width}}  matches  numerics   kernels")
            for r in self.rules:
                lines.append(f"  {r.name:<{width}}  {r.matches:>7}  {r.numerics:<9}  {', '.join(r.kernels) or '-'}")
                if r.state != "on":
                    lines.append(f"  {'':<{width}}  off: {r.state}")
                elif not r.matches and r.nearest:
                    lines.append(f"  {'':<{width}}  nearest: {r.nearest}")
        if self.shapes:
            lines.append("  call    caches            launches   numerics                          state")
            for s in self.shapes:
                speed = f", {s.speedup:.2f} x the speed" if s.speedup else ""
                launches = f"{s.launches_before} → {s.launches_after}" if s.launches_after else "-"
                lines.append(f"  {f'{s.batch} x {s.tokens}':<7} {s.caches:<17} {launches:<10} {s.numerics or '-':<33} {s.state}{speed}")
        for name, why in self.kept.items():
            lines.append(f"  stays Python: {name}: {why}")
        lines += [f"  note: {n}" for n in self.notes]
        if self.calls:
            lines.append("  calls: " + ", ".join(f"{n} {what}" for what, n in sorted(self.calls.items())))
        return "\n".join(lines)

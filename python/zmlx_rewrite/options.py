"""What a patch is made with."""

from __future__ import annotations

import dataclasses
import os
from typing import Sequence


@dataclasses.dataclass
class Options:
    """The arguments of patch, which says what they are."""

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

__all__ = ["Options"]

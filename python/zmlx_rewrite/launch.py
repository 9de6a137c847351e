"""Programs of mlx-lm with their models patched: python -m zmlx_rewrite run mlx_lm.server ...

The program is started as it is. Only the functions by which its module loads models are
wrapped: what they return is patched, in the thread that loads it.
"""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
from typing import Any, Callable

from .install import patch

LOADERS = ("load", "load_model", "sharded_load")  # of mlx_lm.utils


def patched(load: Callable[..., Any], options: dict[str, Any], seen: list[Any]) -> Callable[..., Any]:
    """A loader whose model is patched. What patch says goes to stderr."""

    @functools.wraps(load)
    def loading(*args: Any, **kwargs: Any) -> Any:
        got = load(*args, **kwargs)
        model = got[0] if isinstance(got, tuple) else got
        if not any(m is model for m in seen):  # load calls load_model
            seen.append(model)
            print(patch(model, **options), file=sys.stderr, flush=True)
        return got

    return loading


def hook(module: Any, options: dict[str, Any]) -> list[str]:
    """Wraps a module's loaders and returns their names."""
    found = []
    seen: list[Any] = []
    for name in LOADERS:
        value = getattr(module, name, None)
        if callable(value) and getattr(value, "__module__", "").startswith("mlx_lm"):
            setattr(module, name, patched(value, options, seen))
            found.append(name)
    return found


def run(name: str, args: list[str], options: dict[str, Any]) -> None:
    """Runs a module of mlx-lm as a program."""
    if not name.startswith("mlx_lm.") or name == "mlx_lm.utils":
        raise ValueError(f"{name} is no program of mlx-lm")
    module = importlib.import_module(name)
    if not hook(module, options):
        raise ValueError(f"{name} loads no model by itself")
    sys.argv = [name, *args]
    main = getattr(module, "main", None)
    if main is None:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        main()

"""exo with its models patched: python -m zmlx_rewrite exo [exo's arguments]

All there is for exo is in this file. exo is in no package registry; python/tests/exo_source.py
runs the source of exo-explore/exo at b5375f8c (0.3.70) with it, and docs/EXO.md says how far.
There, as at 037ef3a3 (0.3.70), load_mlx_items(bound_instance, group) of utils_mlx.py is a
generator that returns the model first; at 00a9c3c4 (0.3.68) it is a function that takes two
more arguments and returns the model first. exo asks for MLX 0.32.0 or less, which is older than
what this package needs: then each model's report says so, and exo runs as it is.

Nothing of exo is edited. When utils_mlx is imported, here or in a worker process, the function
is wrapped. A model that is one part of several (group of more than one) is left alone before
anything of it runs: its collectives are for all ranks at once. Whatever a patch runs into, exo
goes on with its model as it was.

exo imports MLX only in its workers, after it has set the variables that MLX reads. So this file
is loaded there by its path, without the package around it, until there is a model.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import inspect
import json
import os
import pathlib
import sys
import tempfile
from typing import Any, Callable, Iterator, Sequence

MODULE = "exo.worker.engines.mlx.utils_mlx"
FUNCTION = "load_mlx_items"
VERSIONS = ("0.3.68", "0.3.70")  # whose source was read
OPTIONS = "ZMLX_REWRITE_EXO"  # in the environment: what worker processes patch with


def say(text: object) -> None:
    sys.stderr.write(f"zmlx_rewrite: {text}\n")  # in one piece, between the lines of exo's other processes
    sys.stderr.flush()


def patched(got: Any, group: Any, options: dict[str, Any]) -> Any:
    """What load_mlx_items returned, with its model patched."""
    model = got[0] if isinstance(got, tuple) and got else None
    if model is None or not callable(getattr(model, "parameters", None)):
        say(f"{FUNCTION} does not return a model first; exo runs as it is")
    elif group is not None and group.size() > 1:
        say(f"the model is one part of {group.size()}, and stays as it is, with its collectives")
    else:
        try:
            from zmlx_rewrite.install import patch

            say(patch(model, **options))
        except Exception as e:  # a worker that fails here would be started again and again
            say(f"the model was not patched: {type(e).__name__}: {e}")
    return got


def wrap(load: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any] | None:
    """The loader with a patch behind it, or None if it is not the one that was read."""
    try:
        names = list(inspect.signature(load).parameters)
    except (TypeError, ValueError):
        return None
    if names[:2] != ["bound_instance", "group"]:
        return None
    signature = inspect.signature(load)

    def group_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return signature.bind(*args, **kwargs).arguments.get("group")

    if inspect.isgeneratorfunction(load):

        @functools.wraps(load)
        def loading(*args: Any, **kwargs: Any) -> Any:
            got = yield from load(*args, **kwargs)
            return patched(got, group_of(args, kwargs), options)

    else:

        @functools.wraps(load)
        def loading(*args: Any, **kwargs: Any) -> Any:
            return patched(load(*args, **kwargs), group_of(args, kwargs), options)

    return loading


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the function when its module is imported."""

    def __init__(self, options: dict[str, Any]):
        self.options, self.busy = options, False

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, path)
        finally:
            self.busy = False
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            run(module)
            made = wrap(getattr(module, FUNCTION, None), self.options)  # type: ignore[arg-type]
            if made is None:
                say(f"{MODULE} has no {FUNCTION}(bound_instance, group); exo runs as it is")
            else:
                setattr(module, FUNCTION, made)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Puts the hook into this process; the options are in the environment."""
    if OPTIONS in os.environ and not any(isinstance(f, Finder) for f in sys.meta_path):
        package = str(pathlib.Path(__file__).resolve().parents[1])
        if package not in sys.path:
            sys.path.append(package)
        sys.meta_path.insert(0, Finder(json.loads(os.environ[OPTIONS])))


# Worker processes begin by importing sitecustomize. Another one further down the path is run, too.
SITE = """import os, sys, importlib.machinery, importlib.util
here = os.path.dirname(os.path.abspath(__file__))
spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [p for p in sys.path if os.path.abspath(p or ".") != here])
if spec and spec.loader:
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
spec = importlib.util.spec_from_file_location("zmlx_rewrite_exo", {file!r})
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)
hook.install()
"""


@contextlib.contextmanager
def hooked(options: dict[str, Any]) -> Iterator[None]:
    """The hook in this process and in the worker processes that it starts."""
    before = {name: os.environ.get(name) for name in (OPTIONS, "PYTHONPATH")}
    with tempfile.TemporaryDirectory(prefix="zmlx-rewrite-exo-") as folder:
        (pathlib.Path(folder) / "sitecustomize.py").write_text(SITE.format(file=str(pathlib.Path(__file__).resolve())))
        os.environ[OPTIONS] = json.dumps(options)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, before["PYTHONPATH"]]))
        install()
        try:
            yield
        finally:
            sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, Finder)]
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def run(arguments: Sequence[str], options: dict[str, Any], any_version: bool = False) -> None:
    """Runs exo in this process, with the hook here and in its worker processes."""
    try:
        version = importlib.metadata.version("exo")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError("exo is not installed here") from None
    if version not in VERSIONS and not any_version:
        raise ValueError(f"exo {version} is not one whose source was read ({', '.join(VERSIONS)}); --any-version tries it")
    with hooked(options):
        sys.argv = ["exo", *arguments]
        # What the command exo calls. exo.main itself, run as a program, does nothing.
        main = getattr(importlib.import_module("exo.main"), "main", None)
        if main is None:
            raise ValueError(f"exo {version} has no exo.main.main, which starts it")
        main()

"""The launcher, against the shapes of exo's loader (see zmlx_rewrite/exo.py). scripts/exo.sh
runs exo's own source with it, where that is to be had."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]

PLAIN = """
def load_mlx_items(bound_instance, group, on_timeout=None, on_layer_loaded=None):
    from tests import architectures
    return architectures.build("qwen3"), "tokenizer"
"""
GENERATOR = """
def load_mlx_items(bound_instance, group):
    from tests import architectures
    yield "layer 1"
    return architectures.build("qwen3"), "tokenizer", None
"""
MAIN = """
import multiprocessing as mp, sys
from collections.abc import Generator

def worker(size):
    assert "mlx.core" not in sys.modules  # exo sets variables that MLX reads, and imports it then
    from exo.worker.engines.mlx.utils_mlx import load_mlx_items  # as builder.py has it

    class Group:
        def size(self):
            return size

    got = load_mlx_items("instance", Group() if size else None)
    if isinstance(got, Generator):
        try:
            while True:
                next(got)
        except StopIteration as e:
            got = e.value
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache
    model = got[0]
    model(mx.array([[1]]), cache=make_prompt_cache(model))
    made = getattr(type(model), "_zmlx_patch", None)
    print("worker:", made.report.calls if made else "not patched", flush=True)

def main():  # what exo's command calls; the module itself runs nothing
    print("arguments:", *sys.argv[1:], flush=True)
    process = mp.get_context("spawn").Process(target=worker, args=(int(sys.argv[-1]),))
    process.start()
    process.join()
    print("exit", process.exitcode)
"""


class Exo(unittest.TestCase):
    def run_exo(self, loader: str, *args: str, version: str = "0.3.68", flags: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as folder:
            base = pathlib.Path(folder)
            package = base / "exo/worker/engines/mlx"
            package.mkdir(parents=True)
            for d in (base / "exo", base / "exo/worker", base / "exo/worker/engines", package):
                (d / "__init__.py").touch()
            (package / "utils_mlx.py").write_text(textwrap.dedent(loader))
            (base / "exo/main.py").write_text(MAIN)
            (base / f"exo-{version}.dist-info").mkdir()
            (base / f"exo-{version}.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: exo\nVersion: {version}\n")
            return subprocess.run([sys.executable, "-m", "zmlx_rewrite", "exo", "--kernels-as", "reference", "--keep-slower", "--rows", "1", *flags, *args],
                                  capture_output=True, text=True, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{base}", **env}, timeout=300, check=False)

    def test_workers(self):
        for loader in (PLAIN, GENERATOR):
            done = self.run_exo(loader, "0")
            self.assertIn("worker: {'rewritten': 1}", done.stdout, done.stderr)
            self.assertIn("qwen3: patched", done.stderr)

    def test_arguments(self):
        # All of exo's arguments are options; none is taken for one of the launcher's.
        done = self.run_exo(PLAIN, "-v", "--offline", "--no-api", "--name", "0")
        self.assertIn("arguments: -v --offline --no-api --name 0", done.stdout, done.stderr)
        self.assertIn("worker: {'rewritten': 1}", done.stdout, done.stderr)

    def test_a_patch_that_fails(self):
        # Whatever it is, here a program that writes something else: exo goes on.
        done = self.run_exo(PLAIN, "0", ZMLX_REWRITE="/bin/echo")
        self.assertIn("worker: not patched", done.stdout, done.stderr)
        self.assertIn("the model was not patched: JSONDecodeError", done.stderr)

    def test_parts(self):
        done = self.run_exo(PLAIN, "2")
        self.assertIn("worker: not patched", done.stdout, done.stderr)
        self.assertIn("one part of 2", done.stderr)

    def test_another_loader(self):
        done = self.run_exo("def load_mlx_items(instance):\n    from tests import architectures\n    return (architectures.build('qwen3'),)\n".replace("(instance)", "(instance, ranks)"), "0")
        self.assertIn("worker: not patched", done.stdout, done.stderr)
        self.assertIn("exo runs as it is", done.stderr)

    def test_another_version(self):
        done = self.run_exo(PLAIN, "0", version="9.9")
        self.assertEqual(done.returncode, 1)
        self.assertIn("exo 9.9 is not one whose source was read", done.stderr)
        self.assertIn("worker: {'rewritten': 1}", self.run_exo(PLAIN, "0", version="9.9", flags=("--any-version",)).stdout)


if __name__ == "__main__":
    unittest.main()

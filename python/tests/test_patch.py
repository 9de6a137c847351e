"""patch and unpatch on tiny models of mlx-lm, on the CPU."""

from __future__ import annotations

import copy
import ctypes
import functools
import json
import os
import pathlib
import queue
import re
import tempfile
import threading
import time
import types
import unittest
from unittest import mock

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models import base
from mlx_lm.generate import generate_step, speculative_generate_step
from mlx_lm.models.cache import KVCache, QuantizedKVCache, RotatingKVCache, load_prompt_cache, make_prompt_cache, save_prompt_cache
from mlx_lm.tuner.utils import linear_to_lora_layers

import zmlx_rewrite
from tests import architectures
from zmlx_rewrite import binary, capture, check, family, functions, host, install, nvrtc, record, shortcuts, timings


def patched(name: str = "qwen3", **more):
    model, twin = architectures.build(name, **more.pop("build", {})), architectures.build(name)
    options = dict(kernels_as="reference", measure=False, rows=3, batched=False, seconds=None)
    report = zmlx_rewrite.patch(model, **{**options, **more})
    return model, twin, report


def text(model, prompt=(3, 1, 4, 1, 5), count=12, **more):
    return [t if isinstance(t, int) else t.item() for t, _ in generate_step(mx.array(prompt), model, max_tokens=count, **more)]


class Patch(unittest.TestCase):
    def test_there_and_back(self):
        model = architectures.build("qwen3")
        before, cls = dict(tree_flatten(model.parameters())), type(model)
        report = zmlx_rewrite.patch(model, kernels_as="reference", measure=False, rows=3, seconds=None)
        self.assertEqual(report.state, "patched", report)
        self.assertGreater(report.matches, 0)
        self.assertEqual({(s.batch, s.caches) for s in report.rewritten}, {(b, k) for b in (1, 2, 3) for k in ("alone", "batched")})
        self.assertTrue(all(s.launches_after < s.launches_before for s in report.rewritten))
        self.assertIsInstance(model, cls)
        self.assertIs(zmlx_rewrite.patch(model), report)  # harmless
        self.assertTrue(zmlx_rewrite.unpatch(model))
        self.assertIs(type(model), cls)
        self.assertFalse(zmlx_rewrite.unpatch(model))
        after = dict(tree_flatten(model.parameters()))
        self.assertEqual(before.keys(), after.keys())
        self.assertTrue(all(before[k] is after[k] for k in before))
        self.assertEqual(report.state, "unpatched")

    def test_the_same_tokens(self):
        for name in ("qwen3", "llama", "qwen3_moe", "lfm2", "gemma3_text", "gemma2"):
            with self.subTest(name):
                model, twin, report = patched(name)
                self.assertEqual(report.state, "patched", report)
                self.assertEqual(text(model), text(twin))
                self.assertGreaterEqual(report.calls["rewritten"], 11)

    def test_between_recordings(self):
        """Four sequences were not recorded, but lie between batches that were."""
        model, twin, report = patched(rows=6)
        self.assertEqual([(s.batch, s.state) for s in report.shapes], [(b, "rewritten") for b in range(1, 7)], report)
        x = mx.array([[1], [2], [3], [4]])
        self.assertTrue(check.bits(model(x, cache=make_prompt_cache(model)), twin(x, cache=make_prompt_cache(twin))))
        self.assertEqual(report.calls, {"rewritten": 1})

    def test_half_types(self):
        """Where the bits are others, the error is held against the model's own in float32."""
        for name in ("lfm2_moe", "gpt_oss"):
            with self.subTest(name):
                model = architectures.build(name, mx.bfloat16, True)
                report = zmlx_rewrite.patch(model, kernels_as="reference", measure=False, rows=2, batched=False, seconds=None)
                self.assertEqual([s.state for s in report.shapes], ["rewritten"] * 2, report)
                self.assertTrue(all(s.numerics == "bit-equal" or "x the model's own error" in s.numerics for s in report.shapes), report)
                judged = [] if all(s.numerics == "bit-equal" for s in report.shapes) else ["in float32", "errors"]
                self.assertEqual(list(report.phases), ["recording", "rewriting", "weights", "the model", "as recorded", "rewritten", *judged])
                self.assertLessEqual(sum(report.phases.values()), report.seconds)

    def test_no_number_in_a_later_step(self):
        """All steps whose errors are compared have to be numbers."""
        run, mine = check._run, []

        def late(do, recording, convert=None, steps=check.STEPS):
            out = run(do, recording, convert, steps)
            if steps == check.MANY and convert is None:  # the unrewritten step, then the rewritten one
                mine.append(out)
                if len(mine) == 2:
                    out[5] = out[5] * mx.nan
            return out

        with mock.patch.object(check, "_run", late):
            report = zmlx_rewrite.patch(architectures.build("gpt_oss", mx.bfloat16, True), kernels_as="reference", measure=False, rows=1, batched=False, seconds=None)
        self.assertEqual(len(mine), 2)
        self.assertEqual([s.state for s in report.shapes], ["it gives what is no number"])

    def test_compiled(self):
        """On GPUs mx.compile keeps the functions; here those with kernels as references."""
        for name in ("qwen3", "qwen3_moe", "lfm2", "gemma2"):
            with self.subTest(name), mock.patch.object(family, "COMPILED", ("reference",)):
                model, twin, report = patched(name)
                self.assertEqual([s.state for s in report.shapes], ["rewritten"] * 3, report)
                self.assertTrue(all(s.compiled for s in install.patch_of(model).steps.values()))
                self.assertEqual(text(model), text(twin))
                # A thread of its own has another stream, and a cache of its own of what is compiled.
                there: list[list[int]] = []
                thread = threading.Thread(target=lambda: there.append(text(model)))
                thread.start()
                thread.join()
                self.assertEqual(there, [text(twin)])

    def test_compiled_otherwise(self):
        """Where what mx.compile makes of a function is another one, the function itself is called."""
        wrong = lambda f: lambda *a: tuple(x * 1.5 if mx.issubdtype(x.dtype, mx.floating) else x for x in f(*a))  # noqa: E731

        def refused(f):
            def call(*_):
                raise RuntimeError("[compile] no")

            return call

        for other in wrong, refused:
            with mock.patch.object(family, "COMPILED", ("reference",)), mock.patch.object(functions, "_compiled", {}), mock.patch.object(mx, "compile", other):
                model, twin, report = patched()
            self.assertEqual([s.state for s in report.shapes], ["rewritten"] * 3, report)
            self.assertFalse(any(s.compiled for s in install.patch_of(model).steps.values()))
            self.assertEqual(text(model), text(twin))

    def test_checked_once(self):
        """What is no fault of mx.compile's is not tried again without it."""
        with mock.patch.object(family, "COMPILED", ("reference",)), mock.patch.object(check, "same", side_effect=check.Differs("no")) as same:
            _, _, report = patched(rows=1)
        self.assertEqual([s.state for s in report.shapes], ["no"])
        self.assertEqual(same.call_count, 1)

    def test_few_at_once(self):
        """What the check in float32 does for MLX's kernels gives the same numbers."""
        few = functions._Few()
        w, scales, biases = mx.quantize(mx.random.normal((6, 64, 128), key=mx.random.key(1)), 64, 4)
        for rows, k, inner in ((1, 8, 1), (1, 8, 8), (1, 9, 9), (2, 4, 1), (3, 3, 3), (7, 2, 1), (8, 2, 1), (1, 4, 1)):
            x = mx.random.normal((rows, 1, inner, 1, 128), key=mx.random.key(2))
            chosen = mx.random.randint(0, 6, (rows, 1, k), key=mx.random.key(3)).astype(mx.uint32)
            how = dict(lhs_indices=None, rhs_indices=chosen, transpose=True, group_size=64, bits=4)
            with mock.patch.object(mx, "gather_qmm", wraps=mx.gather_qmm) as called:
                got = few.gather_qmm(x, w, scales, biases, **how)
                sizes = [c.kwargs["rhs_indices"].size for c in called.call_args_list]
            self.assertTrue(check.bits(got, mx.gather_qmm(x, w, scales, biases, **how)), (rows, k, inner))
            self.assertTrue(max(sizes) < 8 or rows >= 8, sizes)
        chosen = mx.sort(mx.random.randint(0, 6, (30,), key=mx.random.key(3))).astype(mx.uint32)
        x, how = mx.random.normal((30, 1, 128)), dict(lhs_indices=None, rhs_indices=chosen, transpose=True, group_size=64, bits=4, sorted_indices=True)
        with mock.patch.object(mx, "gather_qmm", wraps=mx.gather_qmm) as called:
            got = few.gather_qmm(x, w, scales, biases, **how)
            self.assertEqual([c.kwargs["rhs_indices"].size for c in called.call_args_list], [7, 7, 7, 7, 2])
        self.assertTrue(check.bits(got, mx.gather_qmm(x, w, scales, biases, **how)))
        for shape in ((8, 1), (2, 9), (7, 1)):
            x, how = mx.random.normal((*shape, 128)), dict(transpose=True, group_size=64, bits=4)
            with mock.patch.object(mx, "quantized_matmul", wraps=mx.quantized_matmul) as called:
                got = few.quantized_matmul(x, w[0], scales[0], biases[0], **how)
                self.assertLess(max(c.args[0].size // 128 for c in called.call_args_list), 8)
            self.assertTrue(mx.allclose(got, mx.quantized_matmul(x, w[0], scales[0], biases[0], **how), atol=1e-5))
            self.assertEqual(got.shape, (*shape, 64))
        table = mx.random.normal((5, 3), key=mx.random.key(4))
        for dtype, taken in ((mx.float32, mx.uint32), (mx.bfloat16, mx.bfloat16)):
            a = table.astype(dtype)
            with mock.patch.object(mx, "take", wraps=mx.take) as called:
                few.take(a, mx.array([[4, 0]]), axis=-2)
            self.assertEqual(called.call_args.args[0].dtype, taken)
            self.assertTrue(check.bits(few.take(a, mx.array([[4, 0]]), axis=-2), mx.take(a, mx.array([[4, 0]]), axis=-2)))
        self.assertIs(few.fast, mx.fast)

    def test_other_calls_go_to_the_model(self):
        model, twin, report = patched()
        tokens = mx.array([[1, 2, 3, 4]])
        self.assertTrue(check.bits(model(tokens), twin(tokens)))
        caches, others = make_prompt_cache(model), make_prompt_cache(twin)
        self.assertTrue(check.bits(model(tokens, cache=caches), twin(tokens, cache=others)))
        wide = mx.ones((4, 1), mx.int32)
        self.assertTrue(check.bits(model(wide, cache=make_prompt_cache(model)), twin(wide, cache=make_prompt_cache(twin))))
        self.assertEqual(report.calls, {"another kind of call": 1, "another shape": 2})
        self.assertTrue(check.bits(model(tokens[:, :1], caches), twin(tokens[:, :1], others)))
        self.assertEqual(report.calls["rewritten"], 1)

    def test_other_caches(self):
        model, twin, report = patched()
        for make in (lambda: QuantizedKVCache(group_size=32, bits=8), lambda: RotatingKVCache(max_size=8)):
            a, b = [make() for _ in model.layers], [make() for _ in model.layers]
            for token in range(12):
                x = mx.array([[token]])
                self.assertTrue(check.bits(model(x, cache=a), twin(x, cache=b)))
        self.assertEqual(report.calls, {"another shape": 24})

    def test_one_more_row(self):
        """What is done in place of mlx-lm's function gives and keeps the same arrays, where a cache grows, too."""
        self.assertTrue(shortcuts.known_cache(KVCache))
        self.assertFalse(shortcuts.known_cache(RotatingKVCache))
        self.assertFalse(shortcuts.known_cache(type("KVCache", (KVCache,), {"__module__": KVCache.__module__})))
        keys = mx.random.normal((1, 2, 3, 4))  # several rows at once
        a, b = KVCache(), KVCache()
        for _ in range(2):
            self.assertTrue(check.equal(a.update_and_fetch(keys, keys), shortcuts.add(b, keys, keys, shortcuts.Places())))
        a, b = KVCache(), KVCache()
        for n in range(2 * KVCache.step + 2):
            keys, values = (mx.random.normal((1, 2, 1, d)) for d in (4, 6))
            want, got = a.update_and_fetch(keys, values), shortcuts.add(b, keys, values, shortcuts.Places())
            self.assertEqual(a.offset, b.offset)
            self.assertTrue(check.equal([*want, a.keys, a.values], [*got, b.keys, b.values]), n)

    def test_changed_caches(self):
        """Whoever puts a function of his own in place of mlx-lm's has it called, before a patch and after it."""
        was, read, calls = KVCache.update_and_fetch, KVCache.keys_and_values, []

        def update(self, *args):
            calls.append(args)
            return was(self, *args)

        def get(self):
            calls.append(self)
            return read(self)

        def steps(model, caches=None):
            caches = caches or make_prompt_cache(model)
            return [model(mx.array([[t]]), cache=caches).tolist() for t in (3, 1)]

        model, twin, report = patched(rows=1)
        source = next(iter(install.patch_of(model).steps.values())).source
        self.assertRegex(source, r"= add\(caches\[0\], .*, places\)\n.*= mx.fast.scaled_dot_product_attention\(")
        want = steps(twin)
        self.assertEqual(steps(model), want)
        for name, mine in (("update_and_fetch", update), ("update_and_fetch", functools.wraps(was)(update)), ("keys_and_values", get)):
            with mock.patch.object(KVCache, name, mine):
                calls.clear()
                self.assertEqual(steps(model), want)
                self.assertEqual(len(calls), 2 * len(model.layers), name)
                again, _, _ = patched(rows=1)
                calls.clear()
                self.assertEqual(steps(again), want)
                self.assertEqual(len(calls), 2 * len(model.layers), name)
        self.assertEqual(report.calls, {"rewritten": 2, "KVCache was changed": 6})
        caches = make_prompt_cache(model)
        for c in caches:
            c.update_and_fetch = functools.partial(update, c)
        calls.clear()
        self.assertEqual(steps(model, caches), want)
        self.assertEqual((len(calls), report.calls["a cache was changed"]), (2 * len(model.layers), 2))
        with mock.patch.object(mx.fast, "scaled_dot_product_attention", wraps=mx.fast.scaled_dot_product_attention) as attention:
            self.assertEqual(steps(model), want)
        self.assertEqual(attention.call_count, 2 * len(model.layers))

    def test_unknown_texts(self):
        """Functions of another text or place than is known are called as they are."""
        for change, wanted in ((mock.patch.dict(shortcuts.KNOWN, {"KVCache": set()}), r"caches\[0\].update_and_fetch\(.*\)\n.*= attention\d+\(.*cache=caches\[0\]"),
                               (mock.patch.dict(shortcuts.KNOWN, {"scaled_dot_product_attention": set()}), r"= add\(caches\[0\], .*\)\n.*= attention\d+\(.*cache=caches\[0\]"),
                               (mock.patch.object(base.scaled_dot_product_attention, "__module__", "mine"), r"= add\(caches\[0\], .*\)\n.*= attention\d+\(.*cache=caches\[0\]"),
                               (mock.patch.object(KVCache, "__module__", "mine"), r"caches\[0\].update_and_fetch\(.*\)\n.*= attention\d+\(")):
            with change:
                model, twin, _ = patched(rows=1)
                self.assertEqual(text(model), text(twin))
                self.assertRegex(next(iter(install.patch_of(model).steps.values())).source, wanted)

    def test_prompt_caches_and_speculation(self):
        model, twin, report = patched()
        with tempfile.TemporaryDirectory() as folder:
            texts = []
            for m in (model, twin):
                caches = make_prompt_cache(m)
                text(m, prompt_cache=caches)
                save_prompt_cache(str(pathlib.Path(folder) / "cache.safetensors"), caches)
                caches = load_prompt_cache(str(pathlib.Path(folder) / "cache.safetensors"))
                texts.append(text(m, prompt_cache=caches))
        self.assertEqual(*texts)
        draft = architectures.build("llama")
        told = [[t if isinstance(t, int) else t.item() for t, *_ in speculative_generate_step(mx.array([3, 1, 4]), m, draft, num_draft_tokens=2, max_tokens=10)] for m in (model, twin)]
        self.assertEqual(*told)

    def test_another_thread(self):
        model, twin, report = patched()
        got = []

        def run():  # as the server does it, on the stream of its own thread
            with mx.stream(mx.new_thread_local_stream(mx.default_device())):
                caches = make_prompt_cache(model)
                for token in (1, 2, 3):
                    got.append(model(mx.array([[token]]), cache=caches).tolist())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        caches = make_prompt_cache(twin)
        self.assertEqual(got, [twin(mx.array([[t]]), cache=caches).tolist() for t in (1, 2, 3)])
        self.assertEqual(report.calls, {"rewritten": 3})

    def test_copies(self):
        """A copy of a patched model is not patched, and does not spoil it."""
        model, twin, report = patched()
        again = copy.deepcopy(model)
        again.model.layers[0].mlp.up_proj.weight = again.model.layers[0].mlp.up_proj.weight * 2
        x = mx.array([[1]])
        self.assertFalse(check.bits(again(x, cache=make_prompt_cache(again)), twin(x, cache=make_prompt_cache(twin))))
        self.assertTrue(check.bits(model(x, cache=make_prompt_cache(model)), twin(x, cache=make_prompt_cache(twin))))
        self.assertEqual(report.calls, {"a copy of the patched model": 1, "rewritten": 1})

    def test_json(self):
        _, _, report = patched()
        told = json.loads(report.to_json())
        self.assertEqual(told["state"], "patched")
        self.assertEqual(told["matches"], report.matches)
        self.assertIn("qwen3.qk_norm_rope", str(report))


class Timing(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        here = mock.patch.dict("os.environ", {"XDG_CACHE_HOME": folder.name})
        here.start()
        self.addCleanup(here.stop)

    def test_slower_is_left_to_the_model(self):
        for speed, state in ((0.9, "not faster here"), (1.5, "rewritten")):
            with mock.patch.object(check, "speedup", lambda *_: speed), mock.patch.object(timings, "find", lambda _: None):
                _, _, report = patched(measure=True, rows=1)
            self.assertEqual([(s.state, s.speedup) for s in report.shapes], [(state, speed)])

    def test_timed_once(self):
        with mock.patch.object(check, "speedup", side_effect=[1.25]):
            _, _, first = patched(measure=True, rows=1)
            _, _, second = patched(measure=True, rows=1)  # would be an error if it were timed
        self.assertEqual([first.shapes[0].speedup, second.shapes[0].speedup], [1.25, 1.25])
        timings.path().write_text("{")  # a file that is broken is none
        with mock.patch.object(check, "speedup", side_effect=[1.5]):
            self.assertEqual(patched(measure=True, rows=1)[2].shapes[0].speedup, 1.5)

    def test_time_is_up(self):
        """The first shape is looked at in any case, the others stay the model's."""
        model, twin, report = patched(rows=3, batched=True, seconds=0.0)
        self.assertEqual([s.state for s in report.shapes], ["rewritten"] + ["not looked at: 0 s would not suffice"] * 2)
        self.assertIn("batches of the server were not looked at", report.notes[0])
        self.assertEqual(text(model), text(twin))

    def test_what_comes_first(self):
        """One sequence, then what the server does, then the rest; the report has them in another order."""
        looked = []

        def checked(of, written, shape):
            looked.append((shape.caches, shape.batch))
            written["tiles"] = [f"{shape.caches} {shape.batch}"]
            return was(of, written, shape)

        was = family.Family.checked
        with mock.patch.object(family.Family, "checked", checked):
            model, _, report = patched(rows=2, batched=True)
        self.assertEqual(install.patch_of(model).tiles, {"alone 1", "alone 2", "batched 1", "batched 2"})
        self.assertEqual(looked, [("alone", 1), ("batched", 1), ("batched", 2), ("alone", 2)])
        self.assertEqual([(s.caches, s.batch) for s in report.shapes], sorted(looked))
        self.assertLessEqual(sum(report.phases.values()), report.seconds)  # no time is counted twice

    def test_what_is_not_begun(self):
        """What the shape before took has to fit; on NVIDIA other operations, which MLX compiles, are left out."""
        def skipped(looked=1, seconds=20.0, left=10.0, took=5.0, device="cuda", launches=(100, 100), tiles=()):
            of = types.SimpleNamespace(made=types.SimpleNamespace(looked=looked, tiles={"qmm_sm80_tn_bfloat16_m16_b4_g64_affine"}), to_compile=lambda tiles: family.Family.to_compile(of, tiles), o=install.Options(seconds=seconds, end=time.perf_counter() + left), took=took,
                                       report=types.SimpleNamespace(device=device), launches=launches[0])
            return family.Family.skipped(of, {"refused": "", "rewritten": {"calls": []}, "tiles": tiles}, mock.Mock(launches_before=launches[1]))

        self.assertEqual(skipped(), "")
        self.assertRegex(skipped(took=7.0), "20 s would not suffice")  # half as much again
        self.assertRegex(skipped(launches=(100, 101)), "MLX does it by other operations")
        self.assertEqual(skipped(tiles=["qmm_sm80_tn_bfloat16_m16_b4_g64_affine"]), "")
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, MLX_PTX_CACHE_DIR=folder):
            other = ["qmm_sm80_tn_bfloat16_m16_b8_g64_affine"]
            self.assertRegex(skipped(tiles=other), "MLX compiles its products")
            self.assertEqual(skipped(tiles=other, device="cpu"), "")
            pathlib.Path(folder, "qmm_naive_tn_aligned_bfloat16_m16_b8_g64_affine.ptx").touch()
            self.assertRegex(skipped(tiles=other), "MLX compiles its products")
            pathlib.Path(folder, other[0] + ".ptx").touch()
            self.assertEqual(skipped(tiles=other), "")
        self.assertEqual(skipped(launches=(100, 101), device="cpu"), "")
        self.assertEqual(skipped(launches=(100, 101), took=11.0, seconds=None), "")
        self.assertEqual(skipped(launches=(0, 101)), "")  # the first of its kind of caches
        self.assertEqual(skipped(looked=0, took=11.0, left=-1.0), "")

    def test_search(self):
        """A rule without which a step is faster is left out."""

        def speed(live, model, recording, step):
            return 1.1 if any("mx.transpose(w2, (1, 0))\n" in t and ":, :, 0:" in t for t in step.texts) else 1.4

        model = architectures.build("qwen3")
        with mock.patch.object(check, "speedup", speed):
            report = zmlx_rewrite.smart_patch(model, mx.array([[1]]), kernels_as="reference", only=("llama.qkv_dense", "qwen3.qk_norm_rope"))
        self.assertEqual({r.name for r in report.rules if r.matches}, {"qwen3.qk_norm_rope"}, report)
        self.assertRegex(report.notes[0], "without llama.qkv_dense: 1.40 x the speed, not 1.10")
        self.assertEqual(report.state, "patched")


class Stale(unittest.TestCase):
    """What changes the model behind the patch's back is seen, and the model does it itself."""

    def stale(self, change, why):
        model, _, report = patched()
        text(model, count=3)
        change(model)
        before = report.calls["rewritten"]
        twin = copy.copy(model)
        twin.__class__ = install.patch_of(model).original
        self.assertEqual(text(model), text(twin))
        self.assertEqual(report.calls["rewritten"], before)
        self.assertRegex(report.state, why)
        again = zmlx_rewrite.patch(model, kernels_as="reference", measure=False, rows=1, batched=False)
        self.assertIsNot(again, report)

    def test_weights(self):
        self.stale(lambda m: m.update(architectures.build("qwen3").parameters()), "stale: model.embed_tokens: weight was replaced")

    def test_one_weight(self):
        def change(m):
            m.model.layers[1].mlp.up_proj.weight = m.model.layers[1].mlp.up_proj.weight * 2

        self.stale(change, r"stale: model.layers.1.mlp.up_proj: weight was replaced")

    def test_what_is_added(self):
        """What no recording has seen is no change; what comes after it still is."""
        model, twin, report = patched()
        model.model.layers[1].mlp.more = nn.Linear(4, 4)
        self.assertEqual(text(model), text(twin))
        self.assertNotIn("stale", report.state)
        del model.model.layers[1].mlp["more"]
        self.assertEqual(text(model), text(twin))
        self.assertNotIn("stale", report.state)
        model.model.norm.weight = model.model.norm.weight * 2
        text(model)
        self.assertEqual(report.state, "stale: model.norm: weight was replaced")
        model, _, report = patched()
        del model.model.norm["weight"]
        with self.assertRaises(KeyError):
            model(mx.array([[1]]), cache=make_prompt_cache(model))
        self.assertEqual(report.state, "stale: model.norm: weight was replaced")

    def test_in_place(self):
        """A weight that is another one though the array is the same is what the functions get."""
        with mock.patch.object(family, "COMPILED", ("reference",)):
            model, twin, report = patched()
        for _ in range(2):
            self.assertEqual(text(model), text(twin))
            for m in model, twin:
                m.model.norm.weight[:] = -m.model.norm.weight
        self.assertEqual(text(model), text(twin))
        self.assertEqual(set(report.calls), {"rewritten", "another shape"})

    def test_threads(self):
        """A thread that lives on gets the steps of the last patch, whatever it ran before: MLX has a cache of
        compiled functions in each, by their addresses."""
        asked, answers = queue.Queue(), queue.Queue()

        def logits(m):
            caches = make_prompt_cache(m)
            return [m(mx.array([[t]]), cache=caches).tolist() for t in (3, 1, 4)]

        def work():
            while (m := asked.get()) is not None:
                answers.put(logits(m))
                del m

        worker = threading.Thread(target=work)
        worker.start()
        self.addCleanup(worker.join)
        self.addCleanup(asked.put, None)
        model = architectures.build("llama")
        with mock.patch.object(family, "COMPILED", ("reference",)):
            for i in range(10):
                report = zmlx_rewrite.patch(model, kernels_as="reference", measure=False, rows=1, batched=False, seconds=None)
                asked.put(model)
                there, here = answers.get(timeout=60), logits(model)
                self.assertEqual(report.calls, {"rewritten": 6})
                zmlx_rewrite.unpatch(model)
                want = logits(model)
                for got in there, here:
                    self.assertTrue(mx.allclose(mx.array(got), mx.array(want), atol=1e-4), i)
                model.update(tree_map(lambda x: x * 1.3, model.parameters()))
                del report

    def test_type(self):
        self.stale(lambda m: m.set_dtype(mx.float16), "stale: .* was replaced")

    def test_lora(self):
        self.stale(lambda m: linear_to_lora_layers(m, 2, {"rank": 4, "scale": 10.0, "dropout": 0.0}), r"stale: model.layers.0.self_attn: \w+ was replaced")

    def test_training(self):
        model, twin, report = patched()
        model.train()
        caches = make_prompt_cache(model)
        model(mx.array([[1]]), cache=caches)
        self.assertEqual(report.calls, {"training": 1})
        model.eval()
        model(mx.array([[1]]), cache=caches)
        self.assertEqual(report.calls, {"training": 1, "rewritten": 1})
        untrained = architectures.build("qwen3")
        untrained.train()
        self.assertIn("training", zmlx_rewrite.patch(untrained).reason)


NVRTC = pathlib.Path(__file__).resolve().parents[2] / ".cache/tools/cuda/lib/libnvrtc.so.13"


class Ahead(unittest.TestCase):
    """Kernels for CUDA that are compiled before they are launched."""

    def test_hash(self):
        """What g++ 12 prints of std::hash<std::string>."""
        for text, want in (("", 0x553E93901E462A6E), ("a", 0x454DDEE488C1ED6B), ("qmv_add", 0x5195B6729287CCFE), ("12345678", 0x8C5B90A33A04DCA5),
                           ("qmv_add_aaa08de3cd608136 sm_90a 0123456789abcdef 4711", 0x4B5E55ABC2B132A2)):
            self.assertEqual(nvrtc.std_hash(text.encode()), want, text)

    def units(self):
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder) / "step.mlxfn")
            capture.capture(architectures.build("qwen3_moe"), path, 1, "alone")
            return binary.bridge(path, [(1, 1)], "source", ["--preset", "inference", "--target", "cuda"])["module"]["kernels"]

    @unittest.skipUnless(NVRTC.is_file(), "NVRTC is not here (make setup-test)")
    def test_compiled(self):
        """Every unit is one that NVRTC compiles, and MLX finds the code by the kernel's name."""
        kernels = self.units()
        self.assertGreater(len(kernels), 4)
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict("os.environ", {"XDG_CACHE_HOME": folder + "/cache", "MLX_PTX_CACHE_DIR": folder + "/mlx"}):
            with mock.patch.object(nvrtc, "loaded", lambda: NVRTC), mock.patch.object(mx, "device_info", lambda: {"architecture": "sm_90"}):
                units = nvrtc.Units(kernels)
                texts = [f"v0 = k_{k['name']}(inputs=[])" for k in kernels]
                with self.assertRaisesRegex(nvrtc.Unavailable, "was not compiled"):
                    units.kernels[kernels[0]["name"]]([], (1, 1, 1), (1, 1, 1), [], [])
                units.prepare(texts[:1])
                self.assertEqual([k.placed for k in units.kernels.values()], [True] + [False] * (len(kernels) - 1))
                units.prepare(texts)
                kept = list(pathlib.Path(folder, "cache/zmlx-rewrite/cuda").iterdir())
                self.assertEqual(len(kept), len(kernels))
                self.assertTrue(all(f.read_bytes().startswith(b"\x7fELF") for f in kept))
                k = units.kernels[kernels[0]["name"]]
                module = pathlib.Path(folder, f"mlx/{k.name}_{nvrtc.std_hash(k.word):x}.ptx")
                self.assertIn(k.name.encode(), module.read_bytes())
                self.assertEqual(module.with_suffix(".txt").read_text(), f"{k.name}\t{k.name}\n")
                units.close()
                self.assertEqual(list(pathlib.Path(folder, "mlx").iterdir()), [])
                with mock.patch.object(nvrtc, "compile", side_effect=AssertionError("compiled again")):
                    again = nvrtc.Units(kernels)
                    again.prepare(texts)
                    again.close()
                kept[0].write_bytes(b"")  # broken: it is made again
                with mock.patch.object(nvrtc, "compile", wraps=nvrtc.compile) as compiled:
                    again = nvrtc.Units(kernels)
                    again.prepare(texts)
                self.assertEqual(compiled.call_count, 1)
                again.forget()
                self.assertEqual(list(kept[0].parent.iterdir()), [])

    @unittest.skipUnless(NVRTC.is_file(), "NVRTC is not here (make setup-test)")
    def test_what_does_not_compile(self):
        with self.assertRaisesRegex(nvrtc.Unavailable, "broken: NVRTC says 6"):
            nvrtc.compile(NVRTC, "broken", "no", "sm_90a")

    def test_without(self):
        """Where kernels cannot be had so, MLX compiles their texts."""
        closed = []

        class Units:
            def prepare(self, sources):
                self.prepared = sources

            def forget(self):
                closed.append("forgotten")

            def close(self):
                closed.append("closed")

        def namespace(module, target, core=mx, units=None):
            names = functions.namespace(module, target, core)
            if units is not None:
                fail = lambda *_: (_ for _ in ()).throw(RuntimeError("Failed to load compiled kernel"))  # noqa: E731
                names.update({f["name"]: fail for f in module["functions"]})
            return names

        with mock.patch.object(family, "_units", lambda *_: Units()), mock.patch.object(family, "namespace", namespace):
            model, twin, report = patched(rows=2)
        self.assertEqual([s.state for s in report.shapes], ["rewritten"] * 2)
        self.assertEqual(report.notes, ["MLX compiles the kernels: RuntimeError: Failed to load compiled kernel"])
        self.assertEqual(closed, ["forgotten", "closed"])
        self.assertEqual(text(model), text(twin))


@unittest.skipUnless(host.file(), "there is no libzmlx-kernels (make build)")
class Host(unittest.TestCase):
    """Kernels of the library for CPUs."""

    def test_the_same_tokens(self):
        for name in ("qwen3", "lfm2_moe", "gpt_oss", "gemma3_text", "nanochat"):  # the last one has norms without weights
            for quantized in (False, True):
                with self.subTest(name, quantized=quantized):
                    model, twin = (architectures.build(name, mx.float32, quantized) for _ in range(2))
                    report = zmlx_rewrite.patch(model, measure=False, rows=2, seconds=None)
                    self.assertEqual((report.kernels_as, report.state), ("host", "patched"), report)
                    self.assertTrue(all(s.state == "rewritten" for s in report.shapes), report)
                    self.assertEqual(text(model), text(twin))
                    self.assertGreaterEqual(report.calls["rewritten"], 11)

    def test_addresses(self):
        """Views begin where they begin, and what does not lie row by row is copied."""
        x = mx.arange(24, dtype=mx.float32).reshape(4, 6)
        mx.eval(x)
        read = lambda x, n: list((ctypes.c_float * n).from_address(host.address(x)[0]))  # noqa: E731
        part = x[2:]
        mx.eval(part)
        self.assertEqual(read(part, 3), [12, 13, 14])
        self.assertEqual([host.address(v)[1] for v in (x, part, x.T, x[:, :3], x[:1, :3], mx.array(1.0), mx.zeros((2, 0)))], [True, True, False, False, True, True, True])

    def test_another_library(self):
        with mock.patch.object(host, "library", lambda _: ({}, None)):
            model, _, report = patched(kernels_as="host")
        self.assertIn("build it again", report.reason)
        self.assertIsNone(install.patch_of(model))
        with mock.patch.object(host, "file", lambda: None):
            self.assertIn("no libzmlx-kernels", patched(kernels_as="host")[2].reason)
            self.assertEqual(patched(kernels_as=None)[2].kernels_as, "none")


class Refusals(unittest.TestCase):
    def test_kernels_on_a_cpu(self):
        _, _, report = patched(kernels_as="none")
        off = {r.name: r.state for r in report.rules}
        self.assertIn("Python's MLX launches no kernels on a CPU", off["qwen3.qk_norm_rope"])
        self.assertEqual({r.name for r in report.rules if r.matches}, {"llama.qkv_dense", "llama.gate_up_swiglu_dense"})

    def test_nothing_matches(self):
        with self.assertRaises(zmlx_rewrite.PatchError) as caught:
            patched(only=("qwen3.router_softmax_topk",), strict=True)
        self.assertEqual(caught.exception.report.matches, 0)
        model, _, report = patched(only=("qwen3.router_softmax_topk",))
        self.assertEqual((report.state, report.matches), ("unchanged", 0))
        self.assertIsNone(install.patch_of(model))

    def test_unknown_rule(self):
        _, _, report = patched(exclude=("no_such_rule",))
        self.assertEqual(report.state, "unchanged")
        self.assertIn("no_such_rule", report.reason)

    def test_not_the_model(self):
        """Functions that are not the model, by one number in one place, are not used."""
        true = binary.bridge

        def lie(which):
            def bridge(*args):
                out = true(*args)
                for step in out["steps"]:
                    for call in step[which]["calls"]:
                        f = out["module"]["functions"][call["function"]]
                        f["source"] = f["source"].replace("eps=1e-06", "eps=1e-02")
                return out

            return bridge

        for which, why in (("before", "not the model, bit for bit"), ("rewritten", "differs by")):
            with mock.patch.object(binary, "bridge", lie(which)):
                model, _, report = patched()
            self.assertEqual(report.state, "unchanged")
            self.assertTrue(all(why in s.state for s in report.shapes), report)
            self.assertIsNone(install.patch_of(model))

    def test_attention_of_its_own(self):
        _, _, report = patched("gemma2")
        self.assertEqual(set(report.kept), {"model.layers.0.self_attn", "model.layers.1.self_attn"})

    def test_no_program(self):
        with mock.patch.dict("os.environ", {"ZMLX_REWRITE": "/nowhere"}):
            _, _, report = patched()
        self.assertIn("/nowhere", report.reason)

    def test_shards(self):
        model = architectures.build("llama")
        model.layers[0].mlp.sharding_group = object()
        self.assertIn("shard", zmlx_rewrite.patch(model).reason)
        model = architectures.build("llama")
        model.model.pipeline_size = 2
        self.assertIn("part of a pipeline of 2", zmlx_rewrite.patch(model).reason)

    def test_no_back_end(self):
        """On a machine without the target, what needs it is refused before anything is used."""
        model, twin, report = patched(target="metal", kernels_as="source")
        self.assertEqual(report.state, "unchanged")
        self.assertRegex(report.reason, "the kernels cannot be made here|it does not run: ")
        self.assertEqual(text(model), text(twin))

    def test_no_caches(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = [nn.Linear(4, 4)]

            def __call__(self, tokens, cache=None):
                return self.layers[0](mx.ones((*tokens.shape, 4)))

        model = Model()
        model.eval()
        self.assertIn("asks nothing of its caches", zmlx_rewrite.patch(model).reason)


class Recording(unittest.TestCase):
    def test_when_a_length_is_read(self):
        """As early as nothing else has to do with the same cache."""
        events = [record.Event(kind, path, "", (), {}, None) for kind, path in (
            ("read", (0,)), ("update", (0,)), ("attention", ()), ("read", (0,)), ("set", (1,)), ("read", (2, 0)), ("call", (2,)), ("read", (2, 0)), ("read", (1,)), ("module", ()), ("read", (3,)))]
        recording = record.Recording(1, 1, (), [], mx.array([[1]]), events, [], {}, {})
        got = {i: recording.after(i) for i, e in enumerate(events) if e.kind == "read"}
        self.assertEqual(got, {0: -1, 3: 1, 5: -1, 7: 6, 8: 4, 10: 9})
        self.assertEqual([recording.after(i) for i in (1, 2, 4)], [1, 2, 4])

    def test_one_stage_in_front_of_attention(self):
        """A length that is read behind the state of the layer before does not cut a stage in two."""

        def stages():
            model, twin, report = patched("lfm2", rows=1)
            self.assertEqual(text(model), text(twin))
            return len(re.findall(r"= stage\d+\(", next(iter(install.patch_of(model).steps.values())).source))

        early = stages()
        with mock.patch.object(record.Recording, "after", lambda _, at: at):
            self.assertLess(early, stages())

    def test_functions_are_put_back(self):
        from mlx_lm.models import base, qwen3

        held = mx.fast.scaled_dot_product_attention, base.scaled_dot_product_attention, qwen3.scaled_dot_product_attention, nn.Linear.__call__, mx.contiguous
        patched()
        self.assertEqual(held, (mx.fast.scaled_dot_product_attention, base.scaled_dot_product_attention, qwen3.scaled_dot_product_attention, nn.Linear.__call__, mx.contiguous))

    def test_caches_of_several(self):
        # Those of one sequence each, put together, are what the model makes of all at once.
        for name in ("qwen3", "gemma3_text", "lfm2_moe", "mamba", "deepseek_v3"):
            model = architectures.build(name)
            tokens = mx.concatenate([mx.random.randint(0, capture.vocabulary(model), (1, capture.PROMPT), key=mx.random.key(i)) for i in range(3)])
            want = make_prompt_cache(model)
            for i in range(capture.PROMPT):
                mx.eval(model(tokens[:, i : i + 1], cache=want))
            got = capture.caches_of(model, "alone", 3, [])
            self.assertEqual([type(c) for c in got], [type(c) for c in want], name)
            pairs = list(zip(check.arrays(got), check.arrays(want), strict=True))
            self.assertTrue(pairs, name)
            for a, b in pairs:
                self.assertEqual((a.shape, a.dtype), (b.shape, b.dtype), name)
                self.assertTrue(mx.allclose(a, b, atol=1e-5), name)

    def test_caches_that_do_not_go_together(self):
        longer, other = capture.caches_of(architectures.build("qwen3"), "alone", 1), capture.caches_of(architectures.build("qwen3"), "alone", 1)
        longer[0].offset += 1
        with self.assertRaises(capture.Apart):
            capture.joined([longer[0], other[0]])

    def test_caches_are_left_alone(self):
        model = architectures.build("qwen3")
        caches = capture.caches_of(model, "alone", 1)
        before = [mx.array(x) for x in check.arrays(caches)]
        record.record(model, mx.array([[1]]), caches)
        self.assertTrue(check.equal(before, check.arrays(caches)))
        self.assertEqual([c.offset for c in caches], [capture.PROMPT] * 2)


if __name__ == "__main__":
    unittest.main()

"""Times zmlx-rewrite beside mlx-lm and llama.cpp on one card, and holds its tokens and logits
against MLX's own. baselines.sh runs it there for one model; session.py for all that is asked
for. What is run is in programs.py.

Each program is a process of its own, in rounds; every second round goes the other way round.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import programs
from programs import MODELS, OUT, ROOT, Programs

sys.path.insert(0, str(ROOT / "scripts/bench"))
import tables  # noqa: E402

SETTINGS = ["", "MLX_MAX_OPS_PER_BUFFER=500", "MLX_MAX_OPS_PER_BUFFER=500 MLX_MAX_MB_PER_BUFFER=4000", "MLX_MAX_OPS_PER_BUFFER=2000 MLX_MAX_MB_PER_BUFFER=20000"]
PROMPTS = ROOT / "scripts/device/prompts.txt"


class Bench(Programs):
    """The stages."""

    def __init__(self, args, budget, file="baselines.jsonl", lane=None, using=frozenset()):
        """using: models that others have, which are not removed where the disk is full."""
        super().__init__(args.model, budget, args.tokens, args.cpu, args.ours, file, lane)
        self.args, self.using = args, using

    # Stages.

    def models(self):
        MODELS.mkdir(parents=True, exist_ok=True)
        if not (self.model / "model.safetensors").exists() and shutil.disk_usage(MODELS).free < 40e9:
            for other in MODELS.iterdir():  # random weights, made again in half a minute
                if other.name.removesuffix(".part").removesuffix(".gguf") not in {self.name, *self.using.copy()}:
                    self.say(f"removing {other}: the disk is nearly full")
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
        jobs = []
        if not (self.model / "model.safetensors").exists():
            jobs.append(["scripts/device/random_model.py", self.args.model, self.model])
        if not self.gguf.exists() and "llama.cpp" not in self.args.without:
            config = self.model / "config.json"
            jobs.append(["scripts/device/random_gguf.py", config if config.exists() else self.args.model, self.gguf])
        running = [subprocess.Popen([*self.lane.prefix(), sys.executable, *map(str, j)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **self.lane.environment()}) for j in jobs]
        for p in running:
            try:
                out, _ = p.communicate(timeout=max(self.left() - 10, 1))
            except subprocess.TimeoutExpired:
                p.kill()
                out = "stopped: it took too long"
            self.say(out.strip()[-600:])

    def sweep(self):
        found = {}
        for settings in SETTINGS:
            for r in self.mlxlm(settings, [0], tokens=64):
                found[settings] = r["tps"]
                self.keep(**dict(r, what="mlx-lm", stage="sweep"))
                self.say(f"mlx-lm, {settings or 'default'}: {r['tps']:.1f} tok/s, peak {r['peak_gb']} GB, weights and warm-up {r['load_s'] + r['warm_up_s']:.0f} s")
        if found:
            self.best = max(found, key=found.get)

    def attention(self):
        for r in self.llama(self.args.depths, "1,0"):
            self.keep(**dict(r, what="llama.cpp", stage="attention"))
            self.say(f"llama.cpp, flash attention {'on' if r['flash_attention'] else 'off'}, depth {r['depth']}: {r['tps']:.1f} tok/s, {r['backend']}, {r['weights_gb']:.1f} GB")

    def rounds(self):
        depths = self.args.depths
        self.turns("rounds", {"zmlx-rewrite": lambda: self.ours(depths), "mlx-lm best": lambda: self.mlxlm(self.best, depths),
                              "mlx-lm default": lambda: self.mlxlm("", depths), "llama.cpp": lambda: self.llama(depths)})
        print(tables.depths(self.rows), flush=True)

    def batch(self):
        """Sequences side by side, behind empty caches: tokens of all of them a second."""
        batches = self.args.batches
        self.turns("batch", {"zmlx-rewrite": lambda: [r for n in batches for r in self.ours([0], n)], "mlx-lm best": lambda: self.mlxlm(self.best, [0], batches),
                             "mlx-lm default": lambda: self.mlxlm("", [0], batches), "llama.cpp": lambda: self.llama_batches(0, batches)})
        print(tables.sequences(self.rows), flush=True)

    def fault(self):
        """Where a model dies in MLX, if it does, in a prompt or behind it, with few layers and with all; and what
        it was found to be for GLM-4.7-Flash."""
        out = self.run("rope_overflow", [sys.executable, "scripts/device/rope_overflow.py"], limit=60)
        if out:
            self.keep(stage="fault", what="rope_overflow", found=out.splitlines())
        print(out, flush=True)
        for tokens, layers in (1, 3), (128, 3), (1, 1000), (128, 1000):
            out = self.run("first_fault", [sys.executable, "scripts/device/first_fault.py", self.model, "--tokens", tokens, "--layers", layers, "--out", OUT], self.best, limit=120)
            if out:
                self.keep(stage="fault", what="first_fault", tokens=tokens, layers=layers, found=out.splitlines())
            print(out, flush=True)

    def turns(self, stage, runs):
        """Rounds of all programs, as many as there is time for. mlx-lm with its default settings is
        in every second one: it is the slower one, and half of the time."""
        if not self.best:
            del runs["mlx-lm default"]
        names = [n for n in runs if n not in self.args.without]
        longest = 0.0
        first = 1 + max((r["round"] for r in self.rows if r.get("stage") == stage and "round" in r), default=-1)  # session.py goes on with earlier ones
        for i in range(first, first + self.args.rounds):
            start = time.monotonic()
            if self.left() < longest * 1.1 + 5:
                self.say(f"no time for round {i}: one takes {longest:.0f} s")
                self.short = True
                break
            self.watching = i == first  # whoever asks for the memory all the time may be in the way
            for name in names if i % 2 == 0 else names[::-1]:
                if name == "mlx-lm default" and i % 2:
                    continue
                for r in runs[name]():
                    self.keep(**dict(r, what=name, stage=stage, round=i))
                    self.say(f"round {i}: {name:15} depth {r['depth']:6} x{r['batch']:<3} {r['tps']:8.1f} tok/s" + "".join(f"  {k} {r[k]}" for k in ("sha", "same", "peak_gb", "device_gb", "host_gb") if k in r))
            longest = max(longest, time.monotonic() - start)
        self.watching = True

    def errors(self):
        """How far the rewritten and the unrewritten program are from float32, fed the same tokens,
        one a step, behind prompts of one token: so the steps are the replayed ones, and no
        product of many rows is compiled."""
        command = ["zmlx-rewrite", "validate", self.model, "--ignore-chat-template", "--ignore-eos", "--float32", "-m", self.args.error_tokens, "-o", "json"]
        if self.args.error_dtype:
            command += ["--dtype", self.args.error_dtype]
        for p in self.args.error_prompts:
            command += ["--prompt", p]
        rows = self.lines("validate", command, self.settings, limit=200)
        for r in rows:
            ours, stock = r["float32"][1], r["float32"][0]
            r["no_larger"] = ours["rms_error"] <= stock["rms_error"]
            self.keep(**dict(r, what="errors", stage="errors", **self.memory))
            self.say(f"{r['prompt']!r}, {r['verdict']}, tokens part at {r['first_difference']}: against float32, rewritten rms {ours['rms_error']:.3g} max {ours['max_error']:.3g} KL {ours['kl_mean']:.2e}, "
                     f"unrewritten rms {stock['rms_error']:.3g} max {stock['max_error']:.3g} KL {stock['kl_mean']:.2e}: {'no larger' if r['no_larger'] else 'LARGER'}")
        print(tables.errors(self.rows), flush=True)

    def tokens_of(self):
        """Ten prompts: tokens of the rewritten and the unrewritten program, and of the unrewritten one
        with its prompt cut in two. In float32 they must be the same."""
        for dtype in self.args.dtypes:
            rows = self.lines("validate", ["zmlx-rewrite", "validate", self.model, "--prompts", PROMPTS, "--ignore-chat-template", "--ignore-eos", "-m", self.args.identity_tokens, "-o", "json",
                                           "--dtype", dtype], self.settings, limit=240)
            count = {}
            for r in rows:
                count[r["verdict"]] = count.get(r["verdict"], 0) + 1
                r.pop("kernels", None)
                self.keep(**dict(r, what="tokens", stage="tokens", dtype=dtype))
            cut = [r["rechunked"]["first_difference"] >= 0 for r in rows if r.get("rechunked")]
            self.say(f"{self.name} in {dtype}: {len(rows)} prompts, {sum(r['tokens'] for r in rows)} tokens compared; " + ", ".join(f"{n} {v}" for v, n in sorted(count.items()))
                     + (f"; where they part, the unrewritten model parts from itself in {sum(cut)} of {len(cut)}, its prompt cut in two" if cut else ""))

    def bridge(self):
        """mlx-lm with its model patched, with MLX's own settings: with an empty cache folder, and with
        what that left and MLX had compiled on this machine before."""
        with tempfile.TemporaryDirectory() as fresh:
            for cache in "empty", "full":
                before = pathlib.Path(self.lane.ptx or self.lane.shared)
                if cache == "full" and before.is_dir():
                    shutil.copytree(before, f"{fresh}/ptx", dirs_exist_ok=True)
                out = self.run("bridge", [sys.executable, "scripts/device/mlxlm_decode.py", self.model, "--tokens", 200, "--warm-up", programs.WARM, "--patch",
                                          *(["--patch-prompt", 512] if cache == "full" else [])], limit=240, env=dict(XDG_CACHE_HOME=fresh, MLX_PTX_CACHE_DIR=f"{fresh}/ptx"))
                for line in out.splitlines():
                    if line.startswith("{"):
                        self.keep(**dict(json.loads(line), stage="bridge", cache=cache, **self.memory))
                        print(f"cache folder {cache}: {line[:900]}", flush=True)

    def settings_of_mlx(self):
        """mlx-lm patched and not, by the settings of MLX that start work otherwise."""
        for settings in [*SETTINGS, "MLX_USE_CUDA_GRAPHS=0"]:
            for line in self.run("bridge", [sys.executable, "scripts/device/mlxlm_decode.py", self.model, "--tokens", 100, "--warm-up", programs.WARM, "--patch", "--patch-seconds", 0], settings, limit=100).splitlines():
                if line.startswith("{"):
                    row = json.loads(line)
                    self.keep(**dict(row, stage="settings", settings=settings))
                    if row["what"] in ("host", "bridge pairs"):
                        self.say(f"{settings or 'default'}: {line[:300]}")

    def prompt(self):
        """Speed of reading a prompt, in turns: mlx-lm, ours, ours, mlx-lm; then llama.cpp. MLX compiles
        its products of many rows first, which the first process of each pays for."""
        lengths = self.args.prompts
        for i in range(2):
            for name in ("mlx-lm", "zmlx-rewrite") if i == 0 else ("zmlx-rewrite", "mlx-lm"):
                rows = self.mlxlm(self.best, [0], prompts=lengths, rounds=3) if name == "mlx-lm" else self.ours([0], prompts=lengths, gens=[])
                for r in rows:
                    n = r["prompt"] if name == "mlx-lm" else int(r["test"].removeprefix("pp"))
                    self.prompt_row(name, n, r["prompt_tps"] if name == "mlx-lm" else r["tps"], i, r)
        for n in lengths:
            for r in self.llama(args=["-p", n, "-n", 0, "-d", 0, "-fa", 1, "-r", 3]):
                self.prompt_row("llama.cpp", n, r["tps"], 0, r)
        print(tables.prompts(self.rows), flush=True)

    def ways(self):
        """Prompts, and sequences side by side, by the rules that there are for the products of rows sorted by
        expert: which pays from how many rows on, and what it takes of memory."""
        only = lambda rule: " ".join(f"{'--force' if r == rule else '--exclude'} qwen3.{r}" for r in ("gather_rows", "gather_dequantized", "gather_sorted"))  # noqa: E731
        flags = {"our kernel": only("gather_sorted"), "many rows": only("gather_rows"), "experts unpacked": only("gather_dequantized") + " --exclude llama.matmul_dequantized", "all unpacked": only("gather_dequantized")}
        for test in (["-p", "32,128,512,2048,8192", "-n", "0"], ["-p", "0", "-n", "64", "--batch-size", "32"]):
            for way, against in ("many rows", "all unpacked"), ("our kernel", "experts unpacked"):
                rows = self.lines("ways", ["zmlx-rewrite", "bench", "--model", self.model, *test, "--random-rows", "--warm-up", 0, "-r", 1, "-o", "json", *flags[way].split(), "--against", flags[against]], self.settings, limit=150)
                for r in rows:
                    r["way"] = against if r["program"] == "against" else way
                    self.keep(**dict(r, what="ways", stage="ways"))
                    self.say(f"{r['test']:7} {r['way']:17} {max(r['samples_ts']):9.1f} tok/s, peak {r['peak_memory'] / 1e9:.1f} GB")
        print(tables.ways(self.rows), flush=True)

    def steady(self):
        """What is held while one process makes 10,240 steps, in texts of 1,280 tokens, in each of which caches
        become larger once: the most of the first half of the time and of the second one, of the card and of
        the process."""
        tokens = self.args.steady_tokens
        rows = self.ours([0], gens=[tokens], runs=2)
        if not rows or not self.samples:
            return
        steps = sum(tokens * len(r["samples"]) for r in rows)
        took = sum(tokens / s for r in rows for s in r["samples"])
        last = max(t for t, _, host in self.samples if host)  # before it ended
        halves = [[s for s in self.samples if last - took * b < s[0] <= last - took * a] for a, b in ((0.5, 1), (0, 0.5))]
        found = {f"{name}_gb": [round(max((s[i] for s in half), default=0) / 1e9, 4) for half in halves] for i, name in ((1, "device"), (2, "host"))}
        self.keep(what="zmlx-rewrite", stage="steady", steps=steps, seconds=round(took, 1), **found)
        self.say(f"{steps} steps in {took:.1f} s; the most in use in each half of them, GB: {found}")

    def prompt_row(self, what, n, tps, i, row):
        self.keep(**dict(row, what=what, stage="prompt", prompt=n, tps=tps, round=i))
        self.say(f"round {i}: prompt of {n}: {what:15} {tps:9.1f} tok/s")


def parser():
    numbers = lambda s: [int(d) for d in s.replace(",", " ").split()]  # noqa: E731
    p = argparse.ArgumentParser()
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--batches", default="4,32", type=numbers, help="sequences side by side, for the stage batch")
    p.add_argument("--prompts", default="512", type=numbers, help="tokens, for the stage prompt")
    p.add_argument("--error-tokens", type=int, default=96, help="of each prompt, for the stage errors")
    p.add_argument("--error-prompts", default="abcdefgh", help="likewise: letters, each a prompt")
    p.add_argument("--error-dtype", default="", help="likewise: the type of activations, for a model that computes in float32")
    p.add_argument("--identity-tokens", type=int, default=512, help="of each prompt, for the stage tokens")
    p.add_argument("--steady-tokens", type=int, default=1280, help="of each of eight texts, for the stage steady")
    p.add_argument("--dtypes", default="float32,bfloat16", type=lambda s: s.split(","), help="of activations, for the stage tokens")
    p.add_argument("--without", action="append", default=[], help="leave a program out of the rounds")
    p.add_argument("--ours", action="append", default=[], help="a flag for zmlx-rewrite bench: --ours=--exclude=RULE")
    p.add_argument("--cpu", action="store_true", help="llama.cpp may run on the CPU, to try this script")
    return p, numbers


def run(bench, stages):
    OUT.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        if bench.left() < 8:
            bench.say(f"{stage}: no time is left")
            bench.short = True
            continue
        bench.say(f"stage {stage}")
        try:
            getattr(bench, {"tokens": "tokens_of", "settings": "settings_of_mlx"}.get(stage, stage))()
        except Exception as e:  # the other stages go on
            bench.say(f"{stage}: {type(e).__name__}: {e}")
            bench.keep(stage=stage, error=f"{type(e).__name__}: {e}")


def main():
    p, numbers = parser()
    p.add_argument("model", help="a reference configuration")
    p.add_argument("depths", nargs="?", default="0", type=numbers)
    p.add_argument("--budget", type=float, default=float(os.environ.get("BUDGET", 300)), help="seconds in all")
    p.add_argument("--stages", default=os.environ.get("STAGES", "models attention sweep bridge rounds"))
    args = p.parse_args()
    bench = Bench(args, args.budget)
    run(bench, args.stages.replace(",", " ").split())
    bench.say("done")


if __name__ == "__main__":
    main()

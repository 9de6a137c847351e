"""Times zmlx-rewrite beside mlx-lm and llama.cpp on one card. baselines.sh runs it there.

Each program is a process of its own, in rounds; every second round goes the other way
round. Each has made 16 tokens before what counts. Depth is what the caches hold: our own
program has made so many tokens, llama-bench reads a prompt, mlx-lm's caches are filled.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/bench"))
from paired import bootstrap  # noqa: E402

OUT = pathlib.Path(os.environ.get("OUT", "/tmp"))
MODELS = pathlib.Path(os.environ.get("MODELS", "/tmp/models"))
LLAMA = pathlib.Path(os.environ.get("LLAMA", "/tmp/zmlx/llama"))
WARM = 16
SETTINGS = ["", "MLX_MAX_OPS_PER_BUFFER=500", "MLX_MAX_OPS_PER_BUFFER=500 MLX_MAX_MB_PER_BUFFER=4000", "MLX_MAX_OPS_PER_BUFFER=2000 MLX_MAX_MB_PER_BUFFER=20000"]


def environment(text):
    return dict(pair.split("=", 1) for pair in text.split())


class Bench:
    def __init__(self, args):
        self.args, self.end = args, time.monotonic() + args.budget
        self.model, self.gguf = MODELS / args.model, MODELS / f"{args.model}.gguf"
        self.best = os.environ.get("BEST", "MLX_MAX_OPS_PER_BUFFER=500")
        self.rows, self.gpu = [], None

    def left(self):
        return self.end - time.monotonic()

    def say(self, text):
        print(f"[{self.args.budget - self.left():5.1f} s] {text}", flush=True)

    def keep(self, **row):
        self.rows.append(row)
        with open(OUT / "baselines.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")

    def run(self, what, command, settings="", limit=120.0, env=None):
        """What a program prints. If it fails, its last words are said and kept."""
        limit = min(limit, self.left() - 3)
        if limit < 5:
            self.say(f"{what}: no time is left")
            return ""
        start = time.monotonic()
        plain = {k: v for k, v in os.environ.items() if not k.startswith("MLX_MAX_")}
        try:
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=limit, check=False, cwd=ROOT,
                                  env={**plain, **environment(settings), **(env or {})})
            words, ok, out = done.stderr, done.returncode == 0, done.stdout
            why = f"exit status {done.returncode}"
        except subprocess.TimeoutExpired as e:
            words, ok, out = (e.stderr or b"").decode(errors="replace"), False, (e.stdout or b"").decode(errors="replace")
            why = f"stopped after {limit:.0f} s"
        if ok:
            return out
        out = out[: out.rfind("\n") + 1]  # what there is of it, in whole lines
        tail = (words + out).strip().splitlines()[-6:]
        self.say(f"{what}: {why} after {time.monotonic() - start:.0f} s: " + " / ".join(tail)[-900:])
        self.keep(what=what, model=self.args.model, settings=settings, error=why, words=tail)
        return out

    # What runs: each returns rows of depth and tokens a second.

    def ours(self):
        # One long text, whose tokens behind each depth count: no prompt has to be read, for which
        # MLX compiles for minutes.
        settings = os.environ.get("OURS", "MLX_MAX_OPS_PER_BUFFER=500")
        out = self.run("zmlx-rewrite", ["zmlx-rewrite", "generate", "--model", self.model, "--prompt", "a", "--ignore-chat-template", "--ignore-eos",
                                        "--max-tokens", max(self.args.depths) + self.args.tokens + WARM, "-o", "json", *self.args.ours], settings, limit=240)
        rows = []
        if out.startswith("{"):
            r = json.loads(out)
            at = r["token_times"]
            for depth in self.args.depths:
                first = depth + WARM
                rows.append(dict(depth=depth, tps=(self.args.tokens - 1) / (at[first + self.args.tokens - 1] - at[first]), whole_tps=r["generation_tps"], rewritten=r.get("rewritten"),
                                 sha=hashlib.sha256(str(r["tokens"][: self.args.tokens]).encode()).hexdigest()[:12], settings=settings))
        return rows

    def mlxlm(self, settings, depths=None, tokens=None):
        depths = ",".join(map(str, depths or self.args.depths))
        out = self.run("mlx-lm", [sys.executable, "scripts/device/mlxlm_decode.py", self.model, "--depth", depths, "--tokens", tokens or self.args.tokens, "--warm-up", WARM], settings)
        return [json.loads(l) for l in out.splitlines() if l.startswith("{")]

    def llama(self, attention="1", args=None):
        paths = dict(LD_LIBRARY_PATH=f"{LLAMA}:{os.environ.get('LD_LIBRARY_PATH', '')}")
        if self.gpu is None:
            found = self.run("llama.cpp", [LLAMA / "llama-bench", "--list-devices"], limit=30, env=paths)
            self.gpu = "CUDA" in found or self.args.cpu
            self.say("llama.cpp: " + " ".join(found.split()))
        if not self.gpu:  # it would run on the CPU, and take minutes
            return []
        args = args or ["-p", 0, "-n", self.args.tokens, "-d", ",".join(map(str, self.args.depths)), "-fa", attention, "-r", 1]
        out = self.run("llama.cpp", [LLAMA / "llama-bench", "-m", self.gguf, *args, "-ngl", 99, "-o", "jsonl"], env=paths)
        rows = []
        for line in out.splitlines():
            if line.startswith("{"):
                r = json.loads(line)
                if not r["gpu_info"] and not self.args.cpu:
                    self.say(f"llama.cpp ran on {r['backends']}, not on the GPU: not counted")
                    self.keep(what="llama.cpp", error="no GPU", backends=r["backends"])
                    continue
                rows.append(dict(depth=r["n_depth"], tps=r["avg_ts"], flash_attention=bool(r["flash_attn"]), backend=r["backends"], gpu=r["gpu_info"], gb=r["model_size"] / 1e9))
        return rows

    # Stages.

    def models(self):
        MODELS.mkdir(parents=True, exist_ok=True)
        if not (self.model / "model.safetensors").exists() and shutil.disk_usage(MODELS).free < 40e9:
            for other in MODELS.iterdir():  # random weights, made again in half a minute
                if other not in (self.model, self.gguf):
                    self.say(f"removing {other}: the disk is nearly full")
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
        jobs = []
        if not (self.model / "model.safetensors").exists():
            jobs.append(["scripts/device/random_model.py", self.args.model, self.model])
        if not self.gguf.exists():
            config = self.model / "config.json"
            jobs.append(["scripts/device/random_gguf.py", config if config.exists() else self.args.model, self.gguf])
        running = [subprocess.Popen([sys.executable, *map(str, j)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for j in jobs]
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
            for r in self.mlxlm(settings, [0], 64):
                found[settings] = r["tps"]
                self.keep(**dict(r, what="mlx-lm", stage="sweep", settings=settings, model=self.args.model))
                self.say(f"mlx-lm, {settings or 'default'}: {r['tps']:.1f} tok/s, peak {r['peak_gb']} GB, weights and warm-up {r['load_s'] + r['warm_up_s']:.0f} s")
        if found:
            self.best = max(found, key=found.get)

    def rounds(self):
        runs = {"zmlx-rewrite": self.ours, "mlx-lm best": lambda: self.mlxlm(self.best), "mlx-lm default": lambda: self.mlxlm(""), "llama.cpp": self.llama}
        if not self.best:
            del runs["mlx-lm default"]
        names = [n for n in runs if n not in self.args.without]
        longest = 0.0
        for i in range(self.args.rounds):
            start = time.monotonic()
            if self.left() < longest * 1.1 + 5:
                self.say(f"no time for round {i}: one takes {longest:.0f} s")
                break
            for name in names if i % 2 == 0 else names[::-1]:
                for r in runs[name]():
                    self.keep(**dict(r, what=name, stage="rounds", round=i, model=self.args.model))
                    self.say(f"round {i}: {name:15} depth {r['depth']:6}: {r['tps']:7.1f} tok/s" + "".join(f"  {k} {r[k]}" for k in ("sha", "peak_gb") if k in r))
            longest = max(longest, time.monotonic() - start)
        self.table(names)

    def table(self, names):
        def of(name, depth):
            return {r["round"]: r["tps"] for r in self.rows if r.get("stage") == "rounds" and r["what"] == name and r["depth"] == depth}

        print(f"\n{self.args.model}, {self.args.tokens} tokens, medians over rounds; mlx-lm best is {self.best or 'its default'}\n")
        print("| depth | program | rounds | tok/s | least to most | zmlx-rewrite is faster by, 95 % |\n|---|---|---|---|---|---|")
        for depth in self.args.depths:
            ours = of("zmlx-rewrite", depth)
            for name in names:
                got = of(name, depth)
                if not got:
                    print(f"| {depth} | {name} | 0 | | | |")
                    continue
                ratios = [ours[i] / got[i] for i in got if i in ours and name != "zmlx-rewrite"]
                low, high = bootstrap(ratios) if ratios else (0, 0)
                faster = f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]" if ratios else ""
                print(f"| {depth} | {name} | {len(got)} | {statistics.median(got.values()):.1f} | {min(got.values()):.1f} to {max(got.values()):.1f} | {faster} |")
        print(flush=True)

    def attention(self):
        for r in self.llama("1,0"):
            self.keep(**dict(r, what="llama.cpp", stage="attention", model=self.args.model))
            self.say(f"llama.cpp, flash attention {'on' if r['flash_attention'] else 'off'}, depth {r['depth']}: {r['tps']:.1f} tok/s, {r['backend']}, {r['gb']:.1f} GB")

    def bridge(self):
        out = self.run("bridge", [sys.executable, "scripts/device/mlxlm_decode.py", self.model, "--tokens", 200, "--warm-up", WARM, "--patch"], self.best, limit=150)
        for line in out.splitlines():
            if line.startswith("{"):
                self.keep(**dict(json.loads(line), stage="bridge", settings=self.best))
                print(line[:900], flush=True)
        (OUT / f"bridge-{self.args.model}.txt").write_text(out)


    def prompt(self):
        n = self.args.prompt
        for settings in dict.fromkeys(["", self.best]):
            out = self.run("mlx-lm", [sys.executable, "scripts/device/mlxlm_decode.py", self.model, "--prompt", n, "--tokens", 2, "--warm-up", 2, "--rounds", 3], settings, limit=300)
            got = [json.loads(l)["prompt_tps"] for l in out.splitlines() if l.startswith("{")]
            if got:
                self.prompt_row("mlx-lm", settings, statistics.median(got))
            out = self.run("zmlx-rewrite", ["zmlx-rewrite", "bench", "--model", self.model, "-p", n, "-n", 0, "-r", 2, "--warm-up", 1, "-o", "json"], settings, limit=300)
            for r in (json.loads(l) for l in out.splitlines() if l.startswith("{")):
                self.prompt_row(f"zmlx-rewrite, {r['program']}", settings, r["median_ts"])
        for r in self.llama(args=["-p", n, "-n", 0, "-d", 0, "-fa", 1, "-r", 3]):
            self.prompt_row("llama.cpp", "", r["tps"])

    def prompt_row(self, what, settings, tps):
        self.keep(what=what, stage="prompt", model=self.args.model, settings=settings, prompt=self.args.prompt, tps=tps)
        self.say(f"prompt of {self.args.prompt}: {what:26} {tps:9.1f} tok/s  {settings}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model", help="a reference configuration")
    p.add_argument("depths", nargs="?", default="0", type=lambda s: [int(d) for d in s.replace(",", " ").split()])
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--prompt", type=int, default=512, help="tokens, for the stage prompt")
    p.add_argument("--budget", type=float, default=float(os.environ.get("BUDGET", 300)), help="seconds in all")
    p.add_argument("--stages", default=os.environ.get("STAGES", "models attention sweep bridge rounds"))
    p.add_argument("--without", action="append", default=[], help="leave a program out of the rounds")
    p.add_argument("--ours", action="append", default=[], help="a flag for zmlx-rewrite generate: --ours=--exclude=RULE")
    p.add_argument("--cpu", action="store_true", help="llama.cpp may run on the CPU, to try this script")
    args = p.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    for stage in args.stages.replace(",", " ").split():
        if bench.left() < 8:
            bench.say(f"{stage}: no time is left")
            continue
        bench.say(f"stage {stage}")
        try:
            getattr(bench, stage)()
        except Exception as e:  # the other stages go on
            bench.say(f"{stage}: {type(e).__name__}: {e}")
            bench.keep(stage=stage, error=f"{type(e).__name__}: {e}")
    bench.say("done")


main()

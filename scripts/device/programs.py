"""The programs that are compared on one card, each a process of its own: zmlx-rewrite, mlx-lm
and llama.cpp. What they print becomes rows of one form, which baselines.py and session.py keep.

Depth is what the caches hold before the first token. zmlx-rewrite's and mlx-lm's are filled with
random rows, llama.cpp reads a prompt: so long a prompt is compiled by MLX for minutes.
Memory is told twice: peak_gb is what the program's own counter says of its arrays (llama.cpp
has none), device_gb the most that the card had in use while the program ran, by nvidia-smi,
less what it had before; without a card that is host_gb, of the process.
"""

import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = pathlib.Path(os.environ.get("OUT", "/tmp"))
MODELS = pathlib.Path(os.environ.get("MODELS", "/tmp/models"))
LLAMA = pathlib.Path(os.environ.get("LLAMA", "/tmp/zmlx/llama"))
LOCK = threading.Lock()  # around the file of rows and shared folders: session.py has several models side by side
WARM = 16  # tokens of mlx-lm that come first and do not count


def environment(text):
    return dict(pair.split("=", 1) for pair in text.split())


class Lane:
    """What programs have for themselves while others run beside them: a card, cores, and a folder of
    the modules that MLX compiles, whose files it does not write whole."""

    def __init__(self, card=0, cores=(), ptx=None):
        self.card, self.cores, self.ptx, self.idle = card, list(cores), ptx, None
        self.shared = pathlib.Path(os.environ.get("MLX_PTX_CACHE_DIR", "/nowhere"))

    def prefix(self):
        return ["taskset", "-c", f"{self.cores[0]}-{self.cores[-1]}"] if self.cores else []

    def environment(self):
        return {**({"CUDA_VISIBLE_DEVICES": str(self.card)} if self.cores else {}), **({"MLX_PTX_CACHE_DIR": str(self.ptx)} if self.ptx else {})}

    def take(self):
        """Has what other lanes compiled until now."""
        if self.ptx:
            copy_missing(self.shared, self.ptx)

    def give(self):
        if self.ptx:
            copy_missing(self.ptx, self.shared)

    def query(self):
        return ["nvidia-smi", "-i", str(self.card), "--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def before(self):
        """Notes what is in use on the card, in MiB, before the first process."""
        if self.idle is None and shutil.which("nvidia-smi"):
            self.idle = int(subprocess.run(self.query(), capture_output=True, text=True, timeout=20, check=True).stdout.split()[0])


def copy_missing(source, target):
    """Each file is there whole or not at all; the text beside a module comes first, as the module is looked for."""
    with LOCK:
        for f in sorted((f for f in source.rglob("*") if f.is_file()), key=lambda f: f.suffix == ".ptx"):
            to = target / f.relative_to(source)
            if not to.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                part = to.with_name(".part")
                shutil.copy(f, part)
                os.replace(part, to)


class Memory:
    """What is in use while a process runs: of the card, if there is one, and of the process. samples has
    seconds, bytes of the card and bytes of the process, four times a second; most is the process's most."""

    def __init__(self, pid, lane):
        self.pid, self.lane, self.samples, self.most, self.over, self.card = pid, lane, [], 0, threading.Event(), None
        if shutil.which("nvidia-smi"):
            self.card = subprocess.Popen([*lane.query(), "-lms", "250"], stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        if self.card:
            for line in self.card.stdout:
                self.sample((int(line) - self.lane.idle) * 2**20)
            return
        while not self.over.wait(0.25):
            self.sample(0)

    def sample(self, card):
        try:
            status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
            host, self.most = (int(status.split(f"{k}:")[1].split()[0]) * 1024 for k in ("VmRSS", "VmHWM"))
        except (OSError, IndexError, ValueError):  # it has ended
            host = 0
        self.samples.append((time.monotonic(), card, host))

    def end(self):
        self.over.set()
        if self.card:
            self.card.kill()
            self.card.wait()
        self.thread.join()
        most = max((s[1] for s in self.samples), default=0) if self.card else self.most
        return {("device_gb" if self.card else "host_gb"): round(most / 1e9, 3)}


class Programs:
    """What runs of one model. model is a reference configuration, whose folder and GGUF are in
    MODELS, or a folder of the checkout."""

    def __init__(self, model, budget, tokens=128, cpu=False, flags=(), file="baselines.jsonl", lane=None):
        self.lane = lane or Lane()
        self.name, self.tokens, self.cpu, self.flags, self.file = model, tokens, cpu, list(flags), file
        self.model, self.gguf = MODELS / model, MODELS / f"{model}.gguf"
        if (ROOT / model).is_dir() or pathlib.Path(model).suffix == ".gguf":
            self.model = ROOT / model
        self.start, self.end, self.budget = time.monotonic(), time.monotonic() + budget, budget
        self.best = os.environ.get("BEST", "MLX_MAX_OPS_PER_BUFFER=500")
        self.settings = os.environ.get("OURS", "MLX_MAX_OPS_PER_BUFFER=500")
        self.short = False  # something had too little time
        self.rows, self.gpu, self.memory, self.watching = [], None, {}, True  # whether memory is looked at

    def left(self):
        return self.end - time.monotonic()

    def say(self, text):
        where = f" {self.name}" if self.lane.ptx else ""  # others speak, too
        print(f"[{time.monotonic() - self.start:5.1f} s{where}] {text}", flush=True)

    def keep(self, **row):
        row = dict(model=self.name, **{k: v for k, v in row.items() if k != "model"})
        self.rows.append(row)
        with LOCK, open(OUT / self.file, "a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")

    def run(self, what, command, settings="", limit=120.0, env=None):
        """What a program prints. If it fails, its last words are said and kept. self.memory is
        what it took."""
        self.memory = {}
        limit = min(limit, self.left() - 3)
        if limit < 5:
            self.say(f"{what}: no time is left")
            self.short = True
            return ""
        start = time.monotonic()
        plain = {k: v for k, v in os.environ.items() if not k.startswith("MLX_MAX_")}
        if self.watching:
            self.lane.before()
        p = subprocess.Popen([str(c) for c in [*self.lane.prefix(), *command]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, errors="replace", start_new_session=True,
                             env={**plain, **self.lane.environment(), **environment(settings), **(env or {})})
        memory = self.watching and Memory(p.pid, self.lane)
        try:
            out, words = p.communicate(timeout=limit)
            why = f"exit status {p.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)  # and what it started: the next one is timed
            out, words = p.communicate()
            why, self.short = f"stopped after {limit:.0f} s", True
        self.memory, self.seconds, self.words = memory.end() if memory else {}, time.monotonic() - start, words
        self.samples = memory.samples if memory else []
        if p.returncode == 0:
            return out
        out = out[: out.rfind("\n") + 1]  # what there is of it, in whole lines
        tail = (words + out).strip().splitlines()[-6:]
        self.say(f"{what}: {why} after {self.seconds:.0f} s: " + " / ".join(tail)[-900:])
        self.keep(what=what, settings=settings, error=why, words=tail)
        return out

    def lines(self, *args, **kwargs):
        return [json.loads(l) for l in self.run(*args, **kwargs).splitlines() if l.startswith("{")]

    # Each returns rows of depth, batch and tokens a second.

    def ours(self, depths, batch=1, prompts=(), gens=None, runs=1):
        """The rewritten program against itself, so that all four runs of a round count."""
        gens = [self.tokens] if gens is None else gens
        numbers = lambda list_: ",".join(map(str, list_)) or "0"  # noqa: E731
        rows = self.lines("zmlx-rewrite", ["zmlx-rewrite", "bench", "--model", self.model, "-p", numbers(prompts), "-n", numbers(gens), "-d", numbers(depths), "--random-rows",
                                           "--batch-size", batch, "--against", "", "-r", runs, "--warm-up", 1 if prompts else 0, "-o", "json", *self.flags], self.settings, limit=240)
        sides, out = {}, []
        for r in rows:
            sides.setdefault((r["test"], r["n_depth"]), []).append(r)
        for (test, depth), both in sides.items():
            samples = [s for r in both for s in r["samples_ts"]]
            out.append(dict(depth=depth, batch=batch, test=test, tps=statistics.median(samples), samples=[round(s, 2) for s in samples], same=both[-1].get("tokens_identical"),
                            launches=both[-1]["launches_per_step"], peak_gb=round(max(r.get("peak_memory", 0) for r in both) / 1e9, 3), settings=self.settings, **self.memory))
        return out

    def mlxlm(self, settings, depths, batches=(1,), prompts=(), rounds=1, tokens=None):
        numbers = lambda list_: ",".join(map(str, list_))  # noqa: E731
        flags = ["--prompt", numbers(prompts), "--tokens", 2, "--warm-up", 2] if prompts else ["--tokens", tokens or self.tokens, "--warm-up", WARM]
        rows = self.lines("mlx-lm", [sys.executable, "scripts/device/mlxlm_decode.py", self.model, "--depth", numbers(depths), "--batch", numbers(batches), "--rounds", rounds, *flags], settings, limit=240)
        return [dict(r, settings=settings, **self.memory) for r in rows]

    def llama_runs(self):
        """Whether llama.cpp has the card: else it would run on the CPU, and take minutes."""
        if self.gpu is None:
            found = self.run("llama.cpp", [LLAMA / "llama-bench", "--list-devices"], limit=30, env=self.llama_paths())
            if not found:
                return False
            self.gpu = "CUDA" in found or self.cpu
            self.say("llama.cpp: " + " ".join(found.split()))
        return self.gpu and self.gguf.exists()

    @staticmethod
    def llama_paths():
        return dict(LD_LIBRARY_PATH=f"{LLAMA}:{os.environ.get('LD_LIBRARY_PATH', '')}")

    def llama(self, depths=(0,), attention="1", args=None):
        if not self.llama_runs():
            return []
        args = args or ["-p", 0, "-n", self.tokens, "-d", ",".join(map(str, depths)), "-fa", attention, "-r", 1]
        rows = []
        for r in self.lines("llama.cpp", [LLAMA / "llama-bench", "-m", self.gguf, *args, "-ngl", 99, "-o", "jsonl"], env=self.llama_paths()):
            if not r["gpu_info"] and not self.cpu:
                self.say(f"llama.cpp ran on {r['backends']}, not on the GPU: not counted")
                self.keep(what="llama.cpp", error="no GPU", backends=r["backends"])
                continue
            rows.append(dict(depth=r["n_depth"], batch=1, prompt=r["n_prompt"], tps=r["avg_ts"], flash_attention=bool(r["flash_attn"]), backend=r["backends"], gpu=r["gpu_info"],
                             weights_gb=r["model_size"] / 1e9, **self.memory))
        return rows

    def llama_batches(self, depth, batches):
        """llama-batched-bench: each sequence has read a prompt of the depth, of one token at least."""
        if not self.llama_runs():
            return []
        room = max(batches) * (max(depth, 1) + self.tokens + 16)
        batched = lambda some: self.lines(  # noqa: E731
            "llama.cpp", [LLAMA / "llama-batched-bench", "-m", self.gguf, "-c", room, "-b", 2048, "-ub", 512, "-npp", max(depth, 1), "-ntg", self.tokens,
                                        "-npl", ",".join(map(str, some)), "-ngl", 99, "-fa", "on", "--output-format", "jsonl"], env=self.llama_paths())
        rows = batched(batches)
        missing = [n for n in batches if n not in [r["pl"] for r in rows]]
        if rows and missing:  # its log is written by a thread, which once was too late at the end
            rows += batched(missing)
        # Memory is that of room for the largest batch.
        return [dict(depth=depth, batch=r["pl"], tps=r["speed_tg"], prompt_tps=r["speed_pp"], **self.memory) for r in rows]

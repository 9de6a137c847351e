"""Measures, on a machine with one GPU or several, what issue 7 and 9 ask for, most important first.
session.sh runs it; it says what it is going to do, does what there is time for, and goes on the next
time where it stopped. Each result is in $OUT/session.jsonl as soon as it is there.

Each GPU has cores of its own and does one part after the other; no model is on two at once.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import threading
import time

import baselines
import tables
from programs import LOCK, MODELS, OUT, ROOT, Lane

STATE = pathlib.Path(os.environ.get("STATE", "/tmp/zmlx/session"))
FILE = "session.jsonl"

QWEN, LFM, GPT, GLM, LFM8 = "Qwen3-30B-A3B-4bit", "LFM2-8B-A1B-4bit", "gpt-oss-20b-MXFP4-Q4", "GLM-4.7-Flash-4bit", "LFM2-8B-A1B-8bit"
TRAINED = [f"testdata/trained/{m}" for m in ("qwen3_moe", "lfm2_moe", "gpt_oss", "glm4_moe_lite", "deepseek_v3", "gemma3_text")]
SMOL = [os.environ.get("SMOLLM2", "/tmp/zmlx/smollm2") + "/" + f for f in ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-MoE")]
SIDE_BY_SIDE = {"trained models": TRAINED, "SmolLM2": SMOL}  # three at once: nothing of them is timed
LONG = "0,512,8192,32768"

# Stage, model, what it is expected to take in seconds on an H200, flags of baselines.py. The seconds
# are of the calls of 2026-11-29 where there were such, and otherwise counted: 15 to 20 s until mlx-lm has
# read 17 GB page by page, 5 s for ours, 10 ms a step of mlx-lm. Making a model is 35 s (Qwen3) or
# less, once a machine, and comes on top.
PLAN = [
    # Three rounds, so that there are intervals, of the 256 tokens that the issue asks for.
    ("rounds", QWEN, 400, f"--depths {LONG} --rounds 3 --tokens 256"),
    ("rounds", LFM8, 200, f"--depths {LONG} --rounds 3 --tokens 256 --without llama.cpp"),
    # A random model's tokens soon go in circles, and then prompts are no measurements of their own.
    ("errors", LFM8, 60, "--error-prompts abcdefghijklmnopqrstuvwxyz --error-tokens 12 --without llama.cpp"),
    ("rounds", LFM, 200, f"--depths {LONG} --rounds 3 --tokens 256"),
    ("rounds", GPT, 240, f"--depths {LONG} --rounds 3 --tokens 256"),
    ("tokens", "trained models", 250, ""),
    ("steady", QWEN, 60, ""),
    ("batch", QWEN, 150, "--rounds 2"),
    ("batch", LFM, 100, "--rounds 2"),
    ("batch", GPT, 140, "--rounds 2"),
    ("bridge", QWEN, 210, ""),
    ("tokens", "SmolLM2", 150, ""),
    ("rounds", GLM, 300, f"--depths {LONG} --rounds 3 --tokens 256"),
    ("prompt", QWEN, 240, "--prompts 512,8192"),
    ("prompt", LFM, 150, "--prompts 512,8192"),
    ("prompt", LFM8, 150, "--prompts 512,8192 --without llama.cpp"),
    ("prompt", GLM, 240, "--prompts 512,8192"),
    ("bridge", LFM, 150, ""),
    ("errors", QWEN, 80, "--error-tokens 64"),
    ("errors", LFM, 40, ""),
    ("errors", GPT, 65, ""),
    ("errors", GLM, 100, ""),
    ("batch", GLM, 100, "--rounds 1"),
    ("batch", LFM8, 100, "--rounds 1 --without llama.cpp"),
    ("settings", QWEN, 190, ""),
    ("ways", GPT, 120, ""),
    ("prompt", GPT, 150, "--prompts 512,8192"),
    ("fault", GLM, 140, ""),
    ("ways", QWEN, 200, ""),
    ("ways", LFM, 100, ""),
]


def plan(only, tiny):
    """tiny: the same stages on small models, so that all of this can be tried without a GPU."""
    rows = PLAN
    if tiny:
        small = {QWEN: "qwen3_moe", LFM: "lfm2_moe", GPT: "gpt_oss", GLM: "glm4_moe_lite", LFM8: "lfm2_moe"}
        flags = " --tokens 24 --rounds 2 --error-tokens 12 --error-dtype bfloat16 --identity-tokens 24 --steady-tokens 64"
        rows = [(s, small.get(m, m), 12, f.replace(LONG, "0,64,300").replace("512,8192", "64,200") + flags) for s, m, _, f in rows]
    rows = list(dict.fromkeys(rows))
    return [r for r in rows if not only or any(o in (r[0], r[1], f"{r[0]}:{r[1]}") for o in only)]


def cards():
    """How many GPUs there are; one where it cannot be told."""
    try:
        out = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 1
    return max(out.count("GPU "), 1)


def lanes(n):
    """One of n GPUs each, with its share of the cores; a machine with one GPU is taken as it is."""
    if n == 1:
        return [Lane()]
    share = os.cpu_count() // n
    return [Lane(i, range(i * share, (i + 1) * share), STATE / f"ptx{i}") for i in range(n)]


class Session:
    def __init__(self, args):
        self.args, self.start = args, time.monotonic()
        OUT.mkdir(parents=True, exist_ok=True)
        STATE.mkdir(parents=True, exist_ok=True)
        earlier = ROOT / ".device" / FILE  # of another machine, carried here
        if not (STATE / FILE).exists() and earlier.exists():
            shutil.copy(earlier, STATE / FILE)
        self.rows = [json.loads(l) for l in (STATE / FILE).read_text().splitlines()] if (STATE / FILE).exists() else []
        self.using, self.change = set(), threading.Condition()  # models that a lane has
        self.publish()

    def left(self):
        return self.args.budget - (time.monotonic() - self.start)

    def publish(self):
        if (STATE / FILE).exists():
            shutil.copy(STATE / FILE, OUT / FILE)

    def tries(self, item):
        mine = [r for r in self.rows if r.get("item") == list(item[:2])]
        return len(mine), any(r["whole"] for r in mine)

    def parsed(self, item, model):
        p, numbers = baselines.parser()
        p.add_argument("--depths", default="0", type=numbers)
        args = p.parse_args(shlex.split(item[3]) + ["--cpu"] * self.args.tiny)
        args.model = model
        if model in SMOL:  # its activations are float32
            args.dtypes = ["float32"]
        return args

    def work(self, lane, todo):
        """One lane's part: the first of what is to be done whose model no other lane has."""
        while True:
            with self.change:
                while not (item := next((i for i in todo if i[1] not in self.using), None)):
                    if not todo:
                        return
                    self.change.wait()
                todo.remove(item)
                self.using.add(item[1])
            try:
                if self.left() < 0.7 * item[2] + 5:
                    print(f"{item[0]} {item[1]}: no time, {self.left():.0f} s are left of the {item[2]} s that it takes", flush=True)
                    continue  # a shorter one may fit
                print(f"\n== {item[0]} {item[1]}" + f", on GPU {lane.card}" * bool(lane.ptx) + f", {self.left():.0f} s left", flush=True)
                lane.take()
                self.run(item, lane)
                lane.give()
                self.tables()
            except Exception as e:  # the other parts go on
                print(f"{item[0]} {item[1]}: {type(e).__name__}: {e}", flush=True)
            finally:
                with self.change:
                    self.using.remove(item[1])
                    self.change.notify_all()

    def run(self, item, lane):
        stage, model, seconds, _ = item
        start = time.monotonic()
        some = SIDE_BY_SIDE.get(model, [model])
        with concurrent.futures.ThreadPoolExecutor(1 if self.args.tiny else 3) as pool:
            whole = all(list(pool.map(lambda m: self.one(item, m, len(some) == 1, lane), some)))
        row = dict(item=[stage, model], whole=whole, seconds=round(time.monotonic() - start, 1), expected=seconds, made=time.strftime("%Y-%m-%d %H:%M:%S"))
        self.rows.append(row)
        with LOCK:
            with open(OUT / FILE, "a", encoding="utf-8") as f:
                f.write(json.dumps(row) + "\n")
            shutil.copy(OUT / FILE, STATE / FILE)

    def one(self, item, model, alone, lane):
        """A stage of one model; whether all of it was done."""
        stage, _, seconds, _ = item
        if not alone:  # has modules of its own: others of this card run beside it
            lane = Lane(lane.card, lane.cores, STATE / f"ptx-{pathlib.Path(model).stem}")
            lane.take()
        bench = baselines.Bench(self.parsed(item, model), self.left() - 2, FILE, lane, self.using)
        bench.rows, bench.watching = [r for r in self.rows if r.get("model") == model], alone
        before = len(bench.rows)
        if not bench.model.exists() and "/" not in model:
            baselines.run(bench, ["models"])
        if not bench.model.exists():
            bench.say(f"{bench.model} is not here")
            return False
        bench.end = min(bench.end, time.monotonic() + max(seconds * 1.5, 60))
        baselines.run(bench, [stage])
        if not alone:
            lane.give()
        made = bench.rows[before:]
        self.rows += made
        return any("error" not in r for r in made) and not bench.short

    def tables(self):
        """All tables of what was measured, this time and earlier."""
        with LOCK:
            rows = [r for r in self.rows if "model" in r]
            (OUT / "session.md").write_text("\n".join(f(rows) for f in (tables.depths, tables.sequences, tables.prompts, tables.ways, tables.errors)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("only", nargs="*", help="stages, models or STAGE:MODEL; all if left out")
    p.add_argument("--budget", type=float, default=float(os.environ.get("BUDGET", 560)), help="seconds in all")
    p.add_argument("--cards", type=int, help="how many GPUs; all that there are if left out")
    p.add_argument("--plan", action="store_true", help="say what would be done, and what it is expected to take")
    p.add_argument("--tiny", action="store_true", help="small models, as there are in MODELS, to try this script")
    args = p.parse_args()
    s = Session(args)
    items = plan(args.only, args.tiny)
    print(f"what is to be done, of {args.budget:.0f} s; {MODELS} is where models are")
    total = 0
    for item in items:
        n, whole = s.tries(item)
        total += 0 if whole else item[2]
        print(f"  {item[0]:8} {item[1]:40} {item[2]:4} s  " + ("done" if whole else f"{total:5} s in all" + (", tried before" if n else "")) + f"  {item[3]}")
    if args.plan:
        return
    todo = [i for i in items if s.tries(i)[0] < 2 and not s.tries(i)[1]]
    use = lanes(args.cards or cards())
    with concurrent.futures.ThreadPoolExecutor(len(use)) as pool:
        for done in [pool.submit(s.work, lane, todo) for lane in use]:
            done.result()
    rest = [f"{i[0]} {i[1]}" for i in items if not s.tries(i)[1]]
    print(f"{args.budget - s.left():.0f} s; {OUT / FILE} has {len(s.rows)} rows; " + ("not done: " + ", ".join(rest) if rest else "all is done"))


if __name__ == "__main__":
    main()

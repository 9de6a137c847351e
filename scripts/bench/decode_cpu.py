#!/usr/bin/env python3
"""Decode speed on the CPU: the rewritten program, mlx-lm, and llama.cpp, in turns.

    scripts/bench/decode_cpu.sh [--rounds N] [--tokens N] [--prompts N,N] [--out FILE]

All three have the weights of SmolLM2-135M-Instruct.Q4_1.gguf (mlx-lm converted to its
format, which changes no value), the same prompt's tokens, the same number of threads,
batch 1, greedy, and the end token ignored. What counts is the time from the first new
token to the last. A round is ours, mlx-lm, llama.cpp, llama.cpp, mlx-lm, ours, one
process each, so that a machine that slows down steadily slows all; the first round warms
up. Ratios are of geometric means of a round's two runs; the verdict is the median over
rounds, with a 95 % interval by bootstrap.

Tokens: ours must be mlx-lm's but for near-ties, which validate judges
(docs/VERIFY.md); how many are equal is written down. llama.cpp rounds activations to
8 bits before each product, so its tokens may be others: it is here for its speed.

decode_cpu.sh installs the pinned llama.cpp first. Writes a JSON record with every run.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

from decode_vs_mlxlm import mlx_lm
from paired import COMMAND, ROOT, bootstrap, machine, quiet_rounds, versions

MODEL = ROOT / ".cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = ROOT / "docs/RATIONALE.md"  # of which a prompt is the beginning


def ours(text, n, *more):
    command = [COMMAND, "generate", "--model", MODEL, "--ignore-eos", "--ignore-chat-template", "--max-tokens", str(n + 1), "--prompt", "-", "--output", "json", *more]
    out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout)
    return dict(tokens=out["tokens"][:n], tps=(n - 1) / out["token_times"][n - 1], prompt=out["prompt_tokens"])


def llama_cpp(prompt, n):
    command = [sys.executable, __file__, "--worker", json.dumps(prompt), "--tokens", str(n)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def worker(prompt, n):
    """llama.cpp's run, in a process of its own, timed by itself."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = str(MODEL)
    p.n_ctx, p.n_parallel, p.verbosity = len(prompt) + n + 64, 1, -1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = os.cpu_count()
    server = xllamacpp.Server(p)
    answer = server.handle_completions(dict(prompt=prompt, n_predict=n, temperature=0, samplers=["temperature"], cache_prompt=False, ignore_eos=True, return_tokens=True))
    t = answer["timings"]
    print(json.dumps(dict(tps=(n - 1) / ((t["predicted_ms"]) / 1000) if t["predicted_n"] == n else 0.0)))


def cut(words, count):
    """The beginning of a text that has about so many tokens."""
    low, high = 1, count
    while low < high:
        middle = (low + high + 1) // 2
        if len(ours(" ".join(words[:middle]), 1)["prompt"]) <= count:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=5, help="rounds that count")
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--prompts", default="128,512", help="tokens of the prompts, about")
    p.add_argument("--others", type=float, default=0.1, help="share of one core that other processes may take in a round that counts")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache/bench/decode_cpu.json")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        return worker(json.loads(a.worker), a.tokens)
    words = TEXT.read_text().split()
    records = []
    for count in map(int, a.prompts.split(",")):
        text = cut(words, count)
        first = ours(text, a.tokens)
        equal = []

        def round():
            runs = [ours(text, a.tokens), mlx_lm(a.tokens, first["prompt"]), llama_cpp(first["prompt"], a.tokens)]
            runs += [llama_cpp(first["prompt"], a.tokens), mlx_lm(a.tokens, first["prompt"]), ours(text, a.tokens)]
            equal.append(next((i for i, (x, y) in enumerate(zip(runs[0]["tokens"], runs[1]["tokens"])) if x != y), a.tokens))
            o, m, l = ([runs[i]["tps"], runs[5 - i]["tps"]] for i in range(3))
            return dict(ours=o, mlx_lm=m, llama_cpp=l, of_mlx_lm=math.sqrt(o[0] * o[1] / (m[0] * m[1])), of_llama_cpp=math.sqrt(o[0] * o[1] / (l[0] * l[1])))

        rounds, busy = quiet_rounds(a.rounds, a.others, round)
        record = dict(prompt_tokens=len(first["prompt"]), tokens=a.tokens, equal_tokens=min(equal), rounds=rounds, busy_rounds=busy)
        line = f"prompt {len(first['prompt'])}, {a.tokens} tokens:"
        for name in ("ours", "mlx_lm", "llama_cpp"):
            record[name + "_tps"] = statistics.median(x for r in rounds for x in r[name])
            line += f" {name} {record[name + '_tps']:.1f}"
        for name in ("of_mlx_lm", "of_llama_cpp"):
            ratios = [r[name] for r in rounds]
            low, high = bootstrap(ratios)
            record[name] = dict(ratio=statistics.median(ratios), interval=[low, high])
            line += f" | {name} {record[name]['ratio']:.2f} [{low:.2f}, {high:.2f}]"
        print(line + f" | the first {min(equal)} tokens are mlx-lm's", flush=True)
        records.append(record)
    out = dict(date=datetime.date.today().isoformat(), model=MODEL.name, batch=1, threads=os.cpu_count(), machine=machine(), versions=versions("mlx", "mlx-lm", "xllamacpp"), prompts=records)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()

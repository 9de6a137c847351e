#!/usr/bin/env python3
"""Decode speed of the unrewritten program against mlx-lm, paired.

    .cache/oracle/venv/bin/python scripts/bench/decode_vs_mlxlm.py [--rounds N] [--tokens N] [--out FILE]

Both run SmolLM2-135M-Instruct with the same weights, prompt and device, batch 1,
greedily, with the end token ignored; the tokens must be equal, or nothing is
compared. One run is one process, and what counts in it is the time from the first
new token to the last. mlx-lm starts a step that nobody asks for before it hands out
its last token, and MLX returns from that only when most of the step is done; ours
makes one token more, which does not count, so that both sides hand out every token
that counts behind the start of another step. A round is four runs, ours, mlx-lm's, mlx-lm's, ours, so that
a machine that slows down steadily slows both; the first round warms up and is thrown
away. The round's ratio is ours / mlx-lm's, geometric means of two runs each. The
verdict is the median over rounds, with a 95 % interval by bootstrap over rounds.

A round during which other processes took more than --others of a core is run again,
whatever its ratio; only Linux can tell. After three times as many rounds as asked
for the script gives up.

Writes a JSON record with every run. The exit status is 1 if the interval is not
above --above.
"""

import argparse
import datetime
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

from paired import COMMAND, ROOT, bootstrap, machine, quiet_rounds, versions

MODEL = ROOT / ".cache/oracle/smollm2"
PROMPT = "Explain in two sentences why the sky is blue."


def ours(n, prompt):
    command = [COMMAND, "generate", "--model", MODEL, "--no-rewrite", "--ignore-eos", "--max-tokens", str(n + 1), "--prompt", prompt, "--output", "json"]
    out = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return dict(tokens=out["tokens"][:n], tps=(n - 1) / out["token_times"][n - 1], prompt=out["prompt_tokens"])


def mlx_lm(n, prompt):
    command = [sys.executable, __file__, "--worker", json.dumps(prompt), "--tokens", str(n)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def worker(n, prompt):
    """mlx-lm's run, in a process of its own. Its generation_tps counts one token
    more than there are intervals between tokens, so time is taken here."""
    import mlx.core as mx
    from mlx_lm import load
    from mlx_lm.generate import generate_step

    model, _ = load(str(MODEL))
    tokens, first = [], 0.0
    for token, _ in generate_step(mx.array(prompt), model, max_tokens=n):
        tokens.append(token)
        if len(tokens) == 1:
            first = time.perf_counter()
    print(json.dumps(dict(tokens=tokens, tps=(n - 1) / (time.perf_counter() - first))))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=10, help="rounds that count")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--others", type=float, default=0.1, help="share of one core that other processes may take in a round that counts")
    p.add_argument("--above", type=float, default=0.97, help="what the interval has to lie above")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache/bench/decode.json")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        return worker(a.tokens, json.loads(a.worker))
    if not (MODEL / "tokenizer_config.json").exists():
        subprocess.run([sys.executable, ROOT / "scripts/oracle/smollm2_to_mlx.py"], check=True)

    prompt = ours(2, PROMPT)["prompt"]

    def round():
        runs = [ours(a.tokens, PROMPT), mlx_lm(a.tokens, prompt), mlx_lm(a.tokens, prompt), ours(a.tokens, PROMPT)]
        if any(r["tokens"] != runs[0]["tokens"] for r in runs):
            raise SystemExit("the tokens differ, so the speeds say nothing")
        o, m = [runs[0]["tps"], runs[3]["tps"]], [runs[1]["tps"], runs[2]["tps"]]
        return dict(ours=o, mlx_lm=m, ratio=math.sqrt(o[0] * o[1] / (m[0] * m[1])))

    rounds, busy = quiet_rounds(a.rounds, a.others, round)
    ratios = [r["ratio"] for r in rounds]
    low, high = bootstrap(ratios)
    record = dict(
        date=datetime.date.today().isoformat(), model=MODEL.name, prompt_tokens=len(prompt), tokens=a.tokens, batch=1,
        machine=machine(), versions=versions("mlx", "mlx-lm"),
        ours_tps=statistics.median(x for r in rounds for x in r["ours"]),
        mlx_lm_tps=statistics.median(x for r in rounds for x in r["mlx_lm"]),
        ratio=statistics.median(ratios), interval=[low, high], above=a.above, rounds=rounds, busy_rounds=busy,
    )  # fmt: skip
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(record, indent=1) + "\n")
    verdict = "above" if low > a.above else "NOT above"
    print(f"ours {record['ours_tps']:.2f}, mlx-lm {record['mlx_lm_tps']:.2f} tokens/s; ratio {record['ratio']:.3f}, 95 % interval [{low:.3f}, {high:.3f}], {verdict} {a.above}")
    sys.exit(low <= a.above)


if __name__ == "__main__":
    main()

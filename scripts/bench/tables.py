#!/usr/bin/env python3
"""Makes tables of docs/BENCHMARKS.md from the records in benchmarks/capsules.

    python3 scripts/bench/tables.py            # writes the tables anew
    python3 scripts/bench/tables.py [--check]  # says which of them are not what the records say

A table stands behind a line `<!-- figures: KIND FILE[:LOAN] … MODEL … -->`: rows of the named files
(of one loan of the machine, or of all), of the named models, in that order. KIND is a function below.
scripts/device/session.py prints the same tables.
"""

import json
import re
import statistics
import sys

from paired import ROOT, bootstrap

PAGE = ROOT / "docs/BENCHMARKS.md"
NAMES = {
    "Qwen3-30B-A3B-4bit": "Qwen3-30B-A3B, 4-bit", "LFM2-8B-A1B-4bit": "LFM2-8B-A1B, 4-bit", "LFM2-8B-A1B-8bit": "LFM2-8B-A1B, 8-bit",
    "gpt-oss-20b-MXFP4-Q4": "GPT-OSS-20B, mxfp4", "GLM-4.7-Flash-4bit": "GLM-4.7-Flash, 4-bit",
}
OURS, BEST, DEFAULT, LLAMA = "zmlx-rewrite", "mlx-lm best", "mlx-lm default", "llama.cpp"
median = statistics.median


def table(head, lines):
    if not lines:
        return ""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, *lines]).replace("\n", "\n" + "|" + "---|" * len(head) + "\n", 1) + "\n"


def number(x):
    return f"{x:,.0f}" if x >= 1000 else f"{x:.1f}"


def spread(values):
    if not values:
        return ""
    return number(median(values)) + (f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else "")


def times(ours, theirs):
    """By how much ours is faster, of the rounds that both have, with its interval of three or more."""
    ratios = [ours[i] / theirs[i] for i in theirs if i in ours]
    if not ratios:
        return ""
    if len(ratios) < 3:
        return f"{median(ratios):.2f}"
    low, high = bootstrap(ratios)
    return f"{median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def beside(rows, stage, of, what):
    """Rounds of all programs, by depth or by the number of sequences."""
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model and r.get("stage") == stage and "tps" in r]
        for i, key in enumerate(sorted({r[of] for r in mine})):
            got = {name: {r["round"]: r["tps"] for r in mine if r["what"] == name and r[of] == key} for name in (OURS, BEST, DEFAULT, LLAMA)}
            peak = lambda name: max((r["peak_gb"] for r in mine if r["what"] == name and r[of] == key and r.get("peak_gb")), default=None)  # noqa: E731, B023
            peaks = ", ".join(f"{p:.1f}" for p in (peak(OURS), peak(BEST)) if p)
            lines.append([NAMES.get(model, model) if i == 0 else "", f"{key:,}", str(len(got[OURS])), spread(got[OURS].values()), spread(got[BEST].values()), times(got[OURS], got[BEST]),
                          spread(got[DEFAULT].values()), times(got[OURS], got[DEFAULT]), spread(got[LLAMA].values()), times(got[OURS], got[LLAMA]), peaks])
    return table(["", what, "rounds", OURS, "mlx-lm, 500", "times", "mlx-lm, default", "times", LLAMA, "times", "GB"], lines)


def depths(rows):
    return beside(rows, "rounds", "depth", "depth")


def sequences(rows):
    return beside(rows, "batch", "batch", "sequences")


def prompts(rows):
    """Of the stage prompt: medians of all runs. What compiles is warmed up before them."""
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model and r.get("stage") == "prompt" and "tps" in r]
        for i, n in enumerate(sorted({r["prompt"] for r in mine})):
            of = lambda what: [r["tps"] for r in mine if r["what"] == what and r["prompt"] == n]  # noqa: E731, B023
            ours, theirs, llama = of(OURS), of("mlx-lm"), of(LLAMA)
            lines.append([NAMES.get(model, model) if i == 0 else "", f"{n:,}", spread(ours), spread(theirs), f"{median(ours) / median(theirs):.3f}" if ours and theirs else "", spread(llama)])
    return table(["", "tokens", OURS, "mlx-lm, 500", "times", LLAMA], lines)


def ways(rows):
    """Of `bench` with several rules: the better run of each, since the first one compiles."""
    kinds = [k for k in ("unrewritten", "our kernel", "many rows", "experts unpacked", "all unpacked") if any(r.get("way") == k for r in rows)]
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model and r.get("way") in kinds and r["test"].startswith("pp")]
        for i, n in enumerate(sorted({int(r["test"][2:]) for r in mine})):
            best = lambda way: max((max(r["samples_ts"]) for r in mine if r["way"] == way and r["test"] == f"pp{n}"), default=None)  # noqa: E731, B023
            lines.append([NAMES.get(model, model) if i == 0 else "", f"{n:,}", *(f"{x:,.0f}" if (x := best(way)) else "" for way in kinds)])
    return table(["", "tokens", *kinds], lines)


def errors(rows):
    """Root mean squares of logits against float32, over prompts; the last run of each prompt counts. The
    interval is over prompts drawn anew."""
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        last = {r["prompt"]: r for r in rows if r["model"] == model and r.get("stage") == "errors" and "float32" in r}
        stock, ours = ([r["float32"][i]["rms_error"] for r in last.values()] for i in (0, 1))
        if not ours:
            continue
        mean = lambda list_: (sum(x * x for x in list_) / len(list_)) ** 0.5  # noqa: E731
        low, high = bootstrap(list(zip(ours, stock)), lambda pairs: mean([a for a, _ in pairs]) / mean([b for _, b in pairs]))
        single = [a / b for a, b in zip(ours, stock)]
        lines.append([NAMES.get(model, model), str(len(ours)), f"{mean(ours):.4g}", f"{mean(stock):.4g}", f"{mean(ours) / mean(stock):.3f} [{low:.3f}, {high:.3f}]", f"{min(single):.2f} to {max(single):.2f}"])
    return table(["", "prompts", "rewritten", "MLX's own", "of it", "single prompts"], lines)


def bridge(rows):
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        for loan in sorted({r["loan"] for r in rows}):
            for cache in "empty", "full":
                mine = [r for r in rows if r["model"] == model and r["loan"] == loan and r.get("stage") == "bridge" and r.get("cache") == cache]
                one = next((r for r in mine if r["what"] == "bridge"), None)
                text = next((r for r in mine if r["what"] == "bridge pairs" and r["prompt"] == 1), None)
                prompt = next((r for r in mine if r["what"] == "bridge pairs" and r["prompt"] > 1), None)
                if not one or not text:
                    continue
                lines.append([NAMES.get(model, model), cache, *(f"{x:.0f}" for x in text["generation_tps"]), ", ".join(f"{x:.2f}" for x in text["speedups"]), f"{text['speedup']:.2f}",
                              f"{one['patch_and_tokens_s']:.1f}", f"{one['unpatched_tokens_s']:.1f}", f"{prompt['prompt_speedup']:.3f}" if prompt else ""])
    return table(["", "cache folder", "unpatched, tokens/s", "patched", "times, each pair", "median", "patch and 200 tokens, s", "200 tokens alone, s", "a prompt of 512, times"], lines)


KINDS = {f.__name__: f for f in (depths, sequences, prompts, ways, errors, bridge)}
MARK = re.compile(r"(<!-- figures: ([^\n]*) -->\n)((?:\|[^\n]*\n)*)")


def made(text):
    """The table that a mark asks for."""
    kind, *words = text.split()
    files = [w for w in words if ".jsonl" in w]
    models = [w for w in words if w not in files]
    rows = []
    for file in files:
        name, _, loan = file.partition(":")
        for line in (ROOT / "benchmarks/capsules" / name).read_text().splitlines():
            row = json.loads(line)
            if not loan or row["loan"] == int(loan):
                rows.append(row)
    return KINDS[kind](sorted((r for r in rows if r.get("model") in models), key=lambda r: models.index(r["model"])))


def main():
    page = PAGE.read_text()
    anew = MARK.sub(lambda m: m[1] + made(m[2]), page)
    marks = MARK.findall(page)
    if "--check" in sys.argv[1:]:
        wrong = [m[1] for m in marks if m[2] != made(m[1])]
        for w in wrong:
            print(f"{PAGE.relative_to(ROOT)}: figures: {w}: is not what the records say; scripts/bench/tables.py writes it anew")
        print(f"{len(marks)} tables, {len(wrong)} not as the records say")
        sys.exit(1 if wrong or not marks else 0)
    PAGE.write_text(anew)


if __name__ == "__main__":
    main()

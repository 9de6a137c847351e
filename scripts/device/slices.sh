#!/usr/bin/env bash
# Checks families that are too large to run: each distinct replacement of a reference
# configuration at full width, in its first layers, on random weights and on ones with heavy
# tails, beside MLX's own ops, both against float32. Runs on the machine with the GPU, after
# unpack.sh, or wherever zmlx-rewrite is on the PATH. Writes slices.jsonl into $OUT, one
# object a replacement, and prints the table; the exit status is 1 if one failed.
#
#     scripts/device/slices.sh [LAYERS [MODEL[:RULE,RULE...]...]]
#
# BUDGET is the time for a model with one kind of weights (0: as long as it takes); what it
# did not suffice for is counted in the table's last column. JOBS models are checked at a
# time: errors do not depend on what else the machine does.
set -uo pipefail
[ ! -f /tmp/zmlx/env.sh ] || . /tmp/zmlx/env.sh
layers=${1:-2}
shift || true
[ $# -gt 0 ] || set -- Kimi-K2.5-4bit DeepSeek-V3.2-4bit Qwen3-Coder-Next-4bit GLM-4.7-Flash-4bit gpt-oss-20b-MXFP4-Q4 Qwen3-30B-A3B-4bit LFM2-8B-A1B-4bit
out=${OUT:-/tmp}
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
for model in "$@"; do
	rules=${model#"${model%%:*}"}
	for weights in random heavy-tailed; do
		echo "${model%%:*} $weights ${rules#:}"
	done
done | layers=$layers parts=$parts xargs -P "${JOBS:-1}" -L 1 bash -c '
	flags=$([ "$1" = random ] || echo --heavy-tailed)
	only=$(echo "${2:-}" | tr , "\\n" | sed "s/./--only &/")
	start=$SECONDS
	zmlx-rewrite verify --device --fresh --model "$0" --layers "$layers" --random-weights $flags --budget "${BUDGET:-60s}" $only -o json >"$parts/$0-$1-$$" 2>"$parts/$0-$1-$$.err"
	echo "$0, $1: exit status $?, $((SECONDS - start)) s" >&2
	[ -s "$parts/$0-$1-$$" ] || cat "$parts/$0-$1-$$.err" >&2'
python3 - "$parts" "$@" >"$out/slices.jsonl" <<'PY'
import json, pathlib, sys
for model in dict.fromkeys(m.partition(":")[0] for m in sys.argv[2:]):
    for weights in "random", "heavy-tailed":
        for part in pathlib.Path(sys.argv[1]).glob(f"{model}-{weights}-*[0-9]"):
            for line in part.read_text().splitlines():
                print(json.dumps(dict(json.loads(line), weights=weights)))
PY
python3 - "$out/slices.jsonl" <<'PY'
import json, sys
rows = [json.loads(l) for l in open(sys.argv[1])]
bad = sum(r["verdict"] == "failed" for r in rows)
print("| model | weights | rule | contract | where | case | calls | rows up to | MLX's ops | rewritten | left out |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
for r in rows:
    for p in r.get("places") or [{"scope": r["scope"]}]:
        error, stock = p.get("error", 0), p.get("stock_error", 0)
        if r["verdict"] != "passed":
            what = [r["verdict"], r["verdict"]]
        elif r["numerics"] == "exact":
            what = ["", "every bit"]
        else:
            what = [f"{stock:.1e}", f"{error:.1e}"]
        print("|", " | ".join([r["model"], r["weights"], r["rule"], r["numerics"], p["scope"], r["cases"][0], str(r["calls"]),
                               str(max(r["rows"] or [0])), *what, str(len(r.get("left_out") or [])) ]), "|")
print(f"\n{rows[0]['device'] if rows else ''}; {len(rows)} replacements, {bad} failed, {sum(r['verdict'] == 'skipped' for r in rows)} not checked", file=sys.stderr)
for r in rows:
    if r["verdict"] == "failed":
        print(r["model"], r["rule"], r["reason"], file=sys.stderr)
sys.exit(bad > 0 or not rows)
PY

#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: how fast a reference configuration with random
# weights decodes behind so many tokens, with all rules and without some, so that one sees from which
# length on a rule pays. Writes depths.jsonl into $OUT, one object a run.
#
#     scripts/device/depths.sh Qwen3-30B-A3B-4bit 9000 [RULE...]    # each RULE is left out in a run of its own
set -euo pipefail
. /tmp/zmlx/env.sh
export MLX_MAX_OPS_PER_BUFFER=500
name=$1 tokens=$2
shift 2
model=${MODELS:-/tmp/models}/$name
out=${OUT:-/tmp}
[ -f "$model/model.safetensors" ] || python3 scripts/device/random_model.py "$name" "$model"
for rule in "" "$@"; do
	zmlx-rewrite generate --model "$model" --prompt a --ignore-chat-template --ignore-eos --max-tokens "$tokens" -o json ${rule:+--exclude "$rule"} >/tmp/depths.json
	python3 - "$name" "$rule" /tmp/depths.json "$out/depths.jsonl" <<'PY'
import hashlib, json, sys
r = json.load(open(sys.argv[3]))
at = r["token_times"]
rows, first, step = {}, 24, 100
while first + step < len(at):
    # The fastest part of a window: caches that grow, and scripts made anew, stand in others.
    gaps = sorted(b - a for a, b in zip(at[first : first + step], at[first + 1 : first + step + 1]))
    rows[first] = round(1 / gaps[len(gaps) // 2], 1)
    first = first + step if first < 1200 else first + 4 * step if first < 4000 else first + 10 * step
print(sys.argv[1], "without " + sys.argv[2] if sys.argv[2] else "all rules", *(f"{k}:{v}" for k, v in rows.items()), flush=True)
with open(sys.argv[4], "a") as f:
    f.write(json.dumps(dict(model=sys.argv[1], without=sys.argv[2], tps=rows, kernels=r.get("kernels"), sha=hashlib.sha256(str(r["tokens"]).encode()).hexdigest()[:12], first=r["tokens"][:600:50])) + "\n")
PY
done

#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: holds replayed steps against steps that
# MLX launches, on the trained small models (the tokens must be the same) and on a reference
# configuration with random weights, whose step is also taken apart with Nsight Compute.
# Writes replay.jsonl and kernels.csv into $OUT.
#
#     scripts/device/replay.sh [MODEL [TOKENS]]
set -uo pipefail
. /tmp/zmlx/env.sh
name=${1:-Qwen3-30B-A3B-4bit} tokens=${2:-128}
model=/tmp/models/$name
out=${OUT:-/tmp}
export MLX_MAX_OPS_PER_BUFFER=500
[ -f "$model/model.safetensors" ] || { python3 scripts/device/random_model.py "$name" "$model" >/tmp/random.log 2>&1 || cat /tmp/random.log; } &

# run MODEL MODE PROMPT TOKENS [FLAG...]: generates, and prints what came of it.
run() {
	local m=$1 mode=$2 prompt=$3 n=$4
	shift 4
	ZMLX_REPLAY=$mode timeout 150 zmlx-rewrite generate -v --model "$m" --prompt "$prompt" --ignore-chat-template --ignore-eos --max-tokens "$n" -o json "$@" >/tmp/run.json 2>/tmp/run.err
	local rc=$?
	[ $rc = 0 ] || tail -3 /tmp/run.err
	grep -o 'not replayed.*case=decode.*\|not replayed.*case=always.*' /tmp/run.err | cut -c1-220 | sort -u
	python3 - "$m" "$mode $*" >>"$out/replay.jsonl" <<'PY'
import hashlib, json, sys
try:
    r = json.load(open("/tmp/run.json"))
    print(json.dumps(dict(model=sys.argv[1], mode=sys.argv[2], tps=round(r["generation_tps"], 1), prompt_tps=round(r.get("prompt_tps", 0), 1), tokens=hashlib.sha256(str(r["tokens"]).encode()).hexdigest()[:12], first=r["tokens"][:6])))
except Exception as e:
    print(json.dumps(dict(model=sys.argv[1], mode=sys.argv[2], error=str(e))))
PY
	tail -1 "$out/replay.jsonl"
}

wait
# A prompt of one token: MLX compiles its products of many rows for a minute, which no step
# of decoding needs.
run "$model" off a "$tokens"
run "$model" on a "$tokens"
run "$model" on a "$tokens"
if [ -n "${NCU-1}" ]; then
	# The first steps move the weights to the GPU's memory.
	timeout 120 ncu --graph-profiling node --metrics gpu__time_duration.sum --clock-control none --csv --log-file "$out/kernels.csv" \
		--kernel-name 'regex:^(zc_|take_|argmax|rms_norm|qmv|qk_|sdpa|router|gather_|swiglu|short_conv|mla|moe|add_rms|rope|softmax)' --launch-skip "${SKIP:-1500}" --launch-count 500 \
		zmlx-rewrite generate --model "$model" --prompt a --ignore-chat-template --ignore-eos --max-tokens 6 -o json >/tmp/ncu.json 2>/tmp/ncu.err || tail -3 /tmp/ncu.err
	python3 - "$out/kernels.csv" <<'PY'
import collections, csv, re, sys
lines = [l for l in open(sys.argv[1]) if l.startswith('"')]
total, count = collections.Counter(), collections.Counter()
for r in csv.DictReader(lines):
    n = re.sub(r"_[0-9a-f]{16}.*", "", r["Kernel Name"]) + " " + r.get("Grid Size", "") + r.get("Block Size", "")
    v = float(r["Metric Value"].replace(",", "")) * {"ns": 1e-3, "us": 1, "nsecond": 1e-3, "usecond": 1}.get(r["Metric Unit"], 1)
    total[n] += v
    count[n] += 1
for n, t in total.most_common(30):
    print(f"{t:10.1f} us in {count[n]:4}, {t / count[n]:7.2f} us each  {n}")
print(f"{sum(total.values()):.1f} us in {sum(count.values())} launches")
PY
fi
for m in ${SMALL-testdata/trained/*/}; do
	run "$m" off a 100
	run "$m" on a 100
done

#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: times decoding of a reference
# configuration with random weights, unrewritten and rewritten, and without single rules.
# Writes decode.jsonl into $OUT, one object a run.
#
#     scripts/device/decode.sh Qwen3-30B-A3B-4bit [TOKENS [ROUNDS]]
set -euo pipefail
. /tmp/zmlx/env.sh
name=$1 tokens=${2:-128} rounds=${3:-2}
model=/tmp/models/$name
out=${OUT:-/tmp}
[ -f "$model/model.safetensors" ] || python3 scripts/device/random_model.py "$name" "$model"
fused="--exclude llama.norm_qkv --exclude llama.norm_qmv_swiglu --exclude llama.qmv_add --exclude qwen3.moe_norm_router_gate_up_swiglu --exclude qwen3.moe_down_combine_add"
run() {
	local what=$1
	shift
	zmlx-rewrite generate --model "$model" --prompt aaaaaaaa --ignore-chat-template --ignore-eos --max-tokens "$tokens" -o json "$@" >/tmp/decode.json
	python3 - "$what" "$name" /tmp/decode.json >>"$out/decode.jsonl" <<'PY'
import hashlib, json, os, sys
r = json.load(open(sys.argv[3]))
print(json.dumps(dict(what=sys.argv[1], model=sys.argv[2], max_ops=os.environ.get("MLX_MAX_OPS_PER_BUFFER", ""), tps=round(r["generation_tps"], 1),
                      tokens=hashlib.sha256(str(r["tokens"]).encode()).hexdigest()[:12], first=r["tokens"][:8], kernels=r.get("kernels"))))
PY
	tail -1 "$out/decode.jsonl"
}
for ops in ${OPS-"" 500}; do
	export MLX_MAX_OPS_PER_BUFFER=$ops
	[ -n "$ops" ] || unset MLX_MAX_OPS_PER_BUFFER
	for _ in $(seq "$rounds"); do
		run "unrewritten" --no-rewrite
		# shellcheck disable=SC2086 # a list of flags
		run "without norms and residuals in the products" $fused
		run "rewritten"
	done
done

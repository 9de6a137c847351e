#!/usr/bin/env bash
# Whether the trained small models say on this device what they say on a CPU: a hundred tokens
# each, by sha256; and whether several sequences side by side, in float32, have the tokens of
# MLX's own operations. Half a minute, the first thing to run on a machine. Where a model of two
# nearly equal choices takes the other one, validate says so; anything else is a fault.
#
#     scripts/device/smoke.sh              # after unpack.sh, or here with bin/ in PATH
#     SEQUENCES="2 5 8" scripts/device/smoke.sh
set -uo pipefail
[ ! -f /tmp/zmlx/env.sh ] || . /tmp/zmlx/env.sh
status=0
while read -r model expected; do
	found=$(zmlx-rewrite generate --model "testdata/trained/$model" --prompt a --ignore-chat-template --ignore-eos --max-tokens 100 -o json |
		python3 -c 'import hashlib, json, sys; print(hashlib.sha256(str(json.load(sys.stdin)["tokens"]).encode()).hexdigest()[:12])')
	[ "$found" = "$expected" ] || { status=1; expected="$expected expected"; }
	echo "$model $found ${expected/$found/as on a CPU}"
done <<'TOKENS'
qwen3_moe 6650b91c544d
lfm2_moe 973be28bcfb6
gpt_oss 536ea40d42b3
glm4_moe_lite bdc601de044e
deepseek_v3 d1bf3d4c1980
gemma3_text 5f5e83c30be5
TOKENS
# Not of glm4_moe_lite and deepseek_v3: their tiny rows have one group of weights each, and MLX for CUDA
# multiplies those of several sequences not at all ("No implementation for problem shape").
for model in qwen3_moe lfm2_moe gpt_oss gemma3_text; do
	for sequences in ${SEQUENCES:-5}; do
		MLX_ENABLE_TF32=0 zmlx-rewrite bench --quiet --model "testdata/trained/$model" -p 0 -n 32 -r 1 --batch-size $sequences --dtype float32 -o json |
			python3 -c 'import json, sys; r = [json.loads(l) for l in sys.stdin][-1]; print(*sys.argv[1:], "sequences:", r["launches_per_step"], "launches, tokens", "the same" if r["tokens_identical"] else "OTHERS from " + str(r["first_difference"]) + " on"); sys.exit(not r["tokens_identical"])' "$model" $sequences || status=1
	done
done
exit $status

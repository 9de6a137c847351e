#!/usr/bin/env bash
# Whether the trained small models say on this device what they say on a CPU: a hundred tokens
# each, by sha256. Half a minute, the first thing to run on a machine. Where a model of two
# nearly equal choices takes the other one, validate says so; anything else is a fault.
#
#     scripts/device/smoke.sh              # after unpack.sh, or here with bin/ in PATH
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
exit $status

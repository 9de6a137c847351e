#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh (errors), unpack_baselines.sh (what compares with
# other programs) and unpack_smollm2.sh (SmolLM2): all that was not measured yet, most important first, as far as BUDGET (560 s)
# goes. Called again, on that machine or on another one to which $OUT's session.jsonl was carried
# as .device/session.jsonl, it goes on where it stopped. Docs: docs/BENCHMARKS.md, "How to
# measure on a GPU".
#
#     scripts/device/session.sh --plan                 # what, and how long
#     scripts/device/session.sh                        # all of it
#     scripts/device/session.sh errors rounds:Qwen3-30B-A3B-4bit
#
# Writes into $OUT, as it goes: session.jsonl (all rows), session.md (tables), session.log, and
# cache.tar.xz (what was compiled).
set -uo pipefail
for env in /tmp/zmlx/baselines.env /tmp/zmlx/env.sh; do # the first one sources the other
	[ ! -f "$env" ] || { . "$env"; break; }
done
export ZMLX_FIRST_USE=off PYTHONDONTWRITEBYTECODE=1
[[ " $* " == *" --plan "* ]] || command -v zmlx-rewrite >/dev/null || {
	echo "session.sh: zmlx-rewrite is not here: unpack.sh did not run, or was refused (its folder and the working tree have to be below 64 MiB)" >&2
	exit 1
}
out=${OUT:-/tmp}
mkdir -p "$out"
! command -v nvidia-smi >/dev/null || nvidia-smi --query-gpu=name,driver_version,memory.used,clocks.sm,clocks.mem --format=csv,noheader
"${PYTHON:-python3}" scripts/device/session.py "$@" 2>&1 | tee -a "$out/session.log"
status=${PIPESTATUS[0]}
[ ! -d /tmp/zmlx/cache ] || scripts/device/save.sh
exit "$status"

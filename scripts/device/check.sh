#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: checks every kernel on the device,
# several at a time, since compiling each text takes the CPU a second or two. Writes
# check.jsonl into $OUT; the exit status is 1 if one failed.
#
#     scripts/device/check.sh [CASES [KERNEL...]]
set -uo pipefail
. /tmp/zmlx/env.sh
cases=${1:-12}
shift || true
[ $# -gt 0 ] || set -- $(zmlx-rewrite kernels list | awk 'NR > 1 { print $1 }')
out=${OUT:-/tmp}
printf '%s\n' "$@" | xargs -P 10 -I {} sh -c "zmlx-rewrite kernels check --device --cases $cases -o json {} 2>/tmp/zmlx/{}.err || true" >"$out/check.jsonl"
python3 - "$out/check.jsonl" "$#" <<'PY'
import json, sys
rows = sorted((json.loads(l) for l in open(sys.argv[1])), key=lambda r: r["kernel"])
bad = 0
for r in rows:
    bad += r["verdict"] != "passed"
    print(f"{r['verdict']:8} {r['kernel']:30} {r['on']} {r['cases']:4} cases {r['seconds']:6.1f} s", end="")
    if r.get("stock_error"):
        print(f"  error {r.get('error', 0):.2e}, MLX's ops {r['stock_error']:.2e}", end="")
    if r.get("stock_refused"):
        print(f"  MLX's ops refuse {r['stock_refused']}", end="")
    print()
    if r.get("reason"):
        print("   ", r["reason"][:600])
print(f"{len(rows)} of {sys.argv[2]} kernels ran, {bad} not passed")
sys.exit(bad > 0 or len(rows) < int(sys.argv[2]))
PY

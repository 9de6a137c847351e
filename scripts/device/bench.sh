#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: times every kernel against MLX's own
# ops and the expert layers of Qwen3-30B-A3B in a row, with MLX's default settings and with
# more ops in a graph. Writes bench.jsonl into $OUT, one object a line.
set -euo pipefail
. /tmp/zmlx/env.sh
out=${OUT:-/tmp}
zmlx-rewrite kernels bench --experts --rounds "${1:-10}" -o json >"$out/bench.jsonl"
MLX_MAX_OPS_PER_BUFFER=500 zmlx-rewrite kernels bench --experts --rounds "${1:-10}" -o json gather_qmm_swiglu gather_qmm_combine >"$out/bench-500.jsonl"
python3 - "$out/bench.jsonl" "$out/bench-500.jsonl" <<'PY'
import json, sys
for f in sys.argv[1:]:
    print(f)
    for l in open(f):
        r = json.loads(l)
        print(f"{r['kernel']:40} {r['bench'][:44]:44} {r['reference_us']:8.1f} {r['kernel_us']:8.1f} µs  {r['speedup']:5.2f} [{r['interval'][0]:.2f}, {r['interval'][1]:.2f}] {r['gb_per_s']:6.0f} GB/s {100 * r['of_bandwidth']:3.0f} %")
PY

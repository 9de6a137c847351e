#!/usr/bin/env bash
# Runs on the machine with the GPU: puts one of pack_smollm2.sh's folders into /tmp/zmlx/smollm2, and
# after the second one makes the mixture of experts there.
set -euo pipefail
from=$1
to=${SMOLLM2:-/tmp/zmlx/smollm2}
mkdir -p "$to"
[ ! -f "$from/smollm2.part1" ] || cp "$from/smollm2.part1" "$to/"
[ -f "$from/smollm2.part2" ] || exit 0
cat "$to/smollm2.part1" "$from/smollm2.part2" >"$to/SmolLM2-135M-Instruct.Q4_1.gguf"
[ "$(sha256sum <"$to/SmolLM2-135M-Instruct.Q4_1.gguf")" = "$(cat "$from/smollm2.sha256")" ] || { echo "SmolLM2 did not arrive whole: carry both folders again" >&2; exit 1; }
rm "$to/smollm2.part1"
xz -dc "$from/upcycle.xz" >"$to/upcycle"
chmod +x "$to/upcycle"
"$to/upcycle" "$to/SmolLM2-135M-Instruct.Q4_1.gguf" "$to/SmolLM2-135M-MoE"
ls -l "$to"

#!/usr/bin/env bash
# Runs on the machine with the GPU: puts one of pack_smollm2.sh's folders into /tmp/zmlx/smollm2, and
# after the last one makes the mixture of experts there.
set -euo pipefail
from=$1
to=${SMOLLM2:-/tmp/zmlx/smollm2}
mkdir -p "$to"
cp "$from/part" "$to/part$(basename "$from")"
[ -f "$from/sha256" ] || exit 0
file=$to/SmolLM2-135M-Instruct.Q4_1.gguf
cat "$to"/part[0-9] >"$file"
[ "$(sha256sum <"$file")" = "$(cat "$from/sha256")" ] || { echo "SmolLM2 did not arrive whole: carry all folders again" >&2; exit 1; }
rm "$to"/part[0-9]
xz -dc "$from/upcycle.xz" >"$to/upcycle"
chmod +x "$to/upcycle"
"$to/upcycle" "$file" "$to/SmolLM2-135M-MoE"
ls -l "$to"

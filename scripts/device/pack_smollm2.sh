#!/usr/bin/env bash
# Packs SmolLM2-135M for the machine with the GPU, in two folders beside pack.sh's, each small
# enough for one call, with the program that makes a mixture of experts of it there:
#
#     scripts/device/pack_smollm2.sh                    # here
#     bash scripts/device/unpack_smollm2.sh .device/4   # there, after unpack.sh
#     bash scripts/device/unpack_smollm2.sh .device/5
set -euo pipefail
. "$(dirname "$0")/../common.sh"

scripts/setup-model.sh
file=$CACHE/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf
out=$ROOT/.device
mkdir -p "$out/4" "$out/5"
split --number=2 --numeric-suffixes=4 --suffix-length=1 "$file" "$out/smollm2."
mv "$out/smollm2.4" "$out/4/smollm2.part1"
mv "$out/smollm2.5" "$out/5/smollm2.part2"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/5/upcycle" ./scripts/upcycle
xz --force -T0 -6 "$out/5/upcycle"
sha256sum <"$file" >"$out/5/smollm2.sha256"
du -sh "$out/4" "$out/5"

#!/usr/bin/env bash
# Packs SmolLM2-135M for the machine with the GPU, in three folders beside pack.sh's, each small
# enough for one call, with the program that makes a mixture of experts of it there:
#
#     scripts/device/pack_smollm2.sh                    # here
#     bash scripts/device/unpack_smollm2.sh .device/4   # there, after unpack.sh; one call for each
#     bash scripts/device/unpack_smollm2.sh .device/5
#     bash scripts/device/unpack_smollm2.sh .device/6
set -euo pipefail
. "$(dirname "$0")/../common.sh"

scripts/setup-model.sh
file=$CACHE/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf
out=$ROOT/.device
split --number=3 --numeric-suffixes=4 --suffix-length=1 "$file" "$out/smollm2."
for i in 4 5 6; do
	mkdir -p "$out/$i"
	rm -f "$out/$i"/*
	mv "$out/smollm2.$i" "$out/$i/part"
done
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/6/upcycle" ./scripts/upcycle
xz --force -T0 -6 "$out/6/upcycle"
sha256sum <"$file" >"$out/6/sha256"
du -sh "$out"/[456]

#!/usr/bin/env bash
# Runs on the machine with the GPU, at the end of a call: puts what MLX and zmlx-rewrite
# compiled there into $OUT/cache.tar.xz. MLX takes a minute for some of its products, anew
# on each machine; put the file into .device/2 here, and unpack.sh brings it along.
set -euo pipefail
tar -C /tmp/zmlx/cache -cf - . | xz -T0 -3 >"${OUT:-/tmp}/cache.tar.xz"
ls -l "${OUT:-/tmp}/cache.tar.xz"

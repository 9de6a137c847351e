#!/usr/bin/env bash
# Packs what a machine with an NVIDIA GPU, and without Go, MLX or a network, needs to run
# zmlx-rewrite: the binary built against MLX's CUDA wheel, the two libraries, and the
# headers that MLX compiles kernels with. Two folders, each small enough for one call of
# a tool that carries 64 MiB:
#
#     scripts/device/pack.sh                     # here
#     bash scripts/device/unpack.sh .device/1    # there, first call
#     bash scripts/device/unpack.sh .device/2 && . /tmp/zmlx/env.sh && zmlx-rewrite doctor
#
# NVIDIA's own libraries (cuBLAS, cuDNN, NVRTC) are taken from that machine: from a CUDA
# build of PyTorch, or from CUDA itself.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

export ZMLX_CACHE=$ROOT/.cache/device MLX_BACKEND=cuda MLX_CUDA_LIBRARIES=system
scripts/setup-mlx.sh
prefix=$ZMLX_CACHE/mlx/cuda
# shellcheck disable=SC1091 # written by setup-mlx.sh
. "$ZMLX_CACHE/mlx/env.sh"

out=$ROOT/.device
mkdir -p "$out/1" "$out/2"
say "building the binary"
go build -tags mlx -trimpath -ldflags '-s -w' -o "$out/2/zmlx-rewrite" ./cmd/zmlx-rewrite
xz --force -T0 -6 "$out/2/zmlx-rewrite"
cp "$prefix"/lib/libmlxc.so "$out/2/"

# What does not change between builds is packed once.
stamp="recipe 4, $(cat "$prefix/stamp")"
if [ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ]; then
	say "packing libmlx and its headers (a minute or two)"
	xz -T0 -6 <"$prefix/site/mlx/lib/libmlx.so" >"$out/libmlx.xz"
	split --bytes=38M --numeric-suffixes=1 --suffix-length=1 "$out/libmlx.xz" "$out/part"
	mv "$out/part1" "$out/1/libmlx.part1"
	mv "$out/part2" "$out/2/libmlx.part2"
	rm "$out/libmlx.xz"
	tar -C "$prefix/site" -cJf "$out/2/rest.tar.xz" mlx/include mlx_cuda_13.libs
	echo "$stamp" >"$out/stamp"
fi
du -sh "$out/1" "$out/2"

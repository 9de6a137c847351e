#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: puts pack_baselines.sh's folder into
# /tmp/zmlx, writes how mlx-lm and llama-bench are run there to /tmp/zmlx/baselines.env, and
# says of each whether it starts.
set -euo pipefail
to=/tmp/zmlx
. $to/env.sh
tar -C "$to" -xJf "$1/baselines.tar.xz"
[ ! -f "$1/cache.tar.xz" ] || tar -C "$to/cache" -xJf "$1/cache.tar.xz" # beside unpack.sh's second folder it can be too much for one call
# MLX's Python module looks for the library and its headers beside itself.
ln -sfn "$to/mlx/lib" "$to/python/mlx/lib"
ln -sfn "$to/mlx/include" "$to/python/mlx/include"
cat >"$to/baselines.env" <<ENV
. $to/env.sh
export LD_LIBRARY_PATH=\$LD_LIBRARY_PATH:/usr/local/cuda/lib64
export PYTHONPATH=$to/python:$PWD/python ZMLX_REWRITE=$to/bin/zmlx-rewrite PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
ENV
. $to/baselines.env
timeout 60 python3 -c 'import mlx.core as mx; print("mlx", mx.__version__, mx.default_device(), mx.device_info(), mx.sum(mx.ones(5)).item())' || echo "MLX does not run in Python here"
timeout 60 python3 -c 'import time; t = time.time(); import mlx_lm.generate, transformers; print("mlx-lm", mlx_lm.__version__, "transformers", transformers.__version__, f"{time.time() - t:.1f} s to import")' || echo "mlx-lm does not run here"
export LD_LIBRARY_PATH=$to/llama:$LD_LIBRARY_PATH
timeout 60 python3 -c "import ctypes; ctypes.CDLL('$to/llama/libggml-cuda.so')" || echo "llama.cpp's CUDA library does not load here"
timeout 60 $to/llama/llama-bench --list-devices 2>&1 || echo "llama.cpp does not run here"

#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh: puts pack_baselines.sh's folder into
# /tmp/zmlx, and writes how mlx-lm and llama-bench are run there to /tmp/zmlx/baselines.env.
set -euo pipefail
to=/tmp/zmlx
. $to/env.sh
tar -C "$to" -xJf "$1/baselines.tar.xz"
# MLX's Python module looks for the library and its headers beside itself.
ln -sfn "$to/mlx/lib" "$to/python/mlx/lib"
ln -sfn "$to/mlx/include" "$to/python/mlx/include"
cat >"$to/baselines.env" <<ENV
. $to/env.sh
export PYTHONPATH=$to/python:$PWD/python ZMLX_REWRITE=$to/bin/zmlx-rewrite PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
llama_bench() { LD_LIBRARY_PATH=$to/llama:\$LD_LIBRARY_PATH $to/llama/llama-bench "\$@"; }
ENV
. $to/baselines.env
python3 -c 'import mlx.core as mx; print("mlx", mx.__version__, mx.default_device(), mx.device_info())' || echo "MLX does not run in Python here"
python3 -c 'import mlx_lm, transformers; print("mlx-lm", mlx_lm.__version__, "transformers", transformers.__version__)' || echo "mlx-lm does not run here"
llama_bench --list-devices 2>&1 || echo "llama.cpp does not run here"

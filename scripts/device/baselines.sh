#!/usr/bin/env bash
# Runs on the machine with the GPU, after unpack.sh and unpack_baselines.sh: zmlx-rewrite
# with replayed steps beside mlx-lm, as it is and with its best settings, and llama.cpp, in
# rounds, on a reference configuration with random weights. Writes baselines.jsonl into $OUT,
# one object a measurement, and prints a table.
#
#     BUDGET=300 scripts/device/baselines.sh Qwen3-30B-A3B-4bit [0,512,8192 [FLAG...]]
#
# Stages, which STAGES chooses: models (made unless they are there), attention (llama.cpp with
# flash attention and without), sweep (settings of MLX; the fastest is mlx-lm's best), bridge (mlx-lm
# with its model patched), rounds; and, only if named, batch (--batches 4,32), fault (where MLX dies), errors (against float32),
# tokens, and prompt (speed of reading --prompts 512; MLX compiles for minutes first). BUDGET is for
# all of them, in seconds; what there was no time for is said. A round of Qwen3-30B-A3B at depths
# 0,512,8192,32768 takes about 120 s, half of it mlx-lm's weights. session.sh runs all of this for
# a list of models.
set -uo pipefail
. /tmp/zmlx/baselines.env
nvidia-smi --query-gpu=name,driver_version,memory.used,clocks.sm,clocks.mem --format=csv,noheader
exec python3 scripts/device/baselines.py "$@"

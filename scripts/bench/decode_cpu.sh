#!/usr/bin/env bash
# Decode speed on the CPU against mlx-lm and llama.cpp: decode_cpu.py says how. A quiet
# machine takes ten minutes.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

scripts/setup-llamacpp.sh
[ -f "$CACHE/oracle/smollm2/tokenizer_config.json" ] || "$CACHE/oracle/venv/bin/python" scripts/oracle/smollm2_to_mlx.py
PYTHONPATH=$CACHE/oracle/llamacpp "$CACHE/oracle/venv/bin/python" scripts/bench/decode_cpu.py "$@"

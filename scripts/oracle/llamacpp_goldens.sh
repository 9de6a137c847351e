#!/usr/bin/env bash
# Writes decode/testdata/llamacpp.json: what llama.cpp generates with SmolLM2 for the
# prompts of testdata/smollm2.json. It shares no code with MLX, so a mistake that MLX
# and this project have in common does not go unseen. Takes two minutes. Tests read
# the file and need no llama.cpp.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

scripts/setup-llamacpp.sh
PYTHONPATH=$CACHE/oracle/llamacpp "$CACHE/oracle/venv/bin/python" scripts/oracle/llamacpp_goldens.py

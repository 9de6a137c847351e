#!/usr/bin/env bash
# Writes decode/testdata/llamacpp.json: what llama.cpp generates with SmolLM2 for the
# prompts of testdata/smollm2.json. It shares no code with MLX, so a mistake that MLX
# and this project have in common does not go unseen. Takes two minutes. Tests read
# the file and need no llama.cpp.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

# The wheel carries llama.cpp itself, compiled for AVX2 whatever the machine has.
PACKAGE=xllamacpp==2026.10.11549
PACKAGE_SHA256=c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261 # Linux x86-64

scripts/setup-model.sh
scripts/setup-oracle.sh
python=$CACHE/oracle/venv/bin/python
dir=$CACHE/oracle/llamacpp
if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$PACKAGE" ]; then
	need_python
	say "llama.cpp: installing $PACKAGE into .cache/oracle/llamacpp"
	rm -rf "$dir"
	file=$(wheel "$dir/wheel" "$PACKAGE" "$PACKAGE_SHA256")
	"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$dir" "$file" >&2
	echo "$PACKAGE" >"$dir/stamp"
fi
PYTHONPATH=$dir "$python" scripts/oracle/llamacpp_goldens.py

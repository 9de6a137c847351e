#!/usr/bin/env bash
# llama.cpp, pinned, into .cache/oracle/llamacpp: an oracle for tokens, and what speed on a
# CPU is compared with. The wheel carries llama.cpp itself, compiled for AVX2 whatever the
# machine has.
set -euo pipefail
. "$(dirname "$0")/common.sh"

PACKAGE=xllamacpp==2026.10.11549
PACKAGE_SHA256=c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261 # Linux x86-64

scripts/setup-model.sh
scripts/setup-oracle.sh
dir=$CACHE/oracle/llamacpp
[ "$(cat "$dir/stamp" 2>/dev/null)" != "$PACKAGE" ] || exit 0
need_python
say "llama.cpp: installing $PACKAGE into .cache/oracle/llamacpp"
rm -rf "$dir"
file=$(wheel "$dir/wheel" "$PACKAGE" "$PACKAGE_SHA256")
"$CACHE/oracle/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$dir" "$file" >&2
echo "$PACKAGE" >"$dir/stamp"

#!/usr/bin/env bash
# Makes the Python environment that tests and golden files compare with, in
# .cache/oracle/venv, from the pinned scripts/oracle/requirements.txt. `make run`
# does not need it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

venv=$CACHE/oracle/venv
pins=scripts/oracle/requirements.txt
ready() { [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(sha256 "$pins")" ]; }
if ready; then
	say "Python oracle: ready in .cache/oracle/venv"
	exit 0
fi
lock oracle
ready && exit 0

need python3 3.11 "$( (python3 --version 2>/dev/null || true) | number)" # numpy's own minimum
say "Python oracle: installing MLX, mlx-lm, tokenizers, Jinja2 into .cache/oracle/venv"
# Without Debian's python3-venv, an environment comes about that has no pip.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$venv" >"$CACHE/oracle.log" 2>&1 ||
	fail "python3 cannot make a virtual environment (see $CACHE/oracle.log)" "get it: $(how python3)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins" >&2
sha256 "$pins" >"$venv/stamp"
say "Python oracle: in .cache/oracle/venv"

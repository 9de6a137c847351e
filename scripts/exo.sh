#!/usr/bin/env bash
# Runs exo's own code with the hook of python/zmlx_rewrite/exo.py and without it, and compares:
#
#     scripts/exo.sh EXO MLX_LM
#
# EXO is a checkout of github.com/exo-explore/exo at one of the commits below, MLX_LM one of the
# mlx-lm that it is written for; none for 0.3.68, which runs on mlx-lm itself. Neither is in a
# package registry, and nothing here fetches them: without them the check is skipped. Their
# files are only read, and exo's Rust bindings are not needed: see python/tests/exo_source.py.
set -euo pipefail
exo=${1:-} lm=${2:-}
[ -z "$exo" ] || exo=$(cd "$exo" && pwd)
[ -z "$lm" ] || lm=$(cd "$lm" && pwd)
. "$(dirname "$0")/common.sh"

read_at="b5375f8cee4368d09e1ce96a56b9f81fb0bc81aa 00a9c3c4b" # 0.3.70 and 0.3.68
lm_at=6a3df6cd6b00a347ee40f12d97a182aaf86ea599               # of github.com/rltakashige/mlx-lm, for 0.3.70
skip() { echo "exo: skipped: $*"; exit 0; }

[ -n "$exo" ] || skip "no source of exo is here. Get github.com/exo-explore/exo at ${read_at%% *} and github.com/rltakashige/mlx-lm at $lm_at, then: scripts/exo.sh EXO MLX_LM"
[ -f "$exo/src/exo/main.py" ] || fail "$exo is no checkout of exo: it has no src/exo/main.py"
[ -z "$lm" ] || [ -f "$lm/mlx_lm/_version.py" ] || fail "$lm is no checkout of mlx-lm: it has no mlx_lm/_version.py"
python3.13 -c '' 2>/dev/null || skip "exo needs Python 3.13, and there is no python3.13 on the PATH"
at=$(git -C "$exo" rev-parse HEAD 2>/dev/null || true)
case " $read_at" in *" ${at:0:9}"*) ;; *) say "exo is at ${at:-no commit}, which is not one that was read ($read_at)" ;; esac

venv=$CACHE/exo/venv
pins=scripts/exo/requirements.txt
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$(sha256 "$pins")" ]; then
	lock exo
	say "exo: installing what it imports into $venv"
	python3.13 -m venv --clear "$venv"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$pins" >&2
	sha256 "$pins" >"$venv/stamp"
fi

work=$(mktemp -d)
trap 'rm -rf "$work" "$CACHE/exo.lock"' EXIT
# Neither is installed, so that their names and versions are written beside them.
named() { # NAME VERSION
	mkdir -p "$work/$1-$2.dist-info"
	printf 'Metadata-Version: 2.1\nName: %s\nVersion: %s\n' "$1" "$2" >"$work/$1-$2.dist-info/METADATA"
}
named exo "$(sed -n 's/^version = "\(.*\)"$/\1/p' "$exo/pyproject.toml" | head -n 1)"
[ -z "$lm" ] || named mlx_lm "$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$lm/mlx_lm/_version.py")"
CGO_ENABLED=0 go build -o "$work/zmlx-rewrite" ./cmd/zmlx-rewrite
export ZMLX_REWRITE=$work/zmlx-rewrite PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$ROOT/python:$work${lm:+:$lm}:$exo/src

# exo's API listens at every address of the machine, so it gets a network of its own.
# shellcheck disable=SC2016 # the inner shell expands it
alone='ip link set lo up && exec "$@"'
if unshare -rn sh -c "$alone" sh true 2>/dev/null; then
	unshare -rn sh -c "$alone" sh "$venv/bin/python" python/tests/exo_source.py
else
	say "exo: its API would be open to the network here (unshare -rn does not work), so the case node is left out"
	"$venv/bin/python" python/tests/exo_source.py --no-node
fi

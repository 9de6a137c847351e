#!/usr/bin/env bash
# The newcomer's path of docs/MLX_LM.md: makes the wheel, installs it beside mlx-lm into an
# environment of its own, runs the commands of the page, and compares what they print.
set -euo pipefail
. "$(dirname "$0")/common.sh"

oracle=$CACHE/oracle/venv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DIST=$work/dist scripts/make_wheel.py "$(go env GOHOSTOS)-$(go env GOHOSTARCH)" >"$work/wheel.log"
"$oracle/bin/python" -m venv --without-pip "$work/venv"
# mlx and mlx-lm are those of the oracle; the wheel is installed here only.
"$oracle/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' >"$work/venv/lib/$(basename "$(dirname "$("$oracle/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')")")/site-packages/oracle.pth"
pip() { # install WHEEL: nothing is fetched, since mlx is there
	"$oracle/bin/python" -m pip --python "$work/venv/bin/python" "$1" -q --no-deps --no-index "$2"
}
export MODEL=$CACHE/oracle/smollm2 PATH=$work/venv/bin:$PATH
unset PYTHONPATH ZMLX_REWRITE ZMLX_KERNELS
page=$ROOT/docs/MLX_LM.md
cd "$work"
ran=0 failed=0
while IFS= read -r line; do
	case $line in
	'$ '*)
		ran=$((ran + 1))
		got=$(eval "${line#\$ }" 2>"$work/stderr") || { cat "$work/stderr" >&2; failed=$((failed + 1)); }
		want=$(awk -v at="$line" '$0 == at { on = 1; next } on && (/^\$ / || /^```/) { exit } on' "$page")
		if [ "$got" != "$want" ]; then
			failed=$((failed + 1))
			printf '%s\n-- printed\n%s\n-- %s says\n%s\n' "$line" "$got" "${page##*/}" "$want"
		fi
		;;
	esac
done < <(awk '/^```/ { inside = !inside; on = inside && $0 == "```"; next } on' "$page")
echo "$ran commands of docs/MLX_LM.md, $failed differ"
[ "$ran" -ge 4 ] && [ "$failed" -eq 0 ]

#!/usr/bin/env bash
# Rewrites random graphs by random rules that are right by construction, and compares the
# results on engine/ref and engine/mlx (rewrite/random_engines_test.go):
# scripts/fuzz-rewrites.sh [CASES] [WORKERS] [FROM]. CASES is 1000000 if it is not given.
# Needs scripts/setup-mlx.sh; without it only engine/ref runs. Each case is a seed, so that
# a failure can be run again: ZMLX_FUZZ_FROM=SEED ZMLX_FUZZ_CASES=1.
set -euo pipefail
. "$(dirname "$0")/common.sh"

cases=${1:-1000000}
workers=${2:-$(nproc)}
from=${3:-0}
chunk=20000 # cases of one process

tags= test=TestRandomRewrites
if [ -f "$CACHE/mlx/env.sh" ]; then
	# shellcheck disable=SC1091 # written by setup-mlx.sh
	. "$CACHE/mlx/env.sh"
	tags=mlx test=TestRandomRewritesOnMLX
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go test -tags "$tags" -c -o "$dir/rewrite.test" "$ROOT/rewrite"

cd "$ROOT/rewrite"
start=$(date +%s)
seq "$from" "$chunk" $((from + cases - 1)) | xargs -P "$workers" -I{} sh -c '
	n=$(($2 + $3 - $1)); [ "$n" -lt "$4" ] || n=$4
	ZMLX_FUZZ_FROM=$1 ZMLX_FUZZ_CASES=$n "$5/rewrite.test" -test.run "^$6\$" -test.timeout 0 >"$5/$1.log" 2>&1 ||
		{ cat "$5/$1.log"; touch "$5/failed"; }
	grep -h "^fuzz-rewrites:" "$5/$1.log" || true
' _ {} "$from" "$cases" "$chunk" "$dir" "$test" | tee "$dir/all"
sed 's/[(,:]//g' "$dir/all" | awk -v seconds=$(($(date +%s) - start)) '
	/^fuzz-rewrites/ { cases += $2; rewritten += $7; places += $10; reordered += $12; error = ($18 > error) ? $18 : error }
	END { printf "%d cases, %d rewritten at %d places (%d by a reordered rule), largest error %g of the bound, %d s\n", cases, rewritten, places, reordered, error, seconds }'
[ ! -e "$dir/failed" ]

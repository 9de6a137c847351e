#!/usr/bin/env bash
# Kills (kill -9) what writes capsules, states of stress and prompt caches at random moments,
# so many times each, and looks at what is left: scripts/kill.sh [TIMES]. 1000 if left out;
# `go test` does it 200 times, with -short 20. With MLX the command itself is killed, too, with a
# model: a tenth as often, when something has just happened to its files (stress also at any time).
set -euo pipefail
. "$(dirname "$0")/common.sh"

times=${1:-1000}
case $times in '' | *[!0-9]*) fail "usage: scripts/kill.sh [TIMES]" ;; esac
need_go
export ZMLX_KILLS=$times
go test -count=1 -timeout 6h -run '^TestKill$' -v ./measure/capsule ./measure/stress ./engine/cache
# shellcheck disable=SC1091 # written by setup-mlx.sh
[ ! -f "$CACHE/mlx/env.sh" ] || { . "$CACHE/mlx/env.sh" && go test -count=1 -timeout 6h -tags mlx -run '^Test(Stress|Commands)Killed$' -v ./cmd/zmlx-rewrite; }

#!/usr/bin/env bash
# Runs every native fuzz target of the module for a short time, one after the
# other: scripts/fuzz.sh [TIME] [PACKAGE...]. New targets are found by name.
set -euo pipefail
. "$(dirname "$0")/common.sh"

time=${1:-5s}
[ $# -eq 0 ] || shift

found=0
failed=
for dir in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "${@:-./...}"); do
	# The names come from the sources: `go test -list` would compile every package.
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
		found=$((found + 1))
		printf 'fuzz %-60s ' "${dir#"$ROOT"/} $target"
		log=$CACHE/fuzz.log
		if go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" >"$log" 2>&1; then
			sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1 | sed 's/$/ runs/'
		else
			echo FAILED
			tail -n 40 "$log"
			failed="$failed $target"
		fi
	done
done
echo "fuzz: $found targets, $time each${failed:+; FAILED:$failed}"
[ -z "$failed" ]

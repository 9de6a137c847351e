#!/usr/bin/env bash
# Runs every native fuzz target of the module for a short time, one after the
# other: scripts/fuzz.sh [TIME] [PACKAGE...]. New targets are found by name.
set -euo pipefail
. "$(dirname "$0")/common.sh"

time=${1:-5s}
[ $# -eq 0 ] || shift

found=0
failed=
log=$CACHE/fuzz.log
# The names come from the sources: `go test -list` would compile every package.
while read -r target dir; do
	found=$((found + 1))
	printf 'fuzz %-60s ' "${dir#"$ROOT"/} $target"
	for limit in "$time" 30s; do
		if ! go test "$dir" -run '^$' -fuzz "^$target\$" -fuzzminimizetime 100x -fuzztime "$limit" >"$log" 2>&1 </dev/null; then
			runs=FAILED
			break
		fi
		# On a busy machine the time can be over before all seeds were tried. Then
		# nothing was fuzzed yet.
		runs=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
		[ "${runs:-0}" -eq 0 ] || break
	done
	case "${runs:-0}" in
	FAILED | 0)
		echo "${runs:-no runs in $limit}"
		tail -n 40 "$log"
		failed="$failed $target"
		;;
	*) echo "$runs runs" ;;
	esac
done < <(
	go list -f '{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}' "${@:-./...}" |
		while read -r file; do
			[ -z "$file" ] || sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|\1 $(dirname "$file")|p" "$file"
		done
)
echo "fuzz: $found targets, $time each${failed:+; FAILED:$failed}"
[ -z "$failed" ]

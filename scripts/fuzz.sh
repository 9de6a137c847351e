#!/usr/bin/env bash
# Runs every native fuzz target of the module for a short time: scripts/fuzz.sh [TIME]
# [PACKAGE...]. New targets are found by name.
set -euo pipefail
. "$(dirname "$0")/common.sh"

time=${1:-5s}
[ $# -eq 0 ] || shift

# build DIR makes the program of a package's targets, with the fuzzer's counters in it.
build() {
	local program=$results/${1//\//-}.test
	go test "$1" -c -fuzz . -o "$program" >"$program.log" 2>&1 || { cat "$program.log" && return 1; }
}
# one TARGET DIR fuzzes with one worker: as many targets at a time as there are cores.
# What a run finds interesting is kept for that run alone: Go's own folder grows from run to
# run, and all that is in it is tried first, until a short run has time for nothing else.
one() {
	local target=$1 dir=$2 limit runs=0 log=$results/$1-${2//\//-}
	cd "$dir" || return 1
	for limit in "$time" 30s 31s; do
		if ! "$results/${dir//\//-}.test" -test.run '^$' -test.fuzz "^$target\$" -test.parallel 1 -test.fuzzminimizetime 100x \
			-test.fuzztime "$limit" -test.fuzzcachedir "$log.corpus" >"$log" 2>&1 </dev/null; then
			runs=FAILED
			# Go's fuzzer at times takes the end of its time for a failure, of no input:
			# golang/go#75804, mended in Go 1.27.
			if grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input\|panic:' "$log"; then continue; fi
			break
		fi
		# On a busy machine the time can be over before all seeds were tried. Then
		# nothing was fuzzed yet.
		runs=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
		[ "${runs:-0}" -eq 0 ] || break
	done
	case "${runs:-0}" in
	FAILED | 0)
		printf 'fuzz %-60s %s\n%s\n' "${dir#"$ROOT"/} $target" "${runs:-no runs in $limit}" "$(tail -n 40 "$log")"
		return 1
		;;
	*) printf 'fuzz %-60s %s runs\n' "${dir#"$ROOT"/} $target" "$runs" ;;
	esac
}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export -f build one
export time results ROOT

# The names come from the sources: `go test -list` would compile every package.
targets=$(
	go list -f '{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}' "${@:-./...}" |
		while read -r file; do
			[ -z "$file" ] || sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|\1 $(dirname "$file")|p" "$file"
		done
)
found=$(grep -c . <<<"$targets" || true)
verdict=passed
# shellcheck disable=SC2016 # the inner shell expands it
sed 's/^[^ ]* //' <<<"$targets" | sort -u | xargs -r -n 1 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'build "$1"' build || verdict=FAILED
# shellcheck disable=SC2016 # the inner shell expands it
xargs -r -n 2 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'one "$@"' one <<<"$targets" || verdict=FAILED
echo "fuzz: $found targets, $time each, $verdict"
[ "$verdict" = passed ]

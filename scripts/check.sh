#!/usr/bin/env bash
# Runs the checks of `make test` (or `make soak`), all of them even if one fails,
# and closes with a summary. Make calls it after the set-up, with the variables of
# .cache/mlx/env.mk; `scripts/check.sh test vet race` runs the named steps alone.
set -uo pipefail
. "$(dirname "$0")/common.sh"

# make has these variables already.
# shellcheck disable=SC1091 # written by setup-mlx.sh
[ -n "${CGO_CFLAGS:-}" ] || [ ! -f "$CACHE/mlx/env.sh" ] || . "$CACHE/mlx/env.sh"
PYTHON=$CACHE/oracle/venv/bin/python
export PYTHONDONTWRITEBYTECODE=1

# Collects garbage less often where that is a seventh of the time, and as often as ever where
# memory is large.
RARELY="env GOGC=300 GOMEMLIMIT=2GiB"

# What tests leave to look at, such as screenshots of pages, is kept in CI.
artefacts=
[ -z "${CI:-}" ] || artefacts="-artifacts -outputdir $CACHE/artefacts"
mkdir -p "$CACHE/artefacts"

step_gofmt() {
	local bad
	bad=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l) || return 1
	[ -z "$bad" ] || { printf 'not formatted (make fmt does it):\n%s\n' "$bad" && return 1; }
}
step_vet() { go vet ./... && go vet -tags mlx ./...; }
step_staticcheck() { .cache/bin/staticcheck ./... && .cache/bin/staticcheck -tags mlx ./...; }
# The machine without MLX: a plain build and test, as a reader's first try is.
# shellcheck disable=SC2086 # flags, or none
step_plain() { CGO_ENABLED=0 go build ./... && ZMLX_STEP=plain $RARELY go test -timeout 25m $artefacts ./...; }
# Every rule that ships, by the command as its users have it: what fails, and what could not
# be checked here, fails the step.
step_verify() {
	local dir report
	dir=$(mktemp -d) || return 1
	report=$dir/report
	go build -o "$dir/zmlx-rewrite" ./cmd/zmlx-rewrite && time $RARELY "$dir/zmlx-rewrite" verify --quiet >"$report"
	local verdict=$?
	grep -qE '^[1-9][0-9]* rules: .* 0 unchecked, 0 failed ' "$report" || verdict=1
	if [ "$verdict" -eq 0 ]; then tail -n 1 "$report"; else cat "$report"; fi
	rm -rf "$dir"
	return "$verdict"
}
# A race needs two goroutines: only packages that start, share or wait for one are
# run, in their short form, since the race detector makes everything ten times slower. Not
# the command: its scripts would run every other package again.
step_race() {
	local dirs
	dirs=$(git ls-files -co --exclude-standard '*.go' |
		xargs grep -lE '\bgo func|\bsync\.|\bchan\b|t\.Parallel\(' | xargs -r -n 1 dirname | sort -u | grep -v '^cmd/' | sed 's|^|./|')
	# shellcheck disable=SC2086 # a list of folders, without spaces
	[ -z "$dirs" ] || go test -race -short -timeout 25m -tags mlx $dirs
}
# The packages whose tests hold the engine, which is all that the tag switches in;
# the others are what they were in the plain step. So are the command's tests that do not
# depend on it, which are left out, and those of rewrite/ but the ones that say OnMLX. The
# engine has one thread: the command's scripts, and after them the other packages, run beside
# the command's tests.
step_mlx() (
	command=zmlx-rewrite/cmd/zmlx-rewrite rewrite=zmlx-rewrite/rewrite
	packages=$(go list -tags mlx -test -f '{{.ImportPath}} {{join .Deps ","}},' ./... |
		sed -n 's|^\([^ ]*\)\.test .*[ ,]zmlx-rewrite/engine/mlx[ ,].*|\1|p' | grep -vxF -e $command -e $rewrite)
	[ -n "$packages" ] || return 1
	export ZMLX_STEP=mlx
	# shellcheck disable=SC2086 # lists of flags and packages
	beside() {
		local verdict=0
		go test -timeout 25m -tags mlx -run '^TestScripts$' $command || verdict=1
		go test -timeout 25m -tags mlx -p 1 $artefacts $packages || verdict=1
		go test -timeout 25m -tags mlx -run 'OnMLX$' $rewrite || verdict=1
		return "$verdict"
	}
	verdict=0
	beside &
	# shellcheck disable=SC2086 # flags, or none
	go test -timeout 25m -tags mlx -skip '^TestScripts$' $artefacts $command || verdict=1
	wait $! || verdict=1
	return "$verdict"
)
# Golden files are made again by the scripts that made them, and compared: by all
# that say [--check]. Those of graph/mlxfn are compared by its Go tests, since the
# bytes of .mlxfn files differ from run to run. The tiny models and SmolLM2's folder come
# first, since others ask mlx-lm about them; then as many scripts at a time as there are cores.
golden() { # SCRIPT
	local start=$SECONDS log verdict=0
	log=$(mktemp) || return 1
	"$PYTHON" "$1" --check >"$log" 2>&1 || verdict=1
	printf '%s --check\n%s\n  %d s\n' "$1" "$(cat "$log")" $((SECONDS - start))
	rm -f "$log"
	return "$verdict"
}
step_goldens() {
	local all first="scripts/oracle/tiny_models.py scripts/oracle/smollm2_goldens.py" script failed=0
	all=$(git ls-files -co --exclude-standard 'scripts/oracle/*.py' 'scripts/bench/*.py' '*/testdata/*.py' | xargs grep -l -e '\[--check' | sort)
	for script in $first; do golden "$script" || failed=1; done
	export PYTHON
	export -f golden
	# shellcheck disable=SC2016 # the inner shell expands it
	grep -vxF "${first// /$'\n'}" <<<"$all" | xargs -n 1 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'golden "$1"' golden || failed=1
	echo "$(wc -l <<<"$all") golden scripts$([ "$failed" -eq 0 ] || echo ", not all passed")"
	[ "$failed" -eq 0 ]
}
# The Python package, with the program built without cgo, as its wheel has it: its tests, some
# rows of the table of all architectures (make soak: all), and the newcomer's path.
step_python() {
	local program=$CACHE/python/zmlx-rewrite names
	export ZMLX_KERNELS=$ROOT/bin/libzmlx-kernels.so
	[ "$(uname)" != Darwin ] || ZMLX_KERNELS=$ROOT/bin/libzmlx-kernels.dylib
	names="qwen3 qwen3_moe llama mixtral lfm2_moe gpt_oss glm4_moe_lite deepseek_v3 gemma gemma2 gemma3_text kimi_k25 qwen3_next gpt_bigcode"
	[ -z "${ZMLX_SOAK:-}" ] || names=
	CGO_ENABLED=0 go build -o "$program" ./cmd/zmlx-rewrite || return 1
	# shellcheck disable=SC2086 # a list of names
	(cd python && ZMLX_REWRITE=$program "$PYTHON" -m unittest discover -s tests -t .) &&
		ZMLX_REWRITE=$program "$PYTHON" python/tests/table.py --least "$([ -n "$names" ] && echo 13 || echo 40)" $names &&
		ZMLX_REWRITE=$program "$PYTHON" python/tests/server.py testdata/trained/qwen3_moe --requests 32 --max-tokens 16 --flags "--kernels-as reference --keep-slower" &&
		scripts/newcomer.sh && scripts/exo.sh
}
step_fuzz() { scripts/fuzz.sh "${FUZZTIME:-3s}"; }
# The long form compares with whole vocabularies and templates that are not ours to
# keep here; where they cannot be had, the tests say so.
step_soak() {
	local script
	for script in tokenizer chattemplate; do
		"$PYTHON" "scripts/oracle/${script}_goldens.py" --fetch || echo "not all files of ${script}_goldens.py were fetched"
	done
	go test -tags mlx -timeout 6h ./... && scripts/fuzz-rewrites.sh
}

case "${1:-}" in
test) steps="gofmt vet staticcheck goldens plain verify race fuzz mlx python" ;;
soak) steps="soak python goldens fuzz" FUZZTIME=${FUZZTIME:-5m} && export ZMLX_SOAK=1 ;;
*) fail "usage: scripts/check.sh test|soak [STEP...]" ;;
esac
shift
[ $# -eq 0 ] || steps=$*

# What a failed step says of its failures is said again at the end, where a reader of a
# long log, or of its last lines, finds it.
summary=
failures=
failed=0
log=$(mktemp) || fail "no folder for temporary files"
trap 'rm -f "$log"' EXIT
for step in $steps; do
	say "$step"
	start=$SECONDS
	verdict=passed
	if ! "step_$step" 2>&1 | tee "$log"; then
		verdict=FAILED failed=$((failed + 1))
		failures+=$(printf '%s:\n%s' "$step" "$(grep -aE '^ *(--- FAIL|FAIL|FAILED|panic:|fatal|error|fuzz .*(FAILED|no runs))|differ|not formatted|\.go:[0-9]+:|Failing input' "$log" | tail -n 12 | cut -c1-200)")$'\n'
	fi
	summary+=$(printf '%-8s %-12s %5ds' "$verdict" "$step" $((SECONDS - start)))$'\n'
done
say "summary"
printf '%s%s' "$failures" "$summary"
[ "$failed" -eq 0 ] || fail "$failed of $(wc -w <<<"$steps") steps failed"

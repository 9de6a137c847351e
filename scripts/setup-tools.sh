#!/usr/bin/env bash
# Builds the linter of `make test` into .cache/bin. Its version is pinned here and
# not in go.mod, since nothing of the project imports it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

STATICCHECK=v0.8.2

need_go
# A linter reads only code of the Go version it was built with, or older.
stamp="staticcheck $STATICCHECK, $(go version)"
if [ "$(cat "$CACHE/bin/stamp" 2>/dev/null)" != "$stamp" ]; then
	lock tools
	say "staticcheck $STATICCHECK: building"
	mkdir -p "$CACHE/bin"
	GOBIN=$CACHE/bin go install "honnef.co/go/tools/cmd/staticcheck@$STATICCHECK"
	echo "$stamp" >"$CACHE/bin/stamp"
fi
say "staticcheck $STATICCHECK: ready in .cache/bin"

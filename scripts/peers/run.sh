#!/usr/bin/env bash
# Compares planning and applying rules with other rewriters of graphs, on one graph:
#
#	scripts/peers/run.sh [PEER...]        # all, or some: onnxscript_rewriter, torch_fx, …
#
# A layer (graph.go) has four sites: root mean square norm, two scaled or capped
# projections of one value (a rule with two roots), layer norm, SwiGLU. Of eight layers,
# one is plain, one has every commutative op's operands the other way, and six have a near
# miss or two: an inner value used outside or a result of the graph, divide and subtract
# with swapped operands, roots of different inputs, a root that needs the other's result,
# a name that would stand for two values. 48 and 480 layers; a quarter must not match.
#
# Timed is matching and rewriting alone; neither is making the graph or the patterns (ours
# compiles its patterns in that time). Processor time of all threads counts, since other
# programs may run here; the least of up to 15 runs is compared. What matched is read from
# the rewritten graph: each site has a parameter of its own.
#
# The peers are installed in .cache/peers/venv as requirements.txt has them, by version
# and sha256; PyTorch brings 4 GB of CUDA libraries along. Records go to .cache/peers/out.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

venv=$CACHE/peers/venv out=$CACHE/peers/out pins=scripts/peers/requirements.txt
mkdir -p "$out"
ready() { [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(sha256 "$pins")" ]; }
if ! ready; then
	need python3 3.11 "$( (python3 --version 2>/dev/null || true) | number)"
	say "Peers: installing into .cache/peers/venv"
	python3 -m venv --clear "$venv"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement "$pins" >&2
	sha256 "$pins" >"$venv/stamp"
fi

say "load: $(cat /proc/loadavg 2>/dev/null || uptime)"
go run ./scripts/peers "$out"
[ $# -gt 0 ] || set -- onnxscript_rewriter torch_fx inductor tvm_relax mlir_pdl
for peer; do
	rm -f "$out/$peer.json"
	# A peer that fails has no row, and the table says where its words are.
	"$venv/bin/python" "scripts/peers/$peer.py" "$out" 2>"$out/$peer.log" >&2 || say "$peer failed: $(tail -n 1 "$out/$peer.log")"
done
say "load: $(cat /proc/loadavg 2>/dev/null || uptime)"
"$venv/bin/python" scripts/peers/table.py "$out"

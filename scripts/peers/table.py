"""Prints the table of what is in a folder: python3 scripts/peers/table.py FOLDER

Exits with 1 unless ours is right at every site and at least 10 times as fast as each peer.
"""

import json
import pathlib
import statistics
import sys

folder = pathlib.Path(sys.argv[1])
sites = {}
for layers in (48, 480):
    for s in json.loads((folder / f"graph-{layers}.json").read_text())["sites"]:
        sites[layers, f"{s['rule']} {s['param']}"] = s
records = []
for name in ("ours", "onnxscript_rewriter", "torch_fx", "inductor", "tvm_relax", "mlir_pdl"):
    if (folder / f"{name}.json").exists():
        records += json.loads((folder / f"{name}.json").read_text())
    else:
        print(f"{name}: no result; see {folder / name}.log\n")
ours = {(r["layers"], r["rules"]): r for r in records if r["peer"] == "zmlx-rewrite"}
bad = []


def seconds(s):
    return f"{s * 1000:.2f} ms" if s < 1 else f"{s:.1f} s"


print("| Peer | Layers | Rules | Processor time, least (median, runs) | Times ours | Matched | Refused | What is wrong |")
print("|---|---|---|---|---|---|---|---|")
for layers in (48, 480):
    for rules in ("all", "one root"):
        asked = {k: s for (n, k), s in sites.items() if n == layers and (rules == "all" or s["rule"] != "pair")}
        must = {k for k, s in asked.items() if s["match"]}
        for r in records:
            if (r["layers"], r["rules"]) != (layers, rules):
                continue
            mine = r["peer"] == "zmlx-rewrite"
            got = set(r["matched"])
            if not r["cpu"]:
                print(f"| {r['peer']} {r['note']} | {layers} | {rules} | | | | | {r.get('error', '')} |")
                continue
            time, ratio = min(r["cpu"]), min(r["cpu"]) / min(ours[layers, rules]["cpu"])
            wrong = {}
            for k in got - must:
                why = asked[k]["why"] if k in asked else "no site"
                wrong[why] = wrong.get(why, 0) + 1
            says = [f"{n} matched: {why}" for why, n in sorted(wrong.items())]
            if must - got:
                says.append(f"{len(must - got)} missed")
            if "broken" in r:
                says.append("the result is no valid graph")
            if mine and says:
                bad.append(f"{layers} layers, {rules}: {says}")
            if not mine and ratio < 10:
                bad.append(f"{layers} layers, {rules}: {r['peer']} takes only {ratio:.1f} times as long")
            refused = len(asked) - len(must) - len(got - must)
            print(
                f"| {r['peer']} {r['note']} | {layers} | {rules} | {seconds(time)} ({seconds(statistics.median(r['cpu']))}, {len(r['cpu'])}) | {'' if mine else f'{ratio:,.0f}'} "
                f"| {len(got & must)}/{len(must)} | {refused}/{len(asked) - len(must)} | {'; '.join(says)} |"
            )
for b in bad:
    print(b, file=sys.stderr)
sys.exit(bool(bad))

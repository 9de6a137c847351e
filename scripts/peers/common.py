"""What the peers share: the patterns' order, the clock and the record.

A peer is a file that gives `run` four functions: one makes the graph in the peer's own
form, one its patterns (neither is timed), one applies them, one lists what was fused
in the graph that came out, as "rule parameter", and one raises if that graph is none, by
the peer's own check.

    .cache/peers/venv/bin/python scripts/peers/NAME.py FOLDER [LIMIT in seconds]
"""

import gc
import itertools
import json
import pathlib
import signal
import sys
import time

# A layer norm has a root mean square norm in it, so it comes first.
RULES = ["layer_norm", "rms", "pair", "swiglu"]
ONE_ROOT = ["layer_norm", "rms", "swiglu"]
EPS, INV, SCALE = 1e-5, 1 / 16, 0.25


def orders(pattern):
    """Lists pattern(swap) for each order of the operands of its commutative ops.

    For peers that match operands as written. The pattern has swap(a, b) put operands in
    order.
    """
    count = 0

    def counting(a, b):
        nonlocal count
        count += 1
        return a, b

    pattern(counting)
    made = []
    for flips in itertools.product([False, True], repeat=count):
        it = iter(flips)
        made.append(pattern(lambda a, b: (b, a) if next(it) else (a, b)))
    return made


def words(e):
    return f"{type(e).__name__}: {' '.join(str(e).split())}"[:160]


class Late(Exception):
    pass


def late(*_):
    raise Late


def run(peer, version, make, prepare, apply, matched, check, bind=lambda made, patterns: patterns):
    """Times apply on both graphs, with all rules and with those of one root.

    A case runs 15 times, or as often as it begins within a minute, at least once, and is
    given up after LIMIT seconds of processor time. Each case is written when it is done.
    """
    folder = pathlib.Path(sys.argv[1])
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else 900
    signal.signal(signal.SIGPROF, late)
    records = []
    for layers, name, rules in ((48, "all", RULES), (48, "one root", ONE_ROOT), (480, "one root", ONE_ROOT), (480, "all", RULES)):
        g = json.loads((folder / f"graph-{layers}.json").read_text())
        assert (g["eps"], g["inv"], g["scale"]) == (EPS, INV, SCALE)
        record = dict(peer=peer, rules=name, layers=layers, nodes=len(g["nodes"]), cpu=[], wall=[], matched=[], note=version)
        records.append(record)
        began = time.monotonic()
        while len(record["cpu"]) < 15 and (not record["cpu"] or time.monotonic() - began < 60):
            made = make(g)
            patterns = bind(made, prepare(rules))
            gc.collect()
            signal.setitimer(signal.ITIMER_PROF, limit)
            c, w = time.process_time(), time.perf_counter()
            try:
                made = apply(made, patterns)
            except Late:
                record["error"] = f"not done after {limit:.0f} s"
                break
            except Exception as e:
                record["error"] = words(e)
                break
            finally:
                took = time.perf_counter() - w, time.process_time() - c
                signal.setitimer(signal.ITIMER_PROF, 0)
            record["wall"].append(took[0])
            record["cpu"].append(took[1])
            record["matched"] = sorted(matched(made))
        if record["matched"]:
            try:
                check(made)
            except Exception as e:
                record["broken"] = words(e)
        (folder / (pathlib.Path(sys.argv[0]).stem + ".json")).write_text(json.dumps(records) + "\n")
        print(f"{peer}, {layers} layers, {name}: {len(record['matched'])} matches", *record["cpu"][:1], record.get("error", ""), record.get("broken", ""), flush=True)

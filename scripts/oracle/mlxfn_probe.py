"""Export one small function per primitive with the installed MLX.

    python mlxfn_probe.py DIR

DIR holds probes.json and seeds/ (written by `go run ./scripts/oracle/mlxfn_probes
write DIR`). Each probe becomes DIR/NAME.mlxfn, or DIR/NAME.error where this MLX cannot
export it. A probe that this machine can run must give the same bits after export and
import. Exits 1 if one does not.
"""
import json
import os
import sys

import mlx.core as mx


def put(a, i, v):
    """a with a[i] = v; assignments are no expressions."""
    a = mx.array(a)
    a[i] = v
    return a


def flat(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


def bits(a):
    return (a.dtype, tuple(a.shape), bytes(memoryview(a.astype(mx.float32) if a.dtype == mx.bfloat16 else a)))


def zeros(text):
    dtype, dims = text.rstrip("]").split("[")
    return mx.zeros([int(d) for d in dims.split(",") if d], getattr(mx, dtype))


def traced(probe, arrays, path):
    fn = eval("lambda " + ", ".join(probe["args"]) + ": " + probe["call"], {"mx": mx, "put": put})
    args = [arrays[name] for name in probe["args"]]
    mx.export_function(path, fn, *args, shapeless=probe.get("shapeless", False))
    want, got = flat(fn(*args)), mx.import_function(path)(*args)
    mx.eval(want, got)
    return [bits(a) for a in want] == [bits(a) for a in got]


def seeded(probe, seed, path):
    fn = mx.import_function(seed)
    mx.export_function(path, lambda *a: fn(*a), *[zeros(t) for t in probe["inputs"]])
    return True


def main(folder):
    with open(os.path.join(folder, "probes.json")) as f:
        spec = json.load(f)
    arrays = {name: eval(text, {"mx": mx}) for name, text in spec["arrays"].items()}
    mx.eval(arrays)
    written = differ = 0
    for probe in spec["probes"]:
        path = os.path.join(folder, probe["name"] + ".mlxfn")
        try:
            if not probe.get("seed"):
                same = traced(probe, arrays, path)
            else:
                seed = os.path.join(folder, "seeds", probe["name"] + ".mlxfn")
                if not os.path.exists(seed):
                    continue  # the seeds' release does not have the primitive
                same = seeded(probe, seed, path)
        except Exception as e:
            if os.path.exists(path):
                os.remove(path)
            with open(path[: -len("mlxfn")] + "error", "w") as f:
                f.write(f"{e}\n")
            continue
        written += 1
        if not same:
            differ += 1
            print(f"{probe['name']}: the imported function gives another result", file=sys.stderr)
    print(f"MLX {mx.__version__}: {written} probes written")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

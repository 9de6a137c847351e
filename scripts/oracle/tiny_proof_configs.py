#!/usr/bin/env python3
"""Configurations of the tiny models, as graphs that rules are looked for in.

    .cache/oracle/venv/bin/python scripts/oracle/tiny_proof_configs.py [--check]

verify/proof/models.json has the config.json of every model that tiny_models.py has made in
.cache/oracle/tiny, and MORE: models that rules need which begin at a thousand rows, or at more
than four heads of keys.

--check compares those that are there.
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "verify/proof/models.json"

MORE = {
    "deepseek_v32-long-f32": ("deepseek_v32-f32", {"index_topk": 1024}),
    "llama-heads-f32": ("llama-f32", {"num_attention_heads": 6, "num_key_value_heads": 6}),
    "qwen3-heads-f32": ("qwen3-f32", {"num_attention_heads": 6, "num_key_value_heads": 6}),
}


def configs():
    found = {}
    for file in sorted((ROOT / ".cache/oracle/tiny").glob("*/config.json")):
        config = json.loads(file.read_text())
        if "quantization" in config:  # mlx-lm writes the block twice
            config.pop("quantization_config", None)
        found[file.parent.name] = config
    for name, (like, changes) in MORE.items():
        if like in found:
            found[name] = {**found[like], **changes}
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    found = configs()
    if not found:
        sys.exit("no tiny models: run scripts/oracle/tiny_models.py first")
    if args.check:
        have = json.loads(FILE.read_text())
        differ = sorted(name for name in found if found[name] != have.get(name))
        print(f"{FILE.relative_to(ROOT)}: {len(found)} of {len(have)} models, {len(differ)} differ {' '.join(differ)}")
        sys.exit(1 if differ else 0)
    lines = (f"{json.dumps(name)}: {json.dumps(found[name], sort_keys=True)}" for name in sorted(found))
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

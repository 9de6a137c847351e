#!/usr/bin/env python3
"""Writes models/testdata/yarn_freqs.json: what mlx-lm's YarnRoPE computes, its
frequencies as float32 bits and its scale of the input, for published configurations
and some at their edges.

    .cache/oracle/venv/bin/python scripts/oracle/yarn_freqs.py [--check]
"""

import json

import golden
import mlx.core as mx
from mlx_lm.models.rope_utils import initialize_rope

mx.set_default_device(mx.cpu)
rows = []
for dims, base, scaling in [
    (64, 10000.0, dict(factor=40, original_max_position_embeddings=4096, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)),  # DeepSeek-V3
    (64, 50000.0, dict(factor=64.0, original_max_position_embeddings=4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)),  # Kimi-K2.5
    (64, 150000.0, dict(factor=32.0, original_max_position_embeddings=4096, beta_fast=32.0, beta_slow=1.0)),  # gpt-oss
    (128, 1000000.0, dict(factor=4.0, original_max_position_embeddings=32768)),  # Qwen3
    (64, 10000.0, dict(factor=40, mscale=0.707, mscale_all_dim=1.0)),
    (64, 10000.0, dict(factor=1.0, mscale=0.707)),
    (16, 10000.0, dict(factor=8.5, original_max_position_embeddings=64, beta_fast=8, beta_slow=8)),  # one step wide
    (16, 10000.0, dict(factor=8.5, original_max_position_embeddings=50, beta_fast=8, beta_slow=8)),  # no ramp
    (2, 10000.0, dict(factor=8.0)),
    (96, 700.0, dict(factor=0.5, original_max_position_embeddings=100000, beta_fast=1, beta_slow=0.001)),
]:
    config = dict(scaling, rope_type="yarn")
    rope = initialize_rope(dims, base, False, config)
    rows.append(dict(dims=dims, base=base, scaling=config, mscale=rope.mscale, bits=rope._freqs.view(mx.uint32).tolist()))
text = "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n"
golden.run(__doc__, "models/testdata", lambda out: (out / "yarn_freqs.json").write_text(text))

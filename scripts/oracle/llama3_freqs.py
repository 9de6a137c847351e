#!/usr/bin/env python3
"""Writes models/testdata/llama3_freqs.json: what mlx-lm's Llama3RoPE computes, as
float32 bits, for the published Llama 3 configurations and some at their edges.

    .cache/oracle/venv/bin/python scripts/oracle/llama3_freqs.py [--check]
"""

import json

import golden
import mlx.core as mx
from mlx_lm.models.rope_utils import Llama3RoPE

mx.set_default_device(mx.cpu)
rows = []
for dims, base, factor, low, high, old in [
    (64, 500000.0, 32.0, 1.0, 4.0, 8192),  # Llama 3.2 1B
    (128, 500000.0, 32.0, 1.0, 4.0, 8192),  # Llama 3.2 3B
    (128, 500000.0, 8.0, 1.0, 4.0, 8192),  # Llama 3.1
    (96, 10000, 2.5, 1, 3, 4096),
    (256, 1000000.0, 1.0, 0.5, 8.0, 131072),
    (2, 10000.0, 8.0, 1.0, 4.0, 8192),
]:
    config = dict(
        rope_type="llama3",
        factor=factor,
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=old,
    )
    rope = Llama3RoPE(dims, base=base, scaling_config=config)
    rows.append(dict(dims=dims, base=base, scaling=config, bits=rope._freqs.view(mx.uint32).tolist()))
text = "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n"
golden.run(__doc__, "models/testdata", lambda out: (out / "llama3_freqs.json").write_text(text))

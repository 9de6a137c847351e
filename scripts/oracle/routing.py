"""Prints how often each expert of each layer is chosen over a text, by mlx-lm:

    .cache/oracle/venv/bin/python scripts/oracle/routing.py MODEL TEXT

One line a layer. testdata/scripts/measure/routing.txtar holds what it prints for the trained
models. Ids are taken where mlx-lm hands them to its experts (SwitchGLU and its relatives).
"""

import sys
from collections import Counter
from pathlib import Path

import mlx.core as mx
from mlx_lm.models import switch_layers
from mlx_lm.tokenizer_utils import load as load_tokenizer
from mlx_lm.utils import load_model

model_path, text = Path(sys.argv[1]), sys.argv[2]
model, _ = load_model(model_path)
seen = []
plain = switch_layers.SwitchGLU.__call__


def watched(self, x, indices):
    seen.append((self.gate_proj.num_experts, indices))
    return plain(self, x, indices)


switch_layers.SwitchGLU.__call__ = watched
tokens = load_tokenizer(model_path).encode(text)
model(mx.array([tokens]))
for experts, ids in seen:
    counts = Counter(i for row in ids.reshape(-1, ids.shape[-1]).tolist() for i in row)
    print("[" + ",".join(str(counts[e]) for e in range(experts)) + "]")

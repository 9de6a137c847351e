"""Makes models/safetensors/testdata/reference.safetensors with the reference implementation:
every element type that MLX has too, a scalar, an empty tensor, awkward names. Byte i of the
data of the k-th tensor is (7 * i + k) % 251 (booleans: i % 2).

Needs safetensors==0.8.0, numpy:
    .cache/oracle/venv/bin/python scripts/oracle/safetensors_goldens.py [--check]
"""
import golden
import numpy as np
from safetensors import TensorSpec, serialize

SIZES = dict(bool=1, uint8=1, int8=1, int16=2, uint16=2, float16=2, bfloat16=2, int32=4, uint32=4,
             float32=4, complex64=8, float64=8, int64=8, uint64=8)
tensors = [(f"t.{t}", t, (2, 3)) for t in SIZES]
tensors += [("scalar", "float32", ()), ("empty", "float16", (0, 3)), ('é "<&>"\\', "uint8", (5,))]
out, keep = {}, []
for k, (name, dtype, shape) in enumerate(tensors):
    n = SIZES[dtype]
    for d in shape:
        n *= d
    a = np.array([i % 2 if dtype == "bool" else (7 * i + k) % 251 for i in range(n)], dtype=np.uint8)
    keep.append(a)  # serialize takes addresses
    out[name] = TensorSpec(dtype=dtype, shape=shape, data_ptr=a.ctypes.data, data_len=n)
data = bytes(serialize(out, {"format": "mlx"}))
golden.run(__doc__, "models/safetensors/testdata", lambda out: (out / "reference.safetensors").write_bytes(data))

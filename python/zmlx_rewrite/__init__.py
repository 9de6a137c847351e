"""Models of mlx-lm, rewritten by rules: patch(model), and back: unpatch(model).

    import mlx_lm, zmlx_rewrite
    model, tokenizer = mlx_lm.load(...)
    print(zmlx_rewrite.patch(model))

A step of a few tokens then runs as functions that the program zmlx-rewrite wrote; every
other call runs as before. What is not proven to be the model is not used. The account
that patch returns says for each rule where it applied, and where not, why.
"""

from .binary import ToolError
from .install import PatchError, patch, smart_patch, unpatch
from .plans import explain, plan
from .record import Refused
from .report import Report, Rule, Shape
from .compare import Validation, validate

__version__ = "0.1.0"
__all__ = ["PatchError", "Refused", "Report", "Rule", "Shape", "ToolError", "Validation", "explain", "patch", "plan", "smart_patch", "unpatch", "validate"]

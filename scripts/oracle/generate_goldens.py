#!/usr/bin/env python3
"""Writes cmd/zmlx-rewrite/testdata/generate.json: what mlx_lm.generate and mlx_lm.chat make with flags.

    nice .cache/oracle/venv/bin/python scripts/oracle/generate_goldens.py [--check]

The cases are in generate_cases.json: a command, its flags, which are ours as well, a model of
testdata/trained, and for chat the lines. A model without a chat template may be given one, and tokens.
Each result has the tokens and the texts of the answers. The models run on the CPU, in float32 if no
other type is named, to which they are cast; random
numbers decide nothing: what is drawn has one candidate.
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile

import golden
import mlx.core as mx
import mlx_lm.chat
import mlx_lm.generate
from mlx_lm import sample_utils

sys.path.insert(0, str(golden.ROOT / "scripts/train"))
from convert import cast  # noqa: E402

mx.set_default_device(mx.cpu)
HERE = pathlib.Path(__file__).parent
generate, chat = sys.modules["mlx_lm.generate"], sys.modules["mlx_lm.chat"]
stream_generate = generate.stream_generate
draw = sample_utils.categorical_sampling


def only(logits, temp):
    """Draws, and holds the script to what it says of random numbers."""
    assert ((logits > -mx.inf).sum(-1) == 1).all().item(), "several tokens are left to draw from"
    return draw(logits, temp)


sample_utils.categorical_sampling = only


def model(case, tmp):
    """The folder of a case's model."""
    source = golden.ROOT / "testdata/trained" / case["model"]
    if not {"template", "added_tokens", "dtype"} & case.keys():
        return source
    folder = pathlib.Path(tmp) / "model"
    if "dtype" in case:
        cast(source, case["dtype"], folder)
    else:
        shutil.copytree(source, folder)
    if "template" in case:
        (folder / "chat_template.jinja").write_text(case["template"])
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for content in case.get("added_tokens", []):
        end = 1 + max(t["id"] for t in tokenizer["added_tokens"] + [{"id": max(tokenizer["model"]["vocab"].values())}])
        tokenizer["added_tokens"].append(
            dict(id=end, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
        )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def run(case):
    answers = []

    def recorded(model, tokenizer, prompt, *args, **kwargs):
        answers.append(dict(prompt=[int(t) for t in prompt], tokens=[], text="", from_draft=0))
        for response in stream_generate(model, tokenizer, prompt, *args, **kwargs):
            answers[-1]["tokens"].append(response.token)
            answers[-1]["text"] += response.text
            answers[-1]["from_draft"] += response.from_draft
            yield response

    class UI:
        def __init__(self, *args, **kwargs):
            self.lines = iter(case["lines"])

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

        def prompt(self):
            return next(self.lines, "q")

        def __getattr__(self, name):
            return lambda *args: None

    generate.stream_generate = chat.stream_generate = recorded
    chat.ChatUI = UI
    with tempfile.TemporaryDirectory() as tmp, contextlib.redirect_stdout(io.StringIO()):
        sys.argv = [case["command"], "--model", str(model(case, tmp)), *case["args"]]
        os.chdir(golden.ROOT)  # flags name files from there
        sys.modules["mlx_lm." + case["command"]].main()
    return dict(case, answers=answers)


def make(out):
    cases = json.loads((HERE / "generate_cases.json").read_text())
    rows = [json.dumps(run(c), separators=(",", ":"), ensure_ascii=False) for c in cases]
    (out / "generate.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


golden.run(__doc__, "cmd/zmlx-rewrite/testdata", make)

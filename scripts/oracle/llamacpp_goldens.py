#!/usr/bin/env python3
"""What llama.cpp generates with SmolLM2-135M-Instruct on the CPU, greedily.

llamacpp_goldens.sh installs the pinned llama.cpp and runs this. Token ids go in and
token ids come out: the prompts, and their tokens, are those of testdata/smollm2.json.

With the file as it is, llama.cpp rounds activations to 8 bits before each product
with a quantized matrix. That moves margins (largest minus second largest logit) by
up to 0.8, far more than most mistakes would. So the weights are first widened to
float32, which changes no value, and the run with those is the golden: 128 tokens for
each prompt, and the margin of each. What the file as it is gives is recorded too,
in "eight_bit". "parts" is the first step whose token is not mlx-lm's, -1 if there is
none, with the margins of both there.
"""

import json
import pathlib

import gguf
import numpy
import xllamacpp

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / ".cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
WIDE = ROOT / ".cache/oracle/llamacpp/f32.gguf"
MLX_LM = ROOT / "testdata/smollm2.json"
GOLDENS = ROOT / "decode/testdata/llamacpp.json"


def widen(source, out):
    r = gguf.GGUFReader(source)
    w = gguf.GGUFWriter(out, r.fields["general.architecture"].contents())
    for f in r.fields.values():
        if f.name == "general.architecture" or f.name.startswith("GGUF."):
            continue  # the writer's own
        element = f.types[-1] if f.types[0] == gguf.GGUFValueType.ARRAY else None
        w.add_key_value(f.name, f.contents(), f.types[0], sub_type=element)
    for t in r.tensors:
        w.add_tensor(t.name, gguf.dequantize(t.data, t.tensor_type).astype(numpy.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def start(model, cache_type):
    p = xllamacpp.CommonParams()
    p.model.path = str(model)
    p.cache_type_k = p.cache_type_v = cache_type
    p.n_ctx, p.n_parallel, p.warmup, p.verbosity = 1024, 1, False, -1
    # Plain attention on one thread adds up in one order, however many cores there are.
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(p)


def complete(server, prompt, n):
    """The n tokens after a prompt, and their margins.

    The server stops at an end token. mlx-lm's goldens go on, so this goes on too,
    with a prompt that has the end token in it.
    """
    tokens, margins = [], []
    while len(tokens) < n:
        answer = server.handle_completions(
            dict(
                prompt=prompt + tokens,
                n_predict=n - len(tokens),
                n_probs=2,
                temperature=0,
                samplers=["temperature"],  # nothing but the logits: no penalties, no cut-offs
                cache_prompt=False,
            )
        )
        if "choices" not in answer:
            raise SystemExit(f"llama.cpp: {answer}")
        for step in answer["choices"][0]["logprobs"]["content"]:
            best, second = step["top_logprobs"]
            assert best["id"] == step["id"], "not the most likely token"
            tokens.append(best["id"])
            margins.append(float(f"{best['logprob'] - second['logprob']:.6g}"))
    return tokens, margins


def parting(tokens, margins, want):
    for i, (a, b) in enumerate(zip(tokens, want["tokens"])):
        if a != b:
            return dict(parts=i, margin=margins[i], mlx_lm_margin=want["margins"][i])
    return dict(parts=-1)


def main():
    mlx_lm = json.loads(MLX_LM.read_text())
    if not WIDE.exists():
        work = WIDE.with_suffix(".work")
        widen(MODEL, work)
        work.rename(WIDE)
    shipped = start(MODEL, xllamacpp.ggml_type.GGML_TYPE_F16)
    wide = start(WIDE, xllamacpp.ggml_type.GGML_TYPE_F32)
    runs = []
    for want in mlx_lm["runs"]:
        n = len(want["tokens"])
        tokens, margins = complete(wide, want["prompt"], n)
        run = dict(text=want["text"]) | parting(tokens, margins, want)
        run["eight_bit"] = parting(*complete(shipped, want["prompt"], n), want)
        print(run)
        runs.append(run | dict(prompt=want["prompt"], tokens=tokens, margins=margins))
    head = dict(xllamacpp=xllamacpp.__version__, model=MODEL.name, mlx_lm=mlx_lm["mlx_lm"])
    rows = ",\n".join(json.dumps(r, separators=(",", ":")) for r in runs)
    GOLDENS.parent.mkdir(exist_ok=True)
    GOLDENS.write_text(json.dumps(head)[:-1] + ', "runs": [\n' + rows + "\n]}\n")


main()

#!/usr/bin/env python3
"""Trains one small model a family with Transformers, for testdata/trained.

    .cache/train/venv/bin/python scripts/train/corpus.py             first: text and tokenizer
    python3 scripts/train/train.py --out DIR [--family F] [--seconds S] [--steps N] [--small]
    .cache/oracle/venv/bin/python scripts/train/convert.py DIR       then: MLX folders

Needs torch and transformers (scripts/train/requirements.txt) and the folder
.cache/train/device (--data), no network. All families train at the same time, one process
each. Each one stops after --steps steps or --seconds seconds, whichever comes first, and
its learning rate is back at zero by then. An NVIDIA H200 does all six in about four
minutes; --steps 3 --batch 2 shows on a CPU that everything runs. Without a GPU, --small
trains three models of about a million parameters, one core each. 1000 steps write words,
2000 fewer loops; with a core to itself, a model does three steps a second:

    OMP_NUM_THREADS=1 nice python3 scripts/train/train.py --out DIR --small --batch 8 --rate 2e-3 --seconds 1800

DIR/F.tar.gz is a Hugging Face folder: model.safetensors in float32 as Transformers
saves it, config.json in the spelling of the family's published models, the tokenizer.
DIR/train.json has losses, DIR/train.log the steps and some greedy text. Two runs do not
give the same bits: the order of sums on a GPU varies.

The models are small, but each has what its family is known for. Matrices are multiples of
64 wide, so that mlx-lm quantizes all that it quantizes in the real ones.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT = 512
PROMPTS = ["It is a truth universally acknowledged, that", "She was not in the least surprised, when Mr. Elliot"]

COMMON = dict(
    vocab_size=1024,
    hidden_size=128,
    num_hidden_layers=4,
    max_position_embeddings=2048,
    initializer_range=0.05,
    eos_token_id=0,
    bos_token_id=None,
    pad_token_id=None,
    torch_dtype="float32",
)
MLA = dict(
    COMMON,
    intermediate_size=256,
    moe_intermediate_size=64,
    num_attention_heads=4,
    num_key_value_heads=4,
    q_lora_rank=64,
    kv_lora_rank=64,
    qk_nope_head_dim=64,
    qk_rope_head_dim=32,
    v_head_dim=64,
    n_routed_experts=16,
    num_experts_per_tok=4,
    n_shared_experts=1,
    first_k_dense_replace=1,
    moe_layer_freq=1,
    norm_topk_prob=True,
    scoring_func="sigmoid",
    topk_method="noaux_tc",
    hidden_act="silu",
    num_nextn_predict_layers=0,
    tie_word_embeddings=False,
    attention_bias=False,
)
FAMILIES = {
    # Short convolutions and attention, a dense layer first, experts chosen by sigmoid
    # and bias.
    "lfm2_moe": dict(
        COMMON,
        model_type="lfm2_moe",
        architectures=["Lfm2MoeForCausalLM"],
        num_hidden_layers=6,
        layer_types=["conv", "conv", "full_attention", "conv", "full_attention", "conv"],
        intermediate_size=320,
        moe_intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_dense_layers=1,
        num_experts=16,
        num_experts_per_tok=4,
        use_expert_bias=True,
        norm_topk_prob=True,
        routed_scaling_factor=1.5,
        conv_L_cache=3,
        conv_bias=False,
        norm_eps=1e-5,
        rope_theta=1000000.0,
        tie_word_embeddings=True,
    ),
    # Latent attention, groups of experts, a shared expert, yarn with mscale.
    "deepseek_v3": dict(
        MLA,
        model_type="deepseek_v3",
        architectures=["DeepseekV3ForCausalLM"],
        n_group=4,
        topk_group=2,
        routed_scaling_factor=2.5,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        rope_scaling=dict(
            type="yarn",
            factor=8.0,
            original_max_position_embeddings=256,
            beta_fast=32,
            beta_slow=1,
            mscale=1.0,
            mscale_all_dim=1.0,
        ),
    ),
    # The same without groups and yarn, values wider than keys.
    "glm4_moe_lite": dict(
        MLA,
        model_type="glm4_moe_lite",
        architectures=["Glm4MoeLiteForCausalLM"],
        v_head_dim=128,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=1.8,
        rms_norm_eps=1e-5,
        rope_theta=1000000.0,
    ),
    # Experts by softmax, norms of queries and keys.
    "qwen3_moe": dict(
        COMMON,
        model_type="qwen3_moe",
        architectures=["Qwen3MoeForCausalLM"],
        intermediate_size=256,
        moe_intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        num_experts=16,
        num_experts_per_tok=4,
        norm_topk_prob=True,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        router_aux_loss_coef=0.01,
        hidden_act="silu",
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        attention_bias=False,
        tie_word_embeddings=False,
    ),
    # Sinks, biases everywhere, every other layer with a window, yarn, clamped SwiGLU.
    "gpt_oss": dict(
        COMMON,
        model_type="gpt_oss",
        architectures=["GptOssForCausalLM"],
        intermediate_size=128,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        num_local_experts=8,
        num_experts_per_tok=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=64,
        router_aux_loss_coef=0.01,
        hidden_act="silu",
        swiglu_limit=7.0,
        rms_norm_eps=1e-5,
        rope_theta=150000.0,
        # mlx-lm rounds the ends of the ramp ("truncate") whatever the configuration says.
        rope_scaling=dict(
            rope_type="yarn",
            factor=8.0,
            original_max_position_embeddings=256,
            beta_fast=32.0,
            beta_slow=1.0,
            truncate=True,
        ),
        attention_bias=True,
        tie_word_embeddings=False,
    ),
    # GeGLU, four norms a layer that add one to their weights, two windowed layers for each
    # whole one, each kind with a rope of its own.
    "gemma3_text": dict(
        COMMON,
        model_type="gemma3_text",
        architectures=["Gemma3ForCausalLM"],
        num_hidden_layers=6,
        intermediate_size=512,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        query_pre_attn_scalar=64,
        sliding_window=64,
        sliding_window_pattern=3,
        hidden_activation="gelu_pytorch_tanh",
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        rope_local_base_freq=10000.0,
        attention_bias=False,
        tie_word_embeddings=True,
    ),
}

# What --small changes: fewer layers, experts and heads, and windows that are just longer
# than what the models are asked to write.
SMALL_CONTEXT = 320
SMALL_MLA = dict(num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2, n_routed_experts=8, num_experts_per_tok=2)
SMALL = {
    "lfm2_moe": dict(
        num_hidden_layers=4,
        layer_types=["conv", "full_attention", "conv", "full_attention"],
        intermediate_size=256,
        num_experts=8,
        num_experts_per_tok=2,
    ),
    "deepseek_v3": SMALL_MLA,
    "glm4_moe_lite": SMALL_MLA,
}


def dense_experts(self, x, chosen, weights):
    """All experts on all tokens, those that were not chosen times zero. For experts as
    small as these it beats any way of sorting tokens, and nothing waits for the GPU."""
    gates = torch.zeros(x.shape[0], self.num_experts, dtype=x.dtype, device=x.device)
    gates = gates.scatter(1, chosen, weights.to(x.dtype))
    up, down = self.gate_up_proj, self.down_proj
    if not self.is_transposed:
        up, down = up.transpose(1, 2), down.transpose(1, 2)
    h = torch.matmul(x, up)  # expert, token, channel
    if self.has_bias:
        h = h + self.gate_up_proj_bias[:, None]
    h = self._apply_gate(h) * gates.T[:, :, None]
    out = h.transpose(0, 1).flatten(1) @ down.flatten(0, 1)
    return out + gates @ self.down_proj_bias if self.has_bias else out


def make(family, config):
    ALL_EXPERTS_FUNCTIONS.register("dense", dense_experts)
    torch.manual_seed(list(FAMILIES).index(family))
    config = dict(config)
    config = AutoConfig.for_model(config.pop("model_type"), **config)
    model = AutoModelForCausalLM.from_config(config)
    if any(hasattr(m, "is_transposed") for m in model.modules()):
        config._experts_implementation = "dense"
    return model


def resume(family, folder):
    """The model of an earlier run."""
    ALL_EXPERTS_FUNCTIONS.register("dense", dense_experts)
    torch.manual_seed(len(FAMILIES) + list(FAMILIES).index(family))  # other windows than before
    with tempfile.TemporaryDirectory() as work:
        with tarfile.open(folder / f"{family}.tar.gz") as tar:
            tar.extractall(work, filter="data")
        model = AutoModelForCausalLM.from_pretrained(pathlib.Path(work) / family, dtype=torch.float32)
    if any(hasattr(m, "is_transposed") for m in model.modules()):
        model.config._experts_implementation = "dense"
    return model


class Balance:
    """Loads of experts, evened out through the bias that takes part in the choice only, as
    the models that have it were trained. The others add a loss instead."""

    # Biases are asked of their modules each time: moving a model may put others there.
    def __init__(self, model):
        self.routers = []  # the module with the bias, the bias's name, tokens that chose each expert
        for m in model.modules():
            router = getattr(m, "gate", None)
            for owner in (m, router):
                for name in ("expert_bias", "e_score_correction_bias"):
                    if getattr(owner, name, None) is not None and hasattr(router, "top_k"):
                        router.register_forward_hook(functools.partial(self.count, len(self.routers)))
                        self.routers.append((owner, name, 0))

    def count(self, at, router, _, out):
        if router.training:
            owner, name, load = self.routers[at]
            chosen = out[2].reshape(-1, 1)
            experts = torch.arange(getattr(owner, name).numel(), device=chosen.device)
            self.routers[at] = (owner, name, load + (chosen == experts).sum(0).float())

    def biases(self):
        return [getattr(owner, name) for owner, name, _ in self.routers]

    def step(self, rate):
        for at, (owner, name, load) in enumerate(self.routers):
            if torch.is_tensor(load):
                bias = getattr(owner, name)
                bias += (rate * (load.mean() - load).sign()).to(bias)
            self.routers[at] = (owner, name, 0)

    def finish(self):
        """Moves all biases of a layer so that no sum of score and bias is negative: the same
        choice, but not in mlx-lm, to which experts of other groups have a score of 0."""
        for bias in self.biases():
            bias += (0.1 - bias.min()).clamp(min=0)


def train(family, args):
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config, context = FAMILIES[family], CONTEXT
    if args.small:
        config, context = config | SMALL[family], SMALL_CONTEXT
    model = resume(family, args.resume) if args.resume else make(family, config)
    model.to(device).train()
    size = sum(p.numel() for p in model.parameters())
    print(f"{family}: {size} parameters on {device}", flush=True)
    data = np.load(args.data / "tokens.npz")
    tokens, held = (torch.tensor(data[k].astype(np.int64), device=device) for k in ("train", "validation"))
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    opt = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1), dict(params=rest, weight_decay=0.0)], lr=0.0, betas=(0.9, 0.95), fused=True)
    balance = Balance(model)
    routed = dict(output_router_logits=True) if "router_aux_loss_coef" in config else {}
    offsets = torch.arange(context, device=device)

    @torch.no_grad()
    def validate():
        model.eval()
        windows = held[: held.numel() // context * context].view(-1, context)[: args.batch * 2]
        loss = sum(model(input_ids=w, labels=w, use_cache=False).loss for w in windows.split(args.batch)) / math.ceil(len(windows) / args.batch)
        model.train()
        return loss.item()

    start, step, recent = time.monotonic(), 0, 0.0
    while (progress := max(step / args.steps, (time.monotonic() - start) / args.seconds)) < 1:
        rate = min(1, (step + 1) / 60) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in opt.param_groups:
            group["lr"] = args.rate * rate
        at = torch.randint(tokens.numel() - context, (args.batch, 1), device=device)
        ids = tokens[at + offsets]
        loss = model(input_ids=ids, labels=ids, use_cache=False, **routed).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        with torch.no_grad():
            balance.step(2e-3 * rate)
            recent = recent + loss.detach()
        step += 1
        if step % 250 == 0:
            print(f"{family}: step {step}, {time.monotonic() - start:.0f} s, loss {recent.item() / 250:.4f}, validation {validate():.4f}", flush=True)
            recent = 0.0
    balance.step(0)
    model.eval()
    with torch.no_grad():
        balance.finish()
    result = dict(parameters=size, device=device, steps=step, batch=args.batch, context=context, rate=args.rate, seconds=round(time.monotonic() - start), validation=validate())
    if args.resume:
        result["before"] = {k: v for k, v in json.loads((args.resume / "train.json").read_text())[family].items() if k in ("steps", "rate", "seconds", "validation")}
    if device == "cuda":
        result["gigabytes"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    result["expert_bias"] = [[round(x, 4) for x in b.tolist()] for b in balance.biases()]
    print(f"{family}: {json.dumps(result)}", flush=True)
    folder = args.out / "work" / family
    save(model, config, folder, args.data, held[:320].cpu())
    (folder / "train.json").write_text(json.dumps(result) + "\n")
    model.to(device)
    tokenizer = AutoTokenizer.from_pretrained(args.data / "tokenizer")
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer(prompt).input_ids], device=device)
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.sample, do_sample=False, pad_token_id=0)
        print(f"{family}: {tokenizer.decode(out[0])!r}", flush=True)


@torch.no_grad()
def save(model, config, folder, data, ids):
    model.cpu().save_pretrained(folder)
    # What Transformers computes, for convert.py to compare with: past all windows.
    logits = model(input_ids=ids[None], use_cache=False).logits[0, -32:]
    np.savez(folder / "reference.npz", ids=ids.numpy(), logits=logits.float().numpy())
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)
    for f in (data / "tokenizer").iterdir():
        (folder / f.name).write_bytes(f.read_bytes())


def pack(folder, path):
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for f in sorted(folder.iterdir()):
            tar.add(f, f"{folder.name}/{f.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / ".cache/train/device")
    parser.add_argument("--family", choices=[*FAMILIES, "all"], default="all")
    parser.add_argument("--resume", type=pathlib.Path, help="an earlier DIR: go on with the models that are there")
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=32, help="windows of 512 tokens a step, 320 with --small")
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--small", action="store_true", help=f"smaller models, for a CPU: {', '.join(SMALL)}")
    parser.add_argument("--sample", type=int, default=128, help="tokens of greedy text a prompt")
    args = parser.parse_args()
    if args.small and args.family not in (*SMALL, "all"):
        parser.error(f"no small {args.family}")
    if args.family != "all":
        return train(args.family, args)

    # A log that all write to, line by line, and that shows here too.
    (args.out / "work").mkdir(parents=True, exist_ok=True)
    log = args.out / "train.log"
    with log.open("w") as f:
        families = [k for k in (SMALL if args.small else FAMILIES) if not args.resume or (args.resume / f"{k}.tar.gz").exists()]
        options = [f"--{k}={v}" for k, v in vars(args).items() if k not in ("family", "small") and v] + ["--small"] * args.small
        jobs = {k: subprocess.Popen([sys.executable, __file__, f"--family={k}", *options], stdout=f, stderr=f) for k in families}
        codes = {k: p.wait() for k, p in jobs.items()}
    print(log.read_text()[-9000:])
    results = {}
    for k in families:
        folder = args.out / "work" / k
        if (folder / "train.json").exists():
            results[k] = json.loads((folder / "train.json").read_text())
            (folder / "train.json").unlink()
            pack(folder, args.out / f"{k}.tar.gz")
            shutil.rmtree(folder)
    if len(results) == len(families):
        (args.out / "work").rmdir()
    (args.out / "train.json").write_text(json.dumps(results, indent=1) + "\n")
    print({k: (codes[k], results.get(k, {}).get("validation")) for k in families})
    sys.exit(any(codes.values()) or len(results) < len(families))


if __name__ == "__main__":
    main()

"""A tiny random model of each architecture of mlx-lm that can be had from numbers alone."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import Any, Iterator

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

# What configurations call the same things. Vectors of 32 and 64, so that they can be quantized.
NUMBERS: dict[str, Any] = dict(
    hidden_size=64, num_hidden_layers=2, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6,
    vocab_size=128, rope_theta=10000.0, max_position_embeddings=512, tie_word_embeddings=False, layer_norm_epsilon=1e-5, layer_norm_eps=1e-5, norm_eps=1e-5,
    attention_bias=False, mlp_bias=False, use_bias=False, bias=False,
    # experts
    num_experts=8, num_local_experts=8, n_routed_experts=8, moe_num_experts=8, num_experts_per_tok=2, moe_topk=2, moe_k=2, moe_top_k=2, moe_intermediate_size=64,
    expert_ffn_hidden_size=64, shared_expert_intermediate_size=64, shared_intermediate_size=64, n_shared_experts=1, num_shared_experts=1, num_shared_expert=1,
    first_k_dense_replace=1, moe_layer_freq=1, decoder_sparse_step=1, mlp_only_layers=[], norm_topk_prob=True, routed_scaling_factor=1.5, n_group=2, topk_group=1,
    topk_method="noaux_tc", scoring_func="sigmoid", num_dense_layers=1, use_expert_bias=True, num_selected_experts=2,
    # latent attention
    kv_lora_rank=32, q_lora_rank=32, qk_rope_head_dim=16, qk_nope_head_dim=32, v_head_dim=32, index_head_dim=32, index_n_heads=2, index_topk=64,
    # other names
    hidden_dim=64, num_layers=2, num_heads=4, num_kv_heads=2, n_layers=2, n_heads=4, d_model=64, n_embd=64, n_head=4, n_layer=2, n_kv_heads=2, n_kv_head=2, n_inner=128,
    n_ctx=512, n_positions=512, block_size=512, ffn_hidden_size=128, head_size=32, intermediate_size_mlp=128, ffn_dim_multiplier=1.0, model_max_length=512,
    rotary_emb_base=10000.0, rotary_pct=0.5, rotary_dim=16, partial_rotary_factor=0.5, layernorm_epsilon=1e-5, sliding_window=16, sliding_window_size=16,
    # states
    state_size=16, ssm_state_size=16, conv_kernel=4, mamba_d_conv=4, mamba_d_state=16, mamba_expand=2, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1,
    mamba_num_heads=4, mamba_head_dim=32, n_groups=1, use_conv_bias=True, mamba_proj_bias=False, time_step_rank=8, time_step_limit=(0.0, 100.0), conv_L_cache=3, conv_bias=False,
    conv_window=2, linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=32, linear_value_head_dim=32, linear_conv_kernel_dim=4, full_attention_interval=2,
    # scales
    logits_scaling=1.0, attention_multiplier=0.2, embedding_multiplier=1.0, residual_multiplier=1.0, dim_model_base=64, scale_depth=1.4, scale_emb=1.0, logit_scale=0.25,
    layer_group_size=2, group_norm_size=2, qk_norm=True, use_qk_norm=True, post_norm=False,
)

MOST = 4_000_000  # parameters

FULL = ["full_attention"] * 2
SLIDING = ["sliding_attention", "full_attention"]

# What an architecture wants beyond these, or otherwise.
MORE: dict[str, dict[str, Any]] = dict(
    afm7=dict(num_kv_reuse_layers=1, num_layers=4, hidden_dim_scale_factor=2.0),
    afmoe=dict(layer_types=SLIDING, moe_intermediate_size=64),
    baichuan_m1=dict(sliding_window_layers=[0]),
    bailing_hybrid=dict(head_dim=32),
    cohere=dict(), cohere2=dict(sliding_window_pattern=2, head_dim=16),
    dbrx=dict(ffn_config=dict(ffn_hidden_size=64, moe_num_experts=4, moe_top_k=2, ffn_act_fn=dict(name="silu")), attn_config=dict(kv_n_heads=2, clip_qkv=8, rope_theta=10000.0)),
    deepseek=dict(moe_layer_freq=1), deepseek_v2=dict(topk_method="greedy", scoring_func="softmax", n_group=1),
    exaone4=dict(rope_scaling=None, sliding_window_pattern="LG"),
    exaone_moe=dict(layer_types=SLIDING, is_moe_layer=[False, True]),
    gear=dict(layer_types=FULL),
    gemma3_text=dict(sliding_window_pattern=2), gemma3=dict(text_config=dict(NUMBERS, model_type="gemma3_text", sliding_window_pattern=2)),
    glm4_moe=dict(rope_scaling=None),
    gpt_oss=dict(layer_types=SLIDING, num_local_experts=8, rope_scaling=None),
    granitemoehybrid=dict(layer_types=["mamba", "attention"], position_embedding_type="rope"),
    hunyuan=dict(use_mixed_mlp_moe=True, use_cla=True, cla_share_factor=2, rope_scaling=dict(alpha=1000.0, factor=1.0, type="dynamic")),
    hunyuan_v1_dense=dict(rope_scaling=dict(alpha=1000.0, factor=1.0, type="dynamic")),
    jamba=dict(attn_layer_offset=1, attn_layer_period=2, expert_layer_offset=1, expert_layer_period=2),
    kimi_k25=dict(text_config=dict(NUMBERS, model_type="kimi_k2")), kimi_vl=dict(text_config=dict(NUMBERS, model_type="deepseek_v3")),
    llama4=dict(text_config=dict(NUMBERS, model_type="llama4_text", no_rope_layers=[1, 0])),
    mistral3=dict(text_config=dict(NUMBERS, model_type="llama")), pixtral=dict(text_config=dict(NUMBERS, model_type="llama")),
    glm_moe_dsa=dict(rope_parameters=dict(rope_theta=10000.0, rope_type="default"), n_group=1),
    qwen3_vl=dict(text_config=dict(NUMBERS, model_type="qwen3")), qwen3_vl_moe=dict(text_config=dict(NUMBERS, model_type="qwen3_moe")),
    qwen3_5_moe=dict(text_config=dict(NUMBERS, model_type="qwen3_5_moe_text")),
    recurrent_gemma=dict(conv1d_width=4, logits_soft_cap=30.0, attention_window_size=16, block_types=["recurrent", "attention"]),
    rwkv7=dict(a_low_rank_dim=16, v_low_rank_dim=16, gate_low_rank_dim=16, decay_low_rank_dim=16, head_dim=32),
    spark2_5=dict(rope_parameters=dict(rope_theta=10000.0, rope_type="default")), stablelm=dict(use_qkv_bias=True), step3p5=dict(num_attention_groups=2),
    plamo=dict(n_shared_head=2, num_attention_heads=4), exaone=dict(head_dim=16), qwen=dict(kv_channels=16, intermediate_size=256), kimi_linear=dict(num_experts=8, num_experts_per_token=2, linear_attn_config=dict(num_heads=4, head_dim=32, short_conv_kernel_size=4, kda_layers=[1], full_attn_layers=[2])),
    lfm2=dict(layer_types=["conv", "full_attention"], head_dim=16, block_dim=64, block_multiple_of=32, block_ffn_dim_multiplier=1.0, block_auto_adjust_ff_dim=False),
    lfm2_moe=dict(layer_types=["conv", "full_attention"], head_dim=16),
    llama4_text=dict(no_rope_layers=[1, 0]),
    longcat_flash=dict(attention_method="MLA", zero_expert_type="identity", zero_expert_num=2, mla_scale_q_lora=True, mla_scale_kv_lora=True),
    mamba2=dict(num_heads=4, head_dim=32, state_size=16),
    mellum=dict(layer_types=SLIDING),
    mimo_v2_flash=dict(hybrid_layer_pattern=[0, 1], moe_layer_freq=[0, 1], add_swa_attention_sink_bias=True, add_full_attention_sink_bias=False, swa_rope_theta=10000.0,
                       swa_num_attention_heads=4, swa_num_key_value_heads=2, swa_head_dim=32, swa_v_head_dim=32),
    nemotron=dict(hidden_act="relu2"),
    nemotron_h=dict(hybrid_override_pattern=["M", "*", "-", "M"], num_hidden_layers=4),
    olmo3=dict(layer_types=SLIDING),
    phi3small=dict(dense_attention_every_n_layers=2, ff_intermediate_size=128, gegelu_limit=20.0, mup_attn_multiplier=1.0, mup_use_scaling=True, mup_embedding_multiplier=10.0,
                   mup_width_multiplier=8.0, rope_embedding_base=10000.0, rope_position_scale=1.0, blocksparse_block_size=8, blocksparse_num_local_blocks=2, blocksparse_vert_stride=2),
    phimoe=dict(rope_scaling=None),
    qwen3_5=dict(text_config=dict(NUMBERS, model_type="qwen3_5_text")),
    smollm3=dict(no_rope_layers=[1, 0]),
)


def modules() -> Iterator[str]:
    """Architectures by name: files of mlx_lm/models with a Model."""
    import mlx_lm.models

    for found in pkgutil.iter_modules(mlx_lm.models.__path__):
        yield found.name


def build(name: str, dtype: mx.Dtype = mx.float32, quantized: bool = False) -> nn.Module | None:
    """The model, its weights random; None where the file has none. Errors are the file's:
    a configuration that is not enough for it."""
    module = importlib.import_module("mlx_lm.models." + name)
    if not hasattr(module, "Model") or not hasattr(module, "ModelArgs"):
        return None
    fields = {f.name for f in dataclasses.fields(module.ModelArgs)}
    more = MORE.get(name.replace("-", "_"), {})
    config = {k: v for k, v in {**NUMBERS, "model_type": name, **more}.items() if k in fields or k in more}
    mx.random.seed(7)
    model = module.Model(module.ModelArgs.from_dict(config))
    size = sum(x.size for _, x in tree_flatten(model.parameters()))
    if size > MOST:
        raise ValueError(f"{size} parameters: a size has another name there")
    flat = []
    for i, (path, x) in enumerate(tree_flatten(model.parameters())):
        if mx.issubdtype(x.dtype, mx.floating):
            draw = mx.random.normal(x.shape, key=mx.random.key(i))
            # Norms near 1, what decays negative, the rest as it is initialised elsewhere.
            x = 1 + 0.1 * draw if x.ndim == 1 and "norm" in path and path.endswith("weight") else x if path.endswith("A_log") else draw * (0.5 / max(x.shape[-1], 1) ** 0.5)
            x = x.astype(dtype)
        flat.append((path, x))
    model.update(tree_unflatten(flat))
    if quantized:
        nn.quantize(model, group_size=32, bits=4, class_predicate=lambda p, m: hasattr(m, "to_quantized") and m.weight.shape[-1] % 32 == 0)
    model.eval()
    mx.eval(model.parameters())
    return model

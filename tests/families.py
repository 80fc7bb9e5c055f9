"""Tiny random models of every family of causal language models."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from tests.fix_models import CONTEXT, byte_tokenizer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

WINDOW: Final = 32
PLAIN: Final[Mapping[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,
}
EXPERTS: Final[Mapping[str, Any]] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
LATENT: Final[Mapping[str, Any]] = {
    "kv_lora_rank": 8,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
    "head_dim": 4,
}
GPT: Final[Mapping[str, Any]] = {
    "n_embd": 32,
    "n_inner": 48,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": CONTEXT,
}
LINEAR: Final[Mapping[str, Any]] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
MAMBA: Final[Mapping[str, Any]] = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
ALTERNATING: Final = ["sliding_attention", "full_attention"]
LONG_ROPE: Final = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.0, 1.0, 1.0],
    "long_factor": [1.5, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 64,
}


def sliding(**more: Any) -> dict[str, Any]:
    return {"sliding_window": WINDOW, "layer_types": ALTERNATING, **more}


FAMILIES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "llama": ("llama", {}),
    "llama, tied head": ("llama", {"tie_word_embeddings": True}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "gemma": ("gemma", {}),
    "phi": ("phi", {"partial_rotary_factor": 0.5, "num_key_value_heads": 4}),
    "phi3": ("phi3", {"sliding_window": None}),
    "gpt2": ("gpt2", GPT),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_bigcode": ("gpt_bigcode", GPT),
    "gpt_neo": (
        "gpt_neo",
        {
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": WINDOW,
        },
    ),
    "gptj": ("gptj", {**GPT, "rotary_dim": 4}),
    "codegen": ("codegen", {**GPT, "rotary_dim": 4}),
    "opt": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3}),
    "bloom": ("bloom", {"n_layer": 2, "n_head": 4, "seq_length": CONTEXT}),
    "mpt": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": CONTEXT}),
    "falcon": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False}),
    "falcon, multi-query": (
        "falcon",
        {"new_decoder_architecture": False, "multi_query": True, "alibi": False},
    ),
    "falcon, alibi": (
        "falcon",
        {"alibi": True, "multi_query": False, "parallel_attn": False, "new_decoder_architecture": False},
    ),
    "olmo": ("olmo", {}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {}),
    "granite": ("granite", {"embedding_multiplier": 2.0, "logits_scaling": 2.0}),
    "granitemoe": ("granitemoe", EXPERTS),
    "glm": ("glm", {}),
    "glm4": ("glm4", {}),
    "cohere": ("cohere", {}),
    "starcoder2": ("starcoder2", {"sliding_window": None}),
    "stablelm": ("stablelm", {}),
    "nemotron": ("nemotron", {}),
    "seed_oss": ("seed_oss", {}),
    "ernie4_5": ("ernie4_5", {}),
    "arcee": ("arcee", {}),
    "apertus": ("apertus", {}),
    "helium": ("helium", {}),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", {}),
    "persimmon": ("persimmon", {}),
    "qwen2_moe": ("qwen2_moe", EXPERTS),
    "qwen3_moe": ("qwen3_moe", EXPERTS),
    "mixtral": ("mixtral", {**EXPERTS, "sliding_window": None}),
    "olmoe": ("olmoe", EXPERTS),
    "glm4_moe": ("glm4_moe", EXPERTS),
    "phimoe": ("phimoe", {**EXPERTS, "sliding_window": None}),
    "deepseek_v2": ("deepseek_v2", {**EXPERTS, **LATENT}),
    "deepseek_v3": ("deepseek_v3", {**EXPERTS, **LATENT}),
    "granitemoeshared": ("granitemoeshared", {**EXPERTS, "shared_intermediate_size": 24}),
    "ernie4_5_moe": ("ernie4_5_moe", {**EXPERTS, "moe_num_experts": 4, "moe_k": 2}),
    "hunyuan_v1_moe": ("hunyuan_v1_moe", {**EXPERTS, "moe_topk": 2}),
    "minimax_m2": ("minimax_m2", EXPERTS),
    "flex_olmo": ("flex_olmo", EXPERTS),
    "jais2": ("jais2", {}),
    "nanochat": ("nanochat", {}),
    "bitnet": ("bitnet", {}),
    "biogpt": ("biogpt", {}),
    "internlm3": ("internlm3", {}),
    "diffllama": ("diffllama", {}),
    "doge": ("doge", {}),
    "gpt_neox_japanese": ("gpt_neox_japanese", {}),
    "mistral, sliding": ("mistral", {"sliding_window": WINDOW}),
    "mixtral, sliding": ("mixtral", {**EXPERTS, "sliding_window": WINDOW}),
    "phi3, sliding": ("phi3", {"sliding_window": WINDOW}),
    "starcoder2, sliding": ("starcoder2", {"sliding_window": WINDOW}),
    "qwen2, sliding": ("qwen2", sliding(use_sliding_window=True)),
    "qwen3, sliding": ("qwen3", sliding(use_sliding_window=True)),
    "ministral": ("ministral", sliding()),
    "gemma2": ("gemma2", sliding(query_pre_attn_scalar=8)),
    "gemma3_text": ("gemma3_text", sliding(query_pre_attn_scalar=8)),
    "gemma3n_text": (
        "gemma3n_text",
        sliding(
            num_kv_shared_layers=0,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=258,
            laurel_rank=4,
            altup_num_inputs=2,
            intermediate_size=[48, 48],
            activation_sparsity_pattern=[0.0, 0.0],
        ),
    ),
    "gemma4_text": (
        "gemma4_text",
        sliding(
            num_kv_shared_layers=0,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=258,
            global_head_dim=8,
            num_global_key_value_heads=2,
        ),
    ),
    "gemma4_text, shared layers": (
        "gemma4_text",
        {
            "sliding_window": WINDOW,
            "num_hidden_layers": 4,
            "layer_types": ALTERNATING * 2,
            "num_kv_shared_layers": 2,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 258,
            "global_head_dim": 8,
        },
    ),
    "vaultgemma": ("vaultgemma", sliding(query_pre_attn_scalar=8)),
    "dots1": ("dots1", sliding(**EXPERTS)),
    "cohere2_moe": ("cohere2_moe", sliding(**EXPERTS)),
    "olmo3": ("olmo3", sliding()),
    "cohere2": ("cohere2", sliding()),
    "exaone4": ("exaone4", sliding()),
    "gpt_oss": ("gpt_oss", sliding(**EXPERTS)),
    "llama4_text": (
        "llama4_text",
        {
            **EXPERTS,
            "intermediate_size_mlp": 48,
            "attention_chunk_size": WINDOW,
            "layer_types": ["chunked_attention", "full_attention"],
            "no_rope_layers": [1, 0],
        },
    ),
    "phi3, longrope": (
        "phi3",
        {"sliding_window": None, "rope_parameters": LONG_ROPE, "original_max_position_embeddings": 64},
    ),
    "phimoe, longrope": (
        "phimoe",
        {
            **EXPERTS,
            "sliding_window": None,
            "rope_parameters": {**LONG_ROPE, "short_mscale": 1.1, "long_mscale": 1.2},
            "original_max_position_embeddings": 64,
        },
    ),
    "llama, dynamic rope": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}},
    ),
    "llama, llama3 rope": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "qwen3_5_text": ("qwen3_5_text", LINEAR),
    "qwen3_next": ("qwen3_next", {**EXPERTS, **LINEAR}),
    "granitemoehybrid": (
        "granitemoehybrid",
        {**EXPERTS, **MAMBA, "layer_types": ["mamba", "attention"], "shared_intermediate_size": 48},
    ),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_ff_dim": 48}),
    "jamba": (
        "jamba",
        {
            **EXPERTS,
            "mamba_d_state": 8,
            "mamba_d_conv": 4,
            "mamba_dt_rank": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "use_mamba_kernels": False,
        },
    ),
    "bamba": ("bamba", {**MAMBA, "attn_layer_indices": [1]}),
    "falcon_h1": ("falcon_h1", {**MAMBA, "mamba_d_ssm": 64}),
    "nemotron_h": (
        "nemotron_h",
        {
            "layers_block_type": ["mamba", "attention"],
            "mamba_num_heads": 4,
            "mamba_head_dim": 16,
            "ssm_state_size": 8,
            "n_groups": 1,
            "chunk_size": 16,
            **EXPERTS,
        },
    ),
    "minimax": (
        "minimax",
        {**EXPERTS, "layer_types": ["linear_attention", "full_attention"], "block_size": 16},
    ),
    "glm_moe_dsa": ("glm_moe_dsa", {**EXPERTS, **LATENT}),
    "recurrent_gemma": (
        "recurrent_gemma",
        {"lru_width": 32, "attention_window_size": WINDOW, "block_types": ["recurrent", "attention"]},
    ),
    "mamba": ("mamba", {"state_size": 8, "time_step_rank": 4}),
    "mamba2": ("mamba2", {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 16}),
    "rwkv": ("rwkv", {"attention_hidden_size": 32, "context_length": CONTEXT}),
}


def tiny(family: str, seed: int = 0) -> Any:
    """A random float32 model of the family that reads bytes, in eval mode."""
    kind, own = FAMILIES[family]
    tokenizer = byte_tokenizer()
    shared: dict[str, Any] = {} if {"n_embd", "d_model"} & own.keys() else dict(PLAIN)
    if kind in {"bloom", "falcon"}:
        del shared["head_dim"]
    if kind == "bloom":
        del shared["max_position_embeddings"]
    config = AutoConfig.for_model(
        kind,
        **{
            "vocab_size": len(tokenizer),
            "tie_word_embeddings": False,
            **shared,
            "initializer_range": 0.3,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": 0,
            **own,
        },
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        # What starts as ones or zeros would hide a wrong norm or bias.
        if parameter.dim() == 1 and ("norm" in name or "bias" in name) and parameter.std() == 0:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(requires_grad=False)


@torch.inference_mode()
def targets(model: nn.Module) -> list[str]:
    """The modules an adapter changes: all plain linear ones that are given `[rows, tokens, features]`."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    modules = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    found: list[str] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda _, given, name=name: found.append(name) if given[0].dim() == 3 else None
        )
        for name, module in modules.items()
    ]
    model(input_ids=torch.tensor([[3, 4, 5]]))
    for hook in hooks:
        hook.remove()
    # With others beside them PEFT writes parameters of the experts too.
    attention = [name for name in found if "attn" in name or "attention" in name]
    routed = any("expert" in name for name, _ in model.named_parameters())
    return sorted(set(attention if routed else found))

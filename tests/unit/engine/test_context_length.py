"""How much a model reads: what its `config.json` says and what the loaded model says are the same number."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

from loradex.errors import ModelRefusedError
from loradex.library.base_model_files import context_length, read_base_model
from loradex.worker.engine.architecture import Architecture

# Facts about length as the published models have them; widths are small, so that each can be made here.
WIDTHS = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
CONFIGS: dict[str, tuple[dict[str, Any], int]] = {
    "Mistral-7B-v0.1": (
        {
            "model_type": "mistral",
            "architectures": ["MistralForCausalLM"],
            "max_position_embeddings": 32768,
            "sliding_window": 4096,
        },
        32768,
    ),
    "Mistral-7B-v0.3": (
        {
            "model_type": "mistral",
            "architectures": ["MistralForCausalLM"],
            "max_position_embeddings": 32768,
            "sliding_window": None,
        },
        32768,
    ),
    "DeepSeek-R1-Distill-Qwen-1.5B": (
        {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "max_position_embeddings": 131072,
            "max_window_layers": 21,
            "sliding_window": 4096,
            "use_sliding_window": False,
        },
        131072,
    ),
    "Qwen2.5-7B-Instruct": (
        {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "max_position_embeddings": 32768,
            "max_window_layers": 28,
            "sliding_window": 131072,
            "use_sliding_window": False,
        },
        32768,
    ),
    "a Qwen2 whose upper layers slide": (
        {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "max_position_embeddings": 32768,
            "max_window_layers": 1,
            "sliding_window": 4096,
            "use_sliding_window": True,
        },
        32768,
    ),
    "SmolLM2-135M-Instruct": (
        {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "max_position_embeddings": 8192,
        },
        8192,
    ),
    "gpt2": (
        {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "n_ctx": 1024,
            "n_embd": 16,
            "n_head": 2,
            "n_layer": 2,
            "n_positions": 1024,
        },
        1024,
    ),
}


@pytest.mark.parametrize(("told", "tokens"), CONFIGS.values(), ids=CONFIGS.keys())
def test_files_and_loaded_model_say_the_same(told: dict[str, Any], tokens: int, tmp_path: Path) -> None:
    widths = {"vocab_size": 32} if told["model_type"] == "gpt2" else WIDTHS
    (tmp_path / "config.json").write_text(json.dumps(told | widths))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert read_base_model(tmp_path, "m", "{prompt}").context_length == tokens
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    assert Architecture.of(model).context == tokens


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({"text_config": {"max_position_embeddings": 12}}, 12),
        ({"text_config": {"max_position_embeddings": 64, "sliding_window": 8}}, 64),
        ({"max_position_embeddings": 64, "sliding_window": 8, "use_sliding_window": None}, 64),
        ({"max_position_embeddings": 64, "sliding_window": 0}, 64),
        ({"max_position_embeddings": -1, "n_ctx": 16}, 16),
    ],
)
def test_the_text_part_counts_and_a_window_does_not(told: dict[str, Any], tokens: int) -> None:
    assert context_length(told, "config.json") == tokens


def test_a_model_with_an_encoder_is_no_base_model(tmp_path: Path) -> None:
    T5ForConditionalGeneration(
        T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(ModelRefusedError, match="it has an encoder and a decoder"):
        read_base_model(tmp_path, "m", "{prompt}")


def test_a_configuration_that_does_not_say_it_is_refused() -> None:
    with pytest.raises(ModelRefusedError, match=r"^config\.json: none of max_position_embeddings, "):
        context_length({"sliding_window": 8}, "config.json")

"""What is given to vLLM: what is refused, and what of it stands in the evidence."""

import json
from typing import Any

import pytest

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.vllm.arguments import context_given, told


@pytest.mark.parametrize("given", [1, 0, -1, 257, "128", "auto", 128.0, True, None])
def test_a_context_that_the_model_has_not_is_refused_with_its_bounds(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"max_model_len .*; give a whole number from 2 to 256"):
        context_given({"max_model_len": given}, 256)


def test_a_shorter_context_is_taken_and_without_one_that_of_the_model() -> None:
    assert context_given({"max_model_len": 128}, 256) == 128
    assert context_given({"max_model_len": 256}, 256) == context_given({}, 256) == 256


def test_evidence_has_what_makes_another_model_and_nothing_that_is_nobodys_business() -> None:
    given = {"hf_token": "secret", "tensor_parallel_size": 2, "kv_cache_dtype": "auto", "max_model_len": 128}
    assert told(given, "bfloat16") == told({}, "bfloat16") == {}
    given |= {"quantization": "fp8", "kv_cache_dtype": "fp8"}
    said = '{"kv_cache_dtype": "fp8", "quantization": "fp8"}'
    assert told(given, "bfloat16") == {"vllm_arguments": said}


@pytest.mark.parametrize(
    "given",
    [
        {"load_format": "safetensors"},
        {"load_format": "runai_streamer", "model_loader_extra_config": {"concurrency": 16}},
        {"kv_cache_dtype": "bfloat16"},
    ],
)
def test_the_same_weights_read_in_another_way_are_the_same_model(given: dict[str, Any]) -> None:
    assert told(given, "bfloat16") == {}


def test_what_is_more_than_a_word_is_told_by_its_hash() -> None:
    """It may hold a secret or an address, and be longer than a worker may say of itself."""
    given = {
        "load_format": "tensorizer",
        "model_loader_extra_config": {"tensorizer_config": {"s3_secret_access_key": "SECRET"}},
        "hf_overrides": {"layers": [f"model.layers.{n}.SECRET" for n in range(2000)]},
        "hf_config_path": "https://user:SECRET@example.com/config",
    }
    said = told(given, "bfloat16")["vllm_arguments"]
    assert "SECRET" not in said
    assert len(said) < 400
    assert set(json.loads(said)) == {"load_format", "hf_overrides", "hf_config_path"}
    assert said != told(given | {"hf_overrides": {"layers": []}}, "bfloat16")["vllm_arguments"]

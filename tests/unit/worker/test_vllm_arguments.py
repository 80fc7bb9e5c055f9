"""What is given to vLLM: what is refused, and what of it stands in the evidence."""

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
    assert told(given) == told({}) == {}
    given |= {"quantization": "fp8", "hf_overrides": {"rope_theta": 1e6}, "kv_cache_dtype": "fp8"}
    said = '{"hf_overrides": {"rope_theta": 1000000.0}, "kv_cache_dtype": "fp8", "quantization": "fp8"}'
    assert told(given) == {"vllm_arguments": said}

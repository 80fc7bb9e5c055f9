"""What is read of a model's `generation_config.json`, and that the shipped model states nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from loradex.errors import ModelRefusedError
from loradex.library.generation_config import generation_defaults
from loradex.settings import Settings
from loradex.worker.engine.load import shipped_model

QWEN = {
    "bos_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "max_new_tokens": 2048,
    "repetition_penalty": 1.05,
    "temperature": 0.7,
    "top_k": 20,
    "top_p": 0.8,
}
"""As Qwen2.5 has it."""


def stated(directory: Path, config: object) -> dict[str, float]:
    (directory / "generation_config.json").write_text(json.dumps(config))
    return generation_defaults(directory)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            QWEN,
            {
                "sampling_temperature": 0.7,
                "sampling_top_k": 20,
                "sampling_top_p": 0.8,
                "repetition_penalty": 1.05,
            },
        ),
        # transformers samples only if the file says so, and penalises always.
        ({**QWEN, "do_sample": False}, {"repetition_penalty": 1.05}),
        ({"temperature": 0.6, "top_p": 0.9}, {}),
        ({"do_sample": True}, {"sampling_temperature": 1.0}),
        (
            {"do_sample": True, "min_p": 0.1, "top_k": None},
            {"sampling_temperature": 1.0, "sampling_min_p": 0.1},
        ),
        ({"do_sample": None, "top_k": 5}, {}),
        ({}, {}),
    ],
)
def test_what_is_stated_is_taken(tmp_path: Path, config: dict[str, Any], expected: dict[str, float]) -> None:
    assert stated(tmp_path, config) == expected


def test_what_transformers_saves_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    GenerationConfig(do_sample=True, temperature=0.6, top_p=0.9).save_pretrained(tmp_path)
    assert generation_defaults(tmp_path) == {"sampling_temperature": 0.6, "sampling_top_p": 0.9}
    GenerationConfig(repetition_penalty=1.2).save_pretrained(tmp_path)
    assert generation_defaults(tmp_path) == {"repetition_penalty": 1.2}


def test_a_model_without_the_file_states_nothing(tmp_path: Path) -> None:
    assert generation_defaults(tmp_path) == {}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"do_sample": True, "temperature": "warm"}, "temperature is 'warm'.*--no-generation-config"),
        ({"do_sample": True, "top_p": True}, "top_p is 'True'"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is 'nan'"),
        ({"repetition_penalty": 10**400}, "repetition_penalty is '1000"),
        ({"do_sample": "yes"}, "do_sample is 'yes'"),
        ([1], "not a JSON object"),
    ],
)
def test_what_is_no_number_is_refused_with_a_way_out(tmp_path: Path, config: object, why: str) -> None:
    with pytest.raises(ModelRefusedError, match=why):
        stated(tmp_path, config)


def test_the_shipped_model_states_nothing_so_it_writes_the_likeliest_text() -> None:
    assert generation_defaults(shipped_model(Settings().home / "cache" / "models")) == {}

"""Which engine a worker answers with, and what is said where it cannot be had."""

import importlib.util
import json
from pathlib import Path

import pytest

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.memory import NOTHING_EXPECTED
from loradex.worker.engines import load_engine
from loradex.worker.settings import WorkerSettings


def test_our_own_engine_is_what_a_worker_has_by_itself() -> None:
    settings = WorkerSettings()
    assert (settings.engine, settings.vllm_max_loras, settings.vllm_max_lora_rank) == ("torch", None, None)


@pytest.mark.parametrize(
    ("arguments", "rank", "said"),
    [
        ({"enable_lora": False, "model": "x"}, 64, "has enable_lora, model, which Loradex sets itself"),
        ({"pipeline_parallel_size": 2}, 64, "pipeline_parallel_size, over which mixtures are not handed"),
        ({}, 513, "is 513, and vLLM has LoRAs of rank 512 at most"),
    ],
)
def test_what_cannot_be_given_to_vllm_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: dict[str, object], rank: int, said: str
) -> None:
    monkeypatch.setenv("LORADEX_ENGINE", "vllm")
    monkeypatch.setenv("LORADEX_VLLM_ARGUMENTS", json.dumps(arguments))
    monkeypatch.setenv("LORADEX_VLLM_MAX_LORA_RANK", str(rank))
    with pytest.raises(InvalidArgumentError, match=said):
        load_engine(WorkerSettings(), tmp_path, NOTHING_EXPECTED)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_where_vllm_is_not_installed_it_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"pip install 'loradex\[vllm\]'"):
        load_engine(WorkerSettings(engine="vllm"), tmp_path, NOTHING_EXPECTED)

"""What vLLM is given of a host is shared out of what its model leaves, however few bytes its files have."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from tests.fix_models import Zoo, byte_tokenizer

from loradex.worker.engine.memory import budgets as shared_out
from loradex.worker.engine.vllm import start as starting
from loradex.worker.engine.vllm.slots import slots as laid_out

FREE = 1 << 30


class Enough(Exception):  # noqa: N818 - no error, but as far as it goes without vLLM
    """All is shared out."""


def weights_of(zoo: Zoo) -> int:
    return int(sum(one.numel() for one in zoo.model.parameters()))


def test_on_a_host_places_ranks_and_rows_come_out_of_what_the_weights_leave(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.deepcopy(zoo.model).to(torch.bfloat16).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    told: dict[str, Any] = {}

    def lay_out(*told_of: Any, free: int, **others: Any) -> Any:
        told["slots"] = free
        return laid_out(*told_of, free=free, **others)

    def share(free: int, *others: Any, **kind: Any) -> Any:
        told["budgets"] = free
        return shared_out(free, *others, **kind)

    def begin(**arguments: Any) -> NoReturn:
        told.update(arguments)
        raise Enough

    monkeypatch.setattr(starting, "free_bytes", lambda _: FREE)
    monkeypatch.setattr(starting, "slots", lay_out)
    monkeypatch.setattr(starting, "budgets", share)
    monkeypatch.setattr(starting, "_require_device", lambda _: None)
    monkeypatch.setattr(starting, "_llm", begin)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Enough):
        starting.start(tmp_path, "cpu", "float32", arguments={"max_model_len": 64})
    assert told["slots"] == told["budgets"] == FREE - 4 * weights_of(zoo)
    assert told["max_model_len"] == 64
    monkeypatch.setattr(starting, "free_bytes", lambda _: 1)
    with pytest.raises(Enough):
        starting.start(tmp_path, "cpu", "float32")
    assert told["slots"] == told["budgets"] == 0


def test_weights_that_are_quantised_are_as_many_bytes_as_their_files(tmp_path: Path, zoo: Zoo) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0" * 1000)
    plain = SimpleNamespace(config=SimpleNamespace(), parameters=zoo.model.parameters)
    quantised = SimpleNamespace(
        config=SimpleNamespace(quantization_config={"quant_method": "gptq"}), parameters=zoo.model.parameters
    )
    assert starting._weight_bytes(tmp_path, quantised, torch.float16) == 1000
    assert starting._weight_bytes(tmp_path, plain, torch.float16) == 2 * weights_of(zoo)

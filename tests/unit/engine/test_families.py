"""Families that read in different ways are answered as PEFT and transformers answer them, or are refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import FAMILIES, tiny
from tests.fix_models import CONTEXT, Zoo, byte_tokenizer
from tests.peft_compared import compare
from tests.repository import ROOT
from tests.unit.engine.rows import BARE
from torch import nn

from loradex.errors import ModelRefusedError
from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import Failure

LENGTHS = (90, 3, 40)
"""Longer than a window and than LongRoPE's short factors, and shorter than both, side by side."""


def engine_of(model: Any) -> Engine:
    return Engine(copy.deepcopy(model), byte_tokenizer(), bank_bytes=1 << 20, ends=frozenset())


@pytest.mark.parametrize(
    "family",
    [
        pytest.param("bloom", id="ALiBi, no positions, choices one by one"),
        pytest.param("gpt_neo", id="windows by columns, choices one by one"),
        pytest.param("gpt_oss", id="sinks, attention written out, windows"),
        pytest.param("gemma4_text, shared layers", id="layers that share keys and values, windows"),
        pytest.param("mistral, sliding", id="windows in every layer"),
        pytest.param("llama4_text", id="a router that is a linear module, chunks"),
        pytest.param("phi3, longrope", id="other frequencies for long rows"),
    ],
)
def test_answers_are_those_of_peft_and_transformers(family: str, tmp_path: Path) -> None:
    compared = compare(family, tmp_path, LENGTHS, alone=False)
    assert compared.failures == []
    assert compared.texts == [3, 3]
    assert compared.choices == [3, 3]


def test_the_page_of_families_has_all_of_them() -> None:
    """`python -m loradex.benchmarks.families` writes it, and takes minutes."""
    page = (ROOT / "docs" / "models-tested.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == list(FAMILIES)
    assert {row[3].split(":")[0].removesuffix(" |") for row in rows} == {"exact", "refused"}


@pytest.mark.parametrize(
    ("family", "what"),
    [
        ("lfm2", "lfm2 keeps more .*conv"),
        ("qwen3_5_text", "qwen3_5_text keeps more .*linear_attention"),
        ("falcon_h1", "falcon_h1 keeps more"),
        ("recurrent_gemma", "recurrent_gemma keeps more"),
        ("rwkv", "rwkv keeps more"),
    ],
)
def test_a_model_that_keeps_more_than_keys_and_values_is_refused(family: str, what: str) -> None:
    with pytest.raises(ModelRefusedError, match=what):
        engine_of(tiny(family))


def test_a_text_may_not_cross_to_other_frequencies() -> None:
    """transformers would read it anew from the crossing on."""
    engine = engine_of(tiny("phi3, longrope"))
    prompt = "a" * 60
    crossing, below, choice = engine.answer(
        [
            Row(prompt, BARE, max_new_tokens=5),
            Row(prompt, BARE, max_new_tokens=4),
            Row(prompt, BARE, "choose", ("bcdef",)),
        ]
    )
    assert isinstance(below, RowResult)
    for refused in (crossing, choice):
        assert isinstance(refused, Failure)
        assert refused.code == "prompt_too_long"
        assert "more than 64" in refused.message


@pytest.mark.parametrize("family", ["phi3, longrope", "phimoe, longrope"])
def test_a_long_prompt_has_the_frequencies_of_one_pass_however_little_is_read_at_a_time(
    family: str, tmp_path: Path
) -> None:
    """transformers chooses by the last position of each call, so a first piece would have the short ones."""
    compared = compare(family, tmp_path, (90, 3, 70, 40))
    assert compared.failures == []
    assert compared.texts == [8, 8]
    assert compared.choices == [8, 8]


def test_a_model_that_would_be_answered_otherwise_is_refused(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(self: Architecture, sees: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.zeros(sees.shape).unsqueeze(1)

    monkeypatch.setattr(Architecture, "masks", bare)
    with pytest.raises(ModelRefusedError, match=r"llama is not answered exactly: .* differs by"):
        engine_of(zoo.model)


def test_a_model_that_breaks_is_refused(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        raise_ = RuntimeError("no such kernel")

        def product(_: torch.Tensor) -> torch.Tensor:
            raise raise_

        return product

    monkeypatch.setattr("loradex.worker.engine.updates.pack", broken)
    with pytest.raises(ModelRefusedError, match=r"llama cannot be answered with: .* no such kernel"):
        engine_of(zoo.model)


def test_a_model_of_nan_is_refused(zoo: Zoo) -> None:
    model = copy.deepcopy(zoo.model)
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ModelRefusedError, match="NaN or infinity"):
        engine_of(model)


def test_the_engine_reads_as_much_as_the_model_has_places_for(zoo: Zoo) -> None:
    assert engine_of(tiny("gemma2")).context_length == CONTEXT
    assert engine_of(tiny("mpt")).context_length == CONTEXT
    unsaid = tiny("bloom")
    del unsaid.config.seq_length
    with pytest.raises(ModelRefusedError, match=r"bloom: none of .* how many tokens"):
        engine_of(unsaid)

"""Mixtures that vLLM reads as files, as it does where its model is split over processes, give the same answers."""

from collections.abc import Iterator

import pytest
from tests.unit.engine.rows import BARE
from tests.vllm.conftest import Tiny, answers

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine
from loradex.worker.engine.vllm.handover import hand_over
from loradex.worker.engine.vllm.shelf import Shelf


@pytest.fixture
def reading(theirs: VllmEngine) -> Iterator[Shelf]:
    """vLLM reads LoRAs in its own way meanwhile."""
    shelf = Shelf()
    theirs._llm.collective_rpc(_as_others_do)  # type: ignore[attr-defined]
    theirs.mixtures._shelf = shelf
    yield shelf
    theirs.mixtures._shelf = None
    hand_over(theirs._llm, theirs.mixtures.take)


def test_mixtures_are_read_from_files(ours: Engine, theirs: VllmEngine, tiny: Tiny, reading: Shelf) -> None:
    rows = [
        Row("lark gates", tiny.recipe(merge, 50 + place), max_new_tokens=16)
        for place, merge in enumerate(("cat", "ties", "linear", "cat", "linear", "ties"))
    ]
    rows += [
        Row("old maps", BARE, max_new_tokens=16),
        Row("seven", tiny.recipe("cat", 60), "choose", ("a", "b")),
    ]
    for ticket, row in enumerate(rows[:2]):
        theirs.add(ticket, row, {})
    assert all(reading.place(row.recipe.hash) for row in rows[:2])
    theirs.abort(0)
    theirs.abort(1)
    assert [one.token_ids for one in answers(theirs, rows)] == [one.token_ids for one in ours.answer(rows)]
    assert not any(reading.place(row.recipe.hash) for row in rows)


def _as_others_do(worker: object) -> None:
    del worker.model_runner.lora_manager._load_adapter  # type: ignore[attr-defined]

"""What a batch spends: rows that are done are not computed on, and little of a prefill is padding."""

import dataclasses
import random
from collections.abc import Sequence

import pytest
import torch
from tests.fix_models import Zoo
from tests.unit.engine.rows import mixed_rows, recipe, sentence

from loradex.worker.engine.cache import StoreView
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.questions import UNWANTED
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.packing import PADDING


@pytest.fixture
def engine(zoo: Zoo) -> Engine:
    """One of its own, whose rows write all their tokens."""
    return zoo.engine(ends=frozenset())


def test_rows_that_are_done_leave_the_batch(
    zoo: Zoo, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = random.Random(1)
    most = [2, 2, 2, 2, 5, 9, 9, 14]
    rows = [
        Row(sentence(numbers, 1 + place), recipe(zoo, numbers), max_new_tokens=tokens)
        for place, tokens in enumerate(most)
    ]
    alone = [engine.answer([row])[0] for row in rows]
    step, sizes = engine._forward.step, []

    def watched(
        tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, view: StoreView
    ) -> torch.Tensor:
        sizes.append(len(tokens))
        return step(tokens, mask, positions, view)

    monkeypatch.setattr(engine._forward, "step", watched)
    together = engine.answer(rows)
    # Without leaving, all 13 steps would have 8 rows.
    assert sizes == [8, 4, 4, 4, 3, 3, 3, 3, 1, 1, 1, 1, 1]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, RowResult)
        assert isinstance(other, RowResult)
        assert one.token_ids == other.token_ids


def test_a_row_that_nobody_wants_any_more_leaves_and_the_others_are_as_without_it(
    zoo: Zoo, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = random.Random(2)
    rows = [
        Row(sentence(numbers, 2 + place), recipe(zoo, numbers), max_new_tokens=12, sampling_temperature=heat)
        for place, heat in enumerate([0.0, 0.9, 0.0, 0.9, 0.0])
    ]
    rows += [Row(sentence(numbers, 3), recipe(zoo, numbers), "choose", ("a tin", "a drum")) for _ in range(3)]
    unwanted = {1, 2, 6}
    asked = dict.fromkeys(range(len(rows)), 0)

    def after_four_tokens(place: int) -> bool:
        asked[place] += 1
        return place in unwanted and (asked[place] > 3 or rows[place].kind == "choose")

    step, sizes = engine._forward.step, []

    def watched(
        tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, view: StoreView
    ) -> torch.Tensor:
        sizes.append(len(tokens))
        return step(tokens, mask, positions, view)

    without = engine.answer([row for place, row in enumerate(rows) if place not in unwanted])
    monkeypatch.setattr(engine._forward, "step", watched)
    answers = engine.answer(rows, after_four_tokens)

    # One text begins between two rankings, and is done a step before the others.
    assert sizes == [1, 5, 5, *[3] * 8, 2]
    assert [place for place, answer in enumerate(answers) if answer is UNWANTED] == sorted(unwanted)
    kept = [answer for answer in answers if answer is not UNWANTED]
    for one, other in zip(kept, without, strict=True):
        assert isinstance(one, RowResult)
        assert isinstance(other, RowResult)
        assert (one.token_ids, one.text) == (other.token_ids, other.text)
        assert one.scores == pytest.approx(other.scores)


def test_a_batch_that_nobody_wants_is_not_computed(
    zoo: Zoo, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_composer", None)
    rows = mixed_rows(zoo, 6, seed=5)
    assert engine.answer(rows, lambda _: True) == [UNWANTED] * 6


def test_less_than_a_quarter_of_a_prefill_is_padding(
    zoo: Zoo, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, spent = engine._forward.prompts, []

    def watched(ids: Sequence[Sequence[int]], view: StoreView | None) -> torch.Tensor:
        spent.append((len(ids) * max(map(len, ids)), sum(map(len, ids))))
        return prompts(ids, view)

    monkeypatch.setattr(engine._forward, "prompts", watched)
    rows = mixed_rows(zoo, 24, seed=3)
    engine.answer([dataclasses.replace(row, max_new_tokens=1) for row in rows])
    assert all(computed - real < PADDING * computed for computed, real in spent)
    assert sum(real for _, real in spent) == sum(engine.count_tokens(row) for row in rows)
    assert len(spent) < len(rows) / 2

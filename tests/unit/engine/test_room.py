"""What rows with choices take is what was counted for them."""

import random
import weakref
from typing import Any

import pytest
import torch
from tests.fix_models import Zoo
from tests.unit.engine.rows import BARE, recipe, sentence

from loradex.worker.engine.cache import Store
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.rows import Row, RowResult


class Watched:
    """The most that keys, values and logits took in any pass, and the most that was counted."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self.counted = 0
        self._engine = engine
        stores: weakref.WeakSet[Store] = weakref.WeakSet()
        begun, run = Store.__init__, engine._forward._run

        def begin(store: Store, *given: int) -> None:
            stores.add(store)
            begun(store, *given)

        def watched(*given: Any) -> torch.Tensor:
            logits = run(*given)
            held = sum(buffer.nbytes for store in stores for buffer in store.buffers())
            self.taken = max(self.taken, held + logits.nbytes)
            self.counted = max(self.counted, self._rows_bytes())
            return logits

        monkeypatch.setattr(Store, "__init__", begin)
        monkeypatch.setattr(engine._forward, "_run", watched)

    def _rows_bytes(self) -> int:
        """Without what adapters are counted with."""
        questions = list(self._engine._stream._in_hand())
        named = {part.sha256 for question in questions for part in question.row.recipe.components}
        slots = (len(questions) + len(named)) * self._engine.bank.slot_bytes
        return self._engine.usage().used_bytes - slots


def test_many_choices_of_many_rows_take_what_was_counted(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns behind a prompt are for the rows of one part, and not for all that are in hand."""
    engine = zoo.engine()
    choices = tuple(f"{number:x}"[-2:] for number in range(256, 512))
    rows = [Row(f"fox {number:05}", BARE, "choose", choices) for number in range(64)]
    watched = Watched(engine, monkeypatch)
    answers = engine.answer(rows)
    assert all(isinstance(answer, RowResult) for answer in answers)
    assert 0 < watched.taken <= watched.counted
    assert watched.counted < 1_500_000


@pytest.mark.parametrize("seed", range(6))
def test_choices_of_all_shapes_take_what_was_counted_and_say_what_they_say_alone(
    zoo: Zoo, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = random.Random(seed)
    rows = []
    for _ in range(numbers.choice([1, 3, 12])):
        choices = tuple(
            sentence(numbers, numbers.choice([1, 2, 12])) for _ in range(numbers.choice([1, 4, 40]))
        )
        prompt = sentence(numbers, numbers.choice([1, 3, 20]))
        rows.append(Row(prompt, recipe(zoo, numbers), "choose", choices))
    expected = [zoo.engine().answer([row])[0] for row in rows]
    engine = zoo.engine()
    watched = Watched(engine, monkeypatch)
    for answer, alone in zip(engine.answer(rows), expected, strict=True):
        assert isinstance(answer, RowResult)
        assert isinstance(alone, RowResult)
        assert answer.scores == pytest.approx(alone.scores, abs=1e-4)
    assert 0 < watched.taken <= watched.counted

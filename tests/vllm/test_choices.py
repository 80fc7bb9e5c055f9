"""Choices are scored as our own engine scores them."""

import random

import pytest
from tests.unit.engine.rows import BARE, sentence
from tests.vllm.conftest import Tiny, answers

from loradex.errors import PromptTooLongError
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine


def rows(tiny: Tiny) -> list[Row]:
    numbers = random.Random(4)
    made = []
    for place, normalization in enumerate(("none", "tokens", "bytes", "tokens")):
        prompt = sentence(numbers, 2 + 3 * place)
        choices = tuple(sentence(numbers, numbers.randint(1, 4)) for _ in range(3))
        made.append(Row(prompt, tiny.recipe("cat", place), "choose", choices, normalization))
    # A long beginning in common, which comes out of the cache for the later ones.
    made.append(Row("a", BARE, "choose", tuple(f"{'the same words ' * 3}{end}" for end in "xyz")))
    return made


def test_scores_are_those_of_our_own_engine(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    asked = rows(tiny)
    expected = ours.answer(asked)
    for _ in range(2):  # the second time all of it is in the cache
        for one, other in zip(answers(theirs, asked), expected, strict=True):
            assert one.scores == pytest.approx(other.scores, rel=1e-4, abs=1e-4)
            assert (one.choice, one.token_ids, one.finish_reason) == (other.choice, other.token_ids, "choice")
            assert (one.text, one.prompt_tokens) == (other.text, other.prompt_tokens)


def test_choices_and_texts_are_answered_together(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    asked = [*rows(tiny), Row("under", tiny.recipe("linear", 5), max_new_tokens=9, logprobs=3)]
    found, expected = answers(theirs, asked), ours.answer(asked)
    assert [one.token_ids for one in found] == [one.token_ids for one in expected]


def test_what_has_no_room_is_refused(theirs: VllmEngine) -> None:
    with pytest.raises(PromptTooLongError, match="ranks choices in 255"):
        theirs.add(0, Row("a" * 250, BARE, "choose", ("12345",)), {})
    assert theirs.usage().waiting == theirs.usage().running == 0

"""A text that is held to a schema or a pattern is the one that our own engine writes."""

import json
from dataclasses import replace

import pytest
from tests.vllm.conftest import Tiny, answers

from loradex.errors import ConstraintRefusedError, InvalidArgumentError
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine
from loradex.worker.engine.vllm.held import HeldText, HeldTexts

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 6},
            "age": {"type": "integer", "maximum": 150},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
PATTERNS = (r"yes|no", r"\d{3}-\d{4}", r" *[a-c]{2,6} ", r"(ab)*c?", "é+\\n?x|z")


def held(tiny: Tiny, **wishes: object) -> list[Row]:
    rows = [
        Row(
            Framed(("", "lark gates", "\nAnswer:"), spaced=place % 2 == 0),
            tiny.recipe("cat", place),
            regex=one,
        )
        for place, one in enumerate(PATTERNS)
    ]
    rows.append(Row("old maps", tiny.recipe("linear", 7), json_schema=PERSON))
    return [replace(row, max_new_tokens=48, **wishes) for row in rows]


@pytest.mark.parametrize(
    "wishes",
    [{}, {"min_tokens": 9}, {"repetition_penalty": 1.5, "logit_bias": ((36, 90.0), (1, 99.0))}],
    ids=["alone", "least length", "penalties"],
)
def test_held_texts_are_those_of_our_own_engine(
    ours: Engine, theirs: VllmEngine, tiny: Tiny, wishes: dict[str, object]
) -> None:
    free = [Row("seven", tiny.recipe("ties", 3), max_new_tokens=12)]
    rows = held(tiny, **wishes) + free
    for row, one, other in zip(rows, answers(theirs, rows), ours.answer(rows), strict=True):
        assert (one.token_ids, one.text, one.finish_reason) == (
            other.token_ids,
            other.text,
            other.finish_reason,
        ), row


def test_a_drawn_text_is_held_too(theirs: VllmEngine, tiny: Tiny) -> None:
    rows = [
        Row("old maps", tiny.recipe("cat", seed), regex="[ab]{3}", seed=seed, sampling_temperature=1.5)
        for seed in range(6)
    ]
    texts = [one.text for one in answers(theirs, rows)]
    assert all(len(text) == 3 and set(text) <= {"a", "b"} for text in texts), texts
    assert len(set(texts)) > 1


def test_what_no_text_can_be_held_to_is_refused(theirs: VllmEngine, tiny: Tiny) -> None:
    with pytest.raises(ConstraintRefusedError, match="regex"):
        theirs.add(0, replace(held(tiny)[0], regex="(?=a)b"), {})
    with pytest.raises(InvalidArgumentError, match="leave logprobs or the constraint out"):
        theirs.add(0, replace(held(tiny)[0], logprobs=2), {})
    assert theirs.mixtures.distinct == 0
    assert theirs.step() == []


def test_guesses_are_taken_back(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    """What speculative decoding asks of a grammar: which guesses may stand, and to forget those that did not."""
    row = held(tiny)[1]
    [answer] = ours.answer([row])
    tokens = list(answer.token_ids)
    text = grammar(theirs, row)
    assert text.validate_tokens([*tokens[:3], tokens[0]]) == tokens[:3]  # a digit, where there must be none
    text.accept_tokens("", tokens[:2])
    before = mask(text)
    text.accept_tokens("", tokens[2:3])
    assert mask(text) != before  # a hyphen comes next
    text.rollback(1)
    assert mask(text) == before
    text.accept_tokens("", tokens[2:])
    assert text.is_terminated()
    text.reset()
    assert not text.is_terminated()


def grammar(theirs: VllmEngine, row: Row) -> HeldText:
    asking = theirs._asking
    made = HeldTexts(theirs._ends, asking.vocabulary)
    matcher = asking.question(0, row).grammar
    assert matcher is not None
    made.put("0", matcher)
    return made.compile_grammar(None, "0")


def mask(text: HeldText) -> list[int]:
    made = HeldTexts(frozenset(), 300).allocate_token_bitmask(2)
    text.fill_bitmask(made, 1)
    assert made[0].tolist() == [-1] * made.shape[1]
    return made[1].tolist()

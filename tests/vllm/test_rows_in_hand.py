"""Rows come and go in vLLM as they do in our own engine."""

from dataclasses import replace

import pytest
from tests.unit.engine.rows import BARE
from tests.vllm.conftest import MOST_LORAS, Tiny, answers, events_of

from loradex.errors import InvalidArgumentError, UnknownNameError
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.protocol import Failed, Finished, Wrote
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine


def row(tiny: Tiny, mixture: int, **wishes: object) -> Row:
    return replace(Row("lark gates", tiny.recipe("cat", mixture), max_new_tokens=24), **wishes)


def test_pieces_joined_are_the_text(theirs: VllmEngine, tiny: Tiny) -> None:
    said: dict[object, str] = {}
    told = {}
    for event in events_of(theirs, [row(tiny, seed, min_tokens=24) for seed in range(3)]):
        if isinstance(event, Wrote):
            assert event.ticket not in told
            said[event.ticket] = said.get(event.ticket, "") + event.text
        elif isinstance(event, Finished):
            told[event.ticket] = event.result.text
    assert said == told
    assert set(theirs.step()) == set()


def test_an_aborted_row_is_not_heard_of_and_gives_its_room_back(theirs: VllmEngine, tiny: Tiny) -> None:
    theirs.add("gone", row(tiny, 1, min_tokens=24), {})
    theirs.add("stays", row(tiny, 2), {})
    theirs.add("choice", row(tiny, 3, kind="choose", choices=("one", "two")), {})
    assert {event.ticket for event in theirs.step() if isinstance(event, Wrote)} <= {"gone", "stays"}
    theirs.abort("gone")
    theirs.abort("choice")
    theirs.abort("unknown")
    heard = []
    while theirs.usage().running or theirs.usage().waiting:
        heard += theirs.step()
    assert {event.ticket for event in heard} == {"stays"}
    assert theirs.usage().used_bytes == 0
    assert theirs.mixtures.distinct == 0


def test_more_mixtures_than_fit_wait(theirs: VllmEngine, tiny: Tiny) -> None:
    rows = [row(tiny, seed, min_tokens=24) for seed in range(2 * MOST_LORAS)]
    for ticket, one in enumerate(rows):
        theirs.add(ticket, one, {})
    assert theirs.mixtures.distinct == len(rows)
    theirs.step()
    assert (theirs.usage().running, theirs.usage().waiting) == (MOST_LORAS, MOST_LORAS)
    finished = 0
    while finished < len(rows):
        events = theirs.step()
        assert not any(isinstance(event, Failed) for event in events)
        finished += sum(isinstance(event, Finished) for event in events)


def test_a_rank_that_was_not_laid_out_is_refused_with_numbers(theirs: VllmEngine, tiny: Tiny) -> None:
    wide = Recipe("cat", 1.0, "float32", (Component(tiny.adapters[-1].sha256, 0.5),))
    with pytest.raises(InvalidArgumentError, match="has rank 32, and vLLM was laid out for 16"):
        theirs.add(0, Row("seven", wide), {})
    assert theirs.mixtures.distinct == 0


def test_what_our_own_engine_refuses_is_refused(theirs: VllmEngine, tiny: Tiny) -> None:
    unknown = Recipe("cat", 1.0, "float32", (Component("0" * 64, 1.0),))
    for broken, error in (
        (Row("seven", unknown), UnknownNameError),
        (Row("", BARE), InvalidArgumentError),
        (row(tiny, 1, logit_bias=((9999, 1.0),)), InvalidArgumentError),
        (row(tiny, 1, sampling_temperature=3.0), InvalidArgumentError),
    ):
        with pytest.raises(error):
            theirs.add(0, broken, {})
    assert theirs.step() == []
    assert theirs.mixtures.distinct == 0


def test_a_stop_string_ends_the_text(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    plain = row(tiny, 4, min_tokens=24)
    whole = ours.answer([plain])[0].text
    stopped = replace(plain, stop=(whole[6:9],))
    expected, found = ours.answer([stopped])[0], answers(theirs, [stopped])[0]
    assert found.text == expected.text == whole[: whole.index(whole[6:9])]
    assert (found.token_ids, found.finish_reason) == (expected.token_ids, "stop")


def test_likelihoods_are_those_of_our_own_engine(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    rows = [row(tiny, 1, logprobs=5), row(tiny, 2, logprobs=0), row(tiny, 3)]
    for one, other in zip(answers(theirs, rows), ours.answer(rows), strict=True):
        assert (one.logprobs is None) == (other.logprobs is None)
        assert one.token_texts == other.token_texts
        for told, expected in zip(one.logprobs or (), other.logprobs or (), strict=True):
            assert told.token == expected.token
            assert told.logprob == pytest.approx(expected.logprob, abs=1e-4)
            assert [token for token, _ in told.likeliest] == [token for token, _ in expected.likeliest]


@pytest.mark.parametrize(
    "wishes",
    [
        {"repetition_penalty": 1.7},
        {"presence_penalty": 1.5, "frequency_penalty": 0.5},
        {"logit_bias": ((40, 4.0), (50, -3.0))},
        {"min_tokens": 20},
    ],
)
def test_wishes_are_fulfilled_as_by_our_own_engine(
    ours: Engine, theirs: VllmEngine, tiny: Tiny, wishes: dict[str, object]
) -> None:
    rows = [row(tiny, seed, **wishes) for seed in range(4)]
    assert [one.token_ids for one in answers(theirs, rows)] == [one.token_ids for one in ours.answer(rows)]


def test_a_seed_draws_the_same_text_alone_and_in_company(theirs: VllmEngine, tiny: Tiny) -> None:
    drawn = [row(tiny, 1, sampling_temperature=1.0, sampling_top_k=20, seed=seed) for seed in (-1, 5, 6)]
    together = [one.token_ids for one in answers(theirs, drawn)]
    assert len(set(together)) == 3
    assert [answers(theirs, [one])[0].token_ids for one in drawn] == together


def test_a_mixture_that_overflows_fails_alone(theirs: VllmEngine, tiny: Tiny) -> None:
    huge = Recipe("cat", 1.0, "float32", (Component(tiny.adapters[0].sha256, 1e38),))
    rows = [Row("seven", huge), row(tiny, 1), Row("seven", huge, "choose", ("one", "two"))]
    ends = {event.ticket: event for event in events_of(theirs, rows) if not isinstance(event, Wrote)}
    assert [ends[ticket].failure.code for ticket in (0, 2) if isinstance(ends[ticket], Failed)] == [
        "not_finite",
        "not_finite",
    ]
    assert isinstance(ends[1], Finished)


def test_after_a_step_that_broke_others_are_answered(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    lost, kept = row(tiny, 40), row(tiny, 41)
    for ticket, one in enumerate((lost, kept)):
        theirs.add(ticket, one, {})
    # As if its adapters were gone when vLLM asks for the mixture.
    theirs.mixtures._composed.pop(lost.recipe.hash)
    theirs.mixtures._recipes[lost.recipe.hash] = Recipe("cat", 1.0, "float32", (Component("1" * 64, 1.0),))
    with pytest.raises(UnknownNameError):
        theirs.step()
    for ticket in range(2):
        theirs.abort(ticket)
    assert theirs.step() == []
    assert [one.token_ids for one in answers(theirs, [kept, lost])] == [
        one.token_ids for one in ours.answer([kept, lost])
    ]

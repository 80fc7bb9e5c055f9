"""Rows come and go in vLLM as they do in our own engine."""

from dataclasses import replace

import pytest
from tests.unit.engine.rows import BARE
from tests.vllm.conftest import CONTEXT, MOST_LORAS, Tiny, answers, events_of

from loradex.errors import InvalidArgumentError, PromptTooLongError, UnknownNameError
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.protocol import Failed, Finished, Wrote
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine
from loradex.worker.engine.vllm.start import start


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
        (row(tiny, 1, sampling_temperature=1e-3), InvalidArgumentError),
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


@pytest.mark.parametrize("kind", ["generate", "choose"])
def test_a_mixture_that_is_gone_when_it_is_asked_for_fails_its_rows_alone(
    ours: Engine, theirs: VllmEngine, tiny: Tiny, kind: str
) -> None:
    wishes = {"kind": kind, "choices": ("one", "two")} if kind == "choose" else {}
    first = 70 if kind == "choose" else 80
    lost, kept = row(tiny, first, **wishes), row(tiny, first + 1)
    for ticket, one in enumerate((lost, lost, kept)):
        theirs.add(ticket, one, {})
    gone(theirs, lost)
    ends = {}
    while len(ends) < 3:
        ends |= {event.ticket: event for event in theirs.step() if not isinstance(event, Wrote)}
    assert [ends[ticket].failure.code for ticket in (0, 1)] == ["unknown_name"] * 2
    assert isinstance(ends[2], Finished)
    assert ends[2].result.token_ids == ours.answer([kept])[0].token_ids
    # Neither its LoRA of nothing nor what was computed with it is used again.
    for found, expected in zip(answers(theirs, [lost, kept]), ours.answer([lost, kept]), strict=True):
        assert found.token_ids == expected.token_ids
        assert found.scores == (None if expected.scores is None else pytest.approx(expected.scores, abs=1e-4))
    assert theirs.mixtures.distinct == 0


def gone(theirs: VllmEngine, lost: Row) -> None:
    """As if its adapters were gone when vLLM asks for the mixture."""
    theirs.mixtures._composed.pop(lost.recipe.hash, None)
    theirs.mixtures._recipes[lost.recipe.hash] = Recipe("cat", 1.0, "float32", (Component("1" * 64, 1.0),))


def test_after_a_step_that_broke_others_are_answered(
    ours: Engine, theirs: VllmEngine, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, kept = row(tiny, 40), row(tiny, 41)
    for ticket, one in enumerate((lost, kept)):
        theirs.add(ticket, one, {})
    gone(theirs, lost)

    def broken() -> None:
        raise RuntimeError("it broke")

    with monkeypatch.context() as step:
        step.setattr(theirs.mixtures, "_nothing", broken)
        with pytest.raises(RuntimeError, match="it broke"):
            theirs.step()
    for ticket in range(2):
        theirs.abort(ticket)
    assert theirs.step() == []
    assert [one.token_ids for one in answers(theirs, [kept, lost])] == [
        one.token_ids for one in ours.answer([kept, lost])
    ]


def test_what_is_made_of_a_row_breaks_that_row_alone(
    theirs: VllmEngine, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(tiny, 1), row(tiny, 2)]
    for ticket, one in enumerate(rows):
        theirs.add(ticket, one, {})

    def broken(_: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(theirs._rows[0], "hear", broken)
    ends = {}
    while len(ends) < 2:
        ends |= {event.ticket: event for event in theirs.step() if not isinstance(event, Wrote)}
    assert isinstance(ends[0], Failed)
    assert (ends[0].failure.code, ends[0].failure.message) == ("internal", "ValueError: odd")
    assert isinstance(ends[1], Finished)
    assert theirs.usage().used_bytes == 0


def test_an_urgent_row_begins_before_others_that_wait(theirs: VllmEngine, tiny: Tiny) -> None:
    rows = [*(row(tiny, seed) for seed in range(2 * MOST_LORAS)), row(tiny, 2 * MOST_LORAS, urgent=True)]
    for ticket, one in enumerate(rows):
        theirs.add(ticket, one, {})
    theirs.step()
    assert set(range(MOST_LORAS - 1, 2 * MOST_LORAS)) == set(theirs.usage().waits)
    for ticket in range(len(rows)):
        theirs.abort(ticket)


def test_the_model_is_registered_with_what_it_reads_and_rows_have_what_was_given(theirs: VllmEngine) -> None:
    assert theirs.context_length == 2 * CONTEXT
    with pytest.raises(PromptTooLongError, match=f"the model reads {CONTEXT}"):
        theirs.add(0, Row("a" * CONTEXT, BARE, max_new_tokens=9), {})
    assert theirs.quantization is None


@pytest.mark.parametrize("arguments", [{"nonsense": 1}, {"scheduling_policy": "lottery"}])
def test_what_vllm_refuses_to_start_with_is_said_in_a_sentence(
    theirs: VllmEngine, tiny: Tiny, arguments: dict[str, object]
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"(?s)vLLM does not start: .*LORADEX_VLLM_ARGUMENTS"):
        start(tiny.path, "cpu", "float32", bank_bytes=1 << 20, room_bytes=1 << 20, arguments=arguments)
    assert theirs.step() == []

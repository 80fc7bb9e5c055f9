"""Rows that come and go: each is answered as if it were alone, whatever happens beside it."""

import copy
import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fix_models import TinyAdapter, Zoo, byte_tokenizer
from tests.unit.engine.rows import BARE, mixed_rows, recipe, sentence

from loradex.worker.engine.cache import StoreView
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.protocol import Event, Finished, Wrote
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.engine.running_updates import RunningUpdates
from loradex.worker.engine.stream import Pace
from loradex.worker.isolation import Failure

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, StoreView], torch.Tensor]


def told(answer: RowResult | Failure) -> tuple[object, ...]:
    assert isinstance(answer, RowResult), answer
    scores = None if answer.scores is None else [round(score, 3) for score in answer.scores]
    return answer.text, answer.token_ids, answer.choice, scores, answer.finish_reason


def alone(engine: Engine, rows: Sequence[Row]) -> list[tuple[object, ...]]:
    return [told(engine.answer([row])[0]) for row in rows]


def finished(events: Sequence[Event]) -> dict[object, RowResult | Failure]:
    return {
        event.ticket: event.result if isinstance(event, Finished) else event.failure
        for event in events
        if not isinstance(event, Wrote)
    }


def to_the_end(engine: Engine) -> list[Event]:
    events: list[Event] = []
    while engine.usage().running or engine.usage().waiting:
        events += engine.step()
    return events


def texts(events: Sequence[Event]) -> Mapping[object, str]:
    """The pieces of each row, joined."""
    joined: dict[object, str] = {}
    for event in events:
        if isinstance(event, Wrote):
            joined[event.ticket] = joined.get(event.ticket, "") + event.text
    return joined


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    arrivals=st.lists(st.integers(0, 4), min_size=2, max_size=14),
    pace=st.sampled_from([(4, 8), (16, 64), (256, 1024)]),
)
def test_rows_that_join_at_any_time_say_what_they_say_alone(
    zoo: Zoo, seed: int, arrivals: list[int], pace: tuple[int, int]
) -> None:
    engine = zoo.engine(pace=Pace(*pace), bank_bytes=200_000)
    rows = mixed_rows(zoo, len(arrivals), seed=seed)
    events: list[Event] = []
    for place, (row, steps) in enumerate(zip(rows, arrivals, strict=True)):
        engine.add(place, row)
        for _ in range(steps):
            events += engine.step()
    events += to_the_end(engine)
    answers = finished(events)
    assert [told(answers[place]) for place in range(len(rows))] == alone(zoo.engine(), rows)
    pieces = texts(events)
    for place in range(len(rows)):
        answer = answers[place]
        assert isinstance(answer, RowResult)
        assert pieces.get(place, "") == answer.text


def test_a_row_that_is_let_go_changes_nothing_for_the_others(zoo: Zoo) -> None:
    engine = zoo.engine(ends=frozenset(), pace=Pace(8, 8))
    rows = mixed_rows(zoo, 12, seed=21)
    expected = alone(zoo.engine(ends=frozenset()), rows)
    numbers = random.Random(3)
    for place, row in enumerate(rows):
        engine.add(place, row)
    gone: set[int] = set()
    events: list[Event] = []
    while engine.usage().running or engine.usage().waiting:
        events += engine.step()
        left = sorted(set(range(len(rows))) - gone - {event.ticket for event in events})  # type: ignore[operator]
        if left and len(gone) < 5:
            gone.add(numbers.choice(left))
            for place in gone:
                engine.abort(place)
    answers = finished(events)
    assert len(gone) == 5
    assert not gone & answers.keys()
    assert {place: told(answer) for place, answer in answers.items()} == {
        place: one for place, one in enumerate(expected) if place not in gone
    }


def test_choices_do_not_wait_for_texts(zoo: Zoo) -> None:
    engine = zoo.engine(ends=frozenset())
    numbers = random.Random(4)
    for place in range(4):
        engine.add(place, Row(sentence(numbers, 6), recipe(zoo, numbers), max_new_tokens=60))
    engine.step()
    engine.add("choice", Row("old maps", BARE, "choose", ("tin", "drum")))
    events = [*engine.step(), *engine.step()]
    assert "choice" in finished(events)
    assert engine.usage().running == 4


MANY = tuple(f"{number} {'foxes trade old maps ' * 5}" for number in range(30))
"""Choices of some six passes."""


def in_order(events: Sequence[Event]) -> list[object]:
    return [event.ticket for event in events if isinstance(event, Finished)]


@pytest.mark.parametrize("steps", [0, 2], ids=["together", "later"])
def test_short_choices_do_not_wait_for_the_end_of_many_long_ones(zoo: Zoo, steps: int) -> None:
    engine = zoo.engine()
    rows = {
        "many": Row("bell", recipe(zoo, random.Random(1)), "choose", MANY),
        "many more": Row("drum", recipe(zoo, random.Random(2)), "choose", MANY[::-1]),
        "few": Row("lark", recipe(zoo, random.Random(3)), "choose", ("a tin", "a drum")),
    }
    events: list[Event] = []
    for ticket, row in rows.items():
        if ticket == "few":
            events += [event for _ in range(steps) for event in engine.step()]
        engine.add(ticket, row)
    events += [event for _ in range(6) for event in engine.step()]
    assert in_order(events) == ["few"]
    answers = finished([*events, *to_the_end(engine)])
    assert [told(answers[ticket]) for ticket in rows] == alone(zoo.engine(), list(rows.values()))


@pytest.mark.parametrize("steps", [0, 2], ids=["together", "later"])
def test_urgent_choices_go_before_others_that_are_begun(zoo: Zoo, steps: int) -> None:
    engine = zoo.engine()
    many = Row("bell", BARE, "choose", MANY)
    for number in range(3):
        engine.add(number, many)
    events = [event for _ in range(steps) for event in engine.step()]
    engine.add("now", dataclasses.replace(many, urgent=True))
    assert in_order([*events, *to_the_end(engine)])[0] == "now"


def test_a_short_prompt_does_not_wait_for_a_long_one(zoo: Zoo) -> None:
    engine = zoo.engine(ends=frozenset(), pace=Pace(beside=10, alone=10))
    engine.add("long", Row("under seven pale gates " * 8, BARE, max_new_tokens=1))
    engine.step()
    for number in range(2):
        engine.add(number, Row("bell", recipe(zoo, random.Random(number)), max_new_tokens=2))
    engine.add("now", Row("drum", BARE, max_new_tokens=2, urgent=True))
    order = in_order(to_the_end(engine))
    assert order[0] == "now"
    assert order[-1] == "long"


def test_texts_go_on_while_a_long_prompt_is_read(zoo: Zoo) -> None:
    engine = zoo.engine(ends=frozenset(), pace=Pace(beside=10, alone=10))
    short = Row("bell", BARE, max_new_tokens=40)
    long = Row("under seven pale gates " * 8, recipe(zoo, random.Random(5), "ties"), max_new_tokens=4)
    engine.add("short", short)
    engine.step()
    engine.add("long", long)
    pieces = [event.ticket for _ in range(12) for event in engine.step() if isinstance(event, Wrote)]
    assert pieces.count("short") >= 6
    assert "long" not in pieces
    answers = finished(to_the_end(engine))
    assert [told(answers[one]) for one in ("short", "long")] == alone(
        zoo.engine(ends=frozenset()), [short, long]
    )


def test_a_pass_that_breaks_is_computed_again_row_by_row(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = [
        dataclasses.replace(row, max_new_tokens=8)
        for row in mixed_rows(zoo, 9, seed=6)
        if row.kind == "generate"
    ]
    expected = alone(engine, rows)
    step: Step = engine._forward.step
    broke = []

    def breaks(
        tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, view: StoreView
    ) -> torch.Tensor:
        # In the middle of the texts: what was said of them is not said again.
        if len(tokens) > 1 and int(positions.max()) > 40:
            broke.append(len(tokens))
            raise RuntimeError("no such kernel")
        return step(tokens, mask, positions, view)

    monkeypatch.setattr(engine._forward, "step", breaks)
    for place, row in enumerate(rows):
        engine.add(place, row)
    events = to_the_end(engine)
    answers = finished(events)
    assert broke
    assert [told(answers[place]) for place in range(len(rows))] == expected
    assert [texts(events).get(place, "") for place in range(len(rows))] == [one[0] for one in expected]


def test_where_memory_runs_out_fewer_rows_are_computed_at_once(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = [row for row in mixed_rows(zoo, 24, seed=7) if row.kind == "generate"]
    expected = alone(engine, rows)
    step: Step = engine._forward.step
    sizes = []

    def tight(
        tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, view: StoreView
    ) -> torch.Tensor:
        sizes.append(len(tokens))
        if len(tokens) > 3:
            raise torch.OutOfMemoryError("1 GiB was asked for and 0.5 are free")
        return step(tokens, mask, positions, view)

    monkeypatch.setattr(engine._forward, "step", tight)
    assert [told(answer) for answer in engine.answer(rows)] == expected
    assert sum(size > 3 for size in sizes) <= 4


def test_memory_that_runs_out_beside_others_keeps_those_in_hand(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = zoo.engine(ends=frozenset())
    numbers = random.Random(11)
    rows = [Row(sentence(numbers, 4), recipe(zoo, numbers), max_new_tokens=20) for _ in range(10)]
    expected = alone(engine, rows)
    for place in range(6):
        engine.add(place, rows[place])
    events = engine.step()
    assert engine.usage().running == 6
    prompts = engine._forward.prompts
    fulls = [torch.OutOfMemoryError("1 GiB was asked for and 0.5 are free")]

    def full(ids: Sequence[Sequence[int]], view: StoreView | None) -> torch.Tensor:
        if fulls:
            raise fulls.pop()
        return prompts(ids, view)

    monkeypatch.setattr(engine._forward, "prompts", full)
    for place in range(6, len(rows)):
        engine.add(place, rows[place])
    events += engine.step()
    # Ten were too many: five is the most, and the six go on.
    assert (engine.usage().running, engine.usage().waiting) == (6, 4)
    while engine.usage().waiting:
        events += engine.step()
        assert engine.usage().running <= 6
    answers = finished([*events, *to_the_end(engine)])
    assert [told(answers[place]) for place in range(len(rows))] == expected


def once(broken: Exception, work: Callable[..., Any]) -> Callable[..., Any]:
    """The work, that breaks when it is first done, at its end."""
    errors = [broken]

    def done(*of: Any, **named: Any) -> Any:
        result = work(*of, **named)
        if errors:
            raise errors.pop()
        return result

    return done


FULL = torch.OutOfMemoryError("1 GiB was asked for and 0.5 are free")
KERNEL = RuntimeError("no such kernel")


@pytest.mark.parametrize("merge", ["cat", "linear"])
@pytest.mark.parametrize("broken", [FULL, KERNEL], ids=["full", "kernel"])
def test_rows_that_cannot_join_leave_those_that_write_as_they_are(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, merge: str, broken: Exception
) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = [
        Row("bell", mixture(merge, *zoo.even[:2]), max_new_tokens=20),
        *(Row(f"old maps {n}", mixture(merge, zoo.even[2]), max_new_tokens=9) for n in range(2)),
    ]
    expected = alone(zoo.engine(ends=frozenset()), rows)
    engine.add(0, rows[0])
    events = [*engine.step(), *engine.step()]
    [writing] = engine._stream._running[False, False].writings
    monkeypatch.setattr(RunningUpdates, "_renew", once(broken, RunningUpdates._renew))
    for place in (1, 2):
        engine.add(place, rows[place])
    events += engine.step()
    assert engine._stream._running[False, False].writings == [writing]
    events += to_the_end(engine)
    answers = finished(events)
    assert [told(answers[place]) for place in range(3)] == expected
    assert [texts(events)[place] for place in range(3)] == [one[0] for one in expected]


def test_rows_that_are_computed_alone_keep_nobody_waiting(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = {
        "long": Row("tin", mixture("cat", zoo.even[2]), max_new_tokens=60),
        **{
            f"alone {n}": Row(f"bell {n}", mixture("cat", *zoo.even[:2]), max_new_tokens=30) for n in range(2)
        },
        "choice": Row("old maps", mixture("cat", zoo.even[0]), "choose", ("a drum", "foxes")),
        "now": Row("lark", mixture("cat", zoo.even[0]), max_new_tokens=3, urgent=True),
        "text": Row("under", mixture("cat", zoo.even[1]), max_new_tokens=3),
    }
    prompts, passes = engine._forward.prompts, []

    def breaks(ids: Sequence[Sequence[int]], view: StoreView | None) -> torch.Tensor:
        passes.append(len(ids))
        if passes == [1, 2]:
            raise KERNEL
        return prompts(ids, view)

    monkeypatch.setattr(engine._forward, "prompts", breaks)
    events: list[Event] = []
    for ticket, row in rows.items():
        if ticket in ("alone 0", "choice"):
            events += engine.step()
        engine.add(ticket, row)
    order: list[object] = []
    while engine.usage().running or engine.usage().waiting:
        new = engine.step()
        events += new
        order += finished(new)
        for (_, by_itself), running in engine._stream._running.items():
            assert all(one.question.alone is by_itself for one in running.writings)
            assert not by_itself or len(running.writings) <= 1
    assert order == ["choice", "now", "text", "alone 0", "long", "alone 1"]
    answers = finished(events)
    assert [told(answers[ticket]) for ticket in rows] == alone(
        zoo.engine(ends=frozenset()), list(rows.values())
    )


@pytest.mark.parametrize("merge", ["cat", "linear"])
def test_a_row_that_cannot_be_taken_out_leaves_and_the_others_begin_again(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, merge: str
) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = [Row(f"bell {n}", mixture(merge, zoo.even[n]), max_new_tokens=12) for n in range(3)]
    expected = alone(zoo.engine(ends=frozenset()), rows)
    for place, row in enumerate(rows):
        engine.add(place, row)
    events = [event for _ in range(4) for event in engine.step()]
    monkeypatch.setattr(RunningUpdates, "drop", once(FULL, RunningUpdates.drop))
    engine.abort(1)
    assert (engine.usage().running, engine.usage().waiting) == (0, 2)
    events += to_the_end(engine)
    answers = finished(events)
    assert {place: told(answer) for place, answer in answers.items()} == {0: expected[0], 2: expected[2]}
    assert all(texts(events)[place] == expected[place][0] for place in (0, 2))


def test_rows_whose_pass_cannot_be_made_ready_are_computed_again(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = mixed_rows(zoo, 6, seed=8)
    monkeypatch.setattr(engine._stream, "_part", once(KERNEL, engine._stream._part))
    assert [told(answer) for answer in engine.answer(rows)] == alone(zoo.engine(ends=frozenset()), rows)


def test_rows_that_break_behind_their_join_are_answered_once(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = zoo.engine(ends=frozenset())
    rows = [Row(f"bell {n}", mixture("cat", zoo.even[n]), max_new_tokens=5) for n in range(2)]
    monkeypatch.setattr(engine._stream, "_told", once(KERNEL, engine._stream._told))
    for place, row in enumerate(rows):
        engine.add(place, row)
    events = to_the_end(engine)
    assert sorted(event.ticket for event in events if isinstance(event, Finished)) == [0, 1]
    assert [told(finished(events)[place]) for place in (0, 1)] == alone(zoo.engine(ends=frozenset()), rows)
    assert [texts(events)[place] for place in (0, 1)] == [one[0] for one in alone(engine, rows)]


def test_a_row_for_which_there_is_no_memory_fails_with_the_numbers(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = zoo.engine(ends=frozenset())

    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("1 GiB was asked for and 0.5 are free")

    monkeypatch.setattr(engine._forward, "step", full)
    [answer, choice] = engine.answer([Row("fox", BARE), Row("fox", BARE, "choose", ("a", "b"))])
    assert isinstance(answer, Failure)
    assert "1 GiB was asked for" in answer.message
    assert isinstance(choice, RowResult)


def test_only_as_many_rows_are_in_hand_as_there_is_room_for(zoo: Zoo) -> None:
    roomy = zoo.engine(ends=frozenset())
    rows = [
        dataclasses.replace(row, max_new_tokens=20) if row.kind == "generate" else row
        for row in mixed_rows(zoo, 20, seed=12)
    ]
    tight = zoo.engine(ends=frozenset(), room_bytes=1 << 20)
    for place, row in enumerate(rows):
        tight.add(place, row)
    events: list[Event] = []
    most = 0
    while tight.usage().running or tight.usage().waiting:
        events += tight.step()
        usage = tight.usage()
        most = max(most, usage.running)
        assert usage.used_bytes <= usage.room_bytes or usage.running <= 2
    answers = finished(events)
    assert 1 < most < len(rows)
    assert [told(answers[place]) for place in range(len(rows))] == alone(roomy, rows)


@pytest.mark.parametrize("merge", ["cat", "linear"])
def test_choices_that_fill_the_bank_leave_texts_waiting_and_not_alone(zoo: Zoo, merge: str) -> None:
    [one, other, third, fourth] = zoo.even
    slot = zoo.engine().bank.slot_bytes
    engine = zoo.engine(ends=frozenset(), bank_bytes=2 * slot)
    assert engine.bank.capacity == 2
    rows = [
        Row("tin", mixture(merge, one, other), "choose", ("a drum", "foxes")),
        Row("bell", mixture(merge, third), max_new_tokens=9),
        Row("old maps", mixture(merge, fourth), max_new_tokens=9),
    ]
    composed = []
    compose = engine._composer.compose

    def watched(recipes: Sequence[Recipe]) -> Any:
        composed.append(len(recipes))
        return compose(recipes)

    engine._composer.compose = watched  # type: ignore[method-assign]
    assert [told(answer) for answer in engine.answer(rows)] == alone(zoo.engine(ends=frozenset()), rows)
    # The choice first; then both texts, in one pass.
    assert composed == [1, 2]


@pytest.mark.parametrize("merge", ["cat", "linear"])
def test_rows_go_on_when_the_bank_is_laid_out_anew(zoo: Zoo, merge: str) -> None:
    """Adapters of a larger rank and of more modules come while rows write that name what was in the bank."""
    engine = Engine(copy.deepcopy(zoo.model), byte_tokenizer(), bank_bytes=200_000, ends=frozenset())
    narrow, wide = zoo.even[2], (zoo.even[0], zoo.even[1])
    rows = [
        Row("bell", mixture(merge, narrow), max_new_tokens=30),
        Row("old maps", mixture(merge, *wide), max_new_tokens=12),
        Row("under", mixture("cat", zoo.all[5], narrow), max_new_tokens=20),
        Row("tin", mixture(merge, *wide), "choose", ("a drum", "foxes")),
    ]
    events: list[Event] = []
    for place, row in enumerate(rows):
        named = {part.sha256 for part in row.recipe.components}
        directories = {one.sha256: one.directory for one in zoo.all if one.sha256 in named}
        engine.fetch(directories, row)
        engine.add(place, row, directories)
        events += [*engine.step(), *engine.step()]
    events += to_the_end(engine)
    answers = finished(events)
    assert [told(answers[place]) for place in range(len(rows))] == alone(zoo.engine(ends=frozenset()), rows)
    assert [texts(events)[place] for place in range(len(rows))] == [
        told(answers[place])[0] for place in range(len(rows))
    ]


def mixture(merge: str, *adapters: TinyAdapter) -> Recipe:
    weight = 1 / len(adapters)
    return Recipe(merge, 1.0, "float32", tuple(Component(one.sha256, weight) for one in adapters))


@pytest.mark.parametrize("merge", ["cat", "linear"])
def test_a_prompt_is_read_once_for_rows_that_share_it_and_its_mixture(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, merge: str
) -> None:
    engine = zoo.engine(ends=frozenset())
    one, other = mixture(merge, *zoo.even[:2]), mixture(merge, zoo.even[2])
    rows = [
        *(
            Row("under old maps", one, max_new_tokens=5 + n, sampling_temperature=1.5, seed=n)
            for n in range(4)
        ),
        Row("seven pale tin", one, max_new_tokens=9),
        *(Row("under old maps", other, max_new_tokens=6, sampling_temperature=1.5, seed=n) for n in range(2)),
        *(Row("under old maps", one, "choose", ("a drum", "foxes")) for _ in range(2)),
        Row("under old maps", BARE, max_new_tokens=6),
    ]
    expected = alone(engine, rows)
    read = []
    prompts = engine._forward.prompts

    def counted(ids: Any, view: Any) -> Any:
        read.extend(tuple(one) for one in ids)
        return prompts(ids, view)

    monkeypatch.setattr(engine._forward, "prompts", counted)
    answers = [told(answer) for answer in engine.answer(rows)]
    assert answers == expected
    shared = tuple(engine.text.prompt("under old maps"))
    # Twice for choices, of which each row reads by itself, and once for each of three mixtures.
    assert sorted(read.count(ids) for ids in set(read)) == [1, read.count(shared)]
    assert read.count(shared) == 5
    assert len({text for text, *_ in answers[:4]}) > 1

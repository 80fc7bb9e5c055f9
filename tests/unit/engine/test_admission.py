"""Which rows begin: urgent ones first, and with room that others leave to them."""

from dataclasses import replace

import pytest
from tests.unit.engine.rows import BARE

from loradex.worker.engine.admission import Admission
from loradex.worker.engine.questions import Question
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.room import Sizes
from loradex.worker.engine.rows import Row

CAPACITY = 4
SIZES = Sizes(token=1, slot=0, row=0, read=0)
ROOM = 128
"""A quarter is for choices. Of the 96 for texts 12 are for urgent ones."""


def text(ticket: str, tokens: int, *, urgent: bool = False) -> Question:
    return Question(ticket, Row("?", BARE, max_new_tokens=tokens - 1, urgent=urgent), (0,))


def naming(ticket: str, *adapters: str, kind: str = "text") -> Question:
    recipe = Recipe("cat", 1.0, "float32", tuple(Component(name, 1.0) for name in adapters))
    choices = ((0,), (1,)) if kind == "choice" else ()
    return Question(ticket, Row("?", recipe, max_new_tokens=1), (0,), choices)


def begun(admission: Admission, in_hand: list[Question]) -> list[Question]:
    return [one for some in begun_apart(admission, in_hand) for one in some]


def begun_apart(admission: Admission, in_hand: list[Question]) -> list[list[Question]]:
    companies = admission.take(in_hand, SIZES, lambda keys: len(keys) <= CAPACITY)
    in_hand += [one for some in companies for one in some]
    return companies


def tickets(companies: list[list[Question]]) -> list[list[object]]:
    return [[one.ticket for one in some] for some in companies]


def test_an_urgent_text_begins_beside_long_ones_that_fill_the_room() -> None:
    admission, in_hand = Admission(ROOM), list[Question]()
    for number in range(12):
        admission.add(text(f"long {number}", 12))
    assert len(begun(admission, in_hand)) == 84 // 12
    admission.add(text("now", 12, urgent=True))
    assert [one.ticket for one in begun(admission, in_hand)] == ["now"]
    assert begun(admission, in_hand) == []


def test_it_goes_before_all_that_wait_and_is_not_overtaken_by_them() -> None:
    admission, in_hand = Admission(ROOM), [text("first", 40)]
    for one in (text("small", 1), text("big and urgent", 50, urgent=True), text("urgent", 1, urgent=True)):
        admission.add(one)
    assert begun(admission, in_hand) == []
    in_hand.clear()
    assert [one.ticket for one in begun(admission, in_hand)] == ["big and urgent"]
    in_hand.clear()
    assert [one.ticket for one in begun(admission, in_hand)] == ["urgent", "small"]
    assert len(admission) == 0


@pytest.mark.parametrize(("first", "second"), [("choice", "text"), ("text", "choice")])
def test_rows_that_begin_together_name_no_more_adapters_than_the_bank_holds(first: str, second: str) -> None:
    admission = Admission(ROOM)
    for number in range(CAPACITY):
        admission.add(naming(f"{number}", f"adapter {number}", kind=first))
    admission.add(naming("other", "adapter 7", kind=second))
    admission.add(naming("shares", "adapter 3", kind=first))
    assert {one.ticket for one in begun(admission, [])} == {"0", "1", "2", "3", "shares"}
    assert [one.ticket for one in begun(admission, [])] == ["other"]


def test_a_row_that_names_more_than_the_bank_holds_begins_by_itself() -> None:
    admission = Admission(ROOM)
    for one in (
        naming("bare"),
        naming("wide", *(f"adapter {number}" for number in range(CAPACITY + 1))),
        naming("choice", "adapter 1", kind="choice"),
    ):
        admission.add(one)
    assert [one.ticket for one in begun(admission, [])] == ["bare", "choice"]
    assert [one.ticket for one in begun(admission, [])] == ["wide"]


def test_rows_that_share_no_pass_begin_apart_and_keep_nobody_waiting() -> None:
    admission, in_hand = Admission(ROOM), [text("long", 20)]
    for number in range(2):
        admission.add(replace(text(f"alone {number}", 2), alone=True))
        admission.add(replace(naming(f"alone choice {number}", kind="choice"), alone=True))
    admission.add(text("text", 2))
    admission.add(naming("choice", kind="choice"))
    admission.add(text("now", 2, urgent=True))
    # Of each kind one that shares no pass: more of them would make steps slow for all others.
    assert tickets(begun_apart(admission, in_hand)) == [
        ["now", "text", "choice"],
        ["alone 0"],
        ["alone choice 0"],
    ]
    assert begun(admission, in_hand) == []
    in_hand = [one for one in in_hand if one.ticket != "alone choice 0"]
    assert tickets(begun_apart(admission, in_hand)) == [["alone choice 1"]]
    assert len(admission) == 1


def test_a_row_that_shares_no_pass_needs_its_room_too() -> None:
    admission, in_hand = Admission(ROOM), [text("long", 60)]
    admission.add(replace(text("alone", 30), alone=True))
    admission.add(text("later", 1))
    assert begun(admission, in_hand) == []
    in_hand.clear()
    assert tickets(begun_apart(admission, in_hand)) == [["later"], ["alone"]]


@pytest.mark.parametrize("kind", ["text", "choice"])
def test_a_row_for_which_memory_ran_out_begins_when_nothing_is_in_hand(kind: str) -> None:
    other = "choice" if kind == "text" else "text"
    admission, in_hand = Admission(ROOM), [naming("first", kind=kind)]
    admission.put_back([replace(naming("only", kind=kind), only=True)])
    admission.add(naming("same", kind=kind))
    admission.add(naming("other", kind=other))
    # While it waits for its own kind, the other goes on.
    assert tickets(begun_apart(admission, in_hand)) == [["other"]]
    admission.add(naming("another", kind=other))
    del in_hand[0]
    assert begun(admission, in_hand) == []
    in_hand.clear()
    assert tickets(begun_apart(admission, in_hand)) == [["only"]]
    assert begun(admission, in_hand) == []
    in_hand.clear()
    assert sorted(map(str, tickets(begun_apart(admission, in_hand))[0])) == ["another", "same"]

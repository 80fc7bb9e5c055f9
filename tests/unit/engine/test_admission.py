"""Which rows begin: urgent ones first, and with room that others leave to them."""

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
    taken = admission.take(in_hand, SIZES, lambda keys: len(keys) <= CAPACITY)
    in_hand += taken
    return taken


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

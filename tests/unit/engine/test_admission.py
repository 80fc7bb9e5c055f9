"""Which rows begin: urgent ones first, and with room that others leave to them."""

from tests.unit.engine.rows import BARE

from loradex.worker.engine.admission import Admission
from loradex.worker.engine.questions import Question
from loradex.worker.engine.room import Sizes
from loradex.worker.engine.rows import Row

SIZES = Sizes(token=1, slot=0, row=0)
ROOM = 128
"""A quarter is for choices. Of the 96 for texts 12 are for urgent ones."""


def text(ticket: str, tokens: int, *, urgent: bool = False) -> Question:
    return Question(ticket, Row("?", BARE, max_new_tokens=tokens - 1, urgent=urgent), (0,))


def begun(admission: Admission, in_hand: list[Question]) -> list[Question]:
    taken = admission.take(in_hand, SIZES, 4)
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
